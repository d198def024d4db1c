//! RFC 6455 §4.2: which requests become a WebSocket.

use std::io::Write;

use super::{
    echo,
    raw::{ACCEPT, HANDSHAKE, RawWebSocket, TEXT, frame, read_head},
    server,
};
use crate::support::{Server, read_to_end};

/// The status line and fields that a handshake is answered with.
fn answer(server: &Server, request: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    read_head(&mut stream)
}

fn status(server: &Server, request: &str) -> u16 {
    answer(server, request)
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_handshake_of_rfc_6455_section_1_3_is_answered_as_it_says() {
    let head = answer(&echo(), HANDSHAKE);
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    for field in [ACCEPT, "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"] {
        assert!(head.contains(field), "{head}");
    }
    assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
}

#[test]
fn a_handshake_may_be_written_in_any_case_and_with_other_options() {
    let server = echo();
    for request in [
        HANDSHAKE.replace("Upgrade: websocket", "upgrade: WebSocket"),
        HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive, upgrade"),
        HANDSHAKE.replace("Upgrade: websocket", "Upgrade: h2c, websocket"),
        HANDSHAKE.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        ),
    ] {
        assert_eq!(status(&server, &request), 101, "{request}");
    }
}

#[test]
fn what_is_no_handshake_of_version_13_gets_426_and_the_version_from_a_server_without_a_handler() {
    let server = echo();
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        HANDSHAKE.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        HANDSHAKE.replace("Sec-WebSocket-Version: 13\r\n", ""),
        HANDSHAKE.replace(
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13",
        ),
        HANDSHAKE.replace("GET", "POST"),
        HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"),
        HANDSHAKE.replace("Upgrade: websocket", "Upgrade: websockets"),
        HANDSHAKE.replace("Connection: Upgrade\r\n", ""),
        HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive"),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", ""),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub2*jZQ=="),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQZZ=="),
        HANDSHAKE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        HANDSHAKE.replace(
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version",
        ),
    ] {
        let head = answer(&server, &request);
        assert!(head.starts_with("HTTP/1.1 426 "), "{request}{head}");
        assert!(head.contains("Sec-WebSocket-Version: 13\r\n"), "{head}");
        assert!(head.contains("Upgrade: websocket\r\n"), "{head}");
        assert!(
            head.to_lowercase().contains("connection: upgrade") || head.contains("upgrade, close"),
            "{head}"
        );
    }
}

#[test]
fn a_handshake_without_a_host_or_with_two_is_no_valid_request() {
    let server = echo();
    let host = "Host: server.example.com\r\n";
    assert_eq!(status(&server, &HANDSHAKE.replace(host, "")), 400);
    assert_eq!(
        status(&server, &HANDSHAKE.replace(host, &host.repeat(2))),
        400
    );
}

#[test]
fn frames_that_come_with_the_handshake_are_not_lost_however_it_is_cut() {
    let server = echo();
    let mut bytes = HANDSHAKE.as_bytes().to_vec();
    bytes.extend(frame(TEXT, b"early"));
    bytes.extend(frame(TEXT, b"bird"));
    for cut in [
        10,
        HANDSHAKE.len() - 1,
        HANDSHAKE.len(),
        HANDSHAKE.len() + 3,
        bytes.len(),
    ] {
        let mut stream = server.connect();
        let (first, second) = bytes.split_at(cut);
        stream.write_all(first).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
        stream.write_all(second).unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
        let mut websocket = RawWebSocket { stream };
        assert_eq!(
            websocket.receive(),
            (TEXT, b"early".to_vec()),
            "cut at {cut}"
        );
        assert_eq!(websocket.receive(), (TEXT, b"bird".to_vec()));
    }
}

#[test]
fn requests_before_the_handshake_on_the_same_connection_are_answered_first() {
    let server = echo();
    let mut stream = server.connect();
    let pipelined = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{HANDSHAKE}");
    stream.write_all(pipelined.as_bytes()).unwrap();
    let (head, _) = crate::support::read_response(&mut stream);
    assert!(head.starts_with("HTTP/1.1 426"), "{head}");
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
}

