#![allow(clippy::unwrap_used)]

mod fields;

use super::super::cuts::{for_each_mutation, parse_all_prefixes};
use super::super::head::MAX_FIELDS;
use super::*;
use RequestError::*;

const MAX: usize = 4096;

/// Everything a head says, owned, so that answers can be compared.
#[derive(Clone, PartialEq, Debug)]
struct Facts {
    method: String,
    target: String,
    path: String,
    query: Option<String>,
    host: Vec<u8>,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
    length: usize,
    framing: BodyFraming,
    persistent: bool,
    expect: Expect,
    upgrade: bool,
}

impl From<RequestHead<'_, '_>> for Facts {
    fn from(head: RequestHead<'_, '_>) -> Self {
        Facts {
            method: head.method().into(),
            target: head.target().into(),
            path: head.path().into(),
            query: head.query().map(Into::into),
            host: head.host().into(),
            version: head.version(),
            fields: (head.fields().iter())
                .map(|field| (field.name.into(), field.value.into()))
                .collect(),
            length: head.length(),
            framing: head.framing(),
            persistent: head.persistent(),
            expect: head.expect(),
            upgrade: head.upgrade(),
        }
    }
}

fn parse_at_once(input: &[u8], max_bytes: usize) -> Result<Parsed<Facts>, RequestError> {
    Ok(
        match parse_request(input, &mut FieldStorage::new(), max_bytes)? {
            Parsed::Complete(head) => Parsed::Complete(head.into()),
            Parsed::Partial => Parsed::Partial,
        },
    )
}

fn parse_within(input: impl AsRef<[u8]>, max_bytes: usize) -> Result<Parsed<Facts>, RequestError> {
    parse_all_prefixes(input.as_ref(), |bytes| parse_at_once(bytes, max_bytes))
}

fn accepted(input: impl AsRef<[u8]>) -> Facts {
    match parse_within(&input, MAX) {
        Ok(Parsed::Complete(facts)) => facts,
        other => panic!("{}: {other:?}", input.as_ref().escape_ascii()),
    }
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, error: RequestError) {
    let answer = parse_within(&input, MAX);
    assert_eq!(answer, Err(error), "{}", input.as_ref().escape_ascii());
}

/// A sound HTTP/1.1 request with these lines more.
fn with_lines(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

#[test]
fn a_browsers_request_is_taken_apart() {
    let text = "GET /search?q=a%20b HTTP/1.1\r\nHost: a.example:3000\r\nUser-Agent: Mozilla/5.0 \
                (X11; Linux x86_64)\r\nAccept:*/*\r\nX-Empty:\r\nX-Padded: \t a b \t \r\nCookie: \
                a=1; b=\u{e9}\r\nConnection: keep-alive\r\n\r\n";
    let facts = accepted(text);
    assert_eq!(facts.method, "GET");
    assert_eq!(facts.target, "/search?q=a%20b");
    assert_eq!(facts.path, "/search");
    assert_eq!(facts.query.as_deref(), Some("q=a%20b"));
    assert_eq!(facts.host, b"a.example:3000");
    assert_eq!(facts.version, Version::Http11);
    assert_eq!(facts.length, text.len());
    assert_eq!(facts.framing, BodyFraming::Empty);
    assert!(facts.persistent && !facts.upgrade);
    assert_eq!(facts.expect, Expect::None);
    let value = |name| &facts.fields.iter().find(|field| field.0 == name).unwrap().1;
    assert_eq!(value("Accept"), b"*/*");
    assert_eq!(value("X-Empty"), b"");
    assert_eq!(value("X-Padded"), b"a b");
    assert_eq!(value("Cookie"), "a=1; b=\u{e9}".as_bytes());
}

#[test]
fn what_follows_the_head_is_left_alone() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let facts = accepted(format!("{head}abc\n\rGET \0"));
    assert_eq!(facts.length, head.len());
    assert_eq!(facts.framing, BodyFraming::Length(3));
}

