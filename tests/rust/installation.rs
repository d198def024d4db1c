//! The modules in a VM and on an executor that the host has.

use std::{
    cell::{Cell, RefCell},
    fs,
    future::Future,
    io::{Read, Write},
    net::TcpStream,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use lute_net::{Error, Installation, Runtime, install};
use mlua::prelude::{Lua, LuaFunction};
use smol::{LocalExecutor, Timer};

use crate::support::in_a_process_of_its_own;

const SERVE: &str = r#"
local task = require("@lute/task")
return require("@lute/net/server").serve({ port = 0, handler = function(request)
	task.wait(0.2)
	return "answer to " .. request.path
end })
"#;

/// Serves in the host's VM; the port.
fn serve(lua: &Lua) -> u16 {
    let load = lua.load(SERVE).into_function().unwrap();
    let server: mlua::Table = load.call(()).unwrap();
    server.get("port").unwrap()
}

#[test]
fn the_hosts_own_tasks_and_scripts_share_one_executor() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let _installation = install(&lua, &executor).unwrap();
    let port = serve(&lua);
    let ticks = Rc::new(Cell::new(0));
    let ticking = ticks.clone();
    let ticker = executor.spawn(async move {
        loop {
            Timer::after(Duration::from_millis(2)).await;
            ticking.set(ticking.get() + 1);
        }
    });
    let answer = smol::block_on(executor.run(async {
        let mut stream = smol::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        let request = b"GET /host HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }));
    drop(ticker);
    assert!(answer.ends_with("answer to /host"), "{answer}");
    assert!(ticks.get() >= 2, "the handler's wait held the executor up");
}

#[test]
fn scripts_that_the_host_loads_run_to_their_end() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let notes = Rc::<RefCell<Vec<String>>>::default();
    let noted = notes.clone();
    let installation = Runtime::builder()
        .module("@test/notes", move |module| {
            let noted = noted.clone();
            module.function("note", move |_, text: String| {
                noted.borrow_mut().push(text);
                Ok::<_, String>(())
            })
        })
        .install(&lua, &executor)
        .unwrap();
    let source = r#"
local note = (require("@test/notes") :: any).note
local task, client = require("@lute/task"), require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function() task.wait(0.01) return "answer" end })
for _ = 1, 3 do note(client.request(`127.0.0.1:{running.port}`).body) end
for _ = 1, 3 do task.deferSelf() end
running.close()
note("closed")
"#;
    installation.load_source("test.luau", source, &[]).unwrap();
    smol::block_on(executor.run(installation.finished()));
    assert_eq!(*notes.borrow(), ["answer", "answer", "answer", "closed"]);
    assert_eq!(installation.stats().requests, 3);
}

#[test]
fn a_call_from_outside_wakes_the_driver() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let _installation = install(&lua, &executor).unwrap();
    let start: LuaFunction = lua
        .load(
            r#"
local task = require("@lute/task")
woken = 0
return function()
	task.delay(0.02, function() woken += 1 end)
	task.defer(function() woken += 1 end)
end
"#,
        )
        .eval()
        .unwrap();
    smol::block_on(executor.run(async {
        // The driver waits by now, for nothing.
        Timer::after(Duration::from_millis(20)).await;
        for expected in [2, 4] {
            start.call::<()>(()).unwrap();
            let all = async {
                while lua.globals().get::<u32>("woken").unwrap() < expected {
                    Timer::after(Duration::from_millis(1)).await;
                }
            };
            let patience = async {
                Timer::after(Duration::from_secs(20)).await;
                panic!("the driver sleeps");
            };
            future::or(all, patience).await;
        }
    }));
}

