//! What `send` says, queues, topics, and the order and the number of callbacks.

use std::{thread, time::Duration};

use super::{
    raw::{RawWebSocket, TEXT, frame},
    server,
};
use crate::support::wait_until;

#[test]
fn send_returns_the_bytes_taken_and_1_for_an_empty_message() {
    let mut server = server(
        r#"message = function(ws)
	print(ws:send("four"), ws:send(""), ws:send(buffer.create(7)), ws:send(buffer.create(0)))
	print(select(2, pcall(ws.send, ws, 5)))
	print(select(2, pcall(ws.send, ws, "\xff")))
	print(select(2, pcall(ws.send, "x", "y")))
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"go");
    assert_eq!(server.next_line(), "4\t1\t7\t1");
    assert_eq!(
        server.next_line(),
        "invalid argument #1 to 'send' (string or buffer expected, got number)"
    );
    assert_eq!(
        server.next_line(),
        "invalid argument #1 to 'send' (a string must be UTF-8: send other bytes as a buffer)"
    );
    assert_eq!(
        server.next_line(),
        "'send' is a method of a WebSocket: call it as ws:send(…)"
    );
    assert_eq!(websocket.receive(), (TEXT, b"four".to_vec()));
}

#[test]
fn what_a_client_does_not_read_is_queued_then_dropped_and_drain_follows() {
    let mut server = server(
        r#"sendqueue = 4000000, message = function(ws)
	local queued, dropped, piece = 0, 0, string.rep("x", 100000)
	for _ = 1, 200 do
		local sent = ws:send(piece)
		if sent == -1 then queued += 1 elseif sent == 0 then dropped += 1 end
	end
	print(queued > 20, dropped > 20)
end,
drain = function(ws) print("drain", ws:send("dry")) end"#,
    );
    let mut websocket = RawWebSocket::over(server.connect_with_small_buffer());
    websocket.send(TEXT, b"go");
    assert_eq!(server.next_line(), "true\ttrue");
    loop {
        let (_, payload) = websocket.receive();
        if payload == b"dry" {
            break;
        }
        assert_eq!(payload.len(), 100_000);
    }
    assert_eq!(server.next_line(), "drain\t3");
}

#[test]
fn drain_follows_what_was_queued_outside_of_a_callback() {
    let mut server = server(
        r#"open = function(ws)
	require("@lute/task").delay(0.01, function()
		repeat until ws:send(string.rep("x", 10000)) == -1
		print("queued")
	end)
end,
drain = function(ws) print("drain", ws:send("dry")) end"#,
    );
    let mut websocket = RawWebSocket::over(server.connect_with_small_buffer());
    assert_eq!(server.next_line(), "queued");
    while websocket.receive().1 != b"dry" {}
    assert_eq!(server.next_line(), "drain\t3");
}