#[test]
fn methods_are_tokens_as_of_rfc_9110_section_9_1() {
    for method in [
        "GET",
        "get",
        "M-SEARCH",
        "!#$%&'*+-.^_`|~19",
        "POSTS",
        "GETX",
    ] {
        let facts = accepted(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(facts.method, method);
    }
    for start in [
        "(",
        "G@T /",
        "\"GET\" /",
        " GET /",
        "\tGET /",
        "GET\t/",
        "\0",
        "G\u{e9}T /",
    ] {
        refused(
            format!("{start} HTTP/1.1\r\nHost: a\r\n\r\n"),
            InvalidMethod,
        );
    }
    refused(b"\x16\x03\x01\x02\x00\x01\x00", InvalidMethod);
}

#[test]
fn one_space_stands_between_the_parts_as_of_rfc_9112_section_3() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET /",
        "GET",
        "GET / HTTP/1.10",
    ] {
        let expected = match line {
            "GET /  HTTP/1.1" => InvalidVersion,
            _ => InvalidRequestLine,
        };
        refused(format!("{line}\r\nHost: a\r\n\r\n"), expected);
    }
    refused("GET /\tHTTP/1.1\r\n", InvalidTargetByte);
}

#[test]
fn targets_are_visible_ascii_without_fragment_as_of_rfc_9112_section_3_2() {
    for target in ["/\u{e9}", "/a#b", "#", "/a?b#c", "http://a/\u{e9}"] {
        refused(
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            InvalidTargetByte,
        );
    }
    for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_graphic() && !b" \r\n".contains(byte)) {
        for length in [0, 1, 7, 15, 31, 40] {
            let mut input = b"GET /".to_vec();
            input.extend(vec![b'a'; length]);
            input.push(byte);
            input.extend(b"bcdefghijklmnop HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(
                parse_at_once(&input, MAX),
                Err(InvalidTargetByte),
                "{byte:#x}"
            );
        }
    }
}

#[test]
fn each_target_form_has_its_methods_as_of_rfc_9112_section_3_2() {
    let request = |line| format!("{line} HTTP/1.1\r\nHost: b\r\n\r\n");
    let facts = accepted(request("GET http://a.example:1/b?c"));
    assert_eq!(
        (facts.path.as_str(), facts.query.as_deref()),
        ("/b", Some("c"))
    );
    assert_eq!(
        facts.host, b"a.example:1",
        "the target's host goes before the field's (§3.2.2)"
    );
    assert_eq!(accepted(request("OPTIONS *")).path, "*");
    refused(request("GET *"), InvalidTarget);
    refused(request("GET http://u@a/"), InvalidTarget);
    refused(request("GET a.example:1"), InvalidTarget);
    refused(request("CONNECT a.example:1"), ConnectNotSupported);
    refused(request("CONNECT /"), InvalidTarget);
}

#[test]
fn other_versions_are_refused_as_of_rfc_9112_section_2_3() {
    for version in [
        "HTTP/2.0", "HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9",
    ] {
        refused(
            format!("GET / {version}\r\nHost: a\r\n\r\n"),
            UnsupportedVersion,
        );
        refused(format!("GET / {version}"), UnsupportedVersion);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion);
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/2",
        "HTTP/11",
        "HTTPS/1.1",
        "HTTP/1,1",
        "X",
        "HTTP /1.1",
    ] {
        refused(
            format!("GET / {version}\r\nHost: a\r\n\r\n"),
            InvalidVersion,
        );
    }
    assert_eq!(parse_within("GET / HTTP/2", MAX), Ok(Parsed::Partial));
}

