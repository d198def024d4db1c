//! RFC 6455 §7: every way in which a WebSocket ends, and that the script hears of it once.

use std::{
    io::Write,
    net::Shutdown,
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{
    echo,
    raw::{CLOSE, RawWebSocket, TEXT, frame},
    server,
};
use crate::support::{Server, wait_until};

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[test]
fn the_clients_close_frame_is_answered_with_its_code() {
    let mut server = echo();
    for (payload, answered, told) in [
        (close_payload(1000, "done"), Some(1000), "close\t1000\tdone"),
        (close_payload(3999, ""), Some(3999), "close\t3999\t"),
        (close_payload(4999, "ä"), Some(4999), "close\t4999\tä"),
        // In the registry since RFC 6455: Bad Gateway.
        (close_payload(1014, "x"), Some(1014), "close\t1014\tx"),
        (Vec::new(), None, "close\t1005\t"),
    ] {
        let mut websocket = RawWebSocket::open(&server);
        websocket.send(CLOSE, &payload);
        assert_eq!(websocket.receive_close(), answered);
        assert_eq!(server.next_line(), told.trim_end());
    }
}

#[test]
fn codes_that_may_not_be_sent_are_answered_with_1002() {
    let mut server = echo();
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        let mut websocket = RawWebSocket::open(&server);
        websocket.send(CLOSE, &close_payload(code, "why"));
        assert_eq!(websocket.receive_close(), Some(1002), "{code}");
        let told = format!("close\t1002\ta close frame has the invalid code {code}");
        assert_eq!(server.next_line(), told);
    }
}

#[test]
fn a_close_frame_of_one_byte_or_with_a_text_that_is_not_utf_8_is_an_error() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(CLOSE, b"\x03");
    assert_eq!(websocket.receive_close(), Some(1002));
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(CLOSE, b"\x03\xe8\xff");
    assert_eq!(websocket.receive_close(), Some(1007));
}

#[test]
fn what_was_sent_goes_out_before_the_close_frame_and_nothing_after_it() {
    let mut server = server(
        r#"message = function(ws, message)
	ws:send("first")
	ws:send("second")
	ws:close(4000, "enough")
	print(ws:send("third"), ws:close())
end,
close = function(ws, code, reason) print("close", code, reason, ws:send("fourth")) end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"go");
    assert_eq!(websocket.receive(), (TEXT, b"first".to_vec()));
    assert_eq!(websocket.receive(), (TEXT, b"second".to_vec()));
    assert_eq!(websocket.receive(), (CLOSE, close_payload(4000, "enough")));
    assert_eq!(server.next_line(), "0");
    // What still comes is not handed on; a ping is not answered.
    websocket.send(TEXT, b"too late");
    websocket.send(0x89, b"");
    websocket.send(CLOSE, &close_payload(4000, ""));
    websocket.receive_end();
    assert_eq!(server.next_line(), "close\t4000\tenough\t0");
}

#[test]
fn a_script_closes_with_1000_and_no_other_code_than_may_be_sent() {
    let mut server = server(
        r#"message = function(ws, message)
	for _, code in { 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.5, -1, 1e300 } do
		print(select(2, pcall(ws.close, ws, code)))
	end
	print(pcall(ws.close, ws, 1000, string.rep("x", 124)))
	print(pcall(ws.close, ws, 1000, "\xff"))
	print(pcall(ws.close, ws, "1000"))
	ws:close()
end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"go");
    for code in [
        "0", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "1000.5", "-1",
    ] {
        assert_eq!(
            server.next_line(),
            format!("invalid websocket close code {code}")
        );
    }
    assert!(
        server
            .next_line()
            .starts_with("invalid websocket close code")
    );
    assert_eq!(
        server.next_line(),
        "false\tinvalid argument #2 to 'close' (123 bytes at the most)"
    );
    assert_eq!(
        server.next_line(),
        "false\tinvalid argument #2 to 'close' (the string must be UTF-8)"
    );
    assert_eq!(
        server.next_line(),
        "false\tinvalid argument #1 to 'close' (number expected, got string)"
    );
    assert_eq!(websocket.receive(), (CLOSE, close_payload(1000, "")));
}

#[test]
fn a_lost_connection_is_1006_once_in_every_way_it_can_be_lost() {
    let mut server = echo();
    let before = server.descriptors();
    // Behind a message, so that the WebSocket is known to be open.
    let open = |server: &Server| {
        let mut websocket = RawWebSocket::open(server);
        websocket.send(TEXT, b"here");
        websocket.receive();
        websocket.stream
    };
    drop(open(&server));
    assert_eq!(server.next_line(), "close\t1006");
    open(&server).shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.next_line(), "close\t1006");
    let reset = open(&server);
    SockRef::from(&reset)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(reset);
    assert_eq!(server.next_line(), "close\t1006");
    let mut cut = open(&server);
    cut.write_all(b"\x81\x85half").unwrap();
    drop(cut);
    assert_eq!(server.next_line(), "close\t1006");
    wait_until("nothing is left", || server.descriptors() == before);
}

