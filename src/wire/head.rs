//! What the heads of requests and responses have in common.

use std::mem::MaybeUninit;

use super::error::LineError;

/// A field line of a head: `name` as it was sent, `value` without the whitespace around it.
///
/// ```
/// let field = lute_net::wire::Field { name: "Host", value: b"a.example" };
/// assert_eq!((field.name, field.value), ("Host", &b"a.example"[..]));
/// ```
pub type Field<'b> = httparse::Header<'b>;

/// The most field lines a head may have; one more is [`RequestError::TooManyFields`].
///
/// [`RequestError::TooManyFields`]: super::RequestError::TooManyFields
///
/// ```
/// use lute_net::wire::{FieldStorage, MAX_FIELDS, RequestError, parse_request};
///
/// let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS));
/// let error = parse_request(input.as_bytes(), &mut FieldStorage::new(), 4096).unwrap_err();
/// assert_eq!(error, RequestError::TooManyFields);
/// ```
pub const MAX_FIELDS: usize = 128;

/// The versions of the protocol that are spoken here (RFC 9112 §2.3).
///
/// ```
#[doc = include_str!("examples/request_head.txt")]
/// // of `POST /notes?draft HTTP/1.1`
/// assert_eq!(head.version(), Version::Http11);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// What came of a try to parse a head.
///
/// ```
/// use lute_net::wire::{FieldStorage, Parsed, parse_request};
///
/// let mut storage = FieldStorage::new();
/// let parsed = parse_request(b"GET / HTTP/1.1\r\nHo", &mut storage, 4096);
/// assert!(matches!(parsed, Ok(Parsed::Partial)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<T> {
    /// Nothing wrong so far, but the end has not come yet.
    Partial,
    /// The whole of it.
    Complete(T),
}

/// Room for the fields of one head, about 4 KiB, meant for the stack: making one costs nothing.
///
/// ```
/// use lute_net::wire::{FieldStorage, parse_request};
///
/// let mut received = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
/// assert!(parse_request(&received, &mut FieldStorage::new(), 4096).is_ok());
/// received.extend_from_slice(b"\r\n"); // more came: the next call has its own
/// assert!(parse_request(&received, &mut FieldStorage::new(), 4096).is_ok());
/// ```
pub struct FieldStorage<'b>(pub(super) [MaybeUninit<Field<'b>>; MAX_FIELDS]);

impl FieldStorage<'_> {
    /// Empty room. A head borrows it, so make a new one for each call of a parser.
    ///
    /// ```
    /// let mut storage = lute_net::wire::FieldStorage::new();
    /// assert!(lute_net::wire::parse_response(b"HTTP/1.1 200 OK\r\n\r\n", &mut storage, 4096).is_ok());
    /// ```
    #[inline]
    pub fn new() -> Self {
        FieldStorage([MaybeUninit::uninit(); MAX_FIELDS])
    }
}

impl Default for FieldStorage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Responses with a status of 1xx before the final one, at the most, for a client that would wait for ever otherwise.
///
/// ```
/// use lute_net::wire::{FieldStorage, MOST_INTERIM, Parsed, parse_response};
///
/// let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n";
/// let mut interim = 0;
/// while interim <= MOST_INTERIM {
///     let mut storage = FieldStorage::new();
///     let Ok(Parsed::Complete(head)) = parse_response(hint, &mut storage, 4096) else { panic!() };
///     interim += u32::from(head.interim()); // a server that never answers
/// }
/// assert!(interim > MOST_INTERIM);
/// ```
pub const MOST_INTERIM: u32 = 100;

/// Says when it is worth while to parse a head that arrives in drops, so that a head sent byte by
/// byte costs O(n) in all and not O(n²).
///
/// One of these belongs to one head: start again from `default()` for the next.
///
/// ```
/// use lute_net::wire::HeadProgress;
///
/// let mut progress = HeadProgress::default();
/// assert!(progress.worth_parsing(b"GET / HTTP/1.1\r\n")); // it could be garbage: look once
/// assert!(!progress.worth_parsing(b"GET / HTTP/1.1\r\nHost: a\r\n"));
/// assert!(progress.worth_parsing(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct HeadProgress {
    scanned: usize,
    tried: usize,
}

impl HeadProgress {
    /// True when the end of the head is in sight, or when `input` (all bytes of the head so far) is
    /// twice as long as at the last `true`, so that garbage is refused before its end.
    ///
    /// Only bytes that were not there at the last call are looked at. A head that is too large is
    /// therefore refused somewhere between its limit and twice its limit, unless the caller also
    /// parses as soon as the limit is reached.
    ///
    /// ```
    /// use lute_net::wire::HeadProgress;
    ///
    /// let mut progress = HeadProgress::default();
    /// let head = b"GET /a/long/path HTTP/1.1\r\nHost: a.example\r\n\r\n";
    /// let tries = (1..=head.len()).filter(|end| progress.worth_parsing(&head[..*end])).count();
    /// assert!(tries < 8, "byte by byte it is parsed {tries} times");
    /// ```
    pub fn worth_parsing(&mut self, input: &[u8]) -> bool {
        // The end may have begun in the last two bytes of the part that was scanned before.
        let unseen = input.get(self.scanned.saturating_sub(2)..).unwrap_or(input);
        self.scanned = input.len();
        let doubled = input.len() / 2 >= self.tried;
        if !doubled && !has_empty_line(unseen) {
            return false;
        }
        self.tried = input.len();
        true
    }
}

