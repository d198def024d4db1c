//! RFC 6455 §4.1: what a client asks for, and which answers it takes; and what it does with a server that breaks the rules.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use async_tungstenite::tungstenite::handshake::derive_accept_key;

use super::raw::{frame, read_head};
use crate::support::{PATIENCE, Script};

/// The answer to a handshake with this head.
pub fn accepting(request: &str) -> String {
    let key = request
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// What a script prints that opens a WebSocket to a server which answers its request with `answer` and then what `after` says.
fn with_server(
    answer: impl Fn(&str) -> String + Send + 'static,
    after: impl AsRef<[u8]> + Send + 'static,
) -> (String, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = read_head(&mut stream);
        stream.write_all(answer(&request).as_bytes()).unwrap();
        stream.write_all(after.as_ref()).unwrap();
        let mut rest = Vec::new();
        // A client that refuses resets the connection.
        let _ = stream.read_to_end(&mut rest);
        (request, rest)
    });
    let script = Script::new(
        r#"
local client = require("@lute/net/client")
local fine, ws = pcall(client.websocket, ..., {
	protocols = { "chat", "echo" },
	timeout = 10,
	onmessage = function(message) print("message", message) end,
	onerror = function(problem) print("error", problem) end,
	onclose = function(code, reason) print("close", code, reason) end,
})
print(fine, if fine then ws.protocol else ws)
"#,
    );
    let output = script.run(&[&format!("ws://127.0.0.1:{port}/chat?a=b#c")]);
    let (_, rest) = serving.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text.replace(&port.to_string(), "PORT"), rest)
}

/// The code of the close frame that a client has sent, masked as it must be.
fn close_code(bytes: &[u8]) -> u16 {
    assert_eq!(bytes[0], 0x88, "{bytes:?}");
    assert_eq!(bytes[1] & 0x80, 0x80, "a client's frame is masked");
    u16::from_be_bytes([bytes[6] ^ bytes[2], bytes[7] ^ bytes[3]])
}

#[test]
fn the_clients_handshake_is_as_rfc_6455_section_4_1_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            heads.push(read_head(&mut stream));
        }
        heads
    });
    let script = Script::new(
        r#"
local client = require("@lute/net/client")
for _ = 1, 2 do pcall(client.websocket, ..., { headers = { Origin = "https://a.example", Connection = "mine" } }) end
"#,
    );
    script.run(&[&format!("ws://user:pass@127.0.0.1:{port}/chat?a=b#c")]);
    let heads = serving.join().unwrap();
    let head = &heads[0];
    assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{head}");
    for field in [
        format!("\r\nHost: 127.0.0.1:{port}\r\n"),
        "\r\nUpgrade: websocket\r\n".to_owned(),
        "\r\nConnection: Upgrade\r\n".to_owned(),
        "\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        "\r\nOrigin: https://a.example\r\n".to_owned(),
        "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n".to_owned(),
    ] {
        assert!(head.contains(&field), "{field} in {head}");
    }
    let key = |head: &str| {
        let line = head
            .lines()
            .find(|line| line.starts_with("Sec-WebSocket-Key: "));
        line.unwrap().to_owned()
    };
    assert_ne!(key(&heads[0]), key(&heads[1]), "each has its own key");
}

#[test]
fn frames_that_come_with_the_answer_are_not_lost() {
    let (output, _) = with_server(accepting, b"\x81\x05early\x88\x02\x03\xe8");
    assert_eq!(output, "true\t\nmessage\tearly\nclose\t1000\t\n");
}

#[test]
fn an_interim_response_before_the_101_is_no_answer() {
    let (output, _) = with_server(
        |request| format!("HTTP/1.1 102 Processing\r\n\r\n{}", accepting(request)),
        b"\x88\x00",
    );
    assert_eq!(output, "true\t\nclose\t1005\t\n");
}

#[test]
fn interim_responses_without_end_are_refused() {
    let (output, _) = with_server(
        |request| {
            let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(101);
            format!("{interim}{}", accepting(request))
        },
        b"",
    );
    assert_eq!(
        output,
        "false\twebsocket connect failed: 127.0.0.1:PORT did not shake hands: it sent too many interim responses\n"
    );
}

#[test]
fn answers_that_are_no_handshake_are_refused_each_with_its_reason() {
    type Change = fn(String) -> String;
    let changes: [(&str, Change); 8] = [
        ("there is no 'Upgrade: websocket'", |head| {
            head.replace("Upgrade: websocket\r\n", "")
        }),
        ("there is no 'Upgrade: websocket'", |head| {
            head.replace("Upgrade: websocket", "Upgrade: h2c")
        }),
        ("there is no 'Connection: Upgrade'", |head| {
            head.replace("Connection: Upgrade\r\n", "")
        }),
        ("its Sec-WebSocket-Accept is not that of the key", |head| {
            head.replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x")
        }),
        ("its Sec-WebSocket-Accept is not that of the key", |head| {
            head.replace("Sec-WebSocket-Accept: ", "X: ")
        }),
        ("it wants an extension that was not offered", |head| {
            head.replace(
                "\r\n\r\n",
                "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            )
        }),
        ("it speaks a subprotocol that was not offered", |head| {
            head.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: other\r\n\r\n")
        }),
        ("it speaks a subprotocol that was not offered", |head| {
            head.replace(
                "\r\n\r\n",
                "\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: echo\r\n\r\n",
            )
        }),
    ];
    for (problem, change) in changes {
        let (output, _) = with_server(move |request| change(accepting(request)), b"");
        let expected =
            format!("websocket connect failed: 127.0.0.1:PORT did not shake hands: {problem}\n");
        assert!(output.ends_with(&expected), "{output}");
    }
}

#[test]
fn other_answers_are_refused_by_their_status_and_garbage_by_what_is_wrong() {
    let (output, _) = with_server(
        |_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
        b"",
    );
    assert!(
        output.ends_with("websocket connect failed: 127.0.0.1:PORT answered 403 Forbidden\n"),
        "{output}"
    );
    let (output, _) = with_server(|_| "SSH-2.0-OpenSSH\r\n".to_owned(), b"");
    assert!(
        output.contains("websocket connect failed: 127.0.0.1:PORT sent no HTTP response: "),
        "{output}"
    );
}

#[test]
fn a_masked_frame_from_a_server_ends_the_connection_as_of_rfc_6455_section_5_1() {
    let (output, sent) = with_server(accepting, frame(0x81, b"hi"));
    assert_eq!(close_code(&sent), 1002);
    assert!(output.contains("\nerror\t"), "{output}");
    assert!(output.contains("\nclose\t1002\t"), "{output}");
}

#[test]
fn a_server_that_vanishes_is_an_error_and_1006() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_head(&mut stream);
        stream.write_all(accepting(&request).as_bytes()).unwrap();
        stream.write_all(b"\x81\x05hal").unwrap();
    });
    let script = Script::new(
        r#"
local client = require("@lute/net/client")
client.websocket(..., {
	onerror = function(problem) print("error", problem) end,
	onclose = function(code, reason) print("close", code, reason) end,
})
"#,
    );
    let output = script.run(&[&format!("ws://127.0.0.1:{port}/")]);
    serving.join().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "error\tthe connection ended without a close frame\nclose\t1006\t\n"
    );
}
