//! `--log`: what the engine tells `tracing`, as lines on stderr.

use std::{
    fmt::{Debug, Write as _},
    io::{self, IsTerminal, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use lute_net::{Builder, ScriptError, engine::server};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// What goes to stderr besides errors.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Nothing
    Off,
    /// Where the script listens; the default on a terminal
    Listening,
    /// One line a request: method, path, status, time, bytes
    Requests,
    /// The same, and errors, as a JSON object a line
    Json,
}

impl Log {
    /// What is logged when the user says nothing.
    pub fn by_default() -> Self {
        if io::stderr().is_terminal() {
            Self::Listening
        } else {
            Self::Off
        }
    }

    /// Its name on the command line, for the processes that a command starts.
    #[cfg(unix)]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Listening => "listening",
            Self::Requests => "requests",
            Self::Json => "json",
        }
    }

    /// Logs from now on, and what the runtime of `builder` reports.
    pub fn start(self, builder: Builder) -> Builder {
        let level = match self {
            Self::Off => return builder,
            Self::Listening => LevelFilter::INFO,
            Self::Requests | Self::Json => LevelFilter::DEBUG,
        };
        let json = self == Self::Json;
        let lines = if json { json_line } else { text_line };
        // Fails only when there is one already: this is the only one that the command sets.
        let _ = tracing::subscriber::set_global_default(Lines { level, lines });
        if json {
            return builder.on_error(log_error);
        }
        builder
    }
}

/// Writes events as lines; spans are not kept.
struct Lines {
    level: LevelFilter,
    lines: fn(&Event<'_>) -> Option<String>,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span()
            && *metadata.level() <= self.level
            && [server::TARGET, server::REQUESTS_TARGET].contains(&metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if let Some(line) = (self.lines)(event) {
            write_line(line);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// In one piece, so that workers that share stderr do not mix theirs. There is nobody to tell that stderr is closed.
fn write_line(mut line: String) {
    line.push('\n');
    let _ = io::stderr().write_all(line.as_bytes());
}

fn text_line(event: &Event<'_>) -> Option<String> {
    let mut fields = Text::default();
    event.record(&mut fields);
    let of = |name: &str| fields.of(name);
    match (event.metadata().target(), of("message")?) {
        (server::TARGET, "listening") => {
            let address = of("address")?;
            let scheme = if of("secure") == Some("true") {
                "https"
            } else {
                "http"
            };
            Some(match address.starts_with("unix:") {
                true => format!("lute-net: listening on {address}"),
                false => format!("lute-net: listening on {scheme}://{address}/"),
            })
        }
        (server::REQUESTS_TARGET, what) => {
            let milliseconds = of("seconds")?.parse::<f64>().ok()? * 1000.0;
            Some(format!(
                "{} {} {} {milliseconds:.3} ms {} B",
                of("method")?,
                of("path")?,
                of("status").unwrap_or(what),
                of("bytes")?
            ))
        }
        (_, message) => {
            let mut line = format!("lute-net: {message}");
            for (name, value) in fields.0.iter().filter(|(name, _)| *name != "message") {
                let _ = write!(line, " {name}={value}");
            }
            Some(line)
        }
    }
}

/// An event's fields, written out.
#[derive(Default)]
struct Text(Vec<(&'static str, String)>);

impl Text {
    fn of(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

fn json_line(event: &Event<'_>) -> Option<String> {
    let metadata = event.metadata();
    let mut object = Object::begin(*metadata.level());
    object.string("target", metadata.target());
    event.record(&mut object);
    Some(object.end())
}

fn log_error(error: &ScriptError) {
    let mut object = Object::begin(Level::ERROR);
    object.string("target", "lute_net::script");
    object.string("message", &error.message);
    object.string("traceback", &error.traceback);
    write_line(object.end());
}

/// A JSON object on its way.
struct Object(String);

impl Object {
    fn begin(level: Level) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        let level = level.as_str().to_ascii_lowercase();
        Self(format!(r#"{{"time":{now:.3},"level":"{level}""#))
    }

    fn string(&mut self, name: &str, value: &str) {
        self.literal(name, &quoted(value));
    }

    fn literal(&mut self, name: &str, value: &str) {
        let _ = write!(self.0, ",{}:{value}", quoted(name));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.string(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.literal(field.name(), &value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not finite.
        let value = if value.is_finite() { value } else { 0.0 };
        self.literal(field.name(), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.literal(field.name(), &value.to_string());
    }
}

/// As a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_string_escapes_what_json_wants_escaped() {
        assert_eq!(quoted("a\"b\\c\nd\u{1}é"), r#""a\"b\\c\nd\u0001é""#);
    }
}
