//! §6 and §8: the message body and messages that are incomplete.

use std::{io::Write, net::Shutdown};

use super::{refused, served, served_last, server};
use crate::support::{Server, read_response, read_to_end, wait_until};

fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

#[test]
fn section_6_framing_does_not_depend_on_the_method() {
    let server = server();
    for method in ["GET", "DELETE", "OPTIONS", "PURGE"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ");
        assert_eq!(served(&server, request), format!("{method} / a [GET ]"));
    }
}

#[test]
fn section_6_1_transfer_encoding_with_content_length_is_400_and_ends_the_connection() {
    let server = server();
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "transfer-encoding: chunked\r\nCONTENT-LENGTH: x\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
    ] {
        refused(&server, post(lines, "0\r\n\r\n"), 400);
    }
}

#[test]
fn section_6_1_chunked_that_is_not_the_last_coding_or_comes_twice_is_400() {
    let server = server();
    for coding in [
        "chunked, gzip",
        "gzip",
        "chunked, chunked",
        "identity",
        "chunked, identity",
    ] {
        let lines = format!("Transfer-Encoding: {coding}\r\n");
        refused(&server, post(&lines, "0\r\n\r\n"), 400);
    }
    let lines = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    refused(&server, post(lines, "0\r\n\r\n"), 400);
}

#[test]
fn section_6_1_a_coding_that_is_not_understood_is_501() {
    let server = server();
    for coding in ["gzip, chunked", "deflate,chunked", "x-unknown, chunked"] {
        let lines = format!("Transfer-Encoding: {coding}\r\n");
        refused(&server, post(&lines, "0\r\n\r\n"), 501);
    }
}

#[test]
fn section_6_1_transfer_encodings_that_only_look_like_chunked_are_refused() {
    let server = server();
    for coding in [
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        ",chunked",
        "chunk ed",
        "chunked\x0b",
        "",
        "\u{e9}chunked",
    ] {
        let lines = format!("Transfer-Encoding: {coding}\r\n");
        refused(&server, post(&lines, "0\r\n\r\n"), 400);
    }
}

#[test]
fn section_6_1_the_name_of_the_coding_is_case_insensitive() {
    let request = post("Transfer-Encoding: CHUNKED\r\n", "1\r\nx\r\n0\r\n\r\n");
    assert_eq!(served(&server(), request), "POST / a [x]");
}

#[test]
fn section_6_1_transfer_encoding_in_http_1_0_is_400_and_ends_the_connection() {
    let server = server();
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let request = format!("POST / HTTP/1.0\r\nHost: a\r\n{lines}\r\n0\r\n\r\n");
        refused(&server, request, 400);
    }
}

/// Answers `/NUMBER` with that status and a body that a function makes.
const STREAMED: &str = r#"
local status = tonumber(string.sub(request.path, 2))
local left = 2
return { status = status, body = function()
	left -= 1
	return if left >= 0 then "piece" else nil
end }
"#;

