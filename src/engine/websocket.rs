//! WebSockets (RFC 6455), for servers and clients alike: tungstenite reads the frames, on slices of the thread's shared
//! buffers.
//!
//! - [`WebSocket`]: one of them, for whoever sends; [`WebSocketService`]: what is asked of whoever receives
//! - [`Pump`]: moves its bytes, from the end of the handshake to the end of the connection
//! - [`handshake`]: turns HTTP into it; [`opening`]: asks a server to; [`topics`]: one message for many
//! - `arrivals`: bytes to messages: those that lie whole in what was read (`whole_frames`), and all others (`reader`, which must
//!   know where frames begin, `frame_cursor`); `frames`: messages to bytes; `send_queue`: bytes that are not sent yet
//! - `times`: what is late; `close_frame`, `closing`, `farewell`: the end of the connection
//!
//! An idle WebSocket owns no buffer and no reader: tungstenite's state is taken from the thread's `Readers` for what is not a
//! message in one piece, and kept only while one is cut in two or a pong waits for room.
//!
//! ```
#![doc = include_str!("examples/open_websocket.txt")]
//! // `socket` is one end, `peer` the TCP stream of the other
//! let task = engine.spawn(pump.run());
//! assert_eq!(socket.send(Data::Text("hi")), Sent::Taken);
//! socket.close(1000, "");
//! peer.set_nonblocking(true)?;
//! let mut received = Vec::new();
//! while received.len() < 8 {
//!     engine.block_on(futures_lite::future::yield_now())?;
//!     let _ = peer.read_to_end(&mut received);
//! }
//! assert_eq!(received, b"\x81\x02hi\x88\x02\x03\xe8");
//! drop(task);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrivals;
mod close_frame;
mod closing;
mod farewell;
mod frame_cursor;
pub(crate) mod frames;
mod handle;
pub mod handshake;
pub mod opening;
mod pump;
mod reader;
mod send_queue;
mod times;
pub mod topics;
mod whole_frames;

pub(crate) use self::reader::Readers;
pub use self::{
    handle::{Sent, WebSocket},
    pump::{Pump, PumpOptions},
};

use std::rc::Rc;

use super::limits::WebSocketLimits;

/// Which end of a connection this is: a client masks its frames, a server does not (RFC 6455 §5.1).
///
/// ```
#[doc = include_str!("examples/open_websocket.txt")]
/// assert_eq!(socket.role(), Role::Server);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was asked for the handshake.
    Server,
    /// It has asked for the handshake.
    Client,
}

/// A message.
///
/// ```
/// use lute_net::engine::websocket::Data;
///
/// assert_ne!(Data::Text("hi"), Data::Binary(b"hi"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Its bytes.
    ///
    /// ```
    /// use lute_net::engine::websocket::Data;
    ///
    /// assert_eq!((Data::Text("hi").bytes(), Data::Binary(&[1, 2]).bytes()), (&b"hi"[..], &[1, 2][..]));
    /// ```
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Messages that have come over one WebSocket, in order.
///
/// ```
/// use lute_net::engine::websocket::{Data, Incoming};
///
/// struct One(Option<&'static str>);
/// impl Incoming for One {
///     fn next(&mut self) -> Option<Data<'_>> { self.0.take().map(Data::Text) }
///     fn hold(&mut self) {}
/// }
/// fn take_all(messages: &mut dyn Incoming) -> usize {
///     std::iter::from_fn(|| messages.next().map(|_| ())).count()
/// }
/// assert_eq!(take_all(&mut One(Some("hi"))), 1);
/// ```
pub trait Incoming {
    /// The next one; none when there is none, or the receiver holds on to too many.
    ///
    /// ```
    /// use lute_net::engine::websocket::{Data, Incoming};
    ///
    /// /// For `WebSocketService::received`.
    /// fn texts(messages: &mut dyn Incoming) -> Vec<String> {
    ///     let mut texts = Vec::new();
    ///     while let Some(message) = messages.next() {
    ///         if let Data::Text(text) = message { texts.push(text.to_owned()); }
    ///     }
    ///     texts
    /// }
    /// # struct Nothing;
    /// # impl Incoming for Nothing { fn next(&mut self) -> Option<Data<'_>> { None } fn hold(&mut self) {} }
    /// # assert!(texts(&mut Nothing).is_empty());
    /// ```
    fn next(&mut self) -> Option<Data<'_>>;

