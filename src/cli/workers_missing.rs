//! `lute-net run --workers N` on systems where processes do not share a port.

use std::{path::Path, process::ExitCode};

use lute_net::Builder;

use super::{log::Log, run};

/// Says that there are none.
pub fn supervise(_: u16, _: &Path, _: &[String], _: Log) -> ExitCode {
    eprintln!("lute-net: --workers needs a Unix system");
    ExitCode::FAILURE
}

/// Runs the script.
pub fn work(builder: Builder, script: &Path, arguments: &[String]) -> ExitCode {
    run::run(builder, script, arguments)
}