#[test]
fn a_client_that_never_answers_the_close_frame_is_left_after_a_while_with_the_scripts_own_code() {
    let mut server = server(
        r#"open = function(ws) ws:close(4001, "go") end,
close = function(ws, code, reason) print(code, reason) end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    assert_eq!(websocket.receive(), (CLOSE, close_payload(4001, "go")));
    assert_eq!(server.next_line(), "4001\tgo");
}

#[test]
fn a_silent_client_is_pinged_and_one_that_does_not_answer_is_dropped() {
    let mut server =
        server(r#"idletimeout = 0.6, close = function(ws, code) print("close", code) end"#);
    let mut answers = RawWebSocket::open(&server);
    let mut silent = RawWebSocket::open(&server);
    for _ in 0..4 {
        assert_eq!(answers.receive(), (0x89, Vec::new()));
        answers.send(0x8a, b"");
    }
    assert_eq!(silent.receive(), (0x89, Vec::new()));
    assert_eq!(server.next_line(), "close\t1006");
    silent.receive_end();
    drop(answers);
    assert_eq!(server.next_line(), "close\t1006");
}

#[test]
fn messages_that_nobody_takes_do_not_hold_up_the_end_of_a_websocket_that_was_closed() {
    let mut server = server(
        r#"open = function(ws)
	task.wait(0.3)
	print("closes")
	ws:close(4001, "enough")
end,
close = function(ws, code) print("close", code) end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.raw(&frame(TEXT, b"x").repeat(1000));
    assert_eq!(server.next_line(), "closes");
    let begun = Instant::now();
    assert_eq!(websocket.receive(), (CLOSE, close_payload(4001, "enough")));
    websocket.send(CLOSE, &close_payload(4001, ""));
    websocket.receive_end();
    assert_eq!(server.next_line(), "close\t4001");
    // The other end's close frame has 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_leaves_messages_behind_that_nobody_takes_is_noticed() {
    let mut server =
        server(r#"idletimeout = 0.6, close = function(ws, code) print("close", code) end"#);
    let before = server.descriptors();
    let open = |server: &Server| {
        let mut websocket = RawWebSocket::open(server);
        websocket.raw(&frame(TEXT, b"x").repeat(1000));
        // More than it has read.
        assert_eq!(websocket.receive(), (0x89, Vec::new()));
        websocket.raw(&frame(TEXT, b"x").repeat(1000));
        websocket.stream
    };
    let reset = open(&server);
    SockRef::from(&reset)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(reset);
    assert_eq!(server.next_line(), "close\t1006");
    drop(open(&server));
    assert_eq!(server.next_line(), "close\t1006");
    wait_until("nothing is left", || server.descriptors() == before);
}

#[test]
fn closing_the_server_drops_its_websockets_and_tells_the_script_once_for_each() {
    let server = Server::start(
        r#"
local server = require("@lute/net/server")
local running
local closed = 0
running = server.serve({ port = 0, websocket = {
	message = function(ws) print(running.close(), running.close()) end,
	close = function(ws, code) closed += 1 print("close", closed, code) end,
} })
print(running.port)
"#,
    );
    let mut server = server;
    let mut one = RawWebSocket::open(&server);
    let _two = RawWebSocket::open(&server);
    one.send(TEXT, b"end");
    assert_eq!(server.next_line(), "true\tfalse");
    assert_eq!(server.next_line(), "close\t1\t1006");
    assert_eq!(server.next_line(), "close\t2\t1006");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn a_callback_that_closes_the_server_is_the_last_for_messages_and_can_send_no_more() {
    let mut server = Server::start(
        r#"
local server = require("@lute/net/server")
local running
running = server.serve({ port = 0, websocket = {
	message = function(ws, message) print(message, ws:send("before"), running.close(), ws:send("after")) end,
	close = function(ws, code) print("close", code) end,
} })
print(running.port)
"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.raw(&[frame(TEXT, b"one"), frame(TEXT, b"two")].concat());
    assert_eq!(server.next_line(), "one\t6\ttrue\t0");
    assert_eq!(server.next_line(), "close\t1006");
}

#[test]
fn a_server_that_stops_says_1001_to_its_websockets_and_waits_for_their_end() {
    let server = Server::start(
        r#"
local server = require("@lute/net/server")
local running
running = server.serve({ port = 0, websocket = {
	message = function(ws) print("dropped", running:stop(10)) end,
	close = function(ws, code) print("close", code) end,
} })
print(running.port)
"#,
    );
    let mut server = server;
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"end");
    assert_eq!(websocket.receive(), (CLOSE, close_payload(1001, "")));
    websocket.send(CLOSE, &close_payload(1001, ""));
    websocket.receive_end();
    assert_eq!(server.next_line(), "close\t1001");
    assert_eq!(server.next_line(), "dropped\t0");
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn sigterm_says_1001_and_runs_the_close_callback_before_the_process_ends() {
    let mut server = echo();
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"here");
    websocket.receive();
    server.signal("-TERM");
    assert_eq!(websocket.receive(), (CLOSE, close_payload(1001, "")));
    websocket.send(CLOSE, &close_payload(1001, ""));
    assert_eq!(server.next_line(), "close\t1001");
    assert!(server.child.wait().unwrap().success());
}
