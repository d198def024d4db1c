//! `server.metrics`: what a server has counted, in Prometheus' text format (version 0.0.4).

use std::{fmt::Write, rc::Rc};

use mlua::prelude::{Lua, LuaResult, LuaTable};

use super::Script;
use crate::engine::{
    measures::{BUCKETS, Measures},
    server::Server,
};

/// The natives behind `luau/metrics.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let weak = Rc::downgrade(script);
    native.set(
        "measure",
        lua.create_function(move |_, ()| {
            if let Some(script) = weak.upgrade() {
                script.servers.measure();
            }
            Ok(())
        })?,
    )?;
    let weak = Rc::downgrade(script);
    native.set(
        "metrics",
        lua.create_function(move |lua, number: u64| {
            let mut text = Text::default();
            if let Some(script) = weak.upgrade() {
                if let Some(server) = script.servers.get(number) {
                    text.server(&server);
                }
                text.script(&script, lua);
            }
            Ok(text.0)
        })?,
    )?;
    Ok(native)
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn server(&mut self, server: &Server) {
        let counters = server.counters();
        self.counter("requests_total", "Requests", counters.requests());
        self.gauge(
            "requests_in_flight",
            "Requests whose answers are not sent yet",
            counters.requests_in_flight(),
        );
        self.gauge(
            "connections",
            "Open connections",
            server.connections() as u64,
        );
        self.gauge("websockets", "Open WebSockets", server.websockets() as u64);
        self.gauge("websockets", "Open WebSockets", server.websockets() as u64);
        self.counter(
            "received_bytes_total",
            "Bytes read from clients",
            counters.bytes_received(),
        );
        self.counter(
            "sent_bytes_total",
            "Bytes written to clients",
            counters.bytes_sent(),
        );
        self.answers(server.measures());
    }

    fn answers(&mut self, measures: &Measures) {
        self.describe(
            "responses_total",
            "Answers by status; gone: the client did not wait for all of it",
            "counter",
        );
        for digit in 1..10 {
            let count = measures.of_class(digit);
            // Upgrades, and statuses from 600 on, which are somebody's own, show once they occur.
            if (2..6).contains(&digit) || count > 0 {
                self.line(&format!("responses_total{{status=\"{digit}xx\"}} {count}"));
            }
        }
        let gone = measures.of_class(0);
        self.line(&format!("responses_total{{status=\"gone\"}} {gone}"));

        let name = "request_duration_seconds";
        self.describe(
            name,
            "Time from a request's last byte until its answer is made",
            "histogram",
        );
        let cumulative = measures.cumulative();
        for (bound, count) in BUCKETS.iter().zip(cumulative) {
            self.line(&format!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let all = cumulative[BUCKETS.len()];
        self.line(&format!("{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(&format!("{name}_sum {}", measures.total().as_secs_f64()));
        self.line(&format!("{name}_count {all}"));
    }

    fn script(&mut self, script: &Script, lua: &Lua) {
        self.gauge(
            "coroutines_waiting",
            "Coroutines that wait for a timer or the network",
            script.waiting() as u64,
        );
        self.counter(
            "uncaught_errors_total",
            "Errors that no script caught",
            script.errors(),
        );
        self.gauge(
            "memory_bytes",
            "Memory of the Luau VM",
            lua.used_memory() as u64,
        );
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.describe(name, help, "counter");
        self.line(&format!("{name} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.describe(name, help, "gauge");
        self.line(&format!("{name} {value}"));
    }

    fn describe(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP lute_net_{name} {help}.");
        let _ = writeln!(self.0, "# TYPE lute_net_{name} {kind}");
    }

    /// Writing to a string does not fail.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "lute_net_{text}");
    }
}
