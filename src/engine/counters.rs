//! What a server counts.

use std::{cell::Cell, rc::Rc};

/// What a server has done so far.
#[derive(Default)]
pub struct Counters {
    requests: Cell<u64>,
    in_flight: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

/// What [`Counters`] had counted at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
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
    pub fn now(&self) -> Counted {
        Counted {
            requests: self.requests(),
            requests_in_flight: self.requests_in_flight(),
            bytes_received: self.bytes_received(),
            bytes_sent: self.bytes_sent(),
        }
    }

    /// Requests, in all.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Requests whose answers are not sent yet.
    pub fn requests_in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Bytes read from clients, TLS not counted.
    pub fn bytes_received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes written to clients, TLS not counted.
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
