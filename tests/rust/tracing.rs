//! What a host that subscribes to `tracing` learns.

use std::sync::{Arc, Mutex};

use lute_net::{
    Runtime,
    engine::{client, server},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

use crate::support::in_a_process_of_its_own;

/// Keeps what happened under one target, a line each.
#[derive(Clone)]
struct Notes {
    target: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

/// What is told under `target` while a script asks a server twice, and once where nobody listens. For a process of its own: whether
/// anybody listens is one state of tracing's for all threads, and another test that asks just then can change it.
fn told(target: &'static str) -> Vec<String> {
    let notes = Notes {
        target,
        lines: Arc::default(),
    };
    with_default(notes.clone(), || {
        let runtime = Runtime::builder().build().unwrap();
        runtime.load_source("script.luau", SCRIPT, &[]).unwrap();
        runtime.run().unwrap();
        assert_eq!(runtime.uncaught_errors(), 0);
    });
    let mut lines = notes.lines.lock().unwrap().clone();
    // The order of an event's fields is tracing's own affair.
    for line in lines.iter_mut().filter(|line| line.starts_with("event")) {
        let mut fields: Vec<_> = line.split(' ').skip(1).collect();
        fields.sort_unstable();
        *line = format!("event {}", fields.join(" "));
    }
    lines
}

const SCRIPT: &str = r#"
local client = require("@lute/net/client")
local server = require("@lute/net/server")
local task = require("@lute/task")
local running = server.serve({ port = 0, handler = function(request)
	if request.path == "/late" then task.wait(0.01) end
	return { status = 203 }
end })
client.request(`127.0.0.1:{running.port}/now?hidden`)
client.request(`127.0.0.1:{running.port}/late`)
running.close()
pcall(client.request, `127.0.0.1:{running.port}/nobody`)
"#;

/// The fields but for those that differ from run to run.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if !["seconds", "bytes", "remote"].contains(&field.name()) {
            self.0 += &format!(" {}={value:?}", field.name());
        }
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == self.target
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut line = Line::default();
        attributes.record(&mut line);
        self.note(format!("span {}{}", attributes.metadata().name(), line.0));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.note(format!("event{}", line.0));
    }

    fn enter(&self, _: &span::Id) {
        self.note("enter".to_owned());
    }

    fn exit(&self, _: &span::Id) {
        self.note("exit".to_owned());
    }
}

#[test]
fn a_host_that_subscribes_gets_a_span_and_an_event_for_each_request() {
    in_a_process_of_its_own(
        "tracing::a_host_that_subscribes_gets_a_span_and_an_event_for_each_request",
        each_request_is_told,
    );
}

fn each_request_is_told() {
    let expected = ["/now", "/late"].map(|path| {
        [
            format!("span request method=\"GET\" path=\"{path}\""),
            "enter".to_owned(),
            "exit".to_owned(),
            "enter".to_owned(),
            format!("event message=answered method=\"GET\" path=\"{path}\" status=203"),
            "exit".to_owned(),
        ]
    });
    assert_eq!(told(server::REQUESTS_TARGET), expected.concat());
}

#[test]
fn it_gets_an_event_for_each_request_that_a_client_sends() {
    in_a_process_of_its_own(
        "tracing::it_gets_an_event_for_each_request_that_a_client_sends",
        each_request_of_a_client_is_told,
    );
}

fn each_request_of_a_client_is_told() {
    let lines = told(client::TARGET);
    let [now, late, nobody] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert!(now.contains("path=\"/now\" status=203"), "{now}");
    assert!(late.contains("path=\"/late\" status=203"), "{late}");
    assert!(
        nobody.contains("message=failed") && nobody.contains("refused"),
        "{nobody}"
    );
    assert!(!now.contains("hidden"), "{now}");
}
