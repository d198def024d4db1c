//! What the heads of requests and responses have in common.

use std::mem::MaybeUninit;

use super::error::LineError;

/// A field line of a head: `name` as it was sent, `value` without the whitespace around it.
pub type Field<'b> = httparse::Header<'b>;

/// The most field lines a head may have; one more is [`RequestError::TooManyFields`].
///
/// [`RequestError::TooManyFields`]: super::RequestError::TooManyFields
pub const MAX_FIELDS: usize = 128;

/// The versions of the protocol that are spoken here (RFC 9112 §2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// What came of a try to parse a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<T> {
    /// Nothing wrong so far, but the end has not come yet.
    Partial,
    /// The whole of it.
    Complete(T),
}

/// Room for the fields of one head, about 4 KiB, meant for the stack: making one costs nothing.
pub struct FieldStorage<'b>(pub(super) [MaybeUninit<Field<'b>>; MAX_FIELDS]);

impl FieldStorage<'_> {
    /// Empty room. A head borrows it, so make a new one for each call of a parser.
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