#[test]
fn two_empty_lines_may_come_first_as_of_rfc_9112_section_2_2() {
    let request = with_lines("A: b");
    for empty_lines in ["\r\n", "\r\n\r\n"] {
        let text = format!("{empty_lines}{request}");
        assert_eq!(accepted(&text).length, text.len());
    }
    refused(
        format!("\r\n\r\n\r\n{request}"),
        Line(LineError::EmptyLines),
    );
    refused(format!("\n{request}"), Line(LineError::BareLf));
    refused(format!("\r\n\n{request}"), Line(LineError::BareLf));
    refused(format!("\r{request}"), Line(LineError::BareCr));
}

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let head = with_lines("A: b");
    let with_body = format!("{head}body");
    let complete = parse_within(&head, head.len());
    assert!(matches!(complete, Ok(Parsed::Complete(_))));
    assert_eq!(parse_within(&with_body, head.len()), complete);
    for max_bytes in 0..head.len() {
        let line = "GET / HTTP/1.1\r\n".len();
        let expected = if max_bytes < line {
            RequestLineTooLong
        } else {
            HeadTooLarge
        };
        assert_eq!(
            parse_within(&with_body, max_bytes),
            Err(expected),
            "{max_bytes}"
        );
    }
    assert_eq!(RequestLineTooLong.status(), 414);
    assert_eq!(HeadTooLarge.status(), 431);
}

#[test]
fn empty_lines_count_towards_the_limit() {
    let head = with_lines("A: b");
    let padded = format!("\r\n{head}");
    assert_eq!(parse_within(&padded, head.len()), Err(HeadTooLarge));
    assert!(matches!(
        parse_within(&padded, padded.len()),
        Ok(Parsed::Complete(_))
    ));
    assert_eq!(
        parse_within("\r\n\r\nGET /long HTTP", 10),
        Err(RequestLineTooLong)
    );
}

#[test]
fn what_is_wrong_beyond_the_limit_does_not_matter() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nB: c\nD\0";
    assert_eq!(parse_within(text, 20), Err(HeadTooLarge));
}

#[test]
fn a_head_has_at_most_128_fields() {
    let lines = |count: usize| {
        (1..count).fold("GET / HTTP/1.1\r\nHost: a\r\n".to_string(), |text, _| {
            text + "A:\r\n"
        }) + "\r\n"
    };
    assert_eq!(accepted(lines(MAX_FIELDS)).fields.len(), 128);
    refused(lines(MAX_FIELDS + 1), TooManyFields);
    assert_eq!(TooManyFields.status(), 431);
}

#[test]
fn errors_carry_the_status_to_answer_with() {
    for (error, status) in [
        (Line(LineError::BareLf), 400),
        (MissingHost, 400),
        (InvalidVersion, 400),
        (ChunkedNotLast, 400),
        (ConnectNotSupported, 501),
        (UnsupportedTransferCoding, 501),
        (UnsupportedVersion, 505),
    ] {
        assert_eq!(error.status(), status, "{error}");
    }
}

const SAMPLES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nPOST /a?b=c HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\nA: b c\r\n\r\nhello",
    "GET http://a/b HTTP/1.1\r\nHost: [::1]\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n",
    "PUT /a HTTP/1.0\r\nContent-Length: 1, 1\r\nExpect: 100-continue\r\n\r\na",
    "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
];

#[test]
fn the_answer_never_depends_on_the_cuts() {
    for_each_mutation(SAMPLES, 20_000, |bytes| {
        let _ = parse_within(bytes, MAX);
        let _ = parse_within(bytes, bytes.len() / 2);
    });
}

/// The fast reader and the one that goes byte by byte must agree on what the grammar allows.
#[test]
fn what_is_accepted_follows_the_grammar_byte_by_byte() {
    for_each_mutation(SAMPLES, 100_000, |bytes| {
        let Ok(Parsed::Complete(skipped)) = leading_empty_lines(bytes) else {
            return;
        };
        let rule = match broken_request_line(&bytes[skipped..]) {
            Ok(Parsed::Complete(fields)) => {
                broken_rule(fields, Folding::Refused).map(RequestError::from)
            }
            Ok(Parsed::Partial) => None,
            Err(error) => Some(error),
        };
        match (parse_at_once(bytes, MAX), rule) {
            (Ok(Parsed::Complete(_)), rule) => assert_eq!(rule, None, "{}", bytes.escape_ascii()),
            (Err(error @ Line(_)), rule) => {
                assert_eq!(Some(error), rule, "{}", bytes.escape_ascii());
            }
            _ => {}
        }
    });
}
