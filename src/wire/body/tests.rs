use super::super::cuts::{chunked_bodies, cut, cuts, for_each, for_each_mutation};
use super::super::error::LineError;
use super::*;
use BodyError::*;

/// How the reading of a body ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// After this many bytes of input.
    End(usize),
    NeedMore,
    Failed(BodyError),
}

/// Decodes `slices` one after the other and joins the pieces.
fn decode_slices<'b>(
    framing: BodyFraming,
    slices: impl IntoIterator<Item = &'b [u8]>,
) -> (Vec<u8>, Outcome) {
    let mut body = BodyDecoder::new(framing);
    let mut data = Vec::new();
    let mut used_in_all = 0;
    for slice in slices {
        let mut rest = slice;
        loop {
            let (used, event) = match body.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    assert_eq!(body.decode(b"0\r\n\r\n"), Err(error), "an error stays");
                    return (data, Outcome::Failed(error));
                }
            };
            let (taken, left) = rest.split_at(used);
            used_in_all += used;
            rest = left;
            match event {
                BodyEvent::Piece(piece) => {
                    assert!(!piece.is_empty());
                    assert!(taken.ends_with(piece));
                    data.extend_from_slice(piece);
                }
                BodyEvent::NeedMore => {
                    assert!(rest.is_empty(), "all of the input is used");
                    break;
                }
                BodyEvent::End => {
                    assert!(body.is_finished());
                    assert_eq!(body.remaining(), Some(0));
                    return (data, Outcome::End(used_in_all));
                }
            }
        }
    }
    (data, Outcome::NeedMore)
}

/// Decodes `input` whole, cut at every byte, and byte by byte: all must be the same.
fn decode(framing: BodyFraming, input: impl AsRef<[u8]>) -> (Vec<u8>, Outcome) {
    let input = input.as_ref();
    let whole = decode_slices(framing, [input]);
    assert_eq!(decode_slices(framing, input.chunks(1)), whole);
    assert_eq!(decode_slices(framing, input.chunks(3)), whole);
    // Long inputs are there for the limits: cuts near their ends tell enough.
    for cut in (0..=input.len()).filter(|cut| *cut < 600 || cut + 600 > input.len()) {
        let (first, second) = input.split_at(cut);
        let cut_once = decode_slices(framing, [first, second]);
        assert_eq!(cut_once, whole, "{} at {cut}", input.escape_ascii());
    }
    whole
}

fn chunked(input: impl AsRef<[u8]>) -> (Vec<u8>, Outcome) {
    decode(BodyFraming::Chunked, input)
}

#[track_caller]
fn refused(input: impl AsRef<[u8]>, error: BodyError) {
    let (_, outcome) = chunked(&input);
    assert_eq!(
        outcome,
        Outcome::Failed(error),
        "{}",
        input.as_ref().escape_ascii()
    );
}

#[track_caller]
fn accepted(input: impl AsRef<[u8]>, data: impl AsRef<[u8]>) {
    let length = input.as_ref().len();
    let mut with_more = input.as_ref().to_vec();
    with_more.extend(b"5\r\nmore");
    let expected = (data.as_ref().to_vec(), Outcome::End(length));
    assert_eq!(
        chunked(with_more),
        expected,
        "{}",
        input.as_ref().escape_ascii()
    );
}

#[test]
fn a_decoder_is_small_since_each_connection_may_have_one() {
    assert!(size_of::<BodyDecoder>() <= 32);
}

#[test]
fn an_empty_body_is_over_at_once() {
    for framing in [BodyFraming::Empty, BodyFraming::Length(0)] {
        assert_eq!(decode(framing, "GET"), (vec![], Outcome::End(0)));
        let mut body = BodyDecoder::new(framing);
        assert!(body.is_finished());
        assert_eq!(body.remaining(), Some(0));
        assert_eq!(body.decode(b""), Ok((0, BodyEvent::End)));
        assert_eq!(body.end_of_input(), Ok(()));
    }
}

#[test]
fn a_length_takes_that_many_bytes_as_of_rfc_9112_section_6_2() {
    let framing = BodyFraming::Length(5);
    assert_eq!(
        decode(framing, "hello"),
        (b"hello".to_vec(), Outcome::End(5))
    );
    assert_eq!(
        decode(framing, "helloGET"),
        (b"hello".to_vec(), Outcome::End(5))
    );
    assert_eq!(
        decode(framing, "hell"),
        (b"hell".to_vec(), Outcome::NeedMore)
    );
    let mut body = BodyDecoder::new(framing);
    assert_eq!(body.decode(b"hel"), Ok((3, BodyEvent::Piece(b"hel"))));
    assert_eq!(body.remaining(), Some(2));
    assert_eq!(body.end_of_input(), Err(Missing(2)));
    assert_eq!(body.decode(b"lo"), Err(Missing(2)), "it is over");
}

