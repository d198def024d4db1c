//! The command line.

mod run;
mod signals;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Runs Luau scripts with Lute's @lute/net: HTTP client and server, from coroutines that simply yield.
#[derive(Parser)]
#[command(
    name = "lute-net",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArguments>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a script until nothing is left to do: no coroutine, no listening server.
    Run(RunArguments),
}

#[derive(Args)]
struct RunArguments {
    /// The Luau file to run.
    script: PathBuf,
    /// What the script gets as its `...`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command.map(|Command::Run(run)| run).or(line.run) {
        Some(run) => run::run(&run.script, &run.arguments),
        None => {
            // Only reached when neither a script nor a command was given: clap has printed its help otherwise.
            let _ = <CommandLine as clap::CommandFactory>::command().print_help();
            ExitCode::from(2)
        }
    }
}
