//! What a server asks of whoever answers its requests.
//!
//! ```
#![doc = include_str!("examples/served.txt")]
//! // `Hello` is a service that answers everything with "hello"
//! let body = engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
//! assert_eq!(body, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
///
/// ```
/// use std::{rc::Rc, task::{Context, Poll}};
/// use lute_net::engine::{Engine, answer::AnswerWriter, service::{Answer, BodyPart, Reply, Request, Service}};
///
/// /// Answers at once, so that it is asked for nothing else.
/// struct NotFound(Rc<Engine>);
///
/// impl Service for NotFound {
///     fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
///         let written = AnswerWriter::begin(out, request.shape, 404)
///             .and_then(|answer| answer.finish(&self.0.clock().date(), b"not found"));
///         Reply::Written { persistent: written.unwrap_or(false) }
///     }
///     fn poll_answer(&self, _: u64, _: &mut Context<'_>) -> Poll<Answer> { Poll::Pending }
///     fn gone(&self, _: u64) {}
///     fn sent(&self, _: u64) {}
///     fn client_ended(&self, _: u64) {}
///     fn poll_body_wanted(&self, _: u64, _: &mut Context<'_>) -> Poll<()> { Poll::Pending }
///     fn body_part(&self, _: u64, _: BodyPart<'_>) {}
/// }
///
/// let engine = Engine::new(Rc::default())?;
/// let service = Rc::new(NotFound(engine.clone()));
/// assert!(service.poll_answer(1, &mut Context::from_waker(std::task::Waker::noop())).is_pending());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Service: 'static {
    /// Answers `request` into `out`, or says that the answer comes later. `out` holds earlier answers already.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// engine.block_on(client.send(get("/")?))??;
    /// assert_eq!(service.told.borrow()[0], "respond"); // it said `Reply::Later(7)`
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply;

    /// The answer of an exchange that was to come later, once. The exchange is then over, unless the answer has a body that
    /// follows.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let response = engine.block_on(client.send(get("/")?))??;
    /// assert!(response.status == 200 && service.told.borrow().contains(&"poll_answer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer>;

    /// Nobody takes the exchange's answer any more: its client is gone.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let sending = client.send(get("/never")?);
    /// engine.block_on(or(async { drop(sending.await) }, service.until_told("respond")))?; // and drops the request
    /// server.close(); // drops the connection
    /// engine.block_on(service.until_told("gone"))?;
    /// assert!(!service.told.borrow().contains(&"sent"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn gone(&self, exchange: u64);

    /// The body of the exchange's answer has been sent.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let body = engine.block_on(async { client.send(get("/")?).await?.body.read_to_end().await.map_err(Box::<dyn std::error::Error>::from) })??;
    /// engine.block_on(service.until_told("sent"))?;
    /// assert_eq!(body, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn sent(&self, exchange: u64);

    /// The client has ended its side; it may still read the answer.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let mut client = TcpStream::connect(("127.0.0.1", server.port()))?;
    /// client.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")?;
    /// client.shutdown(Shutdown::Write)?;
    /// engine.block_on(service.until_told("client_ended"))?;
    /// assert!(!service.told.borrow().contains(&"gone"), "it can still read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn client_ended(&self, exchange: u64);

    /// Ready when the service wants the next part of the request's body; only for bodies that are streamed.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let request = ClientRequest { method: "POST".into(), ..get("/")? };
    /// let note = lute_net::engine::client::RequestBody::bytes(b"a note".to_vec());
    /// engine.block_on(client.send_body(request, note))??;
    /// let told = service.told.borrow();
    /// assert!(told.iter().position(|what| *what == "poll_body_wanted") < told.iter().position(|what| *what == "body_part"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn poll_body_wanted(&self, exchange: u64, context: &mut Context<'_>) -> Poll<()>;

    /// The part that was wanted.
    ///
    /// ```
    #[doc = include_str!("examples/later.txt")]
    /// let request = ClientRequest { method: "POST".into(), ..get("/")? };
    /// engine.block_on(client.send_body(request, lute_net::engine::client::RequestBody::bytes(b"a note".to_vec())))??;
    /// assert!(service.ended.get(), "`BodyPart::End` came");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn body_part(&self, exchange: u64, part: BodyPart<'_>);
}

