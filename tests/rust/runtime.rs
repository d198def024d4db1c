//! The library: runtimes beside each other, stepped, and dropped in the middle.

use std::{
    cell::RefCell,
    fs,
    io::Write,
    net::TcpStream,
    rc::Rc,
    time::{Duration, Instant},
};

use lute_net::{Builder, Error, Runtime};

use crate::{
    support::{in_a_process_of_its_own, wait_until},
    websocket::raw,
};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A runtime whose script has `note`: what it notes is collected.
fn noting(source: &str) -> (Runtime, Rc<RefCell<Vec<String>>>) {
    noting_in(Runtime::builder(), source)
}

/// As [`noting`], in a runtime with settings.
pub fn noting_in(builder: Builder, source: &str) -> (Runtime, Rc<RefCell<Vec<String>>>) {
    let notes = Rc::<RefCell<Vec<String>>>::default();
    let problems = notes.clone();
    let runtime = builder
        .on_error(move |error| {
            problems
                .borrow_mut()
                .push(format!("error: {}", error.message))
        })
        .build()
        .unwrap();
    let noted = notes.clone();
    let note = runtime
        .lua()
        .create_function(move |_, text: String| {
            noted.borrow_mut().push(text);
            Ok(())
        })
        .unwrap();
    runtime.lua().register_module("@test/note", note).unwrap();
    runtime.load_source("test.luau", source, &[]).unwrap();
    (runtime, notes)
}

#[test]
fn two_runtimes_on_one_thread_do_not_know_each_other() {
    let serve = r#"
local note = require("@test/note") :: any
shared = (shared or 0) + 1
local running = require("@lute/net/server").serve({ port = 0, handler = function() return `answer {shared}` end })
note(tostring(running.port))
"#;
    let (first, first_notes) = noting(serve);
    let (second, second_notes) = noting(serve);
    let first_port = first_notes.borrow()[0].clone();
    assert_ne!(first_port, second_notes.borrow()[0]);
    let (asking, answers) = noting(&format!(
        r#"
local note = require("@test/note") :: any
note(require("@lute/net/client").request("127.0.0.1:{first_port}").body)
"#
    ));
    let until = Instant::now() + Duration::from_secs(10);
    while answers.borrow().is_empty() && Instant::now() < until {
        for runtime in [&asking, &first, &second] {
            runtime.step(Duration::from_millis(1)).unwrap();
        }
    }
    assert_eq!(*answers.borrow(), ["answer 1"]);
    drop(first);
    assert_eq!(second.connections(), 0);
    let port: u16 = second_notes.borrow()[0].parse().unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_runtime_dropped_in_the_middle_of_requests_leaves_no_descriptor() {
    in_a_process_of_its_own(
        "runtime::a_runtime_dropped_in_the_middle_of_requests_leaves_no_descriptor",
        drop_runtimes_in_the_middle,
    );
}

fn drop_runtimes_in_the_middle() {
    let before = descriptors();
    for _ in 0..20 {
        let (runtime, notes) = noting(
            r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local client = require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	note("asked")
	if request.path == "/waits" then task.wait(60) end
	return "answer"
end })
note(tostring(running.port))
for _ = 1, 5 do
	task.spawn(function() client.request(`127.0.0.1:{running.port}/waits`) end)
	task.spawn(function() client.request(`127.0.0.1:{running.port}/`) end)
end
task.delay(60, function() end)
"#,
        );
        let port: u16 = notes.borrow()[0].parse().unwrap();
        let mut half = TcpStream::connect(("127.0.0.1", port)).unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while notes.borrow().len() < 11 && Instant::now() < until {
            runtime.step(Duration::from_millis(1)).unwrap();
        }
        assert_eq!(notes.borrow().len(), 11, "{notes:?}");
        assert!(runtime.waiting_coroutines() > 0);
        drop(runtime);
        drop(half);
        assert_eq!(Rc::strong_count(&notes), 1, "the VM is still there");
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn a_cancelled_request_closes_its_socket_and_frees_what_it_waits_for() {
    in_a_process_of_its_own(
        "runtime::a_cancelled_request_closes_its_socket_and_frees_what_it_waits_for",
        cancel_requests,
    );
}

fn cancel_requests() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (runtime, notes) = noting(&format!(
        r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local client = require("@lute/net/client")
local threads = {{}}
for index = 1, 3 do
	threads[index] = task.spawn(function() client.request("127.0.0.1:{port}") end)
end
task.wait(0.05)
note("waiting")
task.cancel(threads[1])
coroutine.close(threads[2])
coroutine.resume(threads[3], "given up")
note("cancelled")
"#
    ));
    let before = descriptors();
    let mut open = before;
    let until = Instant::now() + Duration::from_secs(10);
    while notes.borrow().len() < 2 && Instant::now() < until {
        open = open.max(descriptors());
        runtime.step(Duration::from_millis(1)).unwrap();
    }
    runtime.step(Duration::from_millis(1)).unwrap();
    assert_eq!(*notes.borrow(), ["waiting", "cancelled"]);
    assert_eq!(open, before + 3);
    assert_eq!(descriptors(), before);
    assert_eq!(runtime.waiting_coroutines(), 0);
}

