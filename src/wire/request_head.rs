//! The head of a request (RFC 9112 §3, §5): what a server reads.

use super::error::{LineError, RequestError};
use super::field_line::{Folding, broken_rule};
use super::framing::{BodyFraming, FramingFields, list_elements};
use super::head::{
    Field, FieldStorage, Parsed, Version, VersionText, leading_empty_lines, lines_end_with_crlf,
    version_text,
};
use super::request_target::RequestTarget;
use super::syntax::{is_host, is_target_byte, is_token_byte};

/// The head of a request that follows all rules, as slices of the input.
///
/// ```
#[doc = include_str!("examples/request_head.txt")]
/// // of `POST /notes?draft HTTP/1.1` with a Host and 5 bytes of body
/// assert_eq!((head.method(), head.path()), ("POST", "/notes"));
/// assert_eq!((head.length(), head.framing()), (input.len() - 5, BodyFraming::Length(5)));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'h, 'b> {
    method: &'b str,
    target: RequestTarget<'b>,
    version: Version,
    fields: &'h [Field<'b>],
    length: usize,
    framing: BodyFraming,
    persistent: bool,
    expect: Expect,
    upgrade: bool,
    host: &'b [u8],
}

/// What the client expects before it sends the body (RFC 9110 §10.1.1).
///
/// ```
/// use lute_net::wire::{Expect, FieldStorage, Parsed, parse_request};
///
/// let input = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
/// let mut storage = FieldStorage::new();
/// let Ok(Parsed::Complete(head)) = parse_request(input, &mut storage, 4096) else { panic!() };
/// assert_eq!(head.expect(), Expect::Continue);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing, or the request is HTTP/1.0, where the field has no meaning.
    None,
    /// `100-continue`: a 100 response, or a final one instead of the body.
    Continue,
    /// Something else, to be answered with 417.
    Other,
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// The method as it was sent: a token, case-sensitive (RFC 9110 §9.1).
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // of `POST /notes?draft HTTP/1.1`
    /// assert_eq!(head.method(), "POST");
    /// ```
    #[inline]
    pub fn method(&self) -> &'b str {
        self.method
    }

    /// The target as it was sent (RFC 9112 §3.2): `/path?query`, `http://host/path`, or `*`.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // of `POST /notes?draft HTTP/1.1`
    /// assert_eq!(head.target(), "/notes?draft");
    /// ```
    #[inline]
    pub fn target(&self) -> &'b str {
        self.target.text
    }

    /// The target's path, still percent-encoded: never empty, `*` for `OPTIONS *`.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // of `POST /notes?draft HTTP/1.1`
    /// assert_eq!(head.path(), "/notes");
    /// ```
    #[inline]
    pub fn path(&self) -> &'b str {
        self.target.path
    }

    /// What stands after the first `?` of the target, still encoded.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // of `POST /notes?draft HTTP/1.1`
    /// assert_eq!(head.query(), Some("draft"));
    /// ```
    #[inline]
    pub fn query(&self) -> Option<&'b str> {
        self.target.query
    }

    /// The host (and port) the request is for: the target's if it names one, else the value of
    /// `Host` (RFC 9112 §3.2.2), which may be empty.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // with `Host: a.example`
    /// assert_eq!(head.host(), b"a.example");
    /// ```
    #[inline]
    pub fn host(&self) -> &'b [u8] {
        self.host
    }

    /// The version of the request line.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // of `POST /notes?draft HTTP/1.1`
    /// assert_eq!(head.version(), Version::Http11);
    /// ```
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields in the order in which they came.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // with `Host: a.example` and `Content-Length: 5`
    /// let names: Vec<&str> = head.fields().iter().map(|field| field.name).collect();
    /// assert_eq!(names, ["Host", "Content-Length"]);
    /// ```
    #[inline]
    pub fn fields(&self) -> &'h [Field<'b>] {
        self.fields
    }

    /// How many bytes of the input the head is, with the empty lines before and the one after it:
    /// the body begins there.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// assert_eq!(&input[head.length()..], b"hello");
    /// ```
    #[inline]
    pub fn length(&self) -> usize {
        self.length
    }

    /// How the end of the body is found (RFC 9112 §6.3); never [`BodyFraming::UntilClose`].
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // with `Content-Length: 5`
    /// assert_eq!(head.framing(), BodyFraming::Length(5));
    /// ```
    #[inline]
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the client wants the connection kept after this message (RFC 9112 §9.3).
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // without `Connection: close`
    /// assert!(head.persistent());
    /// ```
    #[inline]
    pub fn persistent(&self) -> bool {
        self.persistent
    }

    /// What the client waits for before it sends the body.
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // without an `Expect`
    /// assert_eq!(head.expect(), Expect::None);
    /// ```
    #[inline]
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// Whether the client asks for another protocol: an `Upgrade` field that `Connection` names, in
    /// HTTP/1.1 (RFC 9110 §7.8).
    ///
    /// ```
    #[doc = include_str!("examples/request_head.txt")]
    /// // without `Connection: upgrade`
    /// assert!(!head.upgrade());
    /// ```
    #[inline]
    pub fn upgrade(&self) -> bool {
        self.upgrade
    }
}