/// A request as a service sees it.
///
/// ```
/// use lute_net::engine::service::Request;
///
/// /// What a log says of a request.
/// fn line(request: &Request<'_>) -> String {
///     format!("{} {} {}", request.remote, request.head.method(), request.head.target())
/// }
/// # let _: fn(&Request<'_>) -> String = line;
/// ```
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
///
/// ```
/// use lute_net::engine::service::RequestBody;
///
/// let body = RequestBody::Whole(b"a note");
/// assert!(matches!(body, RequestBody::Whole(bytes) if bytes.len() == 6));
/// ```
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
///
/// ```
/// use lute_net::engine::service::Remote;
///
/// assert_eq!(Remote::Internet(([127, 0, 0, 1], 80).into()).to_string(), "127.0.0.1:80");
/// assert_eq!(Remote::Local.to_string(), "unix:");
/// ```
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
///
/// ```
/// use lute_net::engine::{intake::Refusal, service::BodyPart};
///
/// let refusal = Refusal { status: 408, reason: "the body came too slowly".into() };
/// let (mut whole, mut broken) = (Vec::new(), None);
/// for part in [BodyPart::Bytes(b"hel"), BodyPart::Bytes(b"lo"), BodyPart::Broken(&refusal)] {
///     match part {
///         BodyPart::Bytes(bytes) => whole.extend_from_slice(bytes),
///         BodyPart::Broken(refusal) => broken = Some(refusal.status),
///         BodyPart::End => {}
///     }
/// }
/// assert_eq!((whole, broken), (b"hello".to_vec(), Some(408)));
/// ```
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
///
/// ```
/// use lute_net::engine::{answer::{AnswerError, AnswerWriter}, service::{Reply, Request}};
///
/// /// For `Service::respond`.
/// fn not_found(request: &Request<'_>, out: &mut Vec<u8>) -> Result<Reply, AnswerError> {
///     let persistent = AnswerWriter::begin(out, request.shape, 404)?.finish("", b"not found")?;
///     Ok(Reply::Written { persistent })
/// }
/// # let _: fn(&Request<'_>, &mut Vec<u8>) -> Result<Reply, AnswerError> = not_found;
/// ```
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
///
/// ```
/// use lute_net::{engine::{answer::{AnswerWriter, Shape}, service::{Answer, Rest}}, wire::Version};
///
/// let (mut bytes, shape) = (Vec::new(), Shape::new(Version::Http11, "GET", true));
/// let persistent = AnswerWriter::begin(&mut bytes, shape, 200)?.finish("", b"late")?;
/// let answer = Answer { bytes, rest: if persistent { Rest::Next } else { Rest::Close } };
/// assert!(matches!(answer.rest, Rest::Next));
/// # Ok::<(), lute_net::engine::answer::AnswerError>(())
/// ```
pub struct Answer {
    /// The encoded response, or its head.
    pub bytes: Vec<u8>,
    /// What comes after the bytes.
    pub rest: Rest,
}

/// What comes after an answer's bytes.
///
/// ```
/// use lute_net::{engine::{answer::{AnswerWriter, Shape}, service::{Answer, Rest}}, wire::Version};
///
/// let (mut bytes, shape) = (Vec::new(), Shape::new(Version::Http11, "GET", true).last());
/// let persistent = AnswerWriter::begin(&mut bytes, shape, 200)?.finish("", b"bye")?;
/// let rest = if persistent { Rest::Next } else { Rest::Close };
/// assert!(matches!(rest, Rest::Close));
/// # Ok::<(), lute_net::engine::answer::AnswerError>(())
/// ```
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
///
/// ```
/// use std::{io, task::{Context, Poll}};
/// use lute_net::engine::service::{BodySource, StreamFraming, Streamed};
///
/// struct Zeros;
/// impl BodySource for Zeros {
///     fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
///         Poll::Ready(Ok(Some(vec![0; 1024]))) // and so on, while the client takes them
///     }
/// }
/// let body = Streamed { source: Box::new(Zeros), framing: StreamFraming::Chunked, persistent: true };
/// assert_eq!(body.framing, StreamFraming::Chunked);
/// ```
pub struct Streamed {
    /// Where it comes from. Dropped before its end when the client is gone.
    pub source: Box<dyn BodySource>,
    /// How it is delimited.
    pub framing: StreamFraming,
    /// Whether the connection goes on afterwards.
    pub persistent: bool,
}

/// How a streamed body is delimited.
///
/// ```
/// use lute_net::{engine::{answer::{AnswerWriter, Shape}, service::StreamFraming}, wire::Version};
///
/// let old = Shape::new(Version::Http10, "GET", true);
/// let (framing, persistent) = AnswerWriter::begin(&mut Vec::new(), old, 200)?.finish_streamed("");
/// assert_eq!((framing, persistent), (Some(StreamFraming::UntilClose), false));
/// # Ok::<(), lute_net::engine::answer::AnswerError>(())
/// ```
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
///
/// ```
/// use std::{io, task::{Context, Poll, Waker}};
/// use lute_net::engine::service::BodySource;
///
/// struct Countdown(u8);
/// impl BodySource for Countdown {
///     fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
///         let left = self.0.checked_sub(1);
///         self.0 = left.unwrap_or(0);
///         Poll::Ready(Ok(left.map(|left| format!("{left}\n").into_bytes())))
///     }
/// }
/// let mut body = Countdown(1);
/// let mut piece = || body.poll_piece(&mut Context::from_waker(Waker::noop())).map(Result::unwrap);
/// assert_eq!((piece(), piece()), (Poll::Ready(Some(b"0\n".to_vec())), Poll::Ready(None)));
/// ```
pub trait BodySource {
    /// The next piece, or none at the end.
    ///
    /// ```
    /// use std::{io, task::{Context, Poll, Waker}};
    /// use lute_net::engine::{file_body::FileBody, service::BodySource};
    ///
    /// struct File(FileBody);
    /// impl BodySource for File {
    ///     fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
    ///         self.0.poll_next(context)
    ///     }
    /// }
    /// let mut empty = File(FileBody::new(std::fs::File::open("Cargo.toml")?, 0, 0));
    /// let polled = empty.poll_piece(&mut Context::from_waker(Waker::noop()));
    /// assert!(matches!(polled, Poll::Ready(Ok(None))));
    /// # Ok::<(), io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Ends the connection, so that the client sees that the body is not whole.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>>;
}