#[test]
fn callbacks_start_in_the_order_of_the_frames_each_in_a_coroutine_of_its_own() {
    let mut server = server(
        r#"open = function(ws) print("open") task.wait(0.05) print("opened") end,
message = function(ws, message)
	print(message)
	if message == "1" then
		task.wait(0.2)
		print("1 again", coroutine.running() ~= nil)
	elseif message == "2" then
		error("two")
	end
end,
close = function(ws, code) print("close", code) end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    let mut bytes = Vec::new();
    for number in ["1", "2", "3"] {
        bytes.extend(frame(TEXT, number.as_bytes()));
    }
    bytes.extend(frame(0x88, b""));
    websocket.raw(&bytes);
    for line in [
        "open",
        "1",
        "2",
        "3",
        "close\t1005",
        "opened",
        "1 again\ttrue",
    ] {
        assert_eq!(server.next_line(), line);
    }
}

#[test]
fn reading_pauses_while_more_than_64_callbacks_have_not_finished_and_goes_on() {
    let mut server = server(
        r#"message = function(ws, message)
	running.begun = (running.begun or 0) + 1
	if message == "now" then return end
	task.wait(1)
	print("begun", running.begun)
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    let bytes = frame(TEXT, b"wait").repeat(200);
    websocket.raw(&bytes);
    // The first of them to end sees how many had begun by then.
    assert_eq!(server.next_line(), "begun\t65");
    for _ in 1..200 {
        assert!(server.next_line().starts_with("begun"));
    }
    let mut last = RawWebSocket::open(&server);
    last.send(TEXT, b"now");
}

#[test]
fn receive_and_messages_take_what_comes_and_end_with_the_websocket() {
    let mut server = server(
        r#"open = function(ws)
	print("first", ws:receive())
	for message in ws:messages() do
		print(typeof(message), if type(message) == "buffer" then buffer.len(message) else message)
	end
	print("over", ws:receive())
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"one");
    thread::sleep(Duration::from_millis(20));
    let mut bytes = frame(TEXT, b"two");
    bytes.extend(frame(0x82, b"three"));
    bytes.extend(frame(0x88, b""));
    websocket.raw(&bytes);
    for line in ["first\tone", "string\ttwo", "buffer\t5", "over\tnil"] {
        assert_eq!(server.next_line(), line);
    }
    assert_eq!(websocket.receive_close(), None);
}

#[test]
fn cancelled_receives_leave_no_memory_behind() {
    let mut server = server(
        r#"open = function(ws)
	local task = require("@lute/task")
	local function cancelled(rounds)
		for _ = 1, rounds do
			local threads = {}
			for index = 1, 200 do threads[index] = task.spawn(function() ws:receive() end) end
			task.wait()
			for _, thread in threads do task.cancel(thread) end
		end
	end
	cancelled(50)
	print("warm")
	print(ws:receive())
	cancelled(300)
	print("done")
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    assert_eq!(server.next_line(), "warm");
    let before = server.memory();
    websocket.send(TEXT, b"on");
    assert_eq!(server.next_line(), "on");
    assert_eq!(server.next_line(), "done");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
}

#[test]
fn receive_is_refused_beside_a_callback() {
    let mut server = server(
        r#"open = function(ws) print(select(2, pcall(ws.receive, ws))) end, message = function() end"#,
    );
    let _websocket = RawWebSocket::open(&server);
    assert_eq!(
        server.next_line(),
        "'receive' is for a WebSocket without a callback for messages"
    );
}

#[test]
fn what_nobody_receives_stops_the_reading_and_comes_later() {
    let mut server = server(
        r#"open = function(ws)
	task.wait(0.3)
	local count = 0
	while count < 1000 do
		ws:receive()
		count += 1
	end
	print(count)
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.raw(&frame(TEXT, b"x").repeat(1000));
    assert_eq!(server.next_line(), "1000");
}

#[test]
fn topics_reach_all_subscribers_but_the_sender_and_the_server_reaches_all() {
    let mut server = server(
        r#"open = function(ws) print(ws:subscribe("news"), ws:subscribe("news")) end,
message = function(ws, message)
	if message == "leave" then
		print(ws:unsubscribe("news"), ws:unsubscribe("news"))
	elseif message == "all" then
		print(running:publish("news", "to all"), running.publish("nobody", "x"))
	else
		print(ws:publish("news", message))
	end
end"#,
    );
    let mut sockets: Vec<_> = (0..3).map(|_| RawWebSocket::open(&server)).collect();
    for _ in 0..3 {
        assert_eq!(server.next_line(), "true\tfalse");
    }
    sockets[0].send(TEXT, b"hello");
    assert_eq!(server.next_line(), "2");
    assert_eq!(sockets[1].receive(), (TEXT, b"hello".to_vec()));
    assert_eq!(sockets[2].receive(), (TEXT, b"hello".to_vec()));
    sockets[1].send(TEXT, b"leave");
    assert_eq!(server.next_line(), "true\tfalse");
    sockets[1].send(TEXT, b"all");
    assert_eq!(server.next_line(), "2\t0");
    assert_eq!(sockets[0].receive(), (TEXT, b"to all".to_vec()));
    assert_eq!(sockets[2].receive(), (TEXT, b"to all".to_vec()));
    sockets.pop();
    wait_until("the closed one is no subscriber", || {
        sockets[1].send(TEXT, b"all");
        server.next_line() == "1\t0"
    });
}
