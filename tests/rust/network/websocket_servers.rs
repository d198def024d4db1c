//! Servers that do what they should not to the WebSockets of a script: each of those ends once, and nothing is left behind.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::{
    servers::{TIMED_OUT, pour, read_all, reset, server},
    subject::{CONVERSED, HASTE, Layer, Subject, survives},
};
use crate::{
    support::{PATIENCE, Script, Server},
    websocket::{
        opening::accepting,
        raw::{CLOSE, PING, TEXT, frame, read_head},
    },
};

/// What such a server's WebSocket comes to: an error with `why` in it.
fn ended(subject: &Subject, harm: fn(TcpStream), why: &str) {
    let port = server(harm);
    let patience = if HASTY.contains(&why) {
        HASTE
    } else {
        PATIENCE
    };
    let outcome = subject.conversed(port, patience, "");
    assert!(outcome.starts_with("error: "), "{outcome}");
    assert!(outcome.contains(why), "{outcome}, not {why}");
}

/// What is said of a server that says nothing.
const SILENT: &str = "1006  after 1 end: nothing came for too long";
const HASTY: [&str; 2] = [TIMED_OUT, SILENT];

const FAILED: &str = "websocket connect failed: ";
const LOST: &str = "1006  after 1 end: the connection ";

/// Agrees to the WebSocket that is asked for.
fn opened(mut client: TcpStream) -> TcpStream {
    let request = read_head(&mut client);
    client.write_all(accepting(&request).as_bytes()).unwrap();
    client
}

/// As [`opened`]; writes `bytes`, ends its side, and reads to the end.
fn opened_saying(client: TcpStream, bytes: &[u8]) {
    let mut client = opened(client);
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Write);
    read_all(client);
}

/// A server's frame.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_server_that_leaves_in_a_websockets_handshake_is_an_error() {
    fn begin(mut client: TcpStream) {
        read_head(&mut client);
        let _ = client.write_all(b"HTTP/1.1 101 Switching");
    }
    survives(Layer::WebSocketClient, |subject| {
        ended(subject, drop, FAILED);
        ended(subject, begin, FAILED);
        ended(subject, reset, FAILED);
    });
}

#[test]
fn a_server_that_never_answers_a_websockets_handshake_is_an_error_after_the_timeout() {
    survives(Layer::WebSocketClient, |subject| {
        ended(subject, read_all, TIMED_OUT);
    });
}

#[test]
fn an_answer_without_end_to_a_websockets_handshake_is_an_error() {
    survives(Layer::WebSocketClient, |subject| {
        let fields = |client| pour(client, b"HTTP/1.1 101 Switching\r\n", b"X: x\r\n");
        ended(subject, fields, FAILED);
        let interim = |client| pour(client, b"", b"HTTP/1.1 102 Processing\r\n\r\n");
        ended(subject, interim, FAILED);
    });
}

#[test]
fn a_server_that_leaves_within_a_frame_is_1006() {
    survives(Layer::WebSocketClient, |subject| {
        ended(subject, |client| drop(opened(client)), LOST);
        ended(subject, |client| reset(opened(client)), LOST);
        ended(
            subject,
            |client| opened_saying(client, b"\x81\x05hal"),
            LOST,
        );
        ended(subject, |client| opened_saying(client, b"\x81"), LOST);
        // It reads on, but nobody answers any more.
        ended(subject, |client| opened_saying(client, b""), LOST);
    });
}

#[test]
fn a_server_that_falls_silent_is_pinged_and_then_1006() {
    survives(Layer::WebSocketClient, |subject| {
        ended(subject, |client| read_all(opened(client)), SILENT);
    });
}

#[test]
fn a_server_that_reads_nothing_of_a_websocket_is_1006() {
    survives(Layer::WebSocketClient, |subject| {
        let port = server(|client| {
            let client = opened(client);
            thread::sleep(Duration::from_secs(2));
            drop(client);
        });
        let outcome = subject.conversed(port, HASTE, "flood=");
        assert!(outcome.contains(SILENT), "{outcome}");
    });
}

#[test]
fn what_is_no_frame_of_a_server_ends_a_websocket_with_1002() {
    const BROKEN: &str = "error: 1002 ";
    survives(Layer::WebSocketClient, |subject| {
        // A frame that is broken is read to its end first.
        let http = |client| opened_saying(client, &b"HTTP/1.1 400 Bad Request\r\n".repeat(4));
        ended(subject, http, BROKEN);
        ended(
            subject,
            |client| opened_saying(client, &[0xff; 100]),
            BROKEN,
        );
        let masked = |client| opened_saying(client, &frame(TEXT, b"one"));
        ended(subject, masked, BROKEN);
        let compressed = |client| opened_saying(client, &plain(TEXT | 0x40, b"one"));
        ended(subject, compressed, BROKEN);
        let code = |client| opened_saying(client, &plain(CLOSE, &1005_u16.to_be_bytes()));
        ended(subject, code, BROKEN);
    });
}

