//! Writes a server's response: the fields a service gave, and those HTTP asks for.
//!
//! ```
//! use lute_net::{engine::answer::{AnswerWriter, Shape}, wire::Version};
//!
//! let mut out = Vec::new();
//! let mut answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
//! answer.field(b"Content-Type", b"text/plain")?;
//! assert!(answer.finish("Sun, 06 Nov 1994 08:49:37 GMT", b"hello")?);
//! assert!(out.ends_with(b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello"));
//! # Ok::<(), lute_net::engine::answer::AnswerError>(())
//! ```

use std::fmt;

use super::{intake::RefusalBody, service::StreamFraming};
use crate::wire::{Version, encode, syntax};

/// What the request says about the form of its response.
///
/// ```
/// use lute_net::{engine::answer::{AnswerWriter, Shape}, wire::Version};
///
/// let to_head = Shape::new(Version::Http10, "HEAD", false);
/// let mut out = Vec::new();
/// AnswerWriter::begin(&mut out, to_head, 200)?.finish("", b"hello")?;
/// assert!(out.ends_with(b"Connection: close\r\n\r\n"), "no body");
/// # Ok::<(), lute_net::engine::answer::AnswerError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    version: Version,
    head_only: bool,
    persistent: bool,
}

impl Shape {
    /// The form of the answer to a request with this version and method, on a connection that then goes on or ends.
    ///
    /// ```
    /// use lute_net::{engine::answer::{AnswerWriter, Shape}, wire::Version};
    ///
    /// let mut out = Vec::new();
    /// let shape = Shape::new(Version::Http11, "GET", true);
    /// let persistent = AnswerWriter::begin(&mut out, shape, 204)?.finish("", b"")?;
    /// assert!(persistent);
    /// # Ok::<(), lute_net::engine::answer::AnswerError>(())
    /// ```
    pub fn new(version: Version, method: &str, persistent: bool) -> Self {
        Self {
            version,
            head_only: method == "HEAD",
            persistent,
        }
    }

    /// What a refusal has for a body in this form.
    pub(crate) fn refusal_body(self) -> RefusalBody {
        if self.head_only {
            RefusalBody::Empty
        } else {
            RefusalBody::Reason
        }
    }

    /// The same form, on a connection that ends with the answer.
    ///
    /// ```
    /// use lute_net::{engine::answer::{AnswerWriter, Shape}, wire::Version};
    ///
    /// let mut out = Vec::new();
    /// let shape = Shape::new(Version::Http11, "GET", true).last();
    /// assert!(!AnswerWriter::begin(&mut out, shape, 200)?.finish("", b"bye")?);
    /// # Ok::<(), lute_net::engine::answer::AnswerError>(())
    /// ```
    pub fn last(self) -> Self {
        Self {
            persistent: false,
            ..self
        }
    }
}

/// Why a response can't be sent.
///
/// ```
/// use lute_net::{engine::answer::{AnswerError, AnswerWriter, Shape}, wire::Version};
///
/// let mut out = Vec::new();
/// let mut answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
/// let error = answer.field(b"X-Name", b"a\r\nb").unwrap_err();
/// assert_eq!(error, AnswerError::FieldValue("X-Name".into()));
/// assert!(out.is_empty(), "it is taken back");
/// # Ok::<(), AnswerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Outside 200–999.
    Status(i64),
    /// Not an RFC 9110 token.
    FieldName(String),
    /// Holds CR, LF or NUL.
    FieldValue(String),
    /// `Transfer-Encoding` is not the service's to set.
    TransferEncoding,
    /// `Content-Length` is no number of bytes.
    NoLength(String),
    /// `Content-Length` is not the body's.
    ContentLength {
        /// As given.
        given: u64,
        /// The body's bytes.
        body: usize,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "invalid response status {status} (200 to 999 expected)")
            }
            Self::FieldName(name) => write!(f, "invalid response header name {name:?}"),
            Self::FieldValue(name) => write!(
                f,
                "invalid response header value for '{name}' (it holds CR, LF or NUL)"
            ),
            Self::TransferEncoding => {
                f.write_str("invalid response header 'Transfer-Encoding' (the server sets it)")
            }
            Self::NoLength(given) => {
                write!(
                    f,
                    "invalid response header 'Content-Length': {given:?} is no number of bytes"
                )
            }
            Self::ContentLength { given, body } => {
                write!(
                    f,
                    "invalid response header 'Content-Length': {given} given, the body has {body} bytes"
                )
            }
        }
    }
}

