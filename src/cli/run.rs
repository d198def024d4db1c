//! `lute-net run`: one script, until nothing is left or a signal comes.

use std::{hint, path::Path, process::ExitCode, rc::Rc};

use lute_net::Builder;

use super::signals;

/// glibc's `malloc` gives what is free at the heap's end back to the system from 128 KiB on. Where the messages of a script are
/// its garbage, that can come to a system call and new pages for each (measured: an echo of 16 KiB took 72 µs, and 51 µs without). It
/// does so from twice the size of the largest mapping on that was ever freed, mallopt(3) says.
const FREED_MAPPING: usize = 2 * 1024 * 1024;

/// Runs the script at `path` in the runtime that `builder` makes. Exit code 0, or 1 when it could not be loaded or an
/// error was not caught.
pub fn run(builder: Builder, path: &Path, arguments: &[String]) -> ExitCode {
    match try_run(builder, path, arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lute-net: {error}{}", suggestion(path).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn try_run(builder: Builder, path: &Path, arguments: &[String]) -> Result<u64, lute_net::Error> {
    drop(hint::black_box(Vec::<u8>::with_capacity(FREED_MAPPING)));
    let runtime = Rc::new(builder.build()?);
    let _signals = signals::stop_on_signal(&runtime)?;
    runtime.load_file(path, arguments)?;
    runtime.run()?;
    Ok(runtime.uncaught_errors())
}

/// The script that was meant, when there is none at `path`.
fn suggestion(path: &Path) -> Option<String> {
    let candidates = if path.is_dir() {
        vec![path.join("main.luau"), path.join("init.luau")]
    } else if path.exists() {
        return None;
    } else {
        vec![path.with_extension("luau"), path.with_extension("lua")]
    };
    let meant = candidates.into_iter().find(|one| one.is_file())?;
    Some(format!("; did you mean {}?", meant.display()))
}
