//! The test files of a run, and the processes that run them.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, PipeReader, Read},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use lute_net::testing::find;

use super::{
    Format, TestArguments,
    event::{CaseEvent, Event},
};

/// How much of what a file's scripts print is kept while it runs beside others.
const LONGEST_OUTPUT: u64 = 1024 * 1024;

/// The test files of a run.
pub struct Files(Vec<PathBuf>);

/// How a test file ended.
pub struct FileOutcome {
    /// Where it is.
    pub path: PathBuf,
    /// Its cases.
    pub cases: Vec<CaseEvent>,
    /// What failed outside of its cases.
    pub errors: Vec<String>,
    /// What its scripts printed, when it ran beside others.
    pub output: Vec<u8>,
    /// How long it took, its process included.
    pub took: Duration,
}

impl FileOutcome {
    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.cases.len() - self.failures().count()
    }

    /// How many cases failed, and one for the file itself if it did.
    pub fn failed(&self) -> usize {
        self.failures().count() + usize::from(!self.errors.is_empty())
    }

    fn failures(&self) -> impl Iterator<Item = &CaseEvent> {
        self.cases.iter().filter(|case| case.failure.is_some())
    }
}

impl Files {
    /// Those that `paths` mean.
    ///
    /// # Errors
    /// When there are none, or a path can't be read.
    pub fn find(paths: &[PathBuf]) -> io::Result<Self> {
        let found = if paths.is_empty() {
            find_default()?
        } else {
            find_all(paths.iter().map(PathBuf::as_path))?
        };
        if found.is_empty() {
            let message = "there are no test files (*.test.luau, *.spec.luau)";
            return Err(io::Error::other(message));
        }
        Ok(Self(found))
    }

    /// Where they are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Runs all, so many at once as the arguments say; `done` is told of each, in order.
    ///
    /// # Errors
    /// Those of `done`.
    pub fn run(
        &self,
        arguments: &TestArguments,
        mut done: impl FnMut(io::Result<FileOutcome>) -> io::Result<()>,
    ) -> io::Result<()> {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..usize::from(arguments.jobs.get()).min(self.0.len()) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(path) = self.0.get(index) else {
                            return;
                        };
                        // Fails when a file before could not be told of: then none is wanted any more.
                        if sender.send((index, run(path, arguments))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let mut told = 0;
            for (index, outcome) in receiver {
                waiting.insert(index, outcome);
                while let Some(outcome) = waiting.remove(&told) {
                    done(outcome)?;
                    told += 1;
                }
            }
            Ok(())
        })
    }
}

fn find_default() -> io::Result<Vec<PathBuf>> {
    let folders = ["tests", "luau-tests"].map(Path::new);
    let found = find_all(folders.into_iter().filter(|folder| folder.is_dir()))?;
    if found.is_empty() {
        return find_all([Path::new(".")]);
    }
    Ok(found)
}

fn find_all<'p>(paths: impl IntoIterator<Item = &'p Path>) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        for file in find(path)? {
            let file = file.strip_prefix(".").map(Path::to_owned).unwrap_or(file);
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    Ok(found)
}

/// Runs one file in a process of its own.
fn run(path: &Path, arguments: &TestArguments) -> io::Result<FileOutcome> {
    let began = Instant::now();
    let (results, its_end) = io::pipe()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["test", "--child", "--timeout"]);
    command.arg(arguments.timeout.as_secs_f64().to_string());
    for (option, value) in [
        ("--suite", &arguments.filter.suite),
        ("--case", &arguments.filter.case),
    ] {
        if let Some(value) = value {
            command.arg(format!("{option}={value}"));
        }
    }
    command.arg("--").arg(path);
    command.stdin(its_end);
    let output = capture(&mut command, arguments)?;
    let mut child = command.spawn()?;
    // The command holds the other ends of the pipes.
    drop(command);
    let output = output.map(|pipe| thread::spawn(move || read_output(pipe)));
    let mut outcome = FileOutcome {
        path: path.to_owned(),
        cases: Vec::new(),
        errors: Vec::new(),
        output: Vec::new(),
        took: Duration::ZERO,
    };
    let mut ended = false;
    for line in BufReader::new(results).lines() {
        let Ok(line) = line else { break };
        match Event::from_json(&line) {
            Some(Event::Case(case)) => outcome.cases.push(case),
            Some(Event::Error(message)) => outcome.errors.push(message),
            Some(Event::End) => ended = true,
            None => outcome.errors.push(format!("its process said: {line}")),
        }
    }
    let status = child.wait()?;
    if !ended {
        let last = outcome.cases.last().map(CaseEvent::title);
        let place = last.map_or_else(String::new, |last| format!(" after '{last}'"));
        outcome
            .errors
            .push(format!("its process ended{place} with {status}"));
    }
    if let Some(output) = output {
        outcome.output = output.join().unwrap_or_default();
    }
    outcome.took = began.elapsed();
    Ok(outcome)
}

/// Where what the scripts print goes: the same as this process's own when no other file runs, and nothing else is to be on
/// stdout.
fn capture(command: &mut Command, arguments: &TestArguments) -> io::Result<Option<PipeReader>> {
    if arguments.jobs.get() == 1 {
        if arguments.format != Format::Human {
            command.stdout(io::stderr());
        }
        return Ok(None);
    }
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(Some(reader))
}

fn read_output(mut pipe: PipeReader) -> Vec<u8> {
    let mut output = Vec::new();
    // What can't be read is not shown.
    let _ = pipe.by_ref().take(LONGEST_OUTPUT).read_to_end(&mut output);
    if io::copy(&mut pipe, &mut io::sink()).is_ok_and(|rest| rest > 0) {
        output.extend_from_slice(b"\n(the rest of the output is not shown)\n");
    }
    output
}