#[test]
fn the_handler_may_wait_before_and_after_the_upgrade_and_it_counts_once() {
    let server = Server::start(
        r#"
local server = require("@lute/net/server")
local task = require("@lute/task")
local running = server.serve({ port = 0, handler = function(request, running)
	if request.path == "/plain" then return "plain" end
	task.wait(0.01)
	local first = running:upgrade(request, { data = "kept", headers = { ["X-One"] = "1", ["X-Two"] = { "2", "3" } } })
	local second = running.upgrade(request)
	task.wait(0.01)
	print(first, second, running:upgrade(request))
	return nil
end, websocket = { open = function(ws) ws:send(ws.data) end, message = function() end } })
print(running.port)
"#,
    );
    let mut server = server;
    let mut stream = server.connect();
    stream.write_all(HANDSHAKE.as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert!(
        head.contains("X-One: 1\r\nX-Two: 2\r\nX-Two: 3\r\n")
            || head.contains("X-Two: 2\r\nX-Two: 3\r\nX-One: 1\r\n"),
        "{head}"
    );
    assert_eq!(RawWebSocket { stream }.receive(), (TEXT, b"kept".to_vec()));
    assert_eq!(server.next_line(), "true\tfalse\tfalse");
    let plain = server.exchange(b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(plain.ends_with("\r\n\r\nplain"), "{plain}");
}

#[test]
fn a_handler_that_refuses_answers_as_ever_and_one_that_fails_after_the_upgrade_is_reported() {
    let server = Server::start(
        r#"
local server = require("@lute/net/server")
local running = server.serve({ port = 0, handler = function(request, running)
	if request.path == "/no" then return { status = 403, body = tostring(running:upgrade(request) == nil) } end
	running:upgrade(request)
	error("later")
end, websocket = { message = function(ws, message) ws:send(message) end } })
print(running.port)
"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"it works all the same");
    assert_eq!(websocket.receive().1, b"it works all the same");
    let problems = server.stop_and_read_stderr();
    assert!(problems.contains("later"), "{problems}");
}

#[test]
fn upgrade_is_false_for_what_is_no_handshake_and_on_a_server_without_a_websocket_config() {
    let script = |config: &str| {
        format!(
            r#"
local server = require("@lute/net/server")
local running = server.serve({{ port = 0, handler = function(request, running)
	return tostring(running:upgrade(request))
end, {config} }})
print(running.port)
"#
        )
    };
    let without = Server::start(&script(""));
    assert!(status(&without, HANDSHAKE) == 200);
    let with = Server::start(&script("websocket = {}"));
    let mut stream = with.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert!(read_to_end(&mut stream).ends_with("false"));
}

#[test]
fn the_protocol_is_one_that_the_client_offers() {
    let offer = |offered: &str| {
        HANDSHAKE.replace(
            "\r\n\r\n",
            &format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n"),
        )
    };
    let first = echo();
    assert!(answer(&first, &offer("chat, superchat")).contains("Sec-WebSocket-Protocol: chat\r\n"));
    let chosen = Server::start(
        r#"
local server = require("@lute/net/server")
local running = server.serve({ port = 0, handler = function(request, running)
	running:upgrade(request, { protocol = "superchat" })
	return nil
end, websocket = { open = function(ws) print("protocol", ws.protocol) end } })
print(running.port)
"#,
    );
    let mut chosen = chosen;
    let head = answer(&chosen, &offer("chat, superchat"));
    assert!(
        head.contains("Sec-WebSocket-Protocol: superchat\r\n"),
        "{head}"
    );
    assert_eq!(chosen.next_line(), "protocol\tsuperchat");
    assert!(!answer(&chosen, &offer("chat")).contains("Sec-WebSocket-Protocol"));
    assert_eq!(chosen.next_line(), "protocol");
}

#[test]
fn pages_of_other_origins_are_refused_where_the_config_names_the_origins() {
    let server = server(r#"origins = { "self", "https://app.example" }, message = function() end"#);
    let from =
        |origin: &str| HANDSHAKE.replace("\r\n\r\n", &format!("\r\nOrigin: {origin}\r\n\r\n"));
    assert_eq!(status(&server, HANDSHAKE), 101);
    assert_eq!(status(&server, &from("https://app.example")), 101);
    assert_eq!(status(&server, &from("http://server.example.com")), 101);
    assert_eq!(status(&server, &from("https://evil.example")), 403);
    assert_eq!(status(&server, &from("null")), 403);
}
