//! What a server counts.
//!
//! ```
#![doc = include_str!("examples/served.txt")]
//! engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
//! assert_eq!(server.counters().requests(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{cell::Cell, rc::Rc};

/// What a server has done so far.
///
/// ```
/// let counters = lute_net::engine::counters::Counters::default();
/// assert_eq!((counters.requests(), counters.bytes_sent()), (0, 0));
/// ```
#[derive(Default)]
pub struct Counters {
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// What [`Counters`] had counted at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Requests, in all.
    pub requests: u64,
    /// Requests whose answers are not sent yet.
    pub requests_in_flight: u64,
    /// Bytes read from clients, TLS not counted.
    pub bytes_received: u64,
    /// Bytes written to clients, TLS not counted.
    pub bytes_sent: u64,
}

impl std::ops::Add for Counted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            requests_in_flight: self.requests_in_flight + other.requests_in_flight,
            bytes_received: self.bytes_received + other.bytes_received,
            bytes_sent: self.bytes_sent + other.bytes_sent,
        }
    }
}

impl Counters {
    /// All of them now.
    pub(crate) fn now(&self) -> Counted {
        Counted {
            requests: self.requests(),
            requests_in_flight: self.requests_in_flight(),
            bytes_received: self.bytes_received(),
            bytes_sent: self.bytes_sent(),
        }
    }

    /// Requests, in all.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(server.counters().requests(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Requests whose answers are not sent yet.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(server.counters().requests_in_flight(), 0, "it is answered");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn requests_in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Bytes read from clients, TLS not counted.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert!(server.counters().bytes_received() > "GET / HTTP/1.1\r\n".len() as u64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes_received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes written to clients, TLS not counted.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert!(server.counters().bytes_sent() > "HTTP/1.1 200 OK\r\n".len() as u64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes_sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Counts an exchange until the returned value is dropped.
    pub(super) fn in_flight(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self.clone())
    }
}

/// An exchange that is not over.
pub(super) struct InFlight(Rc<Counters>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
