//! Calls of a host's, and waiting for them.

use super::*;

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
