use super::super::cuts::{for_each_mutation, parse_all_prefixes};
use super::super::head::MAX_FIELDS;
use super::*;
use ResponseError::*;

const MAX: usize = 4096;

/// Everything a head says, owned, so that answers can be compared.
#[derive(Clone, PartialEq, Debug)]
struct Facts {
    status: u16,
    reason: String,
    version: Version,
    fields: Vec<(String, Vec<u8>)>,
    length: usize,
    persistent: bool,
    interim: bool,
    framing: [Result<BodyFraming, ResponseError>; 3],
}

impl From<ResponseHead<'_, '_>> for Facts {
    fn from(head: ResponseHead<'_, '_>) -> Self {
        Facts {
            status: head.status(),
            reason: head.reason().into(),
            version: head.version(),
            fields: (head.fields().iter())
                .map(|field| (field.name.into(), unfold(field.value).into()))
                .collect(),
            length: head.length(),
            persistent: head.persistent(),
            interim: head.interim(),
            framing: ["GET", "HEAD", "CONNECT"].map(|method| head.framing(method)),
        }
    }
}

fn parse_at_once(input: &[u8], max_bytes: usize) -> Result<Parsed<Facts>, ResponseError> {
    Ok(
        match parse_response(input, &mut FieldStorage::new(), max_bytes)? {
            Parsed::Complete(head) => Parsed::Complete(head.into()),
            Parsed::Partial => Parsed::Partial,
        },
    )
}

fn parse_within(input: impl AsRef<[u8]>, max_bytes: usize) -> Result<Parsed<Facts>, ResponseError> {
    parse_all_prefixes(input.as_ref(), |bytes| parse_at_once(bytes, max_bytes))
}

fn accepted(input: impl AsRef<[u8]>) -> Facts {
    match parse_within(&input, MAX) {
        Ok(Parsed::Complete(facts)) => facts,
        other => panic!("{}: {other:?}", input.as_ref().escape_ascii()),
    }
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, error: ResponseError) {
    let answer = parse_within(&input, MAX);
    assert_eq!(answer, Err(error), "{}", input.as_ref().escape_ascii());
}

fn with_lines(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n")
}

/// The framing after a GET.
fn framing(head: impl AsRef<[u8]>) -> Result<BodyFraming, ResponseError> {
    let [after_get, ..] = accepted(head).framing;
    after_get
}

#[test]
fn a_response_is_taken_apart() {
    let text =
        "HTTP/1.1 404 Not Found\r\nServer: x/1\r\nX-Name: caf\u{e9}\r\nContent-Length: 3\r\n\r\n";
    let facts = accepted(format!("{text}abc"));
    assert_eq!((facts.status, facts.reason.as_str()), (404, "Not Found"));
    assert_eq!(facts.version, Version::Http11);
    assert_eq!(facts.length, text.len());
    assert_eq!(facts.fields[1], ("X-Name".into(), "caf\u{e9}".into()));
    assert!(facts.persistent && !facts.interim);
}

#[test]
fn the_reason_may_be_missing_as_of_rfc_9112_section_4() {
    for (line, reason) in [
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.0 200 All\tgood ", "All\tgood "),
        ("HTTP/1.1 200 \u{e9}", ""),
    ] {
        let facts = accepted(format!("{line}\r\nA: b\r\n\r\n"));
        assert_eq!(
            (facts.status, facts.reason.as_str()),
            (200, reason),
            "{line}"
        );
    }
    refused("HTTP/1.1 200 O\0K\r\n", InvalidReason);
    refused("HTTP/1.1 200 O\x7f", InvalidReason);
}

#[test]
fn a_status_is_three_digits_from_100_to_999_as_of_rfc_9112_section_4() {
    for status in [100, 200, 299, 451, 599, 600, 999] {
        assert_eq!(
            accepted(format!("HTTP/1.1 {status} x\r\n\r\n")).status,
            status
        );
    }
    for status in [
        "099", "000", "20", "2000", "2x0", "+20", "-20", " 200", "", "200x", "200\t",
    ] {
        refused(format!("HTTP/1.1 {status} x\r\n\r\n"), InvalidStatus);
    }
}