#[test]
fn the_longest_length_does_not_overflow() {
    let mut body = BodyDecoder::new(BodyFraming::Length(u64::MAX));
    assert_eq!(body.decode(b"a"), Ok((1, BodyEvent::Piece(b"a"))));
    assert_eq!(body.remaining(), Some(u64::MAX - 1));
}

#[test]
fn a_body_until_close_ends_with_the_connection_as_of_rfc_9112_section_6_3() {
    let framing = BodyFraming::UntilClose;
    assert_eq!(
        decode(framing, "a\r\n0\r\n"),
        (b"a\r\n0\r\n".to_vec(), Outcome::NeedMore)
    );
    let mut body = BodyDecoder::new(framing);
    assert_eq!(body.decode(b""), Ok((0, BodyEvent::NeedMore)));
    assert_eq!(body.remaining(), None);
    assert_eq!(body.end_of_input(), Ok(()));
    assert!(body.is_finished());
    assert_eq!(body.decode(b""), Ok((0, BodyEvent::End)));
}

#[test]
fn chunks_are_joined_as_of_rfc_9112_section_7_1() {
    accepted("0\r\n\r\n", "");
    accepted("5\r\nhello\r\n0\r\n\r\n", "hello");
    accepted("1\r\nh\r\n4\r\nello\r\n000\r\n\r\n", "hello");
    accepted(
        "a\r\n0123456789\r\nB\r\n\r\n0\r\n\r\n0123\r\n0\r\n\r\n",
        "0123456789\r\n0\r\n\r\n0123",
    );
    accepted(
        "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n",
        "hello",
    );
    assert_eq!(chunked("5\r\nhel"), (b"hel".to_vec(), Outcome::NeedMore));
    assert_eq!(
        chunked("5\r\nhello\r\n0\r\n\r"),
        (b"hello".to_vec(), Outcome::NeedMore)
    );
}

#[test]
fn a_chunk_size_is_plain_hexadecimal_as_of_rfc_9112_section_7_1() {
    for size in [
        "", "-1", "+5", " 5", "\t5", "0x5", "x", "g", "5g", ";a", "5,", "5_0", "\u{661}", "\r",
    ] {
        refused(format!("{size}\r\nhello\r\n0\r\n\r\n"), InvalidChunkSize);
    }
    refused("\n", InvalidChunkSize);
    refused("00000000000000005\r\nhello", ChunkSizeTooLong);
    refused("fffffffffffffffff\r\n", ChunkSizeTooLong);
    assert_eq!(
        chunked("FFFFFFFFFFFFFFFF\r\nab"),
        (b"ab".to_vec(), Outcome::NeedMore)
    );
}

#[test]
fn whitespace_after_a_size_needs_an_extension_as_of_rfc_9112_section_7_1_1() {
    accepted("5 \t;a\r\nhello\r\n0 ;b\r\n\r\n", "hello");
    for size in ["5 ", "5\t", "5 5", "5 \n"] {
        refused(
            format!("{size}\r\nhello\r\n0\r\n\r\n"),
            WhitespaceAfterChunkSize,
        );
    }
}

#[test]
fn a_size_line_ends_with_crlf_as_of_rfc_9112_section_2_2() {
    refused("5\nhello\r\n0\r\n\r\n", Line(LineError::BareLf));
    refused("5;a\nhello\r\n0\r\n\r\n", Line(LineError::BareLf));
    refused("5\rhello\r\n0\r\n\r\n", Line(LineError::BareCr));
    refused("5;a\rb\r\nhello\r\n0\r\n\r\n", Line(LineError::BareCr));
    refused("5\r\r\nhello", Line(LineError::BareCr));
}

#[test]
fn data_ends_with_exactly_crlf_as_of_rfc_9112_section_7_1() {
    for end in ["\n", "\r", "", "x\r\n", "\n\r", "\r\r\n", " \r\n"] {
        let text = format!("5\r\nhello{end}0\r\n\r\n");
        let (data, outcome) = chunked(&text);
        assert_eq!(
            (data, outcome),
            (b"hello".to_vec(), Outcome::Failed(ChunkNotEnded)),
            "{end:?}"
        );
    }
}

#[test]
fn extensions_are_skipped_as_of_rfc_9112_section_7_1_1() {
    accepted("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello");
    accepted("5;a=\"b; c\\\"\u{e9}\t\"\r\nhello\r\n0;\r\n\r\n", "hello");
    for byte in ["\0", "\x0b", "\x1f", "\x7f"] {
        refused(format!("5;a={byte}\r\nhello\r\n"), InvalidChunkExtension);
    }
}

