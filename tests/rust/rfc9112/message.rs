//! §2: messages.

use std::io::Write;

use super::{refused, served, server};
use crate::support::{Server, read_response, read_to_end};

#[test]
fn section_2_1_a_message_is_bytes_and_a_body_may_hold_any_of_them() {
    let server = Server::with_handler("return { body = request.body, headers = {} }");
    let body: Vec<u8> = (0..=255).collect();
    let mut stream = server.connect();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 256\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with(&body));
}

#[test]
fn section_2_2_a_bare_lf_ends_no_line() {
    let server = server();
    for request in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        refused(&server, request, 400);
    }
}

#[test]
fn section_2_2_a_bare_cr_makes_a_message_invalid() {
    let server = server();
    for request in [
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r \r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n",
    ] {
        refused(&server, request, 400);
    }
}

#[test]
fn section_2_2_an_empty_line_before_the_request_line_is_ignored() {
    let server = server();
    assert_eq!(
        served(&server, "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /a a []"
    );
    // As old clients put it after a body, uncounted.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "POST /a a [x]");
    assert_eq!(read_response(&mut stream).1, "GET /b a []");
}

#[test]
fn section_2_2_whitespace_before_the_first_field_is_refused() {
    let server = server();
    for space in [" ", "\t", "  \t"] {
        let request = format!("GET / HTTP/1.1\r\n{space}Host: a\r\n\r\n");
        refused(&server, request, 400);
        let request = format!("GET / HTTP/1.1\r\n{space}\r\nHost: a\r\n\r\n");
        refused(&server, request, 400);
    }
}

#[test]
fn section_2_2_what_is_no_http_gets_a_400_and_the_connection_ends() {
    let server = server();
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"{\"json\": true}\r\n\r\n",
    ] {
        refused(&server, bytes, 400);
    }
}

#[test]
fn section_2_3_a_later_minor_version_or_another_major_one_is_505() {
    let server = server();
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        let request = format!("GET / {version}\r\nHost: a\r\n\r\n");
        refused(&server, request, 505);
    }
    // The preface of HTTP/2 (RFC 9113 §3.4).
    refused(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

#[test]
fn section_2_3_the_version_is_written_in_capitals_with_one_digit_each() {
    let server = server();
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/1.1x",
        "HTTP/11",
        "HTTP/1,1",
        "HTTP/ 1.1",
        "HTTP 1.1",
        "HTTPS/1.1",
        "HTTP/a.1",
    ] {
        let request = format!("GET / {version}\r\nHost: a\r\n\r\n");
        refused(&server, request, 400);
    }
}

#[test]
fn section_2_3_answers_are_http_1_1_also_to_http_1_0() {
    let server = server();
    let answer = server.exchange(b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn section_2_2_a_refusal_follows_the_answers_to_what_came_before_it() {
    let server = server();
    let mut stream = server.connect();
    stream
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /c\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "GET /a a []");
    assert_eq!(read_response(&mut stream).1, "POST /b a [x]");
    let rest = read_to_end(&mut stream);
    assert!(
        rest.starts_with("HTTP/1.1 400 ") && !rest.contains("/d"),
        "{rest}"
    );
}
