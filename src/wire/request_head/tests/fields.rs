//! What the field lines of a request may be and say.

use super::*;

#[test]
fn a_bare_lf_is_refused_in_every_line_as_of_rfc_9112_section_2_2() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nB: c\nD: e\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nB:\n\r\n",
        "GET / HTTP/1.1\n\n",
    ] {
        refused(text, Line(LineError::BareLf));
    }
}

#[test]
fn a_bare_cr_is_refused_in_every_line_as_of_rfc_9112_section_2_2() {
    for text in [
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n",
        "GET / HTTP/1.1\r\nHost: a\rB: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\ra\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rB",
    ] {
        refused(text, Line(LineError::BareCr));
    }
}

#[test]
fn field_lines_follow_rfc_9112_section_5() {
    for (line, error) in [
        ("A : b", LineError::WhitespaceInName),
        ("A\t: b", LineError::WhitespaceInName),
        ("A b: c", LineError::WhitespaceInName),
        ("Transfer-Encoding : chunked", LineError::WhitespaceInName),
        (" folded", LineError::Folded),
        ("\tfolded", LineError::Folded),
        (": b", LineError::EmptyName),
        ("A", LineError::MissingColon),
        ("A(b): c", LineError::InvalidName),
        ("A\u{e9}: c", LineError::InvalidName),
        ("\0A: c", LineError::InvalidName),
        ("A: b\0", LineError::InvalidValue),
        ("A: \x0bb", LineError::InvalidValue),
        ("A:\x7f", LineError::InvalidValue),
        ("Transfer-Encoding: \x0bchunked", LineError::InvalidValue),
    ] {
        refused(with_lines(line), Line(error));
    }
    refused(
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        Line(LineError::LeadingWhitespace),
    );
}

#[test]
fn each_byte_in_each_place_of_a_field_is_judged_by_rfc_9110_section_5_5() {
    for byte in 0..=255_u8 {
        for length in 1..40 {
            let mut input = b"GET / HTTP/1.1\r\nHost: a\r\nA: ".to_vec();
            input.extend(vec![b'b'; length]);
            input.push(byte);
            input.extend(b"ccccccccccccccccccc\r\n\r\n");
            let taken = matches!(parse_at_once(&input, MAX), Ok(Parsed::Complete(_)));
            assert_eq!(
                taken,
                matches!(byte, b'\t' | 0x20..=0x7e | 0x80..),
                "{byte:#x}"
            );

            let mut input = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
            input.extend(vec![b'b'; length]);
            input.push(byte);
            input.extend(b"ccccccccccccccccccc: d\r\n\r\n");
            let taken = matches!(parse_at_once(&input, MAX), Ok(Parsed::Complete(_)));
            assert_eq!(taken, byte == b':' || is_token_byte(byte), "{byte:#x}");
        }
    }
}

#[test]
fn http_1_1_has_one_host_and_http_1_0_at_most_one_as_of_rfc_9112_section_3_2() {
    refused("GET / HTTP/1.1\r\n\r\n", MissingHost);
    refused("GET http://a/ HTTP/1.1\r\n\r\n", MissingHost);
    refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", RepeatedHost);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", RepeatedHost);
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").host, b"");
    assert_eq!(accepted("GET / HTTP/1.1\r\nHost:\r\n\r\n").host, b"");
    assert_eq!(
        accepted("GET / HTTP/1.1\r\nHOST: [::1]:3000\r\n\r\n").host,
        b"[::1]:3000"
    );
    for host in [
        "a b", "a/b", "u@a", "a:b", ":1", "[::1", "a,b c", "\u{e9}", "http://a",
    ] {
        refused(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            InvalidHost,
        );
        refused(
            format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"),
            InvalidHost,
        );
    }
}

#[test]
fn the_framing_comes_from_the_fields_as_of_rfc_9112_section_6_3() {
    let framing = |lines| accepted(with_lines(lines)).framing;
    assert_eq!(framing("Content-Length: 5"), BodyFraming::Length(5));
    assert_eq!(
        framing("content-length: 5\r\nContent-Length: 5"),
        BodyFraming::Length(5)
    );
    assert_eq!(framing("Transfer-Encoding: Chunked"), BodyFraming::Chunked);
    assert_eq!(framing("Transfer_Encoding: chunked"), BodyFraming::Empty);
    assert_eq!(framing("X-Transfer-Encoding: chunked"), BodyFraming::Empty);
    for (lines, error) in [
        ("Content-Length: +5", InvalidContentLength),
        ("Content-Length:", InvalidContentLength),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            DifferingContentLengths,
        ),
        ("Content-Length: 5, 6", DifferingContentLengths),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            TransferEncodingWithContentLength,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: x",
            TransferEncodingWithContentLength,
        ),
        ("Transfer-Encoding: gzip", ChunkedNotLast),
        ("Transfer-Encoding: chunked, identity", ChunkedNotLast),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ChunkedNotLast,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            UnsupportedTransferCoding,
        ),
        ("Transfer-Encoding:", InvalidTransferEncoding),
        ("Transfer-Encoding: \"chunked\"", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked;q=1", InvalidTransferEncoding),
    ] {
        refused(with_lines(lines), error);
    }
    refused(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        TransferEncodingInHttp10,
    );
    let old = accepted("POST / HTTP/1.0\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(old.framing, BodyFraming::Length(7));
}

#[test]
fn connections_persist_by_version_and_option_as_of_rfc_9112_section_9_3() {
    let persists = |version, line| {
        accepted(format!("GET / {version}\r\nHost: a\r\n{line}\r\n\r\n")).persistent
    };
    assert!(persists("HTTP/1.1", "A: b"));
    assert!(!persists("HTTP/1.1", "Connection: TE, Close"));
    assert!(!persists("HTTP/1.0", "A: b"));
    assert!(persists("HTTP/1.0", "connection: Keep-Alive"));
    assert!(!persists("HTTP/1.0", "Connection: keep-alive, close"));
}

#[test]
fn expectations_are_for_http_1_1_as_of_rfc_9110_section_10_1_1() {
    let expect =
        |version, lines| accepted(format!("PUT / {version}\r\nHost: a\r\n{lines}\r\n\r\n")).expect;
    assert_eq!(expect("HTTP/1.1", "A: b"), Expect::None);
    assert_eq!(expect("HTTP/1.1", "Expect: 100-Continue"), Expect::Continue);
    assert_eq!(
        expect("HTTP/1.1", "Expect: 100-continue, 100-continue"),
        Expect::Continue
    );
    assert_eq!(expect("HTTP/1.1", "Expect: 100-continue, x"), Expect::Other);
    assert_eq!(
        expect("HTTP/1.1", "Expect: x\r\nExpect: 100-continue"),
        Expect::Other
    );
    assert_eq!(expect("HTTP/1.1", "Expect: 200-ok"), Expect::Other);
    assert_eq!(expect("HTTP/1.0", "Expect: 100-continue"), Expect::None);
    assert_eq!(expect("HTTP/1.0", "Expect: x"), Expect::None);
}

#[test]
fn an_upgrade_needs_both_fields_as_of_rfc_9110_section_7_8() {
    let both = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket";
    assert!(accepted(with_lines(both)).upgrade);
    assert!(!accepted(with_lines("Connection: Upgrade")).upgrade);
    assert!(!accepted(with_lines("Upgrade: websocket")).upgrade);
    assert!(!accepted(format!("GET / HTTP/1.0\r\n{both}\r\n\r\n")).upgrade);
}