#[test]
fn a_line_has_at_most_4_kib_of_extensions() {
    let line = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(bytes - 1));
    accepted(line(4096), "x");
    refused(line(4097), ChunkExtensionsTooLong);
    refused(format!("1{}", " ".repeat(4097)), ChunkExtensionsTooLong);
}

#[test]
fn extensions_are_bounded_over_the_whole_body() {
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(1023));
    let flood = chunk.repeat(17);
    refused(flood, ChunkExtensionsTooLong);
    accepted(chunk.repeat(16) + "0\r\n\r\n", "x".repeat(16));
}

#[test]
fn signed_uploads_pass_at_any_length() {
    let data = "x".repeat(8192);
    let chunk = format!("2000;chunk-signature={}\r\n{data}\r\n", "0".repeat(64));
    let body = chunk.repeat(500) + "0\r\n\r\n";
    let (decoded, outcome) = decode_slices(BodyFraming::Chunked, [body.as_bytes()]);
    assert_eq!(
        (decoded.len(), outcome),
        (500 * 8192, Outcome::End(body.len()))
    );
}

#[test]
fn trailers_are_checked_and_dropped_as_of_rfc_9112_section_7_1_2() {
    accepted("0\r\nA: b\r\nC:\r\n\r\n", "");
    accepted(
        "0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\nHost: a b\r\n\r\n",
        "",
    );
    for (trailers, error) in [
        ("A: b\n", LineError::BareLf),
        ("\n", LineError::BareLf),
        ("A: b\rc", LineError::BareCr),
        ("\rA", LineError::BareCr),
        (" A: b", LineError::LeadingWhitespace),
        ("A: b\r\n c", LineError::Folded),
        ("A : b", LineError::WhitespaceInName),
        (": b", LineError::EmptyName),
        ("A\r\n", LineError::MissingColon),
        ("GET / HTTP/1.1\r\n", LineError::WhitespaceInName),
        ("A@: b", LineError::InvalidName),
        ("A: \0", LineError::InvalidValue),
    ] {
        refused(format!("0\r\n{trailers}\r\n\r\n"), Line(error));
    }
}

#[test]
fn trailers_have_limits() {
    accepted(format!("0\r\n{}\r\n", "A:\r\n".repeat(32)), "");
    refused(
        format!("0\r\n{}\r\n", "A:\r\n".repeat(33)),
        TrailersTooLarge,
    );
    let section = |bytes: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(bytes - 6));
    accepted(section(8192), "");
    refused(section(8193), TrailersTooLarge);
    assert_eq!(TrailersTooLarge.status(), 431);
    assert_eq!(InvalidChunkSize.status(), 400);
}

#[test]
fn an_early_end_says_what_is_missing_as_of_rfc_9112_section_8() {
    for (input, error) in [
        ("", MissingLastChunk),
        ("5", MissingLastChunk),
        ("5\r\n", Missing(5)),
        ("5\r\nhell", Missing(1)),
        ("5\r\nhello", MissingLastChunk),
        ("5\r\nhello\r\n0\r\n", MissingLastChunk),
        ("5\r\nhello\r\n0\r\nA: b\r\n\r", MissingLastChunk),
    ] {
        let mut body = BodyDecoder::new(BodyFraming::Chunked);
        let mut rest = input.as_bytes();
        while let Ok((used, BodyEvent::Piece(_))) = body.decode(rest) {
            rest = &rest[used..];
        }
        assert_eq!(body.remaining(), None);
        assert_eq!(body.end_of_input(), Err(error), "{input:?}");
        assert_eq!(body.decode(b"x"), Err(error), "{input:?}");
        assert!(!body.is_finished());
    }
    let text = Missing(5).to_string();
    assert_eq!(text, "the body ended early: 5 bytes are missing");
}

#[test]
fn the_answer_never_depends_on_the_cuts() {
    let samples = [
        "5\r\nhello\r\n0\r\n\r\n",
        "a;b=\"c\"\r\n0123456789\r\n1 ;d\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nGET",
        "00000001\r\nx\r\nFFFFFFFFFFFFFFFF\r\nabc",
    ];
    for_each_mutation(&samples, 20_000, |bytes| {
        let _ = chunked(bytes);
    });
}

#[test]
fn a_chunked_body_in_any_slices_is_the_same_body() {
    for_each(
        2000,
        (chunked_bodies(), cuts()),
        |((coded, data), places)| {
            let whole = (data, Outcome::End(coded.len()));
            let slices = cut(&coded, &places);
            assert_eq!(decode_slices(BodyFraming::Chunked, slices), whole);
        },
    );
}