impl std::error::Error for AnswerError {}

/// Writes one response into a buffer; an error leaves the buffer as it was.
///
/// ```
/// use lute_net::{engine::answer::{AnswerWriter, Shape}, wire::Version};
///
/// let mut out = Vec::new();
/// let answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
/// answer.finish("", b"hello")?;
/// assert!(out.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"));
/// # Ok::<(), lute_net::engine::answer::AnswerError>(())
/// ```
pub struct AnswerWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    shape: Shape,
    status: u16,
    content_length: Option<u64>,
    dated: bool,
    upgrade: bool,
}

impl<'o> AnswerWriter<'o> {
    /// Begins a response with its status line.
    ///
    /// ```
    /// use lute_net::{engine::answer::{AnswerError, AnswerWriter, Shape}, wire::Version};
    ///
    /// let shape = Shape::new(Version::Http11, "GET", true);
    /// assert_eq!(AnswerWriter::begin(&mut Vec::new(), shape, 99).err(), Some(AnswerError::Status(99)));
    /// ```
    ///
    /// # Errors
    /// [`AnswerError::Status`].
    pub fn begin(out: &'o mut Vec<u8>, shape: Shape, status: i64) -> Result<Self, AnswerError> {
        let code = u16::try_from(status)
            .ok()
            .filter(|code| (200..=999).contains(code));
        let Some(code) = code else {
            return Err(AnswerError::Status(status));
        };
        let start = out.len();
        encode::status_line(out, code);
        Ok(Self {
            out,
            start,
            shape,
            status: code,
            content_length: None,
            dated: false,
            upgrade: false,
        })
    }