#[test]
fn a_message_without_end_ends_a_websocket_with_1009_at_its_limit() {
    const TOO_LARGE: &str = "error: 1009 ";
    survives(Layer::WebSocketClient, |subject| {
        let fragments = |client| {
            let more = plain(0x00, &[b'x'; 1000]);
            pour(opened(client), &plain(0x01, b""), &more);
        };
        ended(subject, fragments, TOO_LARGE);
        let declared = |client| {
            let start = b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
            pour(opened(client), start, &[b'x'; 1000]);
        };
        ended(subject, declared, TOO_LARGE);
    });
}

#[test]
fn floods_of_a_server_that_reads_nothing_fill_no_memory() {
    fn flood(client: TcpStream, start: &[u8], more: &[u8]) {
        let mut client = opened(client);
        let _ = client.write_all(start);
        let many = more.repeat(1000);
        for _ in 0..100 {
            let _ = client.write_all(&many);
        }
    }
    fn pings(client: TcpStream) {
        flood(client, b"", &plain(PING, &[b'p'; 125]));
    }
    fn empty_fragments(client: TcpStream) {
        flood(client, &plain(0x01, b""), &plain(0x00, b""));
    }
    survives(Layer::WebSocketClient, |subject| {
        for harm in [pings, empty_fragments] {
            ended(subject, harm, LOST);
            let before = subject.resident();
            ended(subject, harm, LOST);
            let grown = subject.resident().saturating_sub(before);
            assert!(grown < 4 << 20, "{grown} bytes");
        }
    });
}

#[test]
fn a_websocket_takes_frames_that_come_with_the_answer_and_the_servers_end() {
    survives(Layer::WebSocketClient, |subject| {
        let port = server(|mut client| {
            let request = read_head(&mut client);
            let bytes = [
                accepting(&request).as_bytes(),
                &plain(TEXT, b"one"),
                &plain(TEXT, b"two"),
                &plain(CLOSE, b"\x0f\xa0end"),
            ]
            .concat();
            client.write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            read_all(client);
        });
        assert_eq!(subject.conversed(port, PATIENCE, ""), CONVERSED);
    });
}

/// Runs `script`, which is told the port of a server that does `serve` to its one client.
fn with_server(serve: fn(TcpStream), script: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(client);
    });
    // It ends when nothing is left.
    let output = Script::new(script).run(&[&url]);
    serving.join().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_server_that_never_answers_the_close_frame_is_left_after_a_while() {
    let output = with_server(
        |client| read_all(opened(client)),
        r#"
local client = require("@lute/net/client")
local ws = client.websocket(..., {
	onerror = function(problem) print("error", problem) end,
	onclose = function(code, reason) print("close", code, reason) end,
})
ws:close(4001, "go")
"#,
    );
    assert_eq!(output, "close\t4001\tgo\n");
}

#[test]
fn a_scripts_reading_pauses_while_more_than_64_callbacks_have_not_finished_and_goes_on() {
    let output = with_server(
        |client| {
            let mut frames = plain(TEXT, b"wait").repeat(200);
            frames.extend(plain(CLOSE, b""));
            opened_saying(client, &frames);
        },
        r#"
local client, task = require("@lute/net/client"), require("@lute/task")
local begun, first = 0, 0
client.websocket(..., {
	onmessage = function()
		begun += 1
		task.wait(0.5)
		-- The first of them to end sees how many had begun by then.
		if first == 0 then first = begun end
	end,
	onclose = function(code) print(first, begun, code) end,
})
"#,
    );
    assert_eq!(output, "65\t200\t1005\n");
}

#[test]
fn sigterm_says_1001_to_the_servers_of_a_scripts_websockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Its first line is the port of the other end.
    let mut script = Server::start(&format!(
        r#"
local client = require("@lute/net/client")
print({port})
client.websocket("ws://127.0.0.1:{port}/", {{
	onmessage = function(message) print(message) end,
	onclose = function(code, reason) print("close", code, reason) end,
}})
"#
    ));
    let (client, _) = listener.accept().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = opened(client);
    client.write_all(&plain(TEXT, b"here")).unwrap();
    assert_eq!(script.next_line(), "here");
    script.signal("-TERM");
    let mut last = [0; 8];
    client.read_exact(&mut last).unwrap();
    assert_eq!(last[..2], [CLOSE, 0x82], "a masked close frame with a code");
    assert_eq!(
        [last[6] ^ last[2], last[7] ^ last[3]],
        1001_u16.to_be_bytes()
    );
    client.write_all(&plain(CLOSE, b"\x03\xe9")).unwrap();
    drop(client);
    assert!(script.next_line().starts_with("close\t100"));
    assert!(script.child.wait().unwrap().success());
}