#[test]
fn a_runtime_cannot_be_run_from_inside_its_own_script() {
    let runtime = Rc::new(Runtime::builder().build().unwrap());
    let inner = Rc::downgrade(&runtime);
    let outcome = Rc::new(RefCell::new(None));
    let seen = outcome.clone();
    let run = runtime
        .lua()
        .create_function(move |_, ()| {
            *seen.borrow_mut() = inner
                .upgrade()
                .map(|runtime| runtime.step(Duration::ZERO).is_err());
            Ok(())
        })
        .unwrap();
    runtime.lua().register_module("@test/run", run).unwrap();
    let source = "local task = require('@lute/task') task.wait() ; (require('@test/run') :: any)()";
    runtime.load_source("test.luau", source, &[]).unwrap();
    runtime.run().unwrap();
    assert_eq!(*outcome.borrow(), Some(true));
    assert!(
        matches!(Error::Reentered.to_string().as_str(), text if text.contains("inside its own script"))
    );
}

#[test]
fn a_step_does_not_wait_and_tells_when_the_next_timer_is_due() {
    let (runtime, notes) = noting(
        r#"
local note = require("@test/note") :: any
require("@lute/task").wait(0.2)
note("woke")
"#,
    );
    let began = Instant::now();
    let status = runtime.step(Duration::from_millis(50)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(100));
    assert!(!status.ready && status.busy);
    let due = status.next_timer.unwrap();
    assert!(due > began + Duration::from_millis(150) && due < began + Duration::from_millis(300));
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let status = runtime.step(Duration::from_millis(50)).unwrap();
    assert_eq!(*notes.borrow(), ["woke"]);
    assert!(!status.busy && status.next_timer.is_none());
}

#[test]
fn a_steps_budget_ends_it_between_resumes() {
    // Counted, not timed: each resume takes a millisecond at least, however busy the machine is.
    let (runtime, notes) = noting(
        r#"
local task = require("@lute/task")
local note = require("@test/note")
for _ = 1, 50 do
	task.spawn(function()
		while true do
			local began = os.clock()
			while os.clock() - began < 0.001 do end
			note("resumed")
			task.deferSelf()
		end
	end)
end
"#,
    );
    for _ in 0..3 {
        notes.borrow_mut().clear();
        let status = runtime.step(Duration::from_millis(5)).unwrap();
        assert!(status.ready && status.busy);
        let resumed = notes.borrow().len();
        assert!((1..10).contains(&resumed), "{resumed}");
    }
}

/// Serves requests and WebSocket messages, each of which takes a millisecond at least.
const SPINS: &str = r#"
local note = require("@test/note") :: any
local function busy()
	local began = os.clock()
	while os.clock() - began < 0.001 do end
	note("busy")
end
local running
running = require("@lute/net/server").serve({
	port = 0,
	handler = function(request)
		if running:upgrade(request) then return nil end
		busy()
		return ""
	end,
	websocket = { message = busy },
})
note(tostring(running.port))
"#;

#[test]
fn a_steps_budget_ends_it_between_the_requests_and_messages_that_one_client_has_sent_together() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    let messages = raw::frame(raw::TEXT, b"text").repeat(200);
    let upgraded = [raw::HANDSHAKE.as_bytes(), &messages].concat();
    for sent in [request.into_bytes(), upgraded] {
        let (runtime, notes) = noting(SPINS);
        let port: u16 = notes.borrow()[0].parse().unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(&sent).unwrap();
        let mut served = 0;
        wait_until("all that was sent is served", || {
            notes.borrow_mut().clear();
            runtime.step(Duration::from_millis(5)).unwrap();
            let busy = notes.borrow().len();
            assert!(busy < 10, "{busy}");
            served += busy;
            served == 200
        });
    }
}

#[test]
fn a_thousand_reloads_of_a_busy_script_leave_nothing_behind() {
    in_a_process_of_its_own(
        "runtime::a_thousand_reloads_of_a_busy_script_leave_nothing_behind",
        reload,
    );
}

const BUSY: &str = r#"
local task, client = require("@lute/task"), require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	if request.path == "/waits" then task.wait(60) end
	return "answer"
end })
local address = `127.0.0.1:{running.port}`
for _ = 1, 3 do
	task.spawn(function() client.request(address .. "/waits") end)
	task.spawn(function() client.request(address) end)
end
task.delay(60, function() end)
"#;

fn reload() {
    let mut runtime = Runtime::builder().build().unwrap();
    let mut reloads = |count: usize| {
        for _ in 0..count {
            runtime.load_source("busy.luau", BUSY, &[]).unwrap();
            for _ in 0..3 {
                runtime.step(Duration::from_millis(5)).unwrap();
            }
            assert!(runtime.stats().sockets > 3);
            runtime.reset().unwrap();
            assert_eq!(runtime.stats().sockets, 0);
            assert_eq!(runtime.engine().connections().used(), 0);
            assert_eq!(runtime.engine().timers().next_deadline(), None);
        }
        (descriptors(), resident_memory())
    };
    let (descriptors_before, before) = reloads(50);
    let (descriptors_after, after) = reloads(1000);
    assert_eq!(descriptors_after, descriptors_before);
    assert!(
        after < before + 1024 * 1024,
        "grew from {before} to {after} bytes"
    );
}

fn resident_memory() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
