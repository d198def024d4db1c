//! Every way in which a message can be wrong, one variant for each rule.

use std::error::Error;
use std::fmt;

/// A line of a head, of a chunk or of the trailers that is not as RFC 9112 §2.2 and §5 want it.
///
/// ```
/// use lute_net::wire::{FieldStorage, LineError, RequestError, parse_request};
///
/// let smuggled = b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";
/// let error = parse_request(smuggled, &mut FieldStorage::new(), 4096).unwrap_err();
/// assert_eq!(error, RequestError::Line(LineError::WhitespaceInName));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineError {
    /// More than two empty lines before the start line (RFC 9112 §2.2).
    EmptyLines,
    /// A CR that no LF follows (RFC 9112 §2.2).
    BareCr,
    /// An LF without a CR before it (RFC 9112 §2.2).
    BareLf,
    /// Whitespace before the first field (RFC 9112 §2.2).
    LeadingWhitespace,
    /// A field that goes on in the next line, `obs-fold` (RFC 9112 §5.2).
    Folded,
    /// Whitespace in a field name or before its colon (RFC 9112 §5.1).
    WhitespaceInName,
    /// A field line that begins with the colon (RFC 9110 §5.1).
    EmptyName,
    /// A byte in a field name that no token has (RFC 9110 §5.1).
    InvalidName,
    /// A field line without a colon (RFC 9112 §5).
    MissingColon,
    /// A control byte in a field value (RFC 9110 §5.5).
    InvalidValue,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLines => "more than two empty lines before the message",
            Self::BareCr => "a CR without an LF after it",
            Self::BareLf => "an LF without a CR before it: lines end with CRLF",
            Self::LeadingWhitespace => "whitespace before the first header",
            Self::Folded => "a header that goes on in the next line (obsolete line folding)",
            Self::WhitespaceInName => "whitespace in a header name or before its colon",
            Self::EmptyName => "a header without a name",
            Self::InvalidName => "a byte in a header name that is not allowed there",
            Self::MissingColon => "a header line without a colon",
            Self::InvalidValue => "a control byte in a header value",
        })
    }
}

impl Error for LineError {}

/// Why a request head is refused. The connection can't be used further: answer with
/// [`status`](Self::status) and close it.
///
/// ```
/// use lute_net::wire::{FieldStorage, RequestError, parse_request};
///
/// let error = parse_request(b"GET / HTTP/1.1\r\n\r\n", &mut FieldStorage::new(), 4096).unwrap_err();
/// assert_eq!(error, RequestError::MissingHost);
/// assert_eq!(error.to_string(), "the Host header is missing");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// A line that is not as it should be.
    Line(LineError),
    /// The first byte, or a byte before the first space, that no method has (RFC 9110 §9.1).
    InvalidMethod,
    /// Not method, one space, target, one space, version (RFC 9112 §3).
    InvalidRequestLine,
    /// A byte in the target other than visible ASCII, or a `#` (RFC 9112 §3.2).
    InvalidTargetByte,
    /// Neither `/path`, `http://host/path` with a valid host, nor `OPTIONS *` (RFC 9112 §3.2).
    InvalidTarget,
    /// A well-formed CONNECT (RFC 9110 §9.3.6): 501.
    ConnectNotSupported,
    /// No `HTTP/1.1` after the target (RFC 9112 §2.3).
    InvalidVersion,
    /// A version other than 1.0 and 1.1 (RFC 9110 §15.6.6): 505.
    UnsupportedVersion,
    /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
    MissingHost,
    /// More than one `Host` (RFC 9112 §3.2).
    RepeatedHost,
    /// A `Host` that is not `host[:port]` (RFC 9110 §7.2).
    InvalidHost,
    /// A `Content-Length` that is not plain digits below 2⁶⁴ (RFC 9110 §8.6).
    InvalidContentLength,
    /// Two `Content-Length` values that differ (RFC 9112 §6.3).
    DifferingContentLengths,
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112 §6.3).
    TransferEncodingWithContentLength,
    /// `Transfer-Encoding` in an HTTP/1.0 message (RFC 9112 §6.1).
    TransferEncodingInHttp10,
    /// A `Transfer-Encoding` that is not a list of plain names (RFC 9112 §6.1).
    InvalidTransferEncoding,
    /// `chunked` is missing, stands before another coding, or is there twice (RFC 9112 §6.3).
    ChunkedNotLast,
    /// A coding other than chunked (RFC 9112 §6.1): 501.
    UnsupportedTransferCoding,
    /// The request line is longer than a whole head may be (RFC 9112 §3): 414.
    RequestLineTooLong,
    /// The head is longer than allowed (RFC 6585 §5): 431.
    HeadTooLarge,
    /// More than [`MAX_FIELDS`](super::MAX_FIELDS) fields: 431.
    TooManyFields,
}

