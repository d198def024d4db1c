//! Results for programs, a JSON object a line.

use std::{
    io::{self, Write},
    path::Path,
};

use lute_net::testing::Case;
use serde_json::json;

use super::{Summary, event::Event, files::FileOutcome};

/// The cases and errors of a file.
pub fn file(output: &mut impl Write, outcome: &FileOutcome) -> io::Result<()> {
    io::stderr().write_all(&outcome.output)?;
    let path = outcome.path.display().to_string();
    for case in &outcome.cases {
        writeln!(output, "{}", Event::Case(case.clone()).to_json(&path))?;
    }
    for error in &outcome.errors {
        writeln!(output, "{}", Event::Error(error.clone()).to_json(&path))?;
    }
    Ok(())
}

/// The last line.
pub fn summary(output: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let line = json!({
        "event": "summary",
        "files": summary.files,
        "passed": summary.passed,
        "failed": summary.failed,
        "seconds": summary.took.as_secs_f64(),
    });
    writeln!(output, "{line}")
}

/// A case that `--list` names.
pub fn listed(output: &mut impl Write, path: &Path, case: &Case) -> io::Result<()> {
    let line =
        json!({ "file": path.display().to_string(), "suite": case.suite, "case": case.name });
    writeln!(output, "{line}")
}
