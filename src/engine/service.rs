//! What a server asks of whoever answers its requests.

use std::{
    io,
    task::{Context, Poll},
};

use super::{answer::Shape, intake::Refusal, websocket::Upgrade};
use crate::wire::RequestHead;

/// Answers the requests of a server's connections.
///
/// An exchange is one request and its answer. When the answer does not come at once, the service names the exchange by a
/// number, and the connection asks with that.
pub trait Service: 'static {
    /// Answers `request` into `out`, or says that the answer comes later. `out` holds earlier answers already.
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply;

    /// The answer of an exchange that was to come later, once. The exchange is then over, unless the answer has a body that
    /// follows.
    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer>;

    /// Nobody takes the exchange's answer any more: its client is gone.
    fn gone(&self, exchange: u64);

    /// The body of the exchange's answer has been sent.
    fn sent(&self, exchange: u64);

    /// The client has ended its side; it may still read the answer.
    fn client_ended(&self, exchange: u64);

    /// Ready when the service wants the next part of the request's body; only for bodies that are streamed.
    fn poll_body_wanted(&self, exchange: u64, context: &mut Context<'_>) -> Poll<()>;

    /// The part that was wanted.
    fn body_part(&self, exchange: u64, part: BodyPart<'_>);
}

/// A request as a service sees it.
pub struct Request<'a> {
    /// Method, target and fields.
    pub head: &'a RequestHead<'a, 'a>,
    /// The head's bytes as they came.
    pub raw_head: &'a [u8],
    /// The whole body, or that it follows in parts.
    pub body: RequestBody<'a>,
    /// Who asks: `ip:port`, or `unix:` for a Unix socket.
    pub remote: &'a Remote,
    /// Whether it came over TLS.
    pub secure: bool,
    /// What the answer must look like.
    pub shape: Shape,
    /// As [`Self::shape`], once the body has begun to come: a client that is never told to send it can't be asked for
    /// another request (RFC 9110 §10.1.1).
    pub shape_once_read: Shape,
}

/// A request's body.
#[derive(Clone, Copy)]
pub enum RequestBody<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It follows in parts, when the service wants them.
    Streamed,
}

impl RequestBody<'_> {
    /// Bytes of it that are there.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Whole(body) => body.len() as u64,
            Self::Streamed => 0,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A TCP client.
    Internet(std::net::SocketAddr),
    /// A client on a Unix socket.
    Local,
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Local => f.write_str("unix:"),
        }
    }
}

/// A part of a streamed request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart<'b> {
    /// Some bytes; never none.
    Bytes(&'b [u8]),
    /// That was all.
    End,
    /// It does not come to its end. What the client is told if the service has nothing else to say; the connection ends
    /// with the answer.
    Broken(&'b Refusal),
}

/// What a service did with a request.
pub enum Reply {
    /// The answer is written.
    Written {
        /// False when the answer says `Connection: close`.
        persistent: bool,
    },
    /// The answer's head is written, and its body follows, under this number.
    Streamed(u64, Streamed),
    /// The answer comes later, under this number.
    Later(u64),
    /// The answer is written, and the connection becomes a WebSocket.
    Upgraded(Box<Upgrade>),
}

/// An answer that came later.
pub struct Answer {
    /// The encoded response, or its head.
    pub bytes: Vec<u8>,
    /// What comes after the bytes.
    pub rest: Rest,
}

/// What comes after an answer's bytes.
pub enum Rest {
    /// The next request.
    Next,
    /// The connection's end.
    Close,
    /// The body.
    Body(Streamed),
    /// A WebSocket.
    Upgrade(Box<Upgrade>),
}

/// A body that is sent as it is made.
pub struct Streamed {
    /// Where it comes from. Dropped before its end when the client is gone.
    pub source: Box<dyn BodySource>,
    /// How it is delimited.
    pub framing: StreamFraming,
    /// Whether the connection goes on afterwards.
    pub persistent: bool,
}

/// How a streamed body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFraming {
    /// By the chunked coding.
    Chunked,
    /// By a Content-Length; so many bytes are still to come.
    Length(u64),
    /// By the connection's end (HTTP/1.0).
    UntilClose,
}

/// Makes a body, piece by piece: each is asked for when the client has taken the last one.
pub trait BodySource {
    /// The next piece, or none at the end.
    ///
    /// # Errors
    /// Ends the connection, so that the client sees that the body is not whole.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>>;
}
