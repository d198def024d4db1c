//! §9: connections.

use std::{
    io::{Read, Write},
    net::Shutdown,
};

use super::{served, served_last, server};
use crate::support::{Server, read_response, read_to_end};

#[test]
fn section_9_3_http_1_1_connections_persist_without_being_asked_to() {
    let server = server();
    for lines in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: x, keep-alive\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(served(&server, request), "GET / a []");
    }
}

#[test]
fn section_9_3_close_ends_the_connection_after_the_answer() {
    let server = server();
    for lines in [
        "Connection: close\r\n",
        "connection: CLOSE\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: keep-alive\r\nConnection: x,close\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(served_last(&server, request), "GET / a []");
    }
}

#[test]
fn section_9_3_http_1_0_connections_persist_when_the_client_asks_for_it() {
    let server = server();
    assert_eq!(served_last(&server, "GET / HTTP/1.0\r\n\r\n"), "GET / - []");
    let request = "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n";
    assert_eq!(served_last(&server, request), "GET / - []");
    let mut stream = server.connect();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            .unwrap();
        let (head, body) = read_response(&mut stream);
        assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
        assert_eq!(body, "GET / - []");
    }
}

#[test]
fn section_9_3_an_answer_without_reading_the_whole_body_never_makes_a_request_of_it() {
    let server = Server::with_options("streambody = true,", "return request.path");
    for size in [10_usize, 200_000, 3_000_000] {
        let mut stream = server.connect();
        let inside = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let body = inside.repeat(size / inside.len() + 1);
        let head = format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The server may end the connection before all is sent.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(!answer.contains("smuggled"), "{size}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{size}: {answer}");
    }
}

#[test]
fn section_9_3_2_pipelined_requests_are_answered_in_order() {
    let server = Server::with_handler(
        r#"
if request.path == "/late" then task.wait(0.05) end
local sent = false
return if request.path ~= "/streamed" then request.path else {
	headers = { ["Content-Length"] = "9" },
	body = function()
		task.wait(0.01)
		if sent then return nil end
		sent = true
		return "/streamed"
	end,
} :: any
"#,
    );
    let paths = ["/late", "/a", "/streamed", "/b", "/late", "/c"];
    let requests: String = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut stream = server.connect();
    stream.write_all(requests.as_bytes()).unwrap();
    for path in paths {
        assert_eq!(read_response(&mut stream).1, path);
    }
}

#[test]
fn section_9_6_nothing_is_served_after_a_request_that_asks_to_close() {
    let mut server = Server::with_handler("print(request.path) return request.path");
    let answer = server.exchange(
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(
        answer.ends_with("/a") && answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    server.exchange(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (server.next_line(), server.next_line()),
        ("/a".into(), "/last".into())
    );
}

#[test]
fn section_9_6_nothing_is_served_after_an_answer_that_says_close() {
    let mut server = Server::with_handler(
        "print(request.path) return { headers = { Connection = 'close' }, body = request.path }",
    );
    let answer =
        server.exchange(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(
        answer.ends_with("/a") && answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    server.exchange(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        (server.next_line(), server.next_line()),
        ("/a".into(), "/last".into())
    );
}

#[test]
fn section_9_6_a_connection_ends_in_stages_so_that_the_last_answer_can_be_read() {
    let server = Server::with_options("maxbodysize = 10,", "return ''");
    let mut stream = server.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // A reset would take the answer away.
    for _ in 0..50 {
        stream.write_all(&[b'x'; 100_000]).unwrap();
    }
    assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 413 "));
}

#[test]
fn section_9_6_the_servers_end_comes_with_its_last_answer() {
    let server = server();
    let mut stream = server.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    // Its own side stays open: the end must not wait for that.
    assert!(read_to_end(&mut stream).ends_with("GET / a []"));
}