#[test]
fn calls_are_futures_on_the_hosts_executor() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let installation = install(&lua, &executor).unwrap();
    let port = serve(&lua);
    let ask: LuaFunction = lua
        .load("return function(port) return require('@lute/net/client').request(`127.0.0.1:{port}/luau`).body end")
        .eval()
        .unwrap();
    let (first, second) = (
        installation.call::<String>(&ask, port),
        installation.call::<String>(&ask, port),
    );
    let answers = smol::block_on(executor.run(future::zip(first, second)));
    let expected = Ok("answer to /luau".to_owned());
    assert_eq!(answers, (expected.clone(), expected));
}

#[test]
fn an_idle_installation_uses_no_time() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let _installation = install(&lua, &executor).unwrap();
    let _port = serve(&lua);
    let before = cpu_time();
    smol::block_on(executor.run(Timer::after(Duration::from_millis(500))));
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(250), "{used:?}");
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_dropped_installation_leaves_no_descriptor_and_its_modules_raise() {
    in_a_process_of_its_own(
        "installation::a_dropped_installation_leaves_no_descriptor_and_its_modules_raise",
        drop_installations,
    );
}

fn drop_installations() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    // async-io's own descriptors are there from its first use on.
    smol::block_on(Timer::after(Duration::from_millis(1)));
    let executor = LocalExecutor::new();
    let before = descriptors();
    for _ in 0..20 {
        let lua = Lua::new();
        let installation = install(&lua, &executor).unwrap();
        let port = serve(&lua);
        let ask = format!(
            "for _ = 1, 3 do require('@lute/task').spawn(function() require('@lute/net/client').request('127.0.0.1:{port}') end) end"
        );
        installation.load_source("test.luau", &ask, &[]).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"GET / HT").unwrap();
        smol::block_on(executor.run(Timer::after(Duration::from_millis(5))));
        drop(installation);
        assert_eq!(
            client.read(&mut [0]).unwrap_or(0),
            0,
            "the connection is still there"
        );
        drop(client);
        let wait = lua
            .load("require('@lute/task').wait(1)")
            .into_function()
            .unwrap();
        assert!(wait.call::<()>(()).is_err());
        let serve = lua.load("require('@lute/net/server').serve({ port = 0, handler = print })");
        assert!(serve.exec().is_err());
        // The driver's task is dropped on the executor's next turn.
        while executor.try_tick() {}
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn a_sandboxed_vm_is_refused_with_an_error() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    lua.sandbox(true).unwrap();
    let outcome: Result<Installation, Error> = install(&lua, &executor);
    assert!(matches!(outcome, Err(Error::Vm(_))));
}

#[test]
fn the_hosts_own_modules_globals_and_print_stay_as_they_are() {
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let printed = Rc::<RefCell<Vec<String>>>::default();
    let prints = printed.clone();
    let print = lua
        .create_function(move |_, text: String| {
            prints.borrow_mut().push(text);
            Ok(())
        })
        .unwrap();
    lua.globals().set("print", print).unwrap();
    let module = lua.create_table().unwrap();
    module.set("answer", 42).unwrap();
    lua.register_module("@host/answers", module).unwrap();
    let _installation = install(&lua, &executor).unwrap();
    let answer: u32 = lua
        .load("print('seen') return require('@host/answers').answer + (loadstring and 0 or 100)")
        .eval()
        .unwrap();
    assert_eq!(answer, 42);
    assert_eq!(*printed.borrow(), ["seen"]);
}

#[test]
fn to_ask_often_whether_all_is_finished_costs_no_memory() {
    struct Asking;
    impl Wake for Asking {
        fn wake(self: Arc<Self>) {}
    }
    let (lua, executor) = (Lua::new(), LocalExecutor::new());
    let installation = install(&lua, &executor).unwrap();
    serve(&lua);
    let asking = Arc::new(Asking);
    let waker = Waker::from(asking.clone());
    for _ in 0..100 {
        let mut finished = pin!(installation.finished());
        let asked = finished.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(asked.is_pending());
    }
    assert!(Arc::strong_count(&asking) <= 3, "each poll left a waker");
}
