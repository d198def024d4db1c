//! Responses, sound, odd and broken, as RFC 9112 §§2–9 has them.

use super::peer::*;
use lute_net::engine::client::RequestBody;

/// What comes of a status line, with a body behind it.
fn with_status_line(line: &str) -> Result<Answer, String> {
    answered(format!("{line}\r\nContent-Length: 2\r\n\r\nok"))
}

/// What comes of a response with these field lines and an empty body.
fn with_fields(lines: impl AsRef<[u8]>) -> Result<Answer, String> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    answered([head, lines.as_ref(), b"\r\n"].concat())
}

fn chunked(body: &str) -> Result<Answer, String> {
    answered(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    ))
}

fn text(answer: Answer) -> String {
    String::from_utf8(answer.body).unwrap()
}

const INVALID: &str = "P sent an invalid response: ";
const INVALID_BODY: &str = "P sent an invalid response body: ";

#[test]
fn empty_lines_before_a_response_are_skipped_as_of_rfc_9112_section_2_2() {
    assert_eq!(
        body_of("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "ok"
    );
}

#[test]
fn a_bare_lf_or_cr_in_a_response_is_refused_as_of_rfc_9112_section_2_2() {
    for head in [
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    ] {
        let problem = problem_of(head);
        assert!(problem.starts_with(INVALID), "{head:?}: {problem}");
    }
}

#[test]
fn what_is_no_http_is_named_so_as_of_rfc_9112_section_2_3() {
    for bytes in ["SSH-2.0-OpenSSH_9\r\n", "\u{16}\u{3}\u{1}", "<html>"] {
        let problem = problem_of(bytes);
        assert!(problem.starts_with(INVALID), "{bytes:?}: {problem}");
    }
    for line in ["HTTP/2.0 200 OK", "HTTP/0.9 200 OK"] {
        let problem = with_status_line(line).unwrap_err();
        assert!(problem.contains("version"), "{problem}");
    }
}

#[test]
fn http_1_0_is_spoken_as_of_rfc_9112_section_2_3() {
    assert_eq!(text(with_status_line("HTTP/1.0 200 OK").unwrap()), "ok");
}

#[test]
fn a_reason_may_be_missing_or_odd_as_of_rfc_9112_section_4() {
    for line in [
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200 It's \u{e9} day",
        "HTTP/1.1 200 A  B",
    ] {
        assert_eq!(with_status_line(line).unwrap().status, 200, "{line:?}");
    }
}

#[test]
fn any_final_status_to_999_is_taken_as_of_rfc_9112_section_4() {
    for status in [200, 299, 418, 599, 600, 999] {
        let answer = with_status_line(&format!("HTTP/1.1 {status} X")).unwrap();
        assert_eq!(answer.status, status);
    }
}

#[test]
fn a_status_of_other_than_three_digits_is_refused_as_of_rfc_9112_section_4() {
    for status in ["20", "2000", "099", "abc", "-20", " 200"] {
        let problem = with_status_line(&format!("HTTP/1.1 {status} OK")).unwrap_err();
        assert!(problem.starts_with(INVALID), "{status}: {problem}");
    }
}

#[test]
fn a_name_with_a_space_or_none_is_refused_as_of_rfc_9112_section_5_1() {
    for line in [
        "X : a\r\n",
        ": a\r\n",
        "X Y: a\r\n",
        "no colon\r\n",
        " X: a\r\n",
    ] {
        let problem = with_fields(line).unwrap_err();
        assert!(problem.starts_with(INVALID), "{line:?}: {problem}");
    }
}

#[test]
fn a_folded_value_is_unfolded_as_of_rfc_9112_section_5_2() {
    let answer = with_fields("X: one\r\n two\r\n\tthree\r\n").unwrap();
    assert_eq!(answer.fields.get("x"), Some(&b"one two three"[..]));
}

#[test]
fn values_may_have_bytes_over_0x7f_but_no_control_bytes_as_of_rfc_9110_section_5_5() {
    let answer = with_fields(b"X: caf\xe9 \xc3\xa9\r\n").unwrap();
    assert_eq!(answer.fields.get("X"), Some(&b"caf\xe9 \xc3\xa9"[..]));
    for value in ["a\0b", "a\u{1}b", "a\u{7f}b"] {
        assert!(with_fields(format!("X: {value}\r\n")).is_err(), "{value:?}");
    }
}

#[test]
fn repeated_fields_stay_apart_and_keep_their_case_as_of_rfc_9110_section_5_3() {
    let answer = with_fields("Set-Cookie: a\r\nSET-COOKIE: b\r\n").unwrap();
    let fields: Vec<_> = answer.fields.iter().skip(1).collect();
    assert_eq!(
        fields,
        [
            (&b"Set-Cookie"[..], &b"a"[..]),
            (&b"SET-COOKIE"[..], &b"b"[..])
        ]
    );
}

#[test]
fn a_head_that_is_too_large_is_refused_as_of_rfc_9112_section_5() {
    let many = "X: a\r\n".repeat(200);
    assert!(with_fields(many).unwrap_err().starts_with(INVALID));
    let long = format!("X: {}\r\n", "a".repeat(70_000));
    assert!(with_fields(long).unwrap_err().starts_with(INVALID));
}

#[test]
fn a_length_beside_chunked_is_ignored_and_the_connection_ends_as_of_rfc_9112_section_6_1() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let peer = Peer::new(vec![send(both)]);
    let caller = Caller::new();
    for _ in 0..2 {
        assert_eq!(caller.get(&peer.url()).unwrap().body, b"ok");
    }
    assert_eq!(peer.connections(), 2);
}