impl RequestError {
    /// The status to answer with: 400, 414, 431, 501 or 505.
    ///
    /// ```
    /// use lute_net::wire::RequestError;
    ///
    /// assert_eq!(RequestError::MissingHost.status(), 400);
    /// assert_eq!(RequestError::TooManyFields.status(), 431);
    /// ```
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::ConnectNotSupported | Self::UnsupportedTransferCoding => 501,
            Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }
}

impl From<LineError> for RequestError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(error) => return error.fmt(f),
            Self::InvalidMethod => "no valid method at the start (is this TLS on a plain port?)",
            Self::InvalidRequestLine => "the request line is not 'METHOD target HTTP/1.1'",
            Self::InvalidTargetByte => {
                "a byte in the target that must be percent-encoded, or a fragment (#)"
            }
            Self::InvalidTarget => "the target is neither a path nor an http URL",
            Self::ConnectNotSupported => "CONNECT is not supported: this is not a proxy",
            Self::InvalidVersion => "no HTTP version after the target",
            Self::UnsupportedVersion => "only HTTP/1.1 and HTTP/1.0 are supported",
            Self::MissingHost => "the Host header is missing",
            Self::RepeatedHost => "more than one Host header",
            Self::InvalidHost => "the Host header is not a host with an optional port",
            Self::InvalidContentLength => "the Content-Length is not a plain number",
            Self::DifferingContentLengths => "Content-Length values that differ",
            Self::TransferEncodingWithContentLength => "both Transfer-Encoding and Content-Length",
            Self::TransferEncodingInHttp10 => "Transfer-Encoding in an HTTP/1.0 request",
            Self::InvalidTransferEncoding => "the Transfer-Encoding is not a list of names",
            Self::ChunkedNotLast => "the last transfer coding must be chunked, and only the last",
            Self::UnsupportedTransferCoding => "unsupported transfer coding: only chunked is known",
            Self::RequestLineTooLong => "the request line is too long",
            Self::HeadTooLarge => "the request headers are too large",
            Self::TooManyFields => "too many headers",
        })
    }
}

impl Error for RequestError {}

/// Why a response head is refused. The connection can't be used further.
///
/// ```
/// use lute_net::wire::{FieldStorage, ResponseError, parse_response};
///
/// let error = parse_response(b"SSH-2.0-x\r\n\r\n", &mut FieldStorage::new(), 4096).unwrap_err();
/// assert_eq!(error, ResponseError::NotHttp);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseError {
    /// A line that is not as it should be.
    Line(LineError),
    /// It does not begin with a version of HTTP (RFC 9112 §4).
    NotHttp,
    /// A version other than 1.0 and 1.1 (RFC 9112 §2.3).
    UnsupportedVersion,
    /// The status is not three digits from 100 to 999 (RFC 9112 §4).
    InvalidStatus,
    /// A control byte in the reason phrase (RFC 9112 §4).
    InvalidReason,
    /// A `Content-Length` that is not plain digits below 2⁶⁴ (RFC 9112 §6.3).
    InvalidContentLength,
    /// Two `Content-Length` values that differ (RFC 9112 §6.3).
    DifferingContentLengths,
    /// A `Transfer-Encoding` that is not a list of plain names (RFC 9112 §6.1).
    InvalidTransferEncoding,
    /// Codings other than one `chunked` at the end (RFC 9112 §6.1).
    UnsupportedTransferCoding,
    /// The head is longer than allowed.
    HeadTooLarge,
    /// More than [`MAX_FIELDS`](super::MAX_FIELDS) fields.
    TooManyFields,
}

