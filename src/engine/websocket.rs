//! WebSockets (RFC 6455), for servers and clients alike: tungstenite reads the frames, on slices of the thread's shared
//! buffers.
//!
//! - [`WebSocket`]: one of them, for whoever sends; [`WebSocketService`]: what is asked of whoever receives
//! - [`Pump`]: moves its bytes, from the end of the handshake to the end of the connection
//! - [`handshake`]: turns HTTP into it; [`opening`]: asks a server to; [`topics`]: one message for many
//! - `arrivals`: bytes to messages: those that lie whole in what was read (`whole_frames`), and all others (`reader`, which must
//!   know where frames begin, `frame_cursor`); `frames`: messages to bytes; `send_queue`: bytes that are not sent yet
//! - `times`: what is late; `closing`, `farewell`: the end of the connection
//!
//! An idle WebSocket owns no buffer and no reader: tungstenite's state is taken from the thread's `Readers` for what is not a
//! message in one piece, and kept only while one is cut in two.

mod arrivals;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was asked for the handshake.
    Server,
    /// It has asked for the handshake.
    Client,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Its bytes.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Messages that have come over one WebSocket, in order.
pub trait Incoming {
    /// The next one; none when there is none, or the receiver holds on to too many.
    fn next(&mut self) -> Option<Data<'_>>;

    /// The receiver holds on to the last one, until [`WebSocket::release`].
    fn hold(&mut self);
}

/// How a WebSocket ended.
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
pub trait WebSocketService: 'static {
    /// It is open; messages may be sent and will come.
    fn opened(&self, socket: &Rc<WebSocket>);

    /// Messages came. Those that are not taken are lost.
    fn received(&self, number: u64, messages: &mut dyn Incoming);

    /// The other end has taken everything that had to be queued.
    fn drained(&self, number: u64);

    /// It is over. Called exactly once for each that was opened.
    fn closed(&self, number: u64, ending: &Ending);

    /// The connection ended before it was opened.
    fn abandoned(&self, number: u64);
}

/// A connection's change from HTTP to a WebSocket, once the response that says so is sent.
pub struct Upgrade {
    number: u64,
    limits: Rc<WebSocketLimits>,
    service: Option<Rc<dyn WebSocketService>>,
}

impl Upgrade {
    /// The WebSocket will go by `number`.
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