/// Reads the head of a request from the front of `input`, of which it may take `max_bytes` bytes.
///
/// The answer does not depend on what comes after the head, and is the same whenever the call is
/// made: `Partial` turns into the answer once enough bytes are there.
///
/// # Errors
///
/// One for each rule that a request can break; [`RequestError::status`] says what to answer.
///
/// ```
/// use lute_net::wire::{FieldStorage, RequestError, parse_request};
///
/// let smuggled = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
/// let error = parse_request(smuggled, &mut FieldStorage::new(), 4096).unwrap_err();
/// assert_eq!(error, RequestError::DifferingContentLengths);
/// assert_eq!(error.status(), 400);
/// ```
pub fn parse_request<'h, 'b>(
    input: &'b [u8],
    storage: &'h mut FieldStorage<'b>,
    max_bytes: usize,
) -> Result<Parsed<RequestHead<'h, 'b>>, RequestError> {
    // Nothing beyond the limit is looked at, so that a head in one piece and one in drops are
    // refused for the same reason.
    let window = input.get(..max_bytes).unwrap_or(input);
    match parse_window(window, storage)? {
        Parsed::Partial if window.len() == max_bytes => Err(too_large(window)),
        parsed => Ok(parsed),
    }
}

fn parse_window<'h, 'b>(
    window: &'b [u8],
    storage: &'h mut FieldStorage<'b>,
) -> Result<Parsed<RequestHead<'h, 'b>>, RequestError> {
    let Parsed::Complete(skipped) = leading_empty_lines(window)? else {
        return Ok(Parsed::Partial);
    };
    let message = window.get(skipped..).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(message, &mut storage.0) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooManyFields),
        Err(_) => return explain(message).map_or(Ok(Parsed::Partial), Err),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(RequestError::InvalidRequestLine);
    };
    if !lines_end_with_crlf(message.get(..length).unwrap_or(message)) {
        return Err(explain(message).unwrap_or(LineError::BareLf.into()));
    }
    let version = match version {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let target = RequestTarget::read(method, target)?;
    let summary = Summary::of(request.headers)?;
    let host = match (summary.host, version) {
        (Some(host), _) => host,
        (None, Version::Http10) => b"",
        (None, Version::Http11) => return Err(RequestError::MissingHost),
    };
    let in_11 = version == Version::Http11;
    Ok(Parsed::Complete(RequestHead {
        method,
        target,
        version,
        fields: request.headers,
        length: skipped + length,
        framing: summary.framing.of_request(version)?,
        persistent: summary.framing.persistent(version),
        expect: if in_11 { summary.expect } else { Expect::None },
        upgrade: in_11 && summary.upgrade_field && summary.framing.wants_upgrade(),
        host: target.authority.map_or(host, str::as_bytes),
    }))
}

/// What one pass over the fields of a request finds.
struct Summary<'b> {
    framing: FramingFields,
    host: Option<&'b [u8]>,
    expect: Expect,
    upgrade_field: bool,
}

