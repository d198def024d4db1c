//! `lute-net run --watch` on systems where a process can't be asked to end.

use std::{path::Path, process::ExitCode};

use super::log::Log;

/// Says that scripts are not watched here.
pub fn watch(_: &Path, _: &[String], _: Log) -> ExitCode {
    eprintln!("lute-net: --watch needs a Unix system");
    ExitCode::FAILURE
}
