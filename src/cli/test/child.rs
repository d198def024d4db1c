//! The process that runs one test file. Its stdin is a pipe to write to: its results go there, as stdout is the script's.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Write},
    process,
    rc::Rc,
};

use lute_net::{
    Runtime,
    testing::{CaseResult, TestFile},
};

use super::{
    TestArguments,
    event::{CaseEvent, Event},
};

/// Runs the file; whether all passed.
pub fn run(arguments: &TestArguments) -> io::Result<bool> {
    let Some(path) = arguments.paths.first() else {
        return Err(io::Error::other("no test file was given"));
    };
    let results = Results {
        pipe: pipe()?,
        file: path.display().to_string(),
        failed: Cell::new(false),
    };
    let results = Rc::new(results);
    let filter = arguments.filter.clone();
    let told = results.clone();
    let report = move |result: CaseResult| told.tell(&Event::Case(CaseEvent::from(result)));
    let file = TestFile::new(path, Runtime::builder()).timeout(arguments.timeout);
    match file.run(move |case| filter.wants(case), report) {
        Ok(ended) => {
            for error in ended.errors {
                results.tell(&Event::Error(format!("nobody caught: {error}")));
            }
        }
        Err(error) => results.tell(&Event::Error(error.to_string())),
    }
    results.tell(&Event::End);
    Ok(!results.failed.get())
}

#[cfg(unix)]
fn pipe() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(windows)]
fn pipe() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(File::from(io::stdin().as_handle().try_clone_to_owned()?))
}

struct Results {
    pipe: File,
    file: String,
    failed: Cell<bool>,
}

impl Results {
    fn tell(&self, event: &Event) {
        let failed = match event {
            Event::Case(case) => case.failure.is_some(),
            Event::Error(_) => true,
            Event::End => false,
        };
        self.failed.set(self.failed.get() || failed);
        let line = format!("{}\n", event.to_json(&self.file));
        if (&self.pipe).write_all(line.as_bytes()).is_err() {
            // Nobody is left to tell.
            process::exit(1);
        }
    }
}
