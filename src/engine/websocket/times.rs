//! What of a WebSocket may be late: whatever the other end sends, that it takes what is sent, and its close frame.

use std::time::{Duration, Instant};

use super::closing::Closing;
use crate::engine::{limits::WebSocketLimits, timers::deadline_after};

/// What was seen last, and when.
pub(super) struct Times {
    heard: Instant,
    /// When the other end was asked whether it is there, since then.
    pinged: Option<Instant>,
    /// Since when the other end has taken nothing of what waits.
    stuck: Option<Instant>,
    /// Its close frame is awaited. Boxed: an open WebSocket, which may be one of many, has none.
    closing: Option<Box<Closing>>,
}

/// What is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The answer to our close frame.
    Close,
    /// The other end does not take what is sent.
    Reading,
    /// Nothing comes.
    Sign,
    /// Nothing has come for so long that it is to be asked whether it is there.
    Ping,
}

impl Times {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            pinged: None,
            stuck: None,
            closing: None,
        }
    }

    /// Something came, or could not be heard before.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// The other end was asked whether it is there.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.pinged = Some(now);
    }

    /// All that is to be sent is sent.
    pub(super) fn all_sent(&mut self) {
        self.stuck = None;
    }

    /// Something waits to be sent, and it is not less than before.
    pub(super) fn none_sent(&mut self, now: impl FnOnce() -> Instant) {
        self.stuck.get_or_insert_with(now);
    }

    /// Something waits to be sent, but some of it was.
    pub(super) fn some_sent(&mut self, now: Instant) {
        self.stuck = Some(now);
    }

    /// Whether something waits to be sent.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Our close frame is the last of `unsent` bytes.
    pub(super) fn closing(&mut self, now: Instant, unsent: usize, limits: &WebSocketLimits) {
        self.closing = Some(Box::new(Closing::new(now, unsent, limits)));
    }

    /// When something will be late.
    pub(super) fn due(&self, limits: &WebSocketLimits) -> Instant {
        let (since, silence, _) = self.silence(limits);
        let due = deadline_after(since, silence);
        let stuck = self.stuck.map(|since| deadline_after(since, limits.write));
        let closing = self.closing.as_ref();
        let closing = closing.map(|closing| closing.due(self.stuck));
        stuck.into_iter().chain(closing).fold(due, Instant::min)
    }

    /// What must be late for the connection to end, or to be asked about; first what counts most.
    pub(super) fn late(&self, now: Instant, limits: &WebSocketLimits) -> Option<Late> {
        let late = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let closing = self.closing.as_ref();
        if closing.is_some_and(|closing| closing.due(self.stuck) <= now) {
            return Some(Late::Close);
        }
        if self.stuck.is_some_and(|since| late(since, limits.write)) {
            return Some(Late::Reading);
        }
        let (since, silence, what) = self.silence(limits);
        late(since, silence).then_some(what)
    }

    /// What silence is for, since when and for how long. A ping that was late has the time for its answer all the same.
    fn silence(&self, limits: &WebSocketLimits) -> (Instant, Duration, Late) {
        match self.pinged {
            Some(at) => (at, limits.idle.saturating_sub(limits.ping), Late::Sign),
            None if limits.ping >= limits.idle => (self.heard, limits.idle, Late::Sign),
            None => (self.heard, limits.ping, Late::Ping),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> WebSocketLimits {
        WebSocketLimits {
            ping: 10 * SECOND,
            idle: 20 * SECOND,
            write: 5 * SECOND,
            ..WebSocketLimits::default()
        }
    }

    #[test]
    fn silence_is_asked_about_once_and_then_ends_it() {
        let (begin, limits) = (Instant::now(), limits());
        let mut times = Times::new(begin);
        assert_eq!(times.due(&limits), begin + 10 * SECOND);
        assert_eq!(times.late(begin + 9 * SECOND, &limits), None);
        assert_eq!(times.late(begin + 10 * SECOND, &limits), Some(Late::Ping));
        times.pinged(begin + 10 * SECOND);
        assert_eq!(times.due(&limits), begin + 20 * SECOND);
        assert_eq!(times.late(begin + 19 * SECOND, &limits), None);
        assert_eq!(times.late(begin + 20 * SECOND, &limits), Some(Late::Sign));
        times.heard(begin + 19 * SECOND);
        assert_eq!(times.due(&limits), begin + 29 * SECOND);
    }

    #[test]
    fn a_ping_that_was_late_has_the_time_for_its_answer_all_the_same() {
        let (begin, limits) = (Instant::now(), limits());
        let mut times = Times::new(begin);
        assert_eq!(times.late(begin + 21 * SECOND, &limits), Some(Late::Ping));
        times.pinged(begin + 21 * SECOND);
        assert_eq!(times.late(begin + 30 * SECOND, &limits), None);
        assert_eq!(times.due(&limits), begin + 31 * SECOND);
        assert_eq!(times.late(begin + 31 * SECOND, &limits), Some(Late::Sign));
    }

    #[test]
    fn what_is_sent_may_wait_for_as_long_as_some_of_it_goes() {
        let (begin, limits) = (Instant::now(), limits());
        let mut times = Times::new(begin);
        times.none_sent(|| begin);
        times.none_sent(|| begin + 4 * SECOND);
        assert_eq!(times.due(&limits), begin + 5 * SECOND);
        assert_eq!(times.late(begin + 5 * SECOND, &limits), Some(Late::Reading));
        times.some_sent(begin + 4 * SECOND);
        assert_eq!(times.late(begin + 8 * SECOND, &limits), None);
        times.all_sent();
        assert_eq!(times.due(&limits), begin + 10 * SECOND);
    }
}
