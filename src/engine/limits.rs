//! What a server grants its clients, with the defaults. Each limit has its one home here.
//!
//! ```
//! use lute_net::engine::limits::Limits;
//!
//! let small = Limits { body: 1024, ..Limits::default() };
//! assert_eq!((small.body, small.head), (1024, 64 * 1024));
//! ```

use std::time::Duration;

/// The limits of one server.
///
/// ```
/// assert_eq!(lute_net::engine::limits::Limits::default().connections, 65536);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head, request line included: 64 KiB. Beyond it 431, or 414 when the line alone is longer.
    pub head: usize,
    /// Bytes of a request's body: 16 MiB. Beyond it 413.
    pub body: u64,
    /// Bytes of all request bodies of the server in memory: 1 GiB. Beyond it 503.
    pub buffered: u64,
    /// Connections at once: 65536, and always fewer than the process may have descriptors. Beyond it they wait in the
    /// system's backlog.
    pub connections: usize,
    /// How long a client may take.
    pub timeouts: Timeouts,
}

/// How long a server waits for a client before it ends the connection.
///
/// ```
/// use std::time::Duration;
/// use lute_net::engine::limits::{Limits, Timeouts};
///
/// let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
/// let limits = Limits { timeouts, ..Limits::default() };
/// assert_eq!(limits.timeouts.header, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TLS handshake: 10 s.
    pub handshake: Duration,
    /// From a head's first byte to its last: 10 s, then 408.
    pub header: Duration,
    /// Between two pieces of a body: 30 s, then 408. Over the whole of it a client must also send 1 KiB/s on average.
    pub body: Duration,
    /// For the next request on a kept connection: 60 s.
    pub idle: Duration,
    /// For a client that reads nothing of its answer: 60 s.
    pub write: Duration,
}

/// Bytes per second that a client must send of a body on average, once [`Timeouts::body`] has passed.
pub(crate) const SLOWEST_BODY: u64 = 1024;

/// How long a client that has just connected has for its first request when its server stops.
pub(crate) const FIRST_REQUEST_AT_END: Duration = Duration::from_millis(500);

/// How long a client may still send after its last answer, so that the system's reset does not take that answer away.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            body: 16 * 1024 * 1024,
            buffered: 1024 * 1024 * 1024,
            connections: 65536,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(60),
        }
    }
}

/// What a WebSocket is granted.
///
/// ```
/// use lute_net::engine::limits::WebSocketLimits;
///
/// let limits = WebSocketLimits { message: 64 * 1024, ..WebSocketLimits::default() };
/// assert_eq!(limits.held, 64);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketLimits {
    /// Bytes of a message: 16 MiB. Beyond it the connection is closed with 1009.
    pub message: usize,
    /// Bytes that wait to be sent: 16 MiB. A message beyond it is dropped.
    pub queue: usize,
    /// Messages that the receiver has not done with: 64. Beyond it nothing is read.
    pub held: usize,
    /// How long nothing may come before a ping asks whether the other end is there: 60 s.
    pub ping: Duration,
    /// How long nothing may come at all: 120 s, then the connection is ended.
    pub idle: Duration,
    /// How long the other end may take nothing of what waits: 60 s, then the connection is ended.
    pub write: Duration,
    /// How long the other end has for its close frame after ours: 10 s.
    pub close: Duration,
    /// Bytes in a second that the other end must take of what waits before our close frame: 1 KiB.
    pub slowest: u64,
}

impl Default for WebSocketLimits {
    fn default() -> Self {
        Self {
            message: 16 * 1024 * 1024,
            queue: 16 * 1024 * 1024,
            held: 64,
            ping: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(60),
            close: Duration::from_secs(10),
            slowest: SLOWEST_BODY,
        }
    }
}