impl From<LineError> for ResponseError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Line(error) => return write!(f, "invalid response: {error}"),
            Self::NotHttp => "the server does not answer in HTTP/1 (does it want https?)",
            Self::UnsupportedVersion => "the server answers in a version that is not HTTP/1",
            Self::InvalidStatus => "invalid response: the status is not a number from 100 to 999",
            Self::InvalidReason => "invalid response: a control byte after the status",
            Self::InvalidContentLength => {
                "invalid response: the Content-Length is not a plain number"
            }
            Self::DifferingContentLengths => "invalid response: Content-Length values that differ",
            Self::InvalidTransferEncoding => {
                "invalid response: the Transfer-Encoding is not a list of names"
            }
            Self::UnsupportedTransferCoding => "unsupported transfer coding",
            Self::HeadTooLarge => "the response headers are too large",
            Self::TooManyFields => "the response has too many headers",
        };
        f.write_str(text)
    }
}

impl Error for ResponseError {}

/// Why a body is refused. Where it ends is then unknown: the connection can't be used further.
///
/// ```
/// use lute_net::wire::{BodyDecoder, BodyError, BodyFraming};
///
/// let error = BodyDecoder::new(BodyFraming::Chunked).decode(b"0x5\r\nhello").unwrap_err();
/// assert_eq!(error, BodyError::InvalidChunkSize);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// A chunk's line or a trailer that is not as it should be.
    Line(LineError),
    /// No hexadecimal digit where a chunk's size should be, or another byte after it (RFC 9112 §7.1).
    InvalidChunkSize,
    /// A chunk size of more than 16 digits (RFC 9112 §7.1 wants overflow prevented).
    ChunkSizeTooLong,
    /// Whitespace after a chunk's size with no extension behind it (RFC 9112 §7.1.1).
    WhitespaceAfterChunkSize,
    /// A control byte in a chunk extension (RFC 9112 §7.1.1).
    InvalidChunkExtension,
    /// Extensions of more than 4 KiB in a line, or out of proportion to the body (RFC 9112 §7.1.1).
    ChunkExtensionsTooLong,
    /// Something other than CRLF after the data of a chunk (RFC 9112 §7.1).
    ChunkNotEnded,
    /// More than 8 KiB or 32 lines of trailers (RFC 9112 §7.1.2): 431.
    TrailersTooLarge,
    /// The peer closed, and this many bytes of the body, or of the present chunk, had not come (RFC 9112 §8).
    Missing(u64),
    /// The peer closed before the last chunk (RFC 9112 §8).
    MissingLastChunk,
}

impl BodyError {
    /// The status for a request whose body is like this: 400 or 431.
    ///
    /// ```
    /// use lute_net::wire::BodyError;
    ///
    /// assert_eq!((BodyError::MissingLastChunk.status(), BodyError::TrailersTooLarge.status()), (400, 431));
    /// ```
    pub fn status(&self) -> u16 {
        match self {
            Self::TrailersTooLarge => 431,
            _ => 400,
        }
    }
}

impl From<LineError> for BodyError {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(error) => return write!(f, "invalid chunked body: {error}"),
            Self::Missing(1) => "the body ended early: 1 byte is missing",
            Self::Missing(bytes) => {
                return write!(f, "the body ended early: {bytes} bytes are missing");
            }
            Self::MissingLastChunk => "the body ended early: the last chunk is missing",
            Self::InvalidChunkSize => {
                "invalid chunked body: the size of a chunk is not a plain hexadecimal number"
            }
            Self::ChunkSizeTooLong => {
                "invalid chunked body: the size of a chunk has more than 16 digits"
            }
            Self::WhitespaceAfterChunkSize => {
                "invalid chunked body: whitespace after the size of a chunk"
            }
            Self::InvalidChunkExtension => {
                "invalid chunked body: a control byte in a chunk extension"
            }
            Self::ChunkExtensionsTooLong => "invalid chunked body: too long chunk extensions",
            Self::ChunkNotEnded => "invalid chunked body: no CRLF after the data of a chunk",
            Self::TrailersTooLarge => "the trailers of the chunked body are too large",
        })
    }
}

impl Error for BodyError {}