#[test]
fn section_6_1_no_transfer_encoding_is_sent_to_http_1_0() {
    let server = Server::with_handler(STREAMED);
    for lines in ["", "Connection: keep-alive\r\n"] {
        let answer = server.exchange(format!("GET /200 HTTP/1.0\r\n{lines}\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            !head.to_ascii_lowercase().contains("transfer-encoding"),
            "{head}"
        );
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert_eq!(body, "piecepiece");
    }
}

#[test]
fn section_6_1_no_transfer_encoding_is_sent_with_204_205_and_304() {
    let server = Server::with_handler(STREAMED);
    for status in [204, 205, 304] {
        let request = format!("GET /{status} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(!head.contains("Transfer-Encoding"), "{head}");
        assert_eq!(body, "", "{head}");
    }
}

#[test]
fn section_6_2_content_length_is_never_sent_with_transfer_encoding() {
    let server = Server::with_handler(STREAMED);
    let answer = server.exchange(b"GET /200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        answer.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(!answer.contains("Content-Length"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn section_6_3_head_204_and_304_have_no_body_whatever_the_handler_returns() {
    let server = Server::with_handler(
        "return { status = tonumber(string.sub(request.path, 2)), body = 'content' }",
    );
    for line in ["HEAD /200", "GET /204", "GET /205", "GET /304", "HEAD /404"] {
        let mut stream = server.connect();
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.repeat(2).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answers = read_to_end(&mut stream);
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{line}: {answers}");
        assert!(!answers.contains("content"), "{line}: {answers}");
    }
}

#[test]
fn section_6_3_an_invalid_content_length_is_400_and_ends_the_connection() {
    let server = server();
    for length in [
        "",
        "x",
        "-1",
        "+1",
        "0x5",
        "5x",
        "1.0",
        "1 2",
        "5,",
        ",5",
        "5;6",
        "\"5\"",
        "1e1",
        "5\u{a0}",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        refused(
            &server,
            post(&format!("Content-Length: {length}\r\n"), "hello"),
            400,
        );
    }
}

#[test]
fn section_6_3_content_lengths_that_differ_are_400_and_end_the_connection() {
    let server = server();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nX: y\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, x\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
    ] {
        refused(&server, post(lines, "hello"), 400);
    }
}

#[test]
fn section_6_3_content_lengths_that_agree_count_as_one() {
    let server = server();
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 005\r\n",
    ] {
        assert_eq!(served(&server, post(lines, "hello")), "POST / a [hello]");
    }
}

#[test]
fn section_6_3_a_request_without_either_has_no_body() {
    let server = server();
    assert_eq!(served(&server, post("", "")), "POST / a []");
    let request = "POST / HTTP/1.0\r\nHost: a\r\n\r\n";
    assert_eq!(served_last(&server, request), "POST / a []");
}

#[test]
fn section_6_3_a_body_cut_short_is_never_handed_on() {
    let mut server =
        Server::with_options("timeout = { body = 0.3 },", "print(request.path) return ''");
    for request in [
        post("Content-Length: 10\r\n", "12345"),
        post("Transfer-Encoding: chunked\r\n", "a\r\n12345"),
        post("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n"),
        post("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n0\r\n"),
    ] {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), "", "{request:?}");
        // Timed out.
        refused_late(&server, &request);
    }
    server.exchange(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(server.next_line(), "/last");
}

/// The rest of the body does not come in time.
fn refused_late(server: &Server, request: &str) {
    let answer = server.exchange(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{request:?}: {answer}");
    assert!(
        answer.contains("\r\nConnection: close\r\n"),
        "{request:?}: {answer}"
    );
}

#[test]
fn section_8_a_head_cut_short_is_never_handed_on() {
    let mut server = Server::with_handler("print(request.path) return ''");
    for head in [
        "GET",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
    ] {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), "", "{head:?}");
    }
    wait_until("the end of all", || server.activity().0 == 0);
    server.exchange(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(server.next_line(), "/last");
}

#[test]
fn section_8_an_answer_that_fails_in_the_middle_is_seen_to_be_incomplete() {
    let server = Server::with_handler(
        r#"
local sent = false
return {
	headers = if request.path == "/length" then { ["Content-Length"] = "10" } else nil,
	body = function()
		if sent then error("fails") end
		sent = true
		return "piece"
	end,
}
"#,
    );
    let mut stream = server.connect();
    stream
        .write_all(b"GET /length HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(read_to_end(&mut stream).ends_with("\r\n\r\npiece"));
    let mut stream = server.connect();
    stream
        .write_all(b"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.ends_with("5\r\npiece\r\n"), "{answer}");
}

#[test]
fn section_6_3_a_length_is_taken_to_the_byte() {
    let server = server();
    let mut stream = server.connect();
    let request = post("Content-Length: 5\r\n", "hello");
    stream
        .write_all((request + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "POST / a [hello]");
    assert_eq!(read_response(&mut stream).1, "GET /next a []");
}
