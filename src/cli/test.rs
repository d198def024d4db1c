//! `lute-net test`: runs Luau test files, each in a process and a runtime of its own.

mod child;
mod event;
mod files;
mod human;
mod json;
mod junit;

use std::{
    io::{self, IsTerminal, Write},
    num::NonZeroU16,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use lute_net::{
    Runtime,
    testing::{Case, TestFile},
};

use self::files::{FileOutcome, Files};

/// What to run, and how to tell of it.
#[derive(Args)]
pub struct TestArguments {
    /// Test files, and folders to look in for *.test.luau and *.spec.luau; ./tests and ./luau-tests without any, or the
    /// current folder when there are none in these.
    paths: Vec<PathBuf>,
    /// Prints the names of the cases and runs none.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    filter: Filter,
    /// How many files run at once; what they print is shown when they end.
    #[arg(short, long, value_name = "N", default_value = "1")]
    jobs: NonZeroU16,
    /// How many seconds each case and each hook may take.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// How the results are printed. What the scripts print goes to stderr with json and junit.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Tells what the cases left running: servers and waiting coroutines. Both are closed after their file.
    #[arg(long)]
    leftovers: bool,
    /// Makes this process the one that runs the file: its results go to stdin, a socket.
    #[arg(long, hide = true)]
    child: bool,
}

/// Which cases run.
#[derive(Args, Clone)]
struct Filter {
    /// Only the cases of the suite of this name.
    #[arg(short, long, value_name = "SUITE", allow_hyphen_values = true)]
    suite: Option<String>,
    /// Only the cases of this name.
    #[arg(short, long, value_name = "CASE", allow_hyphen_values = true)]
    case: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each file, and what failed.
    Human,
    /// A JSON object a line: each case, each error outside of cases, and a summary.
    Json,
    /// JUnit's XML, for CI systems.
    Junit,
}

impl TestArguments {
    /// Exit code 0 when all passed; 1 when something failed or there was nothing to run.
    pub fn execute(&self) -> ExitCode {
        let done = if self.child {
            child::run(self)
        } else if self.list {
            self.print_list()
        } else {
            self.run()
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("lute-net: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Whether all passed.
    fn run(&self) -> io::Result<bool> {
        let began = Instant::now();
        let files = Files::find(&self.paths)?;
        let mut outcomes = Vec::new();
        let mut output = io::stdout();
        files.run(self, |outcome| {
            let outcome = outcome?;
            match self.format {
                Format::Human => human::file(&mut output, &outcome, self.leftovers, is_coloured())?,
                Format::Json => json::file(&mut output, &outcome)?,
                Format::Junit => {}
            }
            output.flush()?;
            outcomes.push(outcome);
            Ok(())
        })?;
        let summary = Summary::of(&outcomes, began.elapsed());
        match self.format {
            Format::Human => human::summary(&mut output, &summary, is_coloured())?,
            Format::Json => json::summary(&mut output, &summary)?,
            Format::Junit => junit::report(&mut output, &outcomes, &summary)?,
        }
        if summary.is_nothing() {
            return Err(io::Error::other(
                match (&self.filter.suite, &self.filter.case) {
                    (None, None) => "the test files register no case",
                    _ => "no case has that name",
                },
            ));
        }
        Ok(summary.failed == 0)
    }

    /// Whether all files could be loaded.
    fn print_list(&self) -> io::Result<bool> {
        let mut output = io::stdout();
        let mut all_loaded = true;
        for path in Files::find(&self.paths)?.paths() {
            let file = TestFile::new(path, Runtime::builder()).timeout(self.timeout);
            match file.cases() {
                Ok(cases) => {
                    for case in cases.iter().filter(|case| self.filter.wants(case)) {
                        match self.format {
                            Format::Json => json::listed(&mut output, path, case)?,
                            _ => writeln!(output, "{}: {case}", path.display())?,
                        }
                    }
                }
                Err(error) => {
                    all_loaded = false;
                    eprintln!("lute-net: {}: {error}", path.display());
                }
            }
        }
        Ok(all_loaded)
    }
}

impl Filter {
    fn wants(&self, case: &Case) -> bool {
        let (suite, name) = (self.suite.as_ref(), self.case.as_ref());
        suite.is_none_or(|suite| case.suite.as_ref() == Some(suite))
            && name.is_none_or(|name| case.name == *name)
    }
}

/// What all files together came to.
struct Summary {
    files: usize,
    passed: usize,
    /// Cases that failed, and files that failed outside of their cases.
    failed: usize,
    took: Duration,
}

impl Summary {
    fn of(outcomes: &[FileOutcome], took: Duration) -> Self {
        Self {
            files: outcomes.len(),
            passed: outcomes.iter().map(FileOutcome::passed).sum(),
            failed: outcomes.iter().map(FileOutcome::failed).sum(),
            took,
        }
    }

    fn is_nothing(&self) -> bool {
        self.passed + self.failed == 0
    }
}

fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("more than zero expected".to_owned()),
    }
}
