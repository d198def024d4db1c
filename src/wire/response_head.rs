//! The head of a response (RFC 9112 §4, §5): what a client reads.

use std::borrow::Cow;

use super::error::{LineError, ResponseError};
use super::field_line::{Folding, broken_rule};
use super::framing::{BodyFraming, FramingFields};
use super::head::{
    Field, FieldStorage, Parsed, Version, VersionText, leading_empty_lines, lines_end_with_crlf,
    version_text,
};
use super::syntax::is_field_content;

/// The head of a response, as slices of the input.
///
/// ```
#[doc = include_str!("examples/response_head.txt")]
/// // of `HTTP/1.1 404 Not Found` with 4 bytes of body
/// assert_eq!((head.status(), head.reason()), (404, "Not Found"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h, 'b> {
    status: u16,
    reason: &'b str,
    version: Version,
    fields: &'h [Field<'b>],
    length: usize,
    framing: FramingFields,
}

impl<'h, 'b> ResponseHead<'h, 'b> {
    /// The status, 100–999.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // of `HTTP/1.1 404 Not Found`
    /// assert_eq!(head.status(), 404);
    /// ```
    #[inline]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The text after the status; empty when there is none or when it is not ASCII.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // of `HTTP/1.1 404 Not Found`
    /// assert_eq!(head.reason(), "Not Found");
    /// ```
    #[inline]
    pub fn reason(&self) -> &'b str {
        self.reason
    }

    /// The version of the status line.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // of `HTTP/1.1 404 Not Found`
    /// assert_eq!(head.version(), Version::Http11);
    /// ```
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields in the order in which they came. A value may be folded: see [`unfold`].
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // with `Server: b` before the other
    /// assert_eq!((head.fields()[0].name, head.fields()[0].value), ("Server", &b"b"[..]));
    /// ```
    #[inline]
    pub fn fields(&self) -> &'h [Field<'b>] {
        self.fields
    }

    /// How many bytes of the input the head is, with the empty lines before and the one after it.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// assert_eq!(&input[head.length()..], b"gone");
    /// ```
    #[inline]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether another response to the same request follows: 1xx, but not 101, after which the
    /// connection speaks another protocol (RFC 9110 §15.2).
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // of `HTTP/1.1 404 Not Found`
    /// assert!(!head.interim());
    /// ```
    #[inline]
    pub fn interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// Whether the connection may serve another request after this message (RFC 9112 §9.3).
    ///
    /// Also false when its length is in doubt: `Transfer-Encoding` with `Content-Length` or in
    /// HTTP/1.0 (RFC 9112 §6.1). A body with the framing [`BodyFraming::UntilClose`] ends the
    /// connection in any case.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // without `Connection: close`
    /// assert!(head.persistent());
    /// ```
    pub fn persistent(&self) -> bool {
        self.framing.persistent(self.version) && self.framing.is_sound_in_response(self.version)
    }

    /// How the end of the body is found, which depends on the request too (RFC 9112 §6.3): none
    /// after HEAD, for 1xx, 204 and 304, and after a CONNECT that succeeded.
    ///
    /// ```
    #[doc = include_str!("examples/response_head.txt")]
    /// // with `Content-Length: 4`
    /// assert_eq!(head.framing("GET"), Ok(BodyFraming::Length(4)));
    /// assert_eq!(head.framing("HEAD"), Ok(BodyFraming::Empty));
    /// ```
    ///
    /// # Errors
    ///
    /// When the fields leave it in doubt: lengths that differ or are no numbers, unknown codings.
    pub fn framing(&self, request_method: &str) -> Result<BodyFraming, ResponseError> {
        match (self.status, request_method) {
            (_, "HEAD") | (100..=199 | 204 | 304, _) | (200..=299, "CONNECT") => {
                Ok(BodyFraming::Empty)
            }
            _ => self.framing.of_response(self.version),
        }
    }
}

/// Reads the head of a response from the front of `input`, of which it may take `max_bytes` bytes.
///
/// The answer is the same however the input was cut, as with
/// [`parse_request`](super::parse_request).
///
/// # Errors
///
/// One for each rule that even a lenient client has to keep.
///
/// ```
/// use lute_net::wire::{BodyFraming, FieldStorage, Parsed, parse_response};
///
/// let input = b"HTTP/1.0 200\r\nServer: old\r\n\r\nall until the end";
/// let mut storage = FieldStorage::new();
/// let Parsed::Complete(head) = parse_response(input, &mut storage, 4096)? else { panic!() };
/// assert_eq!(head.framing("GET")?, BodyFraming::UntilClose);
/// # Ok::<(), lute_net::wire::ResponseError>(())
/// ```
pub fn parse_response<'h, 'b>(
    input: &'b [u8],
    storage: &'h mut FieldStorage<'b>,
    max_bytes: usize,
) -> Result<Parsed<ResponseHead<'h, 'b>>, ResponseError> {
    let window = input.get(..max_bytes).unwrap_or(input);
    match parse_window(window, storage)? {
        Parsed::Partial if window.len() == max_bytes => Err(ResponseError::HeadTooLarge),
        parsed => Ok(parsed),
    }
}

