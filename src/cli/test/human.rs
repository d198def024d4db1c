//! Results for people.

use std::io::{self, Write};

use super::{Summary, event::CaseEvent, files::FileOutcome};

/// A line for the file, and below it what failed.
pub fn file(
    output: &mut impl Write,
    outcome: &FileOutcome,
    leftovers: bool,
    coloured: bool,
) -> io::Result<()> {
    output.write_all(&outcome.output)?;
    if outcome.passed() + outcome.failed() == 0 {
        // None of its cases was asked for.
        return Ok(());
    }
    let counts = counts(outcome.passed(), outcome.failed(), coloured);
    let took = outcome.took.as_secs_f64();
    writeln!(output, "{}: {counts} ({took:.2} s)", outcome.path.display())?;
    for case in &outcome.cases {
        if let Some(failure) = &case.failure {
            problem(output, &case.title(), &failure.to_string(), coloured)?;
        }
        if leftovers {
            left(output, case)?;
        }
    }
    for error in &outcome.errors {
        problem(output, "outside of its cases", error, coloured)?;
    }
    Ok(())
}

/// The last line.
pub fn summary(output: &mut impl Write, summary: &Summary, coloured: bool) -> io::Result<()> {
    let counts = counts(summary.passed, summary.failed, coloured);
    let files = plural(summary.files, "file");
    let took = summary.took.as_secs_f64();
    writeln!(output, "\n{counts} in {files}, {took:.2} s")
}

fn problem(output: &mut impl Write, title: &str, text: &str, coloured: bool) -> io::Result<()> {
    writeln!(output, "  {} {title}", paint("FAILED", "31", coloured))?;
    text.lines()
        .try_for_each(|line| writeln!(output, "      {line}"))
}

fn left(output: &mut impl Write, case: &CaseEvent) -> io::Result<()> {
    let (servers, coroutines) = (case.leftovers.servers, case.leftovers.coroutines);
    let parts = [(servers, "server"), (coroutines, "waiting coroutine")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, name)| plural(count, name)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    writeln!(
        output,
        "  left running by {}: {}",
        case.title(),
        parts.join(", ")
    )
}

fn counts(passed: usize, failed: usize, coloured: bool) -> String {
    let passed = format!("{passed} passed");
    if failed == 0 {
        return paint(&passed, "32", coloured);
    }
    format!(
        "{passed}, {}",
        paint(&format!("{failed} failed"), "31", coloured)
    )
}

fn plural(count: usize, name: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {name}{ending}")
}

fn paint(text: &str, colour: &str, coloured: bool) -> String {
    if coloured {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
