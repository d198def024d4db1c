//! The command line.

mod log;
mod new;
mod run;
mod setup;
#[cfg_attr(not(unix), path = "signals_polled.rs")]
mod signals;
mod test;
#[cfg_attr(not(unix), path = "watch_missing.rs")]
mod watch;
#[cfg_attr(not(unix), path = "workers_missing.rs")]
mod workers;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand, value_parser};
use clap_complete::Shell;
use lute_net::Runtime;

use self::{log::Log, setup::WithLuaurc, test::TestArguments};

/// Runs Luau scripts with Lute's @lute/net: HTTP client and server, from coroutines that simply yield.
#[derive(Parser)]
#[command(
    name = "lute-net",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = AFTER_HELP,
    max_term_width = 100
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArguments>,
}

const AFTER_HELP: &str = "\
Examples:
  lute-net new hello && cd hello      make a project with a server and its test
  lute-net main.luau                  run a script; the same as `lute-net run main.luau`
  lute-net run --watch main.luau      run it again when its code changes
  lute-net run --log requests main.luau
                                      print a line for each request
  lute-net test -j 4                  run the tests in ./tests and ./luau-tests, four files at once
  lute-net run --workers 4 main.luau 8080
                                      serve from four processes; the script gets 8080 as its `...`
  lute-net completions bash > ~/.local/share/bash-completion/completions/lute-net

Environment:
  HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY
                                      proxies for the scripts' requests, as curl reads them

Signals:
  SIGINT (Ctrl-C) and SIGTERM stop listening and let waiting handlers answer; a second one ends
  at once.

Exit codes:
  0    the script came to its end, or a signal stopped it and all handlers could answer
  1    the script could not be loaded, or an error was not caught
  2    the command line is wrong
  128 + N
       a second signal N ended it

A script that begins with a name of a command is run by its path: `lute-net ./new`.";

#[derive(Subcommand)]
enum Command {
    /// Runs a script until nothing is left to do: no coroutine, no listening server.
    Run(RunArguments),
    /// Runs Luau test files and tells what failed.
    ///
    /// Each file runs in a process and a runtime of its own; what it leaves running is closed after it.
    Test(TestArguments),
    /// Makes a project: a server, its test, and the editor's settings.
    New {
        /// The folder to make; its name is the project's.
        #[arg(value_name = "NAME")]
        folder: PathBuf,
    },
    /// Writes Luau types of the modules into a project, so that editors know them.
    ///
    /// They go to .lute-net/definitions; luau-lsp finds them by aliases in .luaurc.
    Setup {
        /// The project.
        #[arg(value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Writes the aliases into the project's .luaurc, too; what else is in it stays.
        #[arg(long)]
        with_luaurc: bool,
    },
    /// Prints a script for the shell that completes commands, options and file names.
    Completions {
        /// The shell.
        shell: Shell,
    },
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
    /// Starts the script again when its code changes.
    ///
    /// Its code is every .luau, .lua and .luaurc file in its folder and those below it, or from the nearest folder
    /// above that has a .luaurc; hidden folders, `target` and `node_modules` are left out. Waiting handlers may answer
    /// for two seconds. A script that ends is started again with the next change.
    #[arg(long, conflicts_with = "workers")]
    watch: bool,
    /// What to print on stderr besides errors.
    #[arg(long, value_name = "WHAT")]
    log: Option<Log>,
    /// Makes this process a worker: `--workers` starts its processes with it.
    #[arg(long, hide = true, conflicts_with = "workers")]
    worker: bool,
    /// Ties this process to another one: `--watch` starts its process with it.
    #[arg(long, hide = true, conflicts_with_all = ["workers", "worker", "watch"])]
    watched: bool,
    /// The Luau file to run.
    script: PathBuf,
    /// What the script gets as its `...`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Some(Command::Run(run)) => run.execute(),
        Some(Command::Test(test)) => test.execute(),
        Some(Command::New { folder }) => new::new(&folder),
        Some(Command::Setup {
            folder,
            with_luaurc,
        }) => setup::setup(&folder, WithLuaurc::of(with_luaurc)),
        Some(Command::Completions { shell }) => print_completions(shell),
        None => match line.run {
            Some(run) => run.execute(),
            None => {
                // Only reached when neither a script nor a command was given: clap has printed its help otherwise.
                let _ = CommandLine::command().print_help();
                ExitCode::from(2)
            }
        },
    }
}

impl RunArguments {
    fn execute(&self) -> ExitCode {
        let (script, arguments) = (&self.script, &self.arguments);
        let log = self.log.unwrap_or_else(Log::by_default);
        if let Some(count) = self.workers {
            return workers::supervise(count, script, arguments, log);
        }
        if self.watch {
            return watch::watch(script, arguments, log);
        }
        let builder = log.start(Runtime::builder());
        if self.worker {
            return workers::work(builder.share_ports(), script, arguments);
        }
        if self.watched {
            return workers::work(builder, script, arguments);
        }
        run::run(builder, script, arguments)
    }
}

fn print_completions(shell: Shell) -> ExitCode {
    let mut command = CommandLine::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "lute-net", &mut script);
    match io::Write::write_all(&mut io::stdout(), &script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lute-net: cannot write the completions: {error}");
            ExitCode::FAILURE
        }
    }
}
