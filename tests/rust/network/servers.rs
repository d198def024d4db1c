//! Servers that do what they should not, as our client meets them: each is an error that says so, and nothing is left behind.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use socket2::SockRef;

use super::subject::{HASTE, Layer, Subject, survives};
use crate::support::PATIENCE;

/// What an error says of a server that is too late.
pub const TIMED_OUT: &str = "timed out";

/// A server that does `harm` to each of its clients; its thread ends with the test's process.
pub fn server(harm: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || harm(client));
        }
    });
    port
}

/// What a request to such a server comes to: an error with `why` in it.
fn refused(subject: &Subject, scheme: &str, harm: fn(TcpStream), why: &str) {
    let port = server(harm);
    let patience = if why == TIMED_OUT { HASTE } else { PATIENCE };
    let outcome = subject.requested(scheme, port, patience);
    assert!(outcome.starts_with("error: "), "{outcome}");
    assert!(outcome.contains("network request failed: "), "{outcome}");
    assert!(outcome.contains(why), "{outcome}, not {why}");
}

/// Reads until the client ends the connection.
pub fn read_all(mut client: TcpStream) {
    while client.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
}

/// Writes `start`, and then `more` until the client has had enough.
pub fn pour(mut client: TcpStream, start: &[u8], more: &[u8]) {
    let mut fine = client.write_all(start).is_ok();
    while fine {
        fine = client.write_all(more).is_ok();
    }
}

/// Reads a request's head, writes `answer`, and ends the connection.
fn answer(mut client: TcpStream, answer: &[u8]) {
    let _ = client.read(&mut [0; 4096]);
    let _ = client.write_all(answer);
    let _ = client.shutdown(std::net::Shutdown::Write);
    read_all(client);
}

#[test]
fn a_server_that_never_answers_is_an_error_after_the_timeout() {
    survives(Layer::Client, |subject| {
        refused(subject, "http", read_all, TIMED_OUT);
    });
}

#[test]
fn a_server_that_never_answers_a_handshake_is_an_error_after_the_timeout() {
    survives(Layer::Tls, |subject| {
        refused(subject, "https", read_all, TIMED_OUT);
    });
}

#[test]
fn a_server_that_says_something_else_is_an_error() {
    survives(Layer::Client, |subject| {
        refused(
            subject,
            "http",
            |client| answer(client, b"220 ready\r\n\r\n"),
            "",
        );
        refused(subject, "http", |client| answer(client, &[0; 100]), "");
        refused(
            subject,
            "http",
            |client| answer(client, b"HTTP/1.1 2000 OK\r\n\r\n"),
            "",
        );
        let lengths = |client| {
            answer(
                client,
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            )
        };
        refused(subject, "http", lengths, "");
        let chunk = |client| {
            answer(
                client,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            )
        };
        refused(subject, "http", chunk, "");
    });
}

#[test]
fn a_server_that_says_something_else_than_tls_is_an_error() {
    survives(Layer::Tls, |subject| {
        refused(
            subject,
            "https",
            |client| answer(client, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "",
        );
        refused(subject, "https", |client| answer(client, &[0xff; 100]), "");
    });
}

#[test]
fn a_server_that_closes_early_is_an_error() {
    survives(Layer::Client, |subject| {
        refused(subject, "http", drop, "");
        refused(subject, "http", |client| answer(client, b""), "");
        refused(
            subject,
            "http",
            |client| answer(client, b"HTTP/1.1 200"),
            "",
        );
        refused(
            subject,
            "http",
            |client| answer(client, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
            "",
        );
    });
}

#[test]
fn a_server_that_closes_in_the_handshake_is_an_error() {
    survives(Layer::Tls, |subject| {
        refused(subject, "https", drop, "");
        refused(
            subject,
            "https",
            |client| answer(client, b"\x16\x03\x03"),
            "",
        );
    });
}

/// Reads a little and resets the connection.
pub fn reset(mut client: TcpStream) {
    let _ = client.read(&mut [0; 10]);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

#[test]
fn a_server_that_resets_is_an_error() {
    survives(Layer::Client, |subject| refused(subject, "http", reset, ""));
    survives(Layer::Tls, |subject| refused(subject, "https", reset, ""));
}

#[test]
fn a_head_without_end_is_an_error() {
    survives(Layer::Client, |subject| {
        let fields = |client| pour(client, b"HTTP/1.1 200 OK\r\n", b"X: x\r\n");
        refused(subject, "http", fields, "");
        let line = |client| pour(client, b"HTTP/1.1 200 ", &[b'x'; 1000]);
        refused(subject, "http", line, "");
        let interim = |client| pour(client, b"", b"HTTP/1.1 102 Processing\r\n\r\n");
        refused(subject, "http", interim, "");
    });
}

#[test]
fn a_body_without_end_is_an_error_at_its_limit() {
    survives(Layer::Client, |subject| {
        let until_close = |client| pour(client, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 10_000]);
        refused(subject, "http", until_close, "100000");
        let chunked = |client| {
            pour(
                client,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"3\r\nabc\r\n",
            );
        };
        refused(subject, "http", chunked, "100000");
        let extensions = |client| {
            pour(
                client,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
                &[b';'; 1000],
            );
        };
        refused(subject, "http", extensions, "");
    });
}

#[test]
fn a_body_that_is_a_bomb_is_an_error_at_its_limit() {
    fn bomb(client: TcpStream) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..1000 {
            encoder.write_all(&[0; 10_000]).unwrap();
        }
        let body = encoder.finish().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        answer(client, &[head.into_bytes(), body].concat());
    }
    survives(Layer::Client, |subject| {
        refused(subject, "http", bomb, "100000")
    });
}

#[test]
fn a_server_that_does_not_read_a_body_is_an_error_after_the_timeout() {
    // Neither this server nor the system takes all of the body.
    survives(Layer::Client, |subject| {
        let port = server(|client| {
            thread::sleep(Duration::from_secs(2));
            drop(client);
        });
        let outcome = subject.asked(&format!(
            "/upload?timeout=0.8&url=http://localhost:{port}/path"
        ));
        assert!(outcome.contains(TIMED_OUT), "{outcome}");
    });
}
