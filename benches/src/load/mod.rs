//! The load generator: one thread, epoll, requests prepared once, answers checked.

pub mod answers;
pub mod exchange;
pub mod frames;
pub mod idle;
pub mod latency;
pub mod publish;
pub mod responses;
pub mod stream;

use std::time::Duration;

use anyhow::Result;

use latency::Latency;

/// What came back in a run.
pub struct Tally {
    pub answers: u64,
    pub elapsed: Duration,
    pub latency: Latency,
}

/// A load on one server. It can run more than once: first to warm up, then to be measured.
pub trait Drive {
    /// Keeps the server busy for `duration`; fails on a wrong answer and on a lost connection.
    fn run(&mut self, duration: Duration) -> Result<Tally>;
}
