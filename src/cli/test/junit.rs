//! Results as JUnit's XML: a `testsuite` for each file.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::{Summary, event::CaseEvent, files::FileOutcome};

/// The whole report.
pub fn report(
    output: &mut impl Write,
    outcomes: &[FileOutcome],
    summary: &Summary,
) -> io::Result<()> {
    outcomes
        .iter()
        .try_for_each(|outcome| io::stderr().write_all(&outcome.output))?;
    writeln!(output, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        output,
        r#"<testsuites tests="{}" failures="{}" time="{:.3}">"#,
        summary.passed + summary.failed,
        summary.failed,
        summary.took.as_secs_f64()
    )?;
    outcomes
        .iter()
        .try_for_each(|outcome| suite(output, outcome))?;
    writeln!(output, "</testsuites>")
}

fn suite(output: &mut impl Write, outcome: &FileOutcome) -> io::Result<()> {
    let path = outcome.path.display().to_string();
    let path = escaped(&path);
    writeln!(
        output,
        r#"  <testsuite name="{path}" tests="{}" failures="{}" time="{:.3}">"#,
        outcome.passed() + outcome.failed(),
        outcome.failed(),
        outcome.took.as_secs_f64()
    )?;
    for one in &outcome.cases {
        case(output, &path, one)?;
    }
    if !outcome.errors.is_empty() {
        let text = outcome.errors.join("\n");
        write!(
            output,
            r#"    <testcase classname="{path}" name="outside of its cases">"#
        )?;
        failed(output, &text)?;
        writeln!(output, "</testcase>")?;
    }
    writeln!(output, "  </testsuite>")
}

fn case(output: &mut impl Write, path: &str, case: &CaseEvent) -> io::Result<()> {
    let class = case.suite.as_deref().map(escaped);
    write!(
        output,
        r#"    <testcase classname="{}" name="{}" time="{:.3}">"#,
        class.as_deref().unwrap_or(path),
        escaped(&case.name),
        case.seconds
    )?;
    if let Some(failure) = &case.failure {
        failed(output, &failure.to_string())?;
    }
    writeln!(output, "</testcase>")
}

fn failed(output: &mut impl Write, text: &str) -> io::Result<()> {
    let first = text.lines().next().unwrap_or_default();
    let (first, text) = (escaped(first), escaped(text));
    write!(output, r#"<failure message="{first}">{text}</failure>"#)
}

/// Text for XML 1.0, which has no way to write most control characters.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |character: char| {
        !matches!(character, '&' | '<' | '>' | '"') && (character >= ' ' || character == '\n')
    };
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let parts = text.chars().map(|character| match character {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\t' => "&#9;".to_owned(),
        '\u{fffe}' | '\u{ffff}' => "\u{fffd}".to_owned(),
        other if is_plain(other) => other.to_string(),
        _ => "\u{fffd}".to_owned(),
    });
    Cow::Owned(parts.collect())
}