#[test]
fn transfer_codings_other_than_chunked_are_refused_as_of_rfc_9112_section_6_1() {
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "\"chunked\"",
    ] {
        let problem = problem_of(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
        ));
        assert!(problem.starts_with(INVALID), "{coding}: {problem}");
    }
}

#[test]
fn a_transfer_coding_of_http_1_0_is_not_trusted_as_of_rfc_9112_section_6_1() {
    let body = body_of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
    assert_eq!(body, "2\r\nok\r\n");
}

#[test]
fn lengths_that_differ_or_are_no_numbers_are_refused_as_of_rfc_9112_section_6_3() {
    for lengths in [
        "1\r\nContent-Length: 2",
        "1, 2",
        "-1",
        "+1",
        "0x1",
        "1.0",
        "",
        "99999999999999999999999",
    ] {
        let problem = problem_of(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\na"
        ));
        assert!(problem.starts_with(INVALID), "{lengths:?}: {problem}");
    }
}

#[test]
fn equal_lengths_are_one_as_of_rfc_9110_section_8_6() {
    assert_eq!(
        body_of("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok"),
        "ok"
    );
}

#[test]
fn head_204_and_304_have_no_body_whatever_their_length_as_of_rfc_9112_section_6_3() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)] {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
        let peer = Peer::new(vec![send(head)]);
        let caller = Caller::new();
        for _ in 0..2 {
            let request = caller.request(method, &peer.url());
            let answer = caller.send(request, RequestBody::Empty).unwrap();
            assert_eq!((answer.status, answer.body.len()), (status, 0));
            assert_eq!(answer.fields.get("content-length"), Some(&b"5"[..]));
        }
        assert_eq!(peer.connections(), 1, "{method} {status}");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection_as_of_rfc_9112_section_6_3() {
    assert_eq!(body_of("HTTP/1.1 200 OK\r\n\r\nall of it"), "all of it");
    assert_eq!(body_of("HTTP/1.0 200 OK\r\n\r\n"), "");
}

#[test]
fn chunks_may_have_extensions_trailers_and_leading_zeros_as_of_rfc_9112_section_7_1() {
    let body =
        chunked("2;a=b;c=\"d e\"\r\nok\r\n00A\r\n0123456789\r\n0;last\r\nX: trailer\r\n\r\n");
    let answer = body.unwrap();
    assert!(!answer.fields.has("x"));
    assert_eq!(text(answer), "ok0123456789");
}

#[test]
fn chunks_that_break_their_rules_are_refused_as_of_rfc_9112_section_7_1() {
    for body in [
        "x\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "-2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "2\nok\n0\n\n",
        "2\r\nokay\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "fffffffffffffffff\r\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
    ] {
        let problem = chunked(body).unwrap_err();
        assert!(problem.starts_with(INVALID_BODY), "{body:?}: {problem}");
    }
}

#[test]
fn a_response_that_is_cut_short_is_an_error_as_of_rfc_9112_section_8() {
    for (cut, expected) in [
        (
            "",
            "P closed the connection before its response was complete",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Le",
            "P closed the connection before its response was complete",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
            INVALID_BODY,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            INVALID_BODY,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
            INVALID_BODY,
        ),
    ] {
        let problem = problem_of(cut);
        assert!(problem.starts_with(expected), "{cut:?}: {problem}");
    }
}

#[test]
fn interim_responses_come_before_the_final_one_as_of_rfc_9110_section_15_2() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = answered(format!(
        "{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    ));
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.fields.len()), (200, 1));
    assert_eq!(
        problem_of("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200)),
        "P sent too many interim responses"
    );
}

#[test]
fn a_switch_of_protocols_that_was_not_asked_for_is_an_error_as_of_rfc_9110_section_15_2_2() {
    assert_eq!(
        problem_of("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        "P switched to another protocol without being asked"
    );
}

#[test]
fn however_a_response_is_cut_it_is_the_same() {
    let response = "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for cut in 1..response.len() {
            let (mut client, _) = listener.accept().unwrap();
            client.set_nodelay(true).unwrap();
            let _ = client.read(&mut [0; 4096]).unwrap();
            let (first, rest) = response.as_bytes().split_at(cut);
            client.write_all(first).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
            client.write_all(rest).unwrap();
        }
    });
    for cut in 1..response.len() {
        let answer = Caller::new().get(&url).unwrap();
        assert_eq!(
            (answer.status, &answer.body[..]),
            (200, &b"abcde"[..]),
            "{cut}"
        );
    }
    server.join().unwrap();
}
