//! The command line.

mod run;
mod signals;
mod workers;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, value_parser};
use lute_net::Runtime;

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
    /// Runs the script in N processes that share its ports.
    ///
    /// Each is this program started anew, with a stdin of its own instead of the terminal. One that dies is started
    /// again; one that ends with exit code 0 is not. SIGINT or SIGTERM lets all of them answer and end, a second one
    /// ends them at once. Exit code 1 when none of them can be kept running.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Makes this process a worker: `--workers` starts its processes with it.
    #[arg(long, hide = true, conflicts_with = "workers")]
    worker: bool,
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
        Some(run) => run.execute(),
        None => {
            // Only reached when neither a script nor a command was given: clap has printed its help otherwise.
            let _ = <CommandLine as clap::CommandFactory>::command().print_help();
            ExitCode::from(2)
        }
    }
}

impl RunArguments {
    fn execute(&self) -> ExitCode {
        let (script, arguments) = (&self.script, &self.arguments);
        match self.workers {
            Some(count) => workers::supervise(count, script, arguments),
            None if self.worker => workers::work(script, arguments),
            None => run::run(Runtime::builder(), script, arguments),
        }
    }
}
