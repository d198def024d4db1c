//! What a host gives to its scripts and calls of theirs: modules, functions that wait, calls, and what goes wrong there.

mod calls;
mod functions;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use lute_net::{Builder, Error, Runtime};
use mlua::prelude::{LuaFunction, LuaValue};

use crate::support::wait_until;

type Notes = Rc<RefCell<Vec<String>>>;

/// Settings whose scripts can `note` texts; uncaught errors are noted too.
fn noting() -> (Builder, Notes) {
    let notes = Notes::default();
    let (noted, problems) = (notes.clone(), notes.clone());
    let builder = Runtime::builder()
        .on_error(move |error| {
            let note = format!("error: {}", error.message);
            problems.borrow_mut().push(note);
        })
        .module("@test/notes", move |module| {
            let noted = noted.clone();
            module.function("note", move |_, text: String| {
                noted.borrow_mut().push(text);
                Ok::<_, String>(())
            })
        });
    (builder, notes)
}

/// Runs `source` to its end; what it noted.
fn run(builder: Builder, notes: &Notes, source: &str) -> Vec<String> {
    let runtime = builder.build().unwrap();
    let source = format!("local note = (require('@test/notes') :: any).note {source}");
    runtime.load_source("test.luau", &source, &[]).unwrap();
    runtime.run().unwrap();
    notes.take()
}

#[test]
fn an_error_hook_that_panics_does_not_reach_the_host() {
    let runtime = Runtime::builder()
        .on_error(|_| panic!("in the hook"))
        .build()
        .unwrap();
    let source = "local task = require('@lute/task') task.defer(function() error('late') end) error('early')";
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.run().unwrap();
    assert_eq!(runtime.uncaught_errors(), 2);
}

#[test]
fn a_raw_callback_of_the_hosts_that_panics_is_a_scripts_error() {
    let (builder, notes) = noting();
    let runtime = builder.build().unwrap();
    let panics = runtime
        .lua()
        .create_function(|_, ()| -> mlua::Result<()> { panic!("raw") })
        .unwrap();
    runtime
        .lua()
        .register_module("@test/panics", panics)
        .unwrap();
    let source = r#"
local task, panics = require("@lute/task"), require("@test/panics") :: any
task.defer(panics)
task.spawn(function() task.wait() panics() end)
local serve = require("@lute/net/server").serve
local running = serve({ port = 0, handler = function() panics() return "" end })
local response = require("@lute/net/client").request(`127.0.0.1:{running.port}`)
assert(response.status == 500)
running.close()
"#;
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.run().unwrap();
    assert_eq!(notes.borrow().len(), 3, "{notes:?}");
    assert!(
        notes
            .borrow()
            .iter()
            .all(|note| note.starts_with("error: "))
    );
}

#[test]
fn test_callbacks_that_panic_do_not_reach_the_host() {
    let (builder, _) = noting();
    let runtime = builder.build().unwrap();
    let source = "require('@std/test').case('one', function() end)";
    runtime.load_source("test.luau", source, &[]).unwrap();
    let outcome = runtime.run_tests(
        lute_net::testing::Selection::all().only(|_| panic!("wants")),
        |_| {},
    );
    assert!(matches!(outcome, Err(Error::Script(_))), "{outcome:?}");
    assert_eq!(runtime.uncaught_errors(), 1);
}

#[test]
fn errors_of_scripts_reach_the_hook_as_text_whatever_they_are() {
    let (builder, notes) = noting();
    let noted = run(
        builder,
        &notes,
        r#"
local task = require("@lute/task")
task.spawn(error, { code = 1 })
task.spawn(error, nil)
task.spawn(error, setmetatable({}, { __tostring = function() return "a table that says what it is" end }))
task.spawn(error, setmetatable({}, { __tostring = function() error("no") end }))
task.spawn(error, require("@lute/time").now())
task.spawn(function() string.rep("x", -1, nil :: any) ; (nil :: any)() end)
"#,
    );
    assert_eq!(noted.len(), 6, "{noted:?}");
    assert_eq!(noted[2], "error: a table that says what it is");
    assert!(noted[3].contains("whose __tostring fails"));
    assert_eq!(noted[5], "error: test.luau:8: attempt to call a nil value");
}

#[test]
fn stats_count_what_scripts_hold_and_have_done() {
    let (builder, notes) = noting();
    let runtime = builder.build().unwrap();
    let source = r#"
local note = (require("@test/notes") :: any).note
local server, client = require("@lute/net/server"), require("@lute/net/client")
local first = server.serve({ port = 0, handler = function() return "answer" end })
local second = server.serve({ port = 0, handler = function() return "answer" end })
client.request(`127.0.0.1:{first.port}`)
client.request(`127.0.0.1:{second.port}`)
first.close()
note("asked")
require("@lute/task").wait(60)
"#;
    runtime.load_source("test.luau", source, &[]).unwrap();
    // What was closed is dropped by its task's next turn; the client's end of the first is noticed when it is used.
    wait_until(
        "one listener, both ends of a connection, one end of another",
        || {
            runtime.step(Duration::from_millis(1)).unwrap();
            !notes.borrow().is_empty() && runtime.stats().sockets == 4
        },
    );
    let stats = runtime.stats();
    assert_eq!(
        (stats.servers, stats.connections, stats.coroutines),
        (1, 1, 1)
    );
    assert_eq!((stats.requests, stats.requests_in_flight), (2, 0));
    assert!(stats.bytes_received > 50 && stats.bytes_sent > 50 && stats.memory > 10_000);
}

#[test]
fn a_value_that_a_host_keeps_does_not_keep_the_vm_of_a_dropped_runtime_usable() {
    let runtime = Runtime::builder().build().unwrap();
    let function: LuaFunction = runtime.lua().load("return function() end").eval().unwrap();
    let mut call = runtime.call::<LuaValue>(&function, ());
    drop(runtime);
    assert!(matches!(call.take(), Some(Err(_))));
}

#[test]
fn a_hosts_future_that_panics_when_it_is_dropped_reaches_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let (builder, _) = noting();
    let builder = builder.module("@game/bomb", |module| {
        module.async_function("wait", |_, ()| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
            Ok::<_, String>(())
        })
    });
    let source = r#"
local task, bomb = require("@lute/task"), require("@game/bomb") :: any
task.cancel(task.spawn(bomb.wait))
task.spawn(bomb.wait)
"#;
    let mut runtime = builder.build().unwrap();
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.step(Duration::from_millis(1)).unwrap();
    runtime.reset().unwrap();
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.step(Duration::from_millis(1)).unwrap();
    assert_eq!(runtime.uncaught_errors(), 0);
    drop(runtime);
}

#[test]
fn a_detached_task_of_the_hosts_that_panics_does_not_reach_the_loop() {
    let runtime = Runtime::builder().build().unwrap();
    let panicking = async { panic!("in a task") };
    runtime.engine().spawn(panicking).detach();
    runtime.step(Duration::from_millis(1)).unwrap();
    runtime.run().unwrap();
}