#[test]
fn only_http_1_0_and_1_1_are_spoken() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"] {
        refused(format!("{version} 200 OK\r\n\r\n"), UnsupportedVersion);
    }
    for start in [
        "ICY 200 OK",
        "http/1.1 200 OK",
        "HTTP/2 200 OK",
        "HTTP/1.1\t200",
        "SSH-2.0-x",
    ] {
        refused(format!("{start}\r\n\r\n"), NotHttp);
    }
    refused(b"\x15\x03\x01\x00\x02\x02\x46", NotHttp);
}

#[test]
fn bare_line_ends_are_refused_as_of_rfc_9112_section_2_2() {
    for text in [
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        "HTTP/1.1 200 OK\r\nA: b\n c\r\n\r\n",
        "\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        refused(text, Line(LineError::BareLf));
    }
    for text in [
        "HTTP/1.1 200 OK\rA",
        "HTTP/1.1 200\rA",
        "HTTP/1.1 200 OK\r\nA: b\rc",
        "HTTP/1.1 200 OK\r\n\rA",
        "\rHTTP",
    ] {
        refused(text, Line(LineError::BareCr));
    }
}

#[test]
fn fields_follow_the_grammar_of_rfc_9112_section_5() {
    for (line, error) in [
        ("A : b", LineError::WhitespaceInName),
        (" A: b", LineError::LeadingWhitespace),
        (": b", LineError::EmptyName),
        ("A", LineError::MissingColon),
        ("A@: b", LineError::InvalidName),
        ("A: \0", LineError::InvalidValue),
        ("A: b\r\n c\x0b", LineError::InvalidValue),
    ] {
        refused(with_lines(line), Line(error));
    }
}

#[test]
fn folded_values_read_as_one_line_as_of_rfc_9112_section_5_2() {
    let value = |lines| accepted(with_lines(lines)).fields.remove(0).1;
    assert_eq!(value("A: b\r\n c"), b"b c");
    assert_eq!(value("A: b \t\r\n\t  c\r\n d\r\nE: f"), b"b c d");
    assert_eq!(value("A:\r\n b"), b"b");
    assert_eq!(value("A: b\r\n \r\n c"), b"b c");
    assert_eq!(value("A: b\r\n \r\nC: d"), b"b");
    assert_eq!(value("A:\r\n \r\nC: d"), b"");
    assert!(matches!(
        unfold(b"plain \tvalue"),
        Cow::Borrowed(b"plain \tvalue")
    ));
    assert_eq!(
        framing(with_lines("Transfer-Encoding:\r\n chunked")),
        Ok(BodyFraming::Chunked)
    );
    assert_eq!(
        framing(with_lines("Content-Length: 5\r\n 5")),
        Err(InvalidContentLength)
    );
}

#[test]
fn heads_have_limits() {
    let head = with_lines("A: b");
    assert!(matches!(
        parse_within(&head, head.len()),
        Ok(Parsed::Complete(_))
    ));
    for max_bytes in 0..head.len() {
        assert_eq!(parse_within(&head, max_bytes), Err(HeadTooLarge));
    }
    let lines = vec!["A:"; MAX_FIELDS].join("\r\n");
    assert_eq!(accepted(with_lines(&lines)).fields.len(), MAX_FIELDS);
    refused(with_lines(&format!("{lines}\r\nB:")), TooManyFields);
}

#[test]
fn some_responses_have_no_body_whatever_they_say_as_of_rfc_9112_section_6_3() {
    let lines = "Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: x";
    for status in [100, 101, 103, 199, 204, 304] {
        let facts = accepted(format!("HTTP/1.1 {status} x\r\n{lines}\r\n\r\n"));
        assert_eq!(facts.framing, [Ok(BodyFraming::Empty); 3], "{status}");
    }
    let [after_get, after_head, after_connect] = accepted(with_lines("Content-Length: 5")).framing;
    assert_eq!(after_get, Ok(BodyFraming::Length(5)));
    assert_eq!(after_head, Ok(BodyFraming::Empty));
    assert_eq!(after_connect, Ok(BodyFraming::Empty));
    let [.., after_connect] = accepted("HTTP/1.1 407 x\r\nContent-Length: 5\r\n\r\n").framing;
    assert_eq!(after_connect, Ok(BodyFraming::Length(5)));
}

