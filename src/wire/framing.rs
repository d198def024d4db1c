//! What field lines say about the body and the connection.

use super::error::{RequestError, ResponseError};
use super::head::{Field, Version};
use super::syntax::{decimal, is_token};

/// How the end of a body is found (RFC 9112 §6.3).
///
/// ```
/// use lute_net::wire::{BodyFraming, FieldStorage, Parsed, parse_response};
///
/// let input = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
/// let mut storage = FieldStorage::new();
/// let Ok(Parsed::Complete(head)) = parse_response(input, &mut storage, 4096) else { panic!() };
/// assert_eq!(head.framing("GET"), Ok(BodyFraming::Chunked));
/// assert_eq!(head.framing("HEAD"), Ok(BodyFraming::Empty));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// There is none.
    Empty,
    /// This many bytes (`Content-Length`); may be 0.
    Length(u64),
    /// The chunked coding (RFC 9112 §7.1).
    Chunked,
    /// All until the peer closes: responses only.
    UntilClose,
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1) without the whitespace around them;
/// empty ones are there too. Not for lists with quoted strings in them.
///
/// ```
/// use lute_net::wire::list_elements;
///
/// let protocols: Vec<&[u8]> = list_elements(b"chat , superchat").collect();
/// assert_eq!(protocols, [&b"chat"[..], b"superchat"]);
/// ```
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What the three fields that frame a message say, gathered in one pass.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct FramingFields {
    content_length: ContentLength,
    coding: TransferCoding,
    connection: ConnectionOptions,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum ContentLength {
    #[default]
    Absent,
    Bytes(u64),
    Invalid,
    Differing,
}

/// The `Transfer-Encoding` list so far (RFC 9112 §6.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum TransferCoding {
    #[default]
    Absent,
    Chunked,
    /// `identity` alone, which RFC 2616 had for "none".
    Identity,
    /// Other codings, no chunked.
    Others,
    /// Other codings and then chunked.
    OthersThenChunked,
    /// Something after chunked, were it another chunked.
    ChunkedNotLast,
    /// An element that is not a token: empty, quoted, with parameters.
    Invalid,
}

#[derive(Clone, Copy, Default, Debug)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl FramingFields {
    /// Takes note of a field if it is one of the three.
    #[inline]
    pub(super) fn note(&mut self, field: &Field<'_>) {
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                self.connection.note(field.value);
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                self.content_length.note(field.value);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                self.coding.note(field.value);
            }
            _ => {}
        }
    }

    /// Whether `Connection` has the option `upgrade` (RFC 9110 §7.8).
    pub(super) fn wants_upgrade(&self) -> bool {
        self.connection.upgrade
    }

    /// Whether the connection stays open after the message (RFC 9112 §9.3).
    pub(super) fn persistent(&self, version: Version) -> bool {
        let options = &self.connection;
        match version {
            Version::Http11 => !options.close,
            Version::Http10 => options.keep_alive && !options.close,
        }
    }

    /// The framing of a request: in doubt, none (RFC 9112 §6.1, §6.3).
    pub(super) fn of_request(&self, version: Version) -> Result<BodyFraming, RequestError> {
        match (self.coding, self.content_length) {
            (TransferCoding::Absent, ContentLength::Absent) => Ok(BodyFraming::Empty),
            (TransferCoding::Absent, ContentLength::Bytes(length)) => {
                Ok(BodyFraming::Length(length))
            }
            (TransferCoding::Absent, ContentLength::Invalid) => {
                Err(RequestError::InvalidContentLength)
            }
            (TransferCoding::Absent, ContentLength::Differing) => {
                Err(RequestError::DifferingContentLengths)
            }
            _ if version == Version::Http10 => Err(RequestError::TransferEncodingInHttp10),
            (coding, ContentLength::Absent) => coding.of_request(),
            _ => Err(RequestError::TransferEncodingWithContentLength),
        }
    }

    /// The framing of a response that may have a body (RFC 9112 §6.3 from item 3 on).
    pub(super) fn of_response(&self, version: Version) -> Result<BodyFraming, ResponseError> {
        match self.coding {
            TransferCoding::Absent => self.content_length.of_response(),
            _ if version == Version::Http10 => Ok(BodyFraming::UntilClose),
            TransferCoding::Chunked => Ok(BodyFraming::Chunked),
            TransferCoding::Identity => self.content_length.of_response(),
            TransferCoding::Invalid => Err(ResponseError::InvalidTransferEncoding),
            TransferCoding::Others
            | TransferCoding::OthersThenChunked
            | TransferCoding::ChunkedNotLast => Err(ResponseError::UnsupportedTransferCoding),
        }
    }

    /// Whether a response leaves no doubt about its length. After one that does, the connection
    /// must not be used again (RFC 9112 §6.1, §6.3).
    pub(super) fn is_sound_in_response(&self, version: Version) -> bool {
        match (self.coding, self.content_length) {
            (TransferCoding::Absent, ContentLength::Absent | ContentLength::Bytes(_)) => true,
            (TransferCoding::Chunked, ContentLength::Absent) => version == Version::Http11,
            _ => false,
        }
    }
}