/// An empty line after a line end, be it CRLF or the LF that will be refused.
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|line_end| {
        matches!(
            bytes.get(line_end + 1..),
            Some([b'\n', ..] | [b'\r', b'\n', ..])
        )
    })
}

/// The values of all field lines called `name` (in any case), in the order in which they came.
///
/// ```
/// use lute_net::wire::{FieldStorage, Parsed, parse_response, values_of};
///
/// let input = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n";
/// let mut storage = FieldStorage::new();
/// let Ok(Parsed::Complete(head)) = parse_response(input, &mut storage, 4096) else { panic!() };
/// let cookies: Vec<&[u8]> = values_of(head.fields(), "Set-Cookie").collect();
/// assert_eq!(cookies, [b"a=1", b"b=2"]);
/// ```
pub fn values_of<'f, 'b>(
    fields: &'f [Field<'b>],
    name: &'f str,
) -> impl Iterator<Item = &'b [u8]> + 'f {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// The most empty lines that may stand before the start line. Some clients send one after a body (RFC 9112 §2.2); more than
/// two is a flood.
///
/// ```
/// use lute_net::wire::{FieldStorage, MOST_EMPTY_LINES, parse_request};
///
/// let flood = "\r\n".repeat(MOST_EMPTY_LINES + 1);
/// assert!(parse_request(flood.as_bytes(), &mut FieldStorage::new(), 4096).is_err());
/// ```
pub const MOST_EMPTY_LINES: usize = 2;

/// How many bytes of empty lines stand before the start line.
pub(super) fn leading_empty_lines(input: &[u8]) -> Result<Parsed<usize>, LineError> {
    let mut rest = input;
    for _ in 0..=MOST_EMPTY_LINES {
        rest = match rest {
            [b'\r', b'\n', after @ ..] => after,
            [] | [b'\r'] => return Ok(Parsed::Partial),
            [b'\r', ..] => return Err(LineError::BareCr),
            [b'\n', ..] => return Err(LineError::BareLf),
            _ => return Ok(Parsed::Complete(input.len() - rest.len())),
        };
    }
    Err(LineError::EmptyLines)
}

/// Whether each LF has its CR (RFC 9112 §2.2 would let a recipient take one without, and that is where two parsers
/// differ). `httparse` has already seen to it that each CR has its LF.
#[inline]
pub(super) fn lines_end_with_crlf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head)
        .all(|line_end| line_end.checked_sub(1).and_then(|before| head.get(before)) == Some(&b'\r'))
}

/// A protocol version as it stands in a start line, read from its first byte.
pub(super) enum VersionText<'b> {
    /// All bytes so far fit `HTTP/` DIGIT `.` DIGIT, but some are missing.
    Partial,
    /// One that is spoken here, and the bytes after it.
    Known(&'b [u8]),
    /// A version, but not 1.0 or 1.1.
    Unknown,
    /// Something else.
    Invalid,
}

/// Reads `HTTP-version` (RFC 9112 §2.3), which is case-sensitive.
pub(super) fn version_text(bytes: &[u8]) -> VersionText<'_> {
    let text = bytes.get(..8).unwrap_or(bytes);
    let fits = text.iter().zip(b"HTTP/d.d").all(|(byte, wanted)| {
        if *wanted == b'd' {
            byte.is_ascii_digit()
        } else {
            byte == wanted
        }
    });
    if !fits {
        return VersionText::Invalid;
    }
    match bytes.split_at_checked(8) {
        None => VersionText::Partial,
        Some((b"HTTP/1.0" | b"HTTP/1.1", after)) => VersionText::Known(after),
        Some(_) => VersionText::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_drops_is_tried_a_logarithmic_number_of_times() {
        let mut input = b"GET / HTTP/1.1\r\nx: ".to_vec();
        input.extend(vec![b'a'; 60_000]);
        input.extend(b"\r\n\r\n");
        let mut progress = HeadProgress::default();
        let tries = (1..=input.len())
            .filter(|end| progress.worth_parsing(&input[..*end]))
            .count();
        assert!(tries <= 18, "{tries} tries");
    }

    #[test]
    fn the_end_of_a_head_is_seen_wherever_it_is_cut() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let head = format!("GET / HTTP/1.1\r\nHost: a{end}");
            for cut in 1..head.len() {
                let mut progress = HeadProgress::default();
                progress.worth_parsing(&head.as_bytes()[..cut]);
                assert!(progress.worth_parsing(head.as_bytes()), "{end:?} at {cut}");
            }
        }
    }

    #[test]
    fn progress_starts_again_when_the_input_became_shorter() {
        let mut progress = HeadProgress::default();
        progress.worth_parsing(&[b'a'; 1000]);
        assert!(progress.worth_parsing(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }

    #[test]
    fn two_empty_lines_are_skipped_and_a_third_is_refused_as_of_rfc_9112_section_2_2() {
        use LineError::*;
        use Parsed::*;
        for (input, expected) in [
            ("", Ok(Partial)),
            ("\r", Ok(Partial)),
            ("\r\n\r\n", Ok(Partial)),
            ("\r\n\r\n\r", Ok(Partial)),
            ("GET", Ok(Complete(0))),
            ("\r\nGET", Ok(Complete(2))),
            ("\r\n\r\nGET", Ok(Complete(4))),
            ("\r\n\r\n\r\n", Err(EmptyLines)),
            ("\nGET", Err(BareLf)),
            ("\r\n\nGET", Err(BareLf)),
            ("\rGET", Err(BareCr)),
            ("\r\r\n", Err(BareCr)),
        ] {
            assert_eq!(leading_empty_lines(input.as_bytes()), expected, "{input:?}");
        }
    }
}