#[test]
fn interim_responses_are_1xx_but_not_101_as_of_rfc_9110_section_15_2() {
    for (status, interim) in [
        (100, true),
        (101, false),
        (102, true),
        (199, true),
        (200, false),
    ] {
        let facts = accepted(format!("HTTP/1.1 {status} x\r\n\r\n"));
        assert_eq!(facts.interim, interim, "{status}");
    }
}

#[test]
fn the_length_comes_from_the_fields_as_of_rfc_9112_section_6_3() {
    for (lines, expected) in [
        ("A: b", Ok(BodyFraming::UntilClose)),
        ("Content-Length: 0", Ok(BodyFraming::Length(0))),
        (
            "Content-Length: 5\r\ncontent-length: 5",
            Ok(BodyFraming::Length(5)),
        ),
        ("Content-Length: 5, 5", Ok(BodyFraming::Length(5))),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            Err(DifferingContentLengths),
        ),
        ("Content-Length: -5", Err(InvalidContentLength)),
        ("Content-Length:", Err(InvalidContentLength)),
        ("Transfer-Encoding: Chunked", Ok(BodyFraming::Chunked)),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Ok(BodyFraming::Chunked),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: x",
            Ok(BodyFraming::Chunked),
        ),
        ("Transfer-Encoding: identity", Ok(BodyFraming::UntilClose)),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5",
            Ok(BodyFraming::Length(5)),
        ),
        ("Transfer-Encoding: gzip", Err(UnsupportedTransferCoding)),
        (
            "Transfer-Encoding: gzip, chunked",
            Err(UnsupportedTransferCoding),
        ),
        (
            "Transfer-Encoding: chunked, gzip",
            Err(UnsupportedTransferCoding),
        ),
        (
            "Transfer-Encoding: chunked, chunked",
            Err(UnsupportedTransferCoding),
        ),
        (
            "Transfer-Encoding: chunked;a=b",
            Err(InvalidTransferEncoding),
        ),
        ("Transfer-Encoding:", Err(InvalidTransferEncoding)),
    ] {
        assert_eq!(framing(with_lines(lines)), expected, "{lines}");
    }
    assert_eq!(
        UnsupportedTransferCoding.to_string(),
        "unsupported transfer coding"
    );
}

#[test]
fn transfer_encoding_in_http_1_0_reads_until_the_end_as_of_rfc_9112_section_6_1() {
    let text = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framing(text), Ok(BodyFraming::UntilClose));
    assert!(!accepted(text).persistent);
}

#[test]
fn connections_are_kept_only_after_sound_responses_as_of_rfc_9112_section_9_3() {
    for (head, persistent) in [
        ("HTTP/1.1 200 OK\r\nA: b", true),
        ("HTTP/1.1 200 OK\r\nConnection: close", false),
        ("HTTP/1.0 200 OK\r\nA: b", false),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity", false),
        (
            "HTTP/1.1 304 x\r\nContent-Length: 1\r\nContent-Length: 2",
            false,
        ),
    ] {
        let facts = accepted(format!("{head}\r\n\r\n"));
        assert_eq!(facts.persistent, persistent, "{head}");
    }
}

const SAMPLES: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b c\r\n\r\nhello",
    "HTTP/1.0 304\r\nConnection: keep-alive\r\nA:\r\n b\r\n\tc\r\n\r\n",
    "\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n c\r\n\r\n0\r\n\r\n",
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
        let rule = match broken_status_line(&bytes[skipped..]) {
            Ok(Parsed::Complete(fields)) => {
                broken_rule(fields, Folding::Allowed).map(ResponseError::from)
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