impl<'b> Summary<'b> {
    #[inline]
    fn of(fields: &[Field<'b>]) -> Result<Self, RequestError> {
        let mut summary = Summary {
            framing: FramingFields::default(),
            host: None,
            expect: Expect::None,
            upgrade_field: false,
        };
        for field in fields {
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => summary.note_host(field.value)?,
                6 if field.name.eq_ignore_ascii_case("expect") => summary.note_expect(field.value),
                7 if field.name.eq_ignore_ascii_case("upgrade") => summary.upgrade_field = true,
                _ => summary.framing.note(field),
            }
        }
        Ok(summary)
    }

    /// One, and a valid one (RFC 9112 §3.2).
    fn note_host(&mut self, value: &'b [u8]) -> Result<(), RequestError> {
        if self.host.replace(value).is_some() {
            return Err(RequestError::RepeatedHost);
        }
        if !is_host(value) {
            return Err(RequestError::InvalidHost);
        }
        Ok(())
    }

    fn note_expect(&mut self, value: &[u8]) {
        let understood =
            list_elements(value).all(|element| element.eq_ignore_ascii_case(b"100-continue"));
        self.expect = match (self.expect, understood) {
            (Expect::None | Expect::Continue, true) => Expect::Continue,
            _ => Expect::Other,
        };
    }
}

/// A full window without the end of a head: whose fault is it (RFC 9112 §3)?
#[cold]
fn too_large(window: &[u8]) -> RequestError {
    let start = window
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'));
    let message = start
        .and_then(|start| window.get(start..))
        .unwrap_or_default();
    match memchr::memchr(b'\n', message) {
        Some(_) => RequestError::HeadTooLarge,
        None => RequestError::RequestLineTooLong,
    }
}

/// The first rule that a message breaks. None while it could still be a version that is not
/// supported: `httparse` refuses that at its first byte.
#[cold]
fn explain(message: &[u8]) -> Option<RequestError> {
    match broken_request_line(message) {
        Ok(Parsed::Complete(fields)) => {
            let rule = broken_rule(fields, Folding::Refused);
            Some(rule.unwrap_or(LineError::InvalidValue).into())
        }
        Ok(Parsed::Partial) => None,
        Err(error) => Some(error),
    }
}

/// Follows `request-line` (RFC 9112 §3) byte by byte; the rest of the message if it is sound.
fn broken_request_line(message: &[u8]) -> Result<Parsed<&[u8]>, RequestError> {
    let Some((method, rest)) = split_before(message, |byte| !is_token_byte(byte)) else {
        return Ok(Parsed::Partial);
    };
    let target_and_rest = match rest {
        [b' ', after @ ..] if !method.is_empty() => after,
        [b'\r' | b'\n', ..] => return Err(RequestError::InvalidRequestLine),
        _ => return Err(RequestError::InvalidMethod),
    };
    let Some((target, rest)) = split_before(target_and_rest, |byte| !is_target_byte(byte)) else {
        return Ok(Parsed::Partial);
    };
    let version_and_rest = match rest {
        [b' ', after @ ..] if !target.is_empty() => after,
        [b' ' | b'\r' | b'\n', ..] => return Err(RequestError::InvalidRequestLine),
        _ => return Err(RequestError::InvalidTargetByte),
    };
    let rest = match version_text(version_and_rest) {
        VersionText::Known(rest) => rest,
        VersionText::Partial => return Ok(Parsed::Partial),
        VersionText::Unknown => return Err(RequestError::UnsupportedVersion),
        VersionText::Invalid => return Err(RequestError::InvalidVersion),
    };
    match rest {
        [] | [b'\r'] => Ok(Parsed::Partial),
        [b'\r', b'\n', fields @ ..] => Ok(Parsed::Complete(fields)),
        [b'\r', ..] => Err(LineError::BareCr.into()),
        [b'\n', ..] => Err(LineError::BareLf.into()),
        _ => Err(RequestError::InvalidRequestLine),
    }
}

/// The bytes before the first one that is `wanted`, and the rest from that one on.
fn split_before(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| wanted(*byte))?;
    bytes.split_at_checked(end)
}

#[cfg(test)]
mod tests;