fn parse_window<'h, 'b>(
    window: &'b [u8],
    storage: &'h mut FieldStorage<'b>,
) -> Result<Parsed<ResponseHead<'h, 'b>>, ResponseError> {
    let Parsed::Complete(skipped) = leading_empty_lines(window)? else {
        return Ok(Parsed::Partial);
    };
    let message = window.get(skipped..).unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, message, &mut storage.0);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyFields),
        Err(_) => return explain(message).map_or(Ok(Parsed::Partial), Err),
    };
    let (Some(status), Some(reason), Some(version)) =
        (response.code, response.reason, response.version)
    else {
        return Err(ResponseError::NotHttp);
    };
    if !lines_end_with_crlf(message.get(..length).unwrap_or(message)) {
        return Err(explain(message).unwrap_or(LineError::BareLf.into()));
    }
    if status < 100 {
        return Err(ResponseError::InvalidStatus);
    }
    let mut framing = FramingFields::default();
    for field in response.headers.iter() {
        framing.note(field);
    }
    Ok(Parsed::Complete(ResponseHead {
        status,
        reason,
        version: match version {
            0 => Version::Http10,
            _ => Version::Http11,
        },
        fields: response.headers,
        length: skipped + length,
        framing,
    }))
}

/// A field value with one space for each place where it went on in the next line (RFC 9112 §5.2).
/// Borrowed, and not looked at twice, unless it is folded.
///
/// ```
/// use lute_net::wire::unfold;
///
/// assert_eq!(unfold(b"one \r\n\t two").as_ref(), b"one two");
/// ```
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\r', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut unfolded = Vec::with_capacity(value.len());
    for line in value.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if !unfolded.is_empty() && !line.is_empty() {
            unfolded.push(b' ');
        }
        unfolded.extend_from_slice(line);
    }
    Cow::Owned(unfolded)
}

/// The first rule that a message breaks. None while it could still be a version that is not
/// supported: `httparse` refuses that at its first byte.
#[cold]
fn explain(message: &[u8]) -> Option<ResponseError> {
    match broken_status_line(message) {
        Ok(Parsed::Complete(fields)) => {
            let rule = broken_rule(fields, Folding::Allowed);
            Some(rule.unwrap_or(LineError::InvalidValue).into())
        }
        Ok(Parsed::Partial) => None,
        Err(error) => Some(error),
    }
}

/// Follows `status-line` (RFC 9112 §4) byte by byte; the rest of the message if it is sound.
fn broken_status_line(message: &[u8]) -> Result<Parsed<&[u8]>, ResponseError> {
    let status_and_rest = match version_text(message) {
        VersionText::Known([b' ', rest @ ..]) => rest,
        VersionText::Known([]) | VersionText::Partial => return Ok(Parsed::Partial),
        VersionText::Unknown => return Err(ResponseError::UnsupportedVersion),
        VersionText::Known(_) | VersionText::Invalid => return Err(ResponseError::NotHttp),
    };
    let digits = status_and_rest.get(..3).unwrap_or(status_and_rest);
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ResponseError::InvalidStatus);
    }
    let Some((_, rest)) = status_and_rest.split_at_checked(3) else {
        return Ok(Parsed::Partial);
    };
    let reason = match rest {
        [] => return Ok(Parsed::Partial),
        [b' ', reason @ ..] => reason,
        [b'\r' | b'\n', ..] => rest,
        _ => return Err(ResponseError::InvalidStatus),
    };
    let Some(end) = reason.iter().position(|byte| !is_field_content(*byte)) else {
        return Ok(Parsed::Partial);
    };
    match reason.get(end..).unwrap_or_default() {
        [] | [b'\r'] => Ok(Parsed::Partial),
        [b'\r', b'\n', fields @ ..] => Ok(Parsed::Complete(fields)),
        [b'\r', ..] => Err(LineError::BareCr.into()),
        [b'\n', ..] => Err(LineError::BareLf.into()),
        _ => Err(ResponseError::InvalidReason),
    }
}

#[cfg(test)]
mod tests;
