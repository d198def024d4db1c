//! No memory left when a coroutine that has waited goes on.

use super::*;

/// A server whose handlers wait, and then have no memory: `/full` fills it up with what is garbage afterwards, `/held` while
/// others hold it. Its first note is the port.
const STARVING: &str = r#"
local note = require("@test/note") :: any
local server, task = require("@lute/net/server"), require("@lute/task")
local hoard: any = nil

local function fill(size)
	local own: any = nil
	while true do
		own = { own, string.rep("x", size) .. tostring(own) }
		hoard = own
	end
end

local running
running = server.serve({ port = 0, handler = function(request)
	local path, size = request.path, tonumber(request.query.size) or 1
	if path == "/full" then
		task.wait(0.001)
		fill(size)
	elseif path == "/held" then
		task.wait(0.002)
		return { headers = { ["X-Path"] = path }, body = string.rep("body", 100) }
	elseif path == "/caught" then
		task.wait(0.001)
		pcall(fill, size)
		return { headers = { ["X-Path"] = path }, body = string.rep("body", 100) }
	elseif path == "/streamed" then
		local left = 3
		return { body = function()
			task.wait(0.001)
			left -= 1
			return if left >= 0 then string.rep("piece", 100) else nil
		end }
	elseif path == "/file" then
		task.wait(0.001)
		return { file = "Cargo.toml" }
	end
	return "at once"
end })
note(tostring(running.port))
"#;

const PATHS: [&str; 5] = ["/held", "/full", "/caught", "/streamed", "/file"];

#[test]
fn a_handler_that_has_no_memory_left_after_a_wait_still_ends_its_exchange() {
    let bare = memory_of(STARVING);
    let mut served = 0;
    for round in 0..100 {
        let (runtime, notes) = noting_in(limited(bare + 110_000 + round * 709), STARVING);
        let Some(port) = noted_port(&notes) else {
            continue;
        };
        served += 1;
        let size = 1 << (round % 12);
        let mut clients: Vec<_> = PATHS
            .iter()
            .map(|path| (path, ask(port, &format!("{path}?size={size}"))))
            .collect();
        let begun = Instant::now();
        while !clients.is_empty() {
            step(&runtime);
            clients.retain_mut(|(_, stream)| !has_ended(stream));
            let waiting: Vec<_> = clients.iter().map(|(path, _)| path).collect();
            let notes = notes.borrow();
            assert!(
                begun.elapsed() < PATIENCE,
                "round {round}: {waiting:?} wait in vain: {notes:?}"
            );
        }
    }
    assert!(served > 50, "only {served} could load");
}

#[test]
fn a_handler_that_fails_where_another_script_resumes_it_is_answered_for() {
    let source = r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local parked: thread? = nil
local running = require("@lute/net/server").serve({ port = 0, handler = function()
	parked = coroutine.running()
	coroutine.yield()
	local own: any = nil
	while true do
		own = { own }
		hoard = own
	end
end })
note(tostring(running.port))
while not parked do task.wait(0.001) end
pcall(task.spawn, parked)
hoard = nil
note("resumed")
"#;
    let bare = memory_of(source);
    let mut resumed = 0;
    for round in 0..80 {
        let (runtime, notes) = noting_in(limited(bare + 110_000 + round * 709), source);
        let Some(port) = noted_port(&notes) else {
            continue;
        };
        let mut client = ask(port, "/");
        let begun = Instant::now();
        while !has_ended(&mut client) {
            step(&runtime);
            assert!(begun.elapsed() < PATIENCE, "{round}: {:?}", notes.borrow());
        }
        resumed += u32::from(notes.borrow().iter().any(|note| note == "resumed"));
    }
    assert!(resumed > 20, "only {resumed} came that far");
}

#[test]
fn a_call_of_the_hosts_that_has_no_memory_left_after_a_wait_returns() {
    let functions = r#"
local task, client = require("@lute/task"), require("@lute/net/client")
local serving = require("@lute/net/server").serve({ port = 0, handler = function()
	return string.rep("x", 20000)
end })
local function fill()
	local own: any = nil
	while true do
		own = { own }
		hoard = own
	end
end
return function()
	task.wait(0.001)
	fill()
end, function()
	local body = client.request(`127.0.0.1:{serving.port}`).body
	return #body
end
"#;
    let bare = memory_of(functions);
    for round in 0..50 {
        let (runtime, _) = noting_in(limited(bare + 60_000 + round * 709), "");
        let made = runtime.lua().load(functions).set_name("=made").eval();
        let Ok((fill, ask)) = made as mlua::Result<(LuaFunction, LuaFunction)> else {
            continue;
        };
        let mut calls = [
            runtime.call::<f64>(&ask, ()),
            runtime.call::<f64>(&fill, ()),
            runtime.call::<f64>(&ask, ()),
        ];
        let begun = Instant::now();
        let mut returned = 0;
        while returned < calls.len() {
            step(&runtime);
            returned += calls.iter_mut().filter_map(|call| call.take()).count();
            assert!(
                begun.elapsed() < PATIENCE,
                "round {round}: {returned} returned"
            );
        }
    }
}

#[test]
fn callbacks_that_have_no_memory_left_after_a_wait_do_not_stop_their_websocket() {
    let source = r#"
local note = require("@test/note") :: any
local task = require("@lute/task")
local running = require("@lute/net/server").serve({ port = 0, websocket = {
	message = function(ws, message)
		task.wait(0.001)
		local own: any = nil
		while message == "full" do
			own = { own }
			hoard = own
		end
		ws:send(string.rep("x", 100))
	end,
} })
note(tostring(running.port))
"#;
    let bare = memory_of(source);
    let mut sent = raw::HANDSHAKE.as_bytes().to_vec();
    // More than may be unfinished before reading pauses.
    for index in 0..100 {
        let message: &[u8] = if index % 3 == 0 { b"full" } else { b"held" };
        sent.extend(raw::frame(raw::TEXT, message));
    }
    sent.extend(raw::frame(raw::PING, b""));
    for round in 0..60 {
        let (runtime, notes) = noting_in(limited(bare + 110_000 + round * 709), source);
        let Some(port) = noted_port(&notes) else {
            continue;
        };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&sent).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut received = Vec::new();
        let begun = Instant::now();
        // Messages are of other bytes.
        let is_over = |byte: &u8| [raw::PONG, raw::CLOSE].contains(byte);
        while !has_ended_after(&mut stream, &mut received) && !received.iter().any(is_over) {
            step(&runtime);
            assert!(begun.elapsed() < PATIENCE, "{round}: {:?}", notes.borrow());
        }
    }
}