    /// Adds a field of the service's.
    ///
    /// ```
    /// use lute_net::{engine::answer::{AnswerError, AnswerWriter, Shape}, wire::Version};
    ///
    /// let mut out = Vec::new();
    /// let mut answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
    /// answer.field(b"Set-Cookie", b"a=1")?;
    /// answer.field(b"Set-Cookie", b"b=2")?;
    /// assert_eq!(answer.field(b"Transfer-Encoding", b"gzip"), Err(AnswerError::TransferEncoding));
    /// # Ok::<(), AnswerError>(())
    /// ```
    ///
    /// # Errors
    /// When it can't be sent as it is; the response is then taken back.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), AnswerError> {
        if let Err(error) = self.try_field(name, value) {
            self.out.truncate(self.start);
            return Err(error);
        }
        Ok(())
    }

    /// Takes the response back, for a reason of the caller's.
    pub(crate) fn give_up(&mut self, reason: String) -> String {
        self.out.truncate(self.start);
        reason
    }

    /// Ends the head of a response whose body follows; none follows to HEAD and with 204, 205 and 304. How the body is
    /// delimited, if one follows, and whether the connection goes on afterwards.
    ///
    /// ```
    /// use lute_net::engine::{answer::{AnswerWriter, Shape}, service::StreamFraming};
    /// use lute_net::wire::Version;
    ///
    /// let mut out = Vec::new();
    /// let answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
    /// assert_eq!(answer.finish_streamed(""), (Some(StreamFraming::Chunked), true));
    /// # Ok::<(), lute_net::engine::answer::AnswerError>(())
    /// ```
    pub fn finish_streamed(mut self, date: &str) -> (Option<StreamFraming>, bool) {
        let framing = match self.content_length.take() {
            Some(length) => StreamFraming::Length(length),
            None if self.shape.version == Version::Http10 => StreamFraming::UntilClose,
            None => StreamFraming::Chunked,
        };
        let bodiless = matches!(self.status, 204 | 205 | 304);
        match framing {
            _ if self.status == 205 => encode::content_length(self.out, 0),
            _ if bodiless => {}
            StreamFraming::Length(length) => encode::content_length(self.out, length),
            StreamFraming::Chunked => encode::field(self.out, "Transfer-Encoding", b"chunked"),
            StreamFraming::UntilClose => self.shape.persistent = false,
        }
        self.end_head(date);
        let follows = !bodiless && !self.shape.head_only;
        (follows.then_some(framing), self.shape.persistent)
    }

    /// Ends the head, adds the body, and says whether the connection goes on afterwards.
    ///
    /// ```
    /// use lute_net::{engine::answer::{AnswerError, AnswerWriter, Shape}, wire::Version};
    ///
    /// let mut out = Vec::new();
    /// let mut answer = AnswerWriter::begin(&mut out, Shape::new(Version::Http11, "GET", true), 200)?;
    /// answer.field(b"Content-Length", b"9")?;
    /// assert_eq!(answer.finish("", b"hello"), Err(AnswerError::ContentLength { given: 9, body: 5 }));
    /// # Ok::<(), AnswerError>(())
    /// ```
    ///
    /// # Errors
    /// When the service's Content-Length is not the body's; the response is then taken back.
    pub fn finish(mut self, date: &str, body: &[u8]) -> Result<bool, AnswerError> {
        // RFC 9110 §15.3.5, §15.3.6, §15.4.5.
        let bodiless = matches!(self.status, 204 | 205 | 304);
        if self.status == 205 {
            encode::content_length(self.out, 0);
        } else if let Some(given) = self.content_length.take() {
            // A HEAD or 304 answer may name the length that a GET would have had (RFC 9110 §8.6).
            let free = (self.shape.head_only || self.status == 304) && body.is_empty();
            if !free && given != body.len() as u64 {
                self.out.truncate(self.start);
                return Err(AnswerError::ContentLength {
                    given,
                    body: body.len(),
                });
            }
            if self.status != 204 {
                encode::content_length(self.out, given);
            }
        } else if !bodiless {
            encode::content_length(self.out, body.len() as u64);
        }
        self.end_head(date);
        if !bodiless && !self.shape.head_only {
            self.out.extend_from_slice(body);
        }
        Ok(self.shape.persistent)
    }

    fn end_head(&mut self, date: &str) {
        if !self.dated {
            encode::field(self.out, "Date", date.as_bytes());
        }
        let option: Option<&[u8]> = match (self.shape.persistent, self.shape.version, self.upgrade)
        {
            (true, Version::Http11, false) => None,
            // Who sends Upgrade names it in Connection (RFC 9110 §7.8).
            (true, Version::Http11, true) => Some(b"upgrade"),
            (true, Version::Http10, _) => Some(b"keep-alive"),
            (false, _, true) => Some(b"upgrade, close"),
            (false, _, false) => Some(b"close"),
        };
        if let Some(option) = option {
            encode::field(self.out, "Connection", option);
        }
        encode::end_of_head(self.out);
    }

    fn try_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), AnswerError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !syntax::is_token(name) {
            return Err(AnswerError::FieldName(text(name)));
        }
        if !syntax::is_field_value(value) {
            return Err(AnswerError::FieldValue(text(name)));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Date") => self.dated = true,
            7 if name.eq_ignore_ascii_case(b"Upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"Connection") => {
                // `close` is heeded; what else stands here is between this connection's two ends, not the service's.
                let closes = value
                    .split(|&byte| byte == b',')
                    .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"close"));
                self.shape.persistent &= !closes;
                return Ok(());
            }
            14 if name.eq_ignore_ascii_case(b"Content-Length") => {
                let length = syntax::decimal(value.trim_ascii());
                self.content_length =
                    Some(length.ok_or_else(|| AnswerError::NoLength(text(value)))?);
                return Ok(());
            }
            17 if name.eq_ignore_ascii_case(b"Transfer-Encoding") => {
                return Err(AnswerError::TransferEncoding);
            }
            _ => {}
        }
        encode::field(self.out, name, value);
        Ok(())
    }
}
