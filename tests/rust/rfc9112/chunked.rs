//! §7: the chunked coding.

use super::{refused, served, server};
use crate::support::Server;

fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn section_7_1_chunks_are_joined() {
    let server = server();
    for (body, joined) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("0005\r\nhello\r\n000\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    ] {
        assert_eq!(
            served(&server, chunked(body)),
            format!("POST / a [{joined}]"),
            "{body:?}"
        );
    }
}

#[test]
fn section_7_1_a_size_is_plain_hexadecimal() {
    let server = server();
    for size in [
        "", "x", "0x5", "-5", "+5", "5h", "5 5", " 5", "\t5", "5.", "5\0", "\u{e9}", "g",
    ] {
        refused(
            &server,
            chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")),
            400,
        );
    }
}

#[test]
fn section_7_1_sizes_never_overflow() {
    let server = server();
    for (size, status) in [
        ("10000000000000005", 400),
        ("00000000000000000005", 400),
        ("ffffffffffffffffffff", 400),
        ("ffffffffffffffff", 413),
        ("7fffffffffffffff", 413),
    ] {
        let body = format!("{size}\r\n{}", "x".repeat(20_000_000));
        let body = if status == 413 {
            body
        } else {
            format!("{size}\r\nhello\r\n0\r\n\r\n")
        };
        refused(&server, chunked(&body), status);
    }
}

#[test]
fn section_7_1_the_data_of_a_chunk_ends_with_crlf() {
    let server = server();
    for body in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
    ] {
        refused(&server, chunked(body), 400);
    }
}

#[test]
fn section_7_1_the_lines_of_chunks_end_with_crlf() {
    let server = server();
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ] {
        refused(&server, chunked(body), 400);
    }
}

#[test]
fn section_7_1_1_unknown_extensions_are_ignored() {
    let server = server();
    for line in [
        "5;a",
        "5;a=b",
        "5;a=\"b;c\"",
        "5 ; a = b",
        "5\t;a",
        "5;",
        "5;a=b;c=d",
    ] {
        let body = format!("{line}\r\nhello\r\n0;last\r\n\r\n");
        assert_eq!(
            served(&server, chunked(&body)),
            "POST / a [hello]",
            "{line:?}"
        );
    }
}

#[test]
fn section_7_1_1_extensions_have_limits() {
    let server = server();
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(5000));
    refused(&server, chunked(&long), 400);
    let many = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(100);
    refused(&server, chunked(&many), 400);
}

#[test]
fn section_7_1_1_no_control_byte_stands_in_an_extension() {
    let server = server();
    for line in ["5;a\0", "5;a\x0b", "5;\"a\rb\"", "5 \r", "5 x"] {
        refused(
            &server,
            chunked(&format!("{line}\r\nhello\r\n0\r\n\r\n")),
            400,
        );
    }
}

#[test]
fn section_7_1_2_trailers_are_read_and_never_become_headers() {
    let server = Server::with_handler(
        "return `GET /after b []{request.headers.host}{request.headers['x-late'] or ''}{request.body}`",
    );
    let body = "1\r\nx\r\n0\r\nX-Late: y\r\nHost: evil\r\nContent-Length: 50\r\n\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\nConnection: close\r\n\r\n{body}"
    );
    let answer = server.exchange(request.as_bytes());
    assert!(answer.ends_with("[]ax"), "{answer}");
    assert_eq!(served(&self::server(), chunked(body)), "POST / a [x]");
}

#[test]
fn section_7_1_2_trailers_follow_the_rules_of_fields_and_have_limits() {
    let server = server();
    for trailer in [
        "X : y",
        "X: y\r\n z",
        " X: y",
        "X",
        ": y",
        "X: \0",
        "X: y\nZ: a",
        "X: y\rZ: a",
    ] {
        refused(&server, chunked(&format!("0\r\n{trailer}\r\n\r\n")), 400);
    }
    let long = format!("0\r\nX: {}\r\n\r\n", "y".repeat(9000));
    refused(&server, chunked(&long), 431);
    let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(100));
    refused(&server, chunked(&many), 431);
}
