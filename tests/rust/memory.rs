//! What happens when the VM has no memory left: the script that asked for more fails alone, and nobody waits in vain.

mod after_a_wait;

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use lute_net::{Error, Limits, Runtime};
use mlua::prelude::LuaFunction;

use crate::{
    runtime::noting_in,
    support::{PATIENCE, get_once},
    websocket::raw,
};

fn limited(memory: usize) -> lute_net::Builder {
    Runtime::builder().limits(Limits {
        memory: Some(memory),
        ..Limits::default()
    })
}

/// One more step of a runtime whose VM may fail.
fn step(runtime: &Runtime) {
    match runtime.step(Duration::from_millis(5)) {
        Ok(_) | Err(Error::Vm(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Bytes that the VM has when `source` is loaded.
fn memory_of(source: &str) -> usize {
    let (runtime, _) = noting_in(Runtime::builder(), source);
    runtime.lua().gc_collect().unwrap();
    runtime.stats().memory
}

/// What a script does that uses everything a little.
const EVERYTHING: &str = r#"
local note = require("@test/note") :: any
local task, time = require("@lute/task"), require("@lute/time")
local client, server = require("@lute/net/client"), require("@lute/net/server")
local running = server.serve({ port = 0, handler = function(request)
	task.wait(0.001)
	return { headers = { ["X-Path"] = request.path }, body = string.rep(request.query.a or "", 100) .. request.headers.host }
end })
local streaming = server.serve({ port = 0, handler = function()
	local left = 3
	return { body = function()
		task.wait()
		left -= 1
		return if left >= 0 then string.rep("piece", 50) else nil
	end }
end })
local kept = {}
for index = 1, 20 do
	task.spawn(function()
		local first = client.request(`127.0.0.1:{running.port}/path?a={index}`, { timeout = 5 })
		local second = client.request(`127.0.0.1:{streaming.port}/`, { timeout = 5 })
		kept[#kept + 1] = first.body .. second.body .. tostring(time.now():elapsed())
		task.defer(function() kept[#kept + 1] = { index, tostring(index) } end)
	end)
end
task.delay(0.05, function()
	running.close()
	streaming.close()
	note("done")
end)
"#;

#[test]
fn whatever_has_no_memory_left_is_an_error_and_the_host_goes_on() {
    let mut finished = 0;
    // Wherever memory ends: while modules load, while requests run, at last nowhere.
    let plenty = (3..13).map(|step| step << 20);
    for extra in (0..130).map(|step| step * 16 * 1024).chain(plenty) {
        let built = limited(BARE_VM + extra).on_error(|_| {}).build();
        let Ok(runtime) = built else { continue };
        if runtime
            .load_source("everything.luau", &without_notes(), &[])
            .is_err()
        {
            continue;
        }
        let ended = std::time::Instant::now() + Duration::from_millis(80);
        while std::time::Instant::now() < ended {
            match runtime.step(Duration::from_millis(5)) {
                Ok(status) if !status.busy => break,
                Ok(_) | Err(lute_net::Error::Vm(_)) => {}
                Err(other) => panic!("with {extra} bytes more: {other}"),
            }
        }
        finished += u32::from(runtime.uncaught_errors() == 0);
        // With its limit gone the VM is as good as ever.
        runtime.lua().set_memory_limit(0).unwrap();
        let sum: u32 = runtime.lua().load("return 1 + 2").eval().unwrap();
        assert_eq!(sum, 3);
    }
    assert!(finished > 5, "only {finished} had enough memory");
}

/// Less than a VM with the modules has.
const BARE_VM: usize = 256 * 1024;

fn without_notes() -> String {
    EVERYTHING
        .replace(
            "local note = require(\"@test/note\") :: any",
            "local note = print",
        )
        .replace("note(\"done\")", "")
}

#[test]
fn a_script_that_fills_the_memory_fails_alone() {
    let (runtime, notes) = noting_in(
        limited(8 << 20),
        r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local greedy = task.spawn(function()
	local hoard = {}
	while true do
		hoard[#hoard + 1] = string.rep("x", 10000) .. #hoard
		if #hoard % 50 == 0 then task.wait() end
	end
end)
local fine, problem = pcall(string.rep, "x", 1e8)
note(`{fine} {problem}`)
while coroutine.status(greedy) ~= "dead" do task.wait() end
for turn = 1, 200 do task.wait() ; local garbage = string.rep("y", 100000) .. turn end
note("the other goes on")
"#,
    );
    runtime.run().unwrap();
    let notes = notes.take();
    assert_eq!(notes[0], "false not enough memory");
    assert!(
        notes.contains(&"error: not enough memory".to_owned()),
        "{notes:?}"
    );
    assert_eq!(notes.last().unwrap(), "the other goes on");
}

#[test]
fn the_json_text_of_a_value_is_no_longer_than_the_memory() {
    let (runtime, notes) = noting_in(
        limited(4 << 20),
        r#"
local note, json = require("@test/note") :: any, require("@std/json")
local function try(value, pretty)
	note((select(2, pcall(json.serialize, value, pretty))))
end
local list, object = {}, {}
for _ = 1, 60 do
	list, object = { list, list }, { a = object, b = object }
end
try(list)
try(object, true)
try({ string.rep("\0", 1e6) })
"#,
    );
    runtime.run().unwrap();
    let refused = "cannot serialize value: its text is longer than 4194304 bytes";
    assert_eq!(notes.take(), [refused; 3]);
}

#[test]
fn a_handler_that_has_no_memory_left_is_a_500_and_the_next_request_is_served() {
    let (runtime, notes) = noting_in(
        limited(8 << 20),
        r#"
local note = require("@test/note") :: any
local client = require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	local hoard = {}
	while request.path ~= "/small" do
		hoard[#hoard + 1] = string.rep("x", 10000) .. #hoard
	end
	return "served"
end })
for _, path in { "/small", "/big", "/small" } do
	local fine, response = pcall(client.request, `127.0.0.1:{running.port}{path}`, { timeout = 20 })
	note(if fine then `{path} {response.status}` else `{path} {response}`)
end
running.close()
"#,
    );
    runtime.run().unwrap();
    let notes = notes.take();
    let answers: Vec<&String> = notes.iter().filter(|note| note.starts_with('/')).collect();
    assert_eq!(answers, ["/small 200", "/big 500", "/small 200"]);
    assert_eq!(notes.len(), 4, "{notes:?}");
}

/// The port that a script has noted first, if it had the memory to load.
fn noted_port(notes: &RefCell<Vec<String>>) -> Option<u16> {
    notes.borrow().first()?.parse().ok()
}

/// Asks for `path` on a connection that ends afterwards.
fn ask(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(get_once(path).as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Whether the server has closed the connection.
fn has_ended(stream: &mut TcpStream) -> bool {
    has_ended_after(stream, &mut Vec::new())
}

/// As [`has_ended`]; `received` gets what came until then.
fn has_ended_after(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    match stream.read_to_end(received) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
