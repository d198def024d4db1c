//! What the process that runs a test file tells of it, a line of JSON each; `--format json` prints the same lines.

use lute_net::testing::{CaseFailure, CaseResult, Leftovers};
use serde_json::{Map, Value, json};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A case has ended.
    Case(CaseEvent),
    /// The file failed outside of its cases.
    Error(String),
    /// Nothing more comes.
    End,
}

/// A case that has ended.
#[derive(Clone, Debug)]
pub struct CaseEvent {
    /// Its suite's name.
    pub suite: Option<String>,
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, if it did.
    pub failure: Option<CaseFailure>,
    /// What it left running.
    pub leftovers: Leftovers,
}

impl From<CaseResult> for CaseEvent {
    fn from(result: CaseResult) -> Self {
        Self {
            suite: result.suite,
            name: result.name,
            seconds: result.duration.as_secs_f64(),
            failure: result.failure,
            leftovers: result.leftovers,
        }
    }
}

impl CaseEvent {
    /// `suite: name`, or the name alone.
    pub fn title(&self) -> String {
        match &self.suite {
            Some(suite) => format!("{suite}: {}", self.name),
            None => self.name.clone(),
        }
    }
}

impl Event {
    /// As a JSON object.
    pub fn to_json(&self, file: &str) -> Value {
        match self {
            Self::Case(case) => json!({
                "event": "case",
                "file": file,
                "suite": case.suite,
                "case": case.name,
                "passed": case.failure.is_none(),
                "seconds": case.seconds,
                "failure": case.failure.as_ref().map(|failure| json!({
                    "message": failure.message,
                    "position": failure.position,
                    "traceback": failure.traceback,
                })),
                "leftovers": { "servers": case.leftovers.servers, "coroutines": case.leftovers.coroutines },
            }),
            Self::Error(message) => json!({ "event": "error", "file": file, "message": message }),
            Self::End => json!({ "event": "end", "file": file }),
        }
    }

    /// From a line that [`Self::to_json`] made.
    pub fn from_json(line: &str) -> Option<Self> {
        let value: Map<String, Value> = serde_json::from_str(line).ok()?;
        match value.get("event")?.as_str()? {
            "case" => Some(Self::Case(CaseEvent {
                suite: text(&value, "suite"),
                name: text(&value, "case")?,
                seconds: value.get("seconds")?.as_f64()?,
                failure: value
                    .get("failure")
                    .and_then(Value::as_object)
                    .and_then(failure),
                leftovers: value
                    .get("leftovers")
                    .and_then(Value::as_object)
                    .map(leftovers)
                    .unwrap_or_default(),
            })),
            "error" => Some(Self::Error(text(&value, "message")?)),
            "end" => Some(Self::End),
            _ => None,
        }
    }
}

fn failure(value: &Map<String, Value>) -> Option<CaseFailure> {
    Some(CaseFailure {
        message: text(value, "message")?,
        position: text(value, "position"),
        traceback: text(value, "traceback").unwrap_or_default(),
    })
}

fn leftovers(value: &Map<String, Value>) -> Leftovers {
    let count = |name| value.get(name).and_then(Value::as_u64).unwrap_or(0) as usize;
    Leftovers {
        servers: count("servers"),
        coroutines: count("coroutines"),
    }
}

fn text(value: &Map<String, Value>, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}
