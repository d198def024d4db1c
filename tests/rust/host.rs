//! What a host gives to its scripts and calls of theirs: modules, functions that wait, calls, and what goes wrong there.

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
fn a_hosts_async_function_yields_only_the_coroutine_that_calls_it() {
    let (builder, notes) = noting();
    let builder = builder.module("@game/clock", |module| {
        module.async_function("sleep", |_, milliseconds: u64| async move {
            smol::Timer::after(Duration::from_millis(milliseconds)).await;
            Ok::<_, String>((milliseconds, "slept"))
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local task, clock = require("@lute/task"), require("@game/clock") :: any
task.spawn(function()
	local milliseconds, what = clock.sleep(60)
	note(`{milliseconds} {what}`)
end)
local own = coroutine.wrap(function() note(`{clock.sleep(20)} in a coroutine of the script's own`) end)
own()
note("meanwhile")
"#,
    );
    assert_eq!(
        noted,
        [
            "meanwhile",
            "20 in a coroutine of the script's own",
            "60 slept"
        ]
    );
}

#[test]
fn what_goes_wrong_in_a_hosts_function_is_a_plain_string_with_the_scripts_position() {
    let (builder, notes) = noting();
    let builder = builder.module("@game/bad", |module| {
        module.function("fails", |_, ()| Err::<(), _>("no such map"))?;
        module.function("fails_in_lua", |lua, ()| {
            lua.load("error('deep inside')").set_name("=host").exec()
        })?;
        module.function("panics", |_, ()| -> Result<(), String> {
            panic!("in the host")
        })?;
        module.function("wants", |_, _: (String, f64)| Ok::<_, String>(()))?;
        module.async_function("fails_late", |_, ()| async {
            smol::future::yield_now().await;
            Err::<(), _>(std::io::Error::other("disk full"))
        })?;
        module.async_function("panics_late", |_, ()| async {
            smol::future::yield_now().await;
            if true {
                panic!("in the host's future");
            }
            Ok::<_, String>(())
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local bad = require("@game/bad") :: any
local function try(f, ...)
	local arguments = table.pack(...)
	local _, problem = pcall(function()
		f(table.unpack(arguments, 1, arguments.n))
	end)
	note(if type(problem) == "string" then problem else `a {typeof(problem)}`)
end
try(bad.fails)
try(bad.fails_in_lua)
try(bad.panics)
try(bad.wants)
try(bad.wants, "text", {})
try(bad.fails_late)
try(bad.panics_late)
"#,
    );
    assert_eq!(
        noted,
        [
            "test.luau:6: no such map",
            "test.luau:6: host:1: deep inside",
            "test.luau:6: 'panics' panicked: in the host",
            "test.luau:6: invalid argument #1 to 'wants' (string expected, got nil)",
            "test.luau:6: invalid argument #2 to 'wants' (number expected, got table)",
            "test.luau:6: disk full",
            "test.luau:6: 'panics_late' panicked: in the host's future",
        ]
    );
}

#[test]
fn a_cancelled_coroutine_drops_the_hosts_future() {
    struct Mark(Rc<Cell<u32>>);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let (builder, notes) = noting();
    let marks = dropped.clone();
    let builder = builder.module("@game/slow", move |module| {
        let marks = marks.clone();
        module.async_function("forever", move |_, ()| {
            let mark = Mark(marks.clone());
            async move {
                let _mark = mark;
                std::future::pending::<()>().await;
                Ok::<_, String>(())
            }
        })
    });
    let noted = run(
        builder,
        &notes,
        r#"
local task, slow = require("@lute/task"), require("@game/slow") :: any
task.cancel(task.spawn(slow.forever))
local thread = task.spawn(slow.forever)
task.wait()
coroutine.close(thread)
note("over")
"#,
    );
    assert_eq!(noted, ["over"]);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_hosts_module_is_made_once_for_each_vm_and_is_read_only() {
    let made = Rc::new(Cell::new(0));
    let count = made.clone();
    let (builder, notes) = noting();
    let builder = builder.module("@game/config", move |module| {
        count.set(count.get() + 1);
        module.value("port", 80)
    });
    let mut runtime = builder.build().unwrap();
    let source = r#"
local note = (require("@test/notes") :: any).note
local config = require("@game/config") :: any
assert(config == require("@game/config"))
note(tostring(config.port))
note(tostring(pcall(function() config.port = 81 end)))
"#;
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.reset().unwrap();
    runtime.load_source("test.luau", source, &[]).unwrap();
    assert_eq!(made.get(), 2);
    let noted = notes.take();
    assert_eq!(noted.len(), 4, "{noted:?}");
    assert!(
        noted[0] == "80" && noted[1].starts_with("false"),
        "{noted:?}"
    );
}

#[test]
fn a_module_that_cannot_be_made_is_an_error_where_it_is_required() {
    let (builder, notes) = noting();
    let builder = builder
        .module("@game/fails", |_| Err(mlua::Error::runtime("no database")))
        .module("@game/panics", |_| panic!("no memory"));
    let noted = run(
        builder,
        &notes,
        r#"
for _, name in { "fails", "panics" } do
	local _, problem = pcall(function() require(`@game/{name}`) end)
	note(problem)
end
"#,
    );
    assert_eq!(
        noted,
        [
            "test.luau:3: no database",
            "test.luau:3: module '@game/panics' panicked: no memory"
        ]
    );
    let nameless = Runtime::builder().module("game", |_| Ok(())).build();
    assert!(matches!(nameless, Err(Error::Setting(text)) if text.contains("'game'")));
}

#[test]
fn a_call_gives_the_host_what_the_function_returned_or_raised() {
    let (builder, notes) = noting();
    let runtime = builder.build().unwrap();
    let chunk = runtime.lua().load(
        r#"
local task = require("@lute/task")
return function(a, b) task.wait(0.01) return a + b, "sum" end,
	function() task.wait(0.01) error("too late") end,
	function() return "at once" end
"#,
    );
    let functions: (LuaFunction, LuaFunction, LuaFunction) =
        chunk.set_name("=calls").eval().unwrap();
    let sum = runtime.call::<(f64, String)>(&functions.0, (1, 2));
    assert_eq!(runtime.block_on(sum).unwrap(), Ok((3.0, "sum".to_owned())));

    let failed = runtime
        .block_on(runtime.call::<()>(&functions.1, ()))
        .unwrap();
    assert_eq!(failed, Err("calls:4: too late".to_owned()));
    assert_eq!(
        notes.take(),
        [""; 0],
        "the host has the error: the hook is not told"
    );

    let mut immediate = runtime.call::<String>(&functions.2, ());
    assert_eq!(immediate.take(), Some(Ok("at once".to_owned())));
    assert_eq!(immediate.take(), None);
    let mut wrong = runtime.call::<u8>(&functions.2, ());
    assert!(matches!(wrong.take(), Some(Err(_))));
}

#[test]
fn a_dropped_call_closes_its_coroutine_and_frees_what_it_waits_for() {
    let runtime = Runtime::builder().build().unwrap();
    let chunk = runtime
        .lua()
        .load("return function() require('@lute/task').wait(60) end");
    let waits: LuaFunction = chunk.eval().unwrap();
    let mut call = runtime.call::<()>(&waits, ());
    assert_eq!(runtime.waiting_coroutines(), 1);
    assert_eq!(call.take(), None);
    drop(call);
    assert_eq!(runtime.waiting_coroutines(), 0);
    runtime.run().unwrap();
}

#[test]
fn a_call_ends_when_its_coroutine_is_closed_or_its_runtime_reset() {
    let mut runtime = Runtime::builder().build().unwrap();
    let chunk = runtime.lua().load(
        r#"
local task = require("@lute/task")
local running
return function() running = coroutine.running() task.wait(60) end, function() task.cancel(running) end
"#,
    );
    let (waits, cancels): (LuaFunction, LuaFunction) = chunk.eval().unwrap();
    let mut cancelled = runtime.call::<()>(&waits, ());
    assert_eq!(runtime.call::<()>(&cancels, ()).take(), Some(Ok(())));
    let problem = cancelled.take().unwrap().unwrap_err();
    assert!(problem.contains("closed before it returned"), "{problem}");

    let mut reset = runtime.call::<()>(&waits, ());
    runtime.reset().unwrap();
    assert_eq!(reset.take(), Some(Err("the runtime has ended".to_owned())));
}

#[test]
fn block_on_runs_the_scripts_while_a_future_waits_for_another_thread() {
    let (builder, notes) = noting();
    let runtime = builder.build().unwrap();
    let source = r#"
local note = (require("@test/notes") :: any).note
while true do require("@lute/task").wait(0.005) note("tick") end
"#;
    runtime.load_source("test.luau", source, &[]).unwrap();
    let work = smol::unblock(|| {
        std::thread::sleep(Duration::from_millis(60));
        "done"
    });
    assert_eq!(runtime.block_on(work).unwrap(), "done");
    assert!(notes.borrow().len() >= 2, "{notes:?}");
    let from_timer = async {
        smol::Timer::after(Duration::from_millis(20)).await;
    };
    runtime.block_on(from_timer).unwrap();
}

#[test]
fn block_on_parks_instead_of_spinning() {
    let runtime = Runtime::builder().build().unwrap();
    let before = cpu_time();
    let wait = async {
        smol::Timer::after(Duration::from_millis(500)).await;
    };
    runtime.block_on(wait).unwrap();
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(250), "{used:?}");
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
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