impl ContentLength {
    /// A list of equal values counts as one (RFC 9110 §8.6); an error stays.
    fn note(&mut self, value: &[u8]) {
        for element in list_elements(value) {
            *self = match (*self, decimal(element)) {
                (Self::Invalid, _) | (_, None) => Self::Invalid,
                (Self::Absent, Some(length)) => Self::Bytes(length),
                (Self::Bytes(before), Some(length)) if before == length => Self::Bytes(length),
                _ => Self::Differing,
            };
        }
    }

    fn of_response(self) -> Result<BodyFraming, ResponseError> {
        match self {
            Self::Absent => Ok(BodyFraming::UntilClose),
            Self::Bytes(length) => Ok(BodyFraming::Length(length)),
            Self::Invalid => Err(ResponseError::InvalidContentLength),
            Self::Differing => Err(ResponseError::DifferingContentLengths),
        }
    }
}

impl TransferCoding {
    fn note(&mut self, value: &[u8]) {
        for element in list_elements(value) {
            *self = if !is_token(element) {
                Self::Invalid
            } else if element.eq_ignore_ascii_case(b"chunked") {
                self.then_chunked()
            } else if element.eq_ignore_ascii_case(b"identity") && *self == Self::Absent {
                Self::Identity
            } else {
                self.then_other()
            };
        }
    }

    fn then_chunked(self) -> Self {
        match self {
            Self::Absent => Self::Chunked,
            Self::Identity | Self::Others => Self::OthersThenChunked,
            Self::Chunked | Self::OthersThenChunked | Self::ChunkedNotLast => Self::ChunkedNotLast,
            Self::Invalid => Self::Invalid,
        }
    }

    fn then_other(self) -> Self {
        match self {
            Self::Absent | Self::Identity | Self::Others => Self::Others,
            Self::Chunked | Self::OthersThenChunked | Self::ChunkedNotLast => Self::ChunkedNotLast,
            Self::Invalid => Self::Invalid,
        }
    }

    fn of_request(self) -> Result<BodyFraming, RequestError> {
        match self {
            Self::Absent => Ok(BodyFraming::Empty),
            Self::Chunked => Ok(BodyFraming::Chunked),
            Self::Identity | Self::Others | Self::ChunkedNotLast => {
                Err(RequestError::ChunkedNotLast)
            }
            Self::OthersThenChunked => Err(RequestError::UnsupportedTransferCoding),
            Self::Invalid => Err(RequestError::InvalidTransferEncoding),
        }
    }
}

impl ConnectionOptions {
    fn note(&mut self, value: &[u8]) {
        for option in list_elements(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
