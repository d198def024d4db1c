//! §4 and §5: the status line and field lines.

use super::{refused, served, server};
use crate::support::Server;

fn with_field(line: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn section_4_the_space_before_an_absent_reason_is_sent() {
    let server = Server::with_handler("return { status = 299 }");
    let answer = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 299 \r\n"), "{answer:?}");
}

#[test]
fn section_5_1_whitespace_before_the_colon_is_400() {
    let server = server();
    for line in [
        "X : y",
        "X\t: y",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "X  :",
    ] {
        refused(&server, with_field(line), 400);
    }
}

#[test]
fn section_5_1_a_name_is_a_token() {
    let server = server();
    for line in [
        "X Y: z",
        ": z",
        "X",
        "X@Y: z",
        "X\u{e9}: z",
        "X\0: z",
        "(X): z",
        "X;: z",
        "\"X\": z",
    ] {
        refused(&server, with_field(line), 400);
    }
}

#[test]
fn section_5_1_whitespace_around_a_value_is_not_part_of_it() {
    let server = Server::with_handler("return `[{request.headers['x-a']}]`");
    for (line, value) in [
        ("X-A:b", "[b]"),
        ("X-A: \t b c\t ", "[b c]"),
        ("X-A:", "[]"),
        ("X-A:  \t", "[]"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\nConnection: close\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert!(
            answer.ends_with(&format!("\r\n\r\n{value}")),
            "{line:?}: {answer}"
        );
    }
}

#[test]
fn section_5_2_a_folded_line_is_400_and_the_answer_says_why() {
    let server = server();
    for line in ["X: y\r\n z", "X: y\r\n\tz", "X:\r\n y", "X: y\r\n \r\n z"] {
        refused(&server, with_field(line), 400);
    }
    let answer = server.exchange(with_field("X: y\r\n z").as_bytes());
    assert!(answer.contains("fold"), "{answer}");
}

#[test]
fn section_5_the_last_field_line_may_be_followed_by_a_body_at_once() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\r\n";
    assert_eq!(served(&server(), request), "POST / a [\r\n]");
}