    /// The receiver holds on to the last one, until [`WebSocket::release`].
    ///
    /// ```
    /// use lute_net::engine::websocket::Incoming;
    ///
    /// /// Takes the messages, and has done with none of them yet: `WebSocket::release` says so of each later.
    /// fn hold_all(messages: &mut dyn Incoming) -> usize {
    ///     let mut held = 0;
    ///     while messages.next().is_some() {
    ///         messages.hold();
    ///         held += 1;
    ///     }
    ///     held
    /// }
    /// # struct Nothing;
    /// # impl Incoming for Nothing { fn next(&mut self) -> Option<lute_net::engine::websocket::Data<'_>> { None } fn hold(&mut self) {} }
    /// # assert_eq!(hold_all(&mut Nothing), 0);
    /// ```
    fn hold(&mut self);
}

/// How a WebSocket ended.
///
/// ```
/// use lute_net::engine::websocket::Ending;
///
/// let lost = Ending { code: 1006, reason: String::new(), problem: Some("reset".into()), dropped: false };
/// assert!(lost.code == 1006 && lost.problem.is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The code of the close frame that ended it, the other end's or ours; 1005 for one without, 1006 when none came.
    pub code: u16,
    /// That frame's text.
    pub reason: String,
    /// What went wrong, if anything did.
    pub problem: Option<String>,
    /// Whether the receiver is told inside a call of its own (the connection was dropped), and not by the engine.
    pub dropped: bool,
}

/// Receives what comes over WebSockets. Each is named by the number that its [`Upgrade`] had.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::engine::websocket::{Ending, Incoming, WebSocket, WebSocketService};
///
/// /// Greets, and takes no messages.
/// struct Greeter;
/// impl WebSocketService for Greeter {
///     fn opened(&self, socket: &Rc<WebSocket>) {
///         socket.send(lute_net::engine::websocket::Data::Text("hello"));
///     }
///     fn received(&self, _: u64, _: &mut dyn Incoming) {}
///     fn drained(&self, _: u64) {}
///     fn closed(&self, _: u64, _: &Ending) {}
///     fn abandoned(&self, _: u64) {}
/// }
/// let upgrade = lute_net::engine::websocket::Upgrade::new(1, Rc::default(), Rc::new(Greeter));
/// drop(upgrade); // abandoned
/// ```
pub trait WebSocketService: 'static {
    /// It is open; messages may be sent and will come.
    ///
    /// ```
    #[doc = include_str!("examples/told_websocket.txt")]
    /// assert_eq!(told("")?[0], "opened");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn opened(&self, socket: &Rc<WebSocket>);

    /// Messages came. Those that are not taken are lost.
    ///
    /// ```
    #[doc = include_str!("examples/told_websocket.txt")]
    /// // the other end sends the text `hi`, with a mask of zeros
    /// assert_eq!(told("\u{1}hi")?[1], "received hi");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn received(&self, number: u64, messages: &mut dyn Incoming);

    /// The other end has taken everything that had to be queued.
    ///
    /// ```
    #[doc = include_str!("examples/told_websocket.txt")]
    /// // the other end reads late what is more than the system holds
    /// assert!(told("drain")?.contains(&"drained".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn drained(&self, number: u64);

    /// It is over. Called exactly once for each that was opened.
    ///
    /// ```
    #[doc = include_str!("examples/told_websocket.txt")]
    /// assert_eq!(told("")?.last().map(String::as_str), Some("closed 1006"), "without a close frame");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn closed(&self, number: u64, ending: &Ending);

    /// The connection ended before it was opened.
    ///
    /// ```
    #[doc = include_str!("examples/told_websocket.txt")]
    /// let teller = Rc::new(Teller::default());
    /// drop(Upgrade::new(7, Rc::default(), teller.clone()));
    /// assert_eq!(teller.0.take(), ["abandoned"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn abandoned(&self, number: u64);
}

/// A connection's change from HTTP to a WebSocket, once the response that says so is sent.
///
/// ```
/// use lute_net::engine::{service::Reply, websocket::Upgrade};
///
/// /// For `Service::respond`, when the answer that accepts the handshake is written.
/// fn switch(upgrade: Upgrade) -> Reply {
///     Reply::Upgraded(Box::new(upgrade))
/// }
/// # let _: fn(Upgrade) -> Reply = switch;
/// ```
pub struct Upgrade {
    number: u64,
    limits: Rc<WebSocketLimits>,
    service: Option<Rc<dyn WebSocketService>>,
}

impl Upgrade {
    /// The WebSocket will go by `number`.
    ///
    /// ```
    #[doc = include_str!("examples/open_websocket.txt")]
    /// let upgrade = Upgrade::new(8, Rc::new(WebSocketLimits::default()), Rc::new(Quiet));
    /// drop(upgrade);
    /// assert_eq!(socket.number(), 7, "the number of its own upgrade");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        number: u64,
        limits: Rc<WebSocketLimits>,
        service: Rc<dyn WebSocketService>,
    ) -> Self {
        Self {
            number,
            limits,
            service: Some(service),
        }
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.abandoned(self.number);
        }
    }
}
