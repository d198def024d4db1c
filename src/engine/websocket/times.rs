//! What of a WebSocket may be late: whatever the other end sends, that it takes what is sent, and its close frame.

use std::time::Instant;

use super::closing::Closing;
use crate::engine::{limits::WebSocketLimits, timers::deadline_after};

/// What was seen last, and when.
pub(super) struct Times {
    heard: Instant,
    pinged: bool,
    /// Since when the other end has taken nothing of what waits.
    stuck: Option<Instant>,
    /// Its close frame is awaited.
    closing: Option<Closing>,
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
            pinged: false,
            stuck: None,
            closing: None,
        }
    }

    /// Something came, or could not be heard before.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = false;
    }

    /// The other end was asked whether it is there.
    pub(super) fn pinged(&mut self) {
        self.pinged = true;
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
        self.closing = Some(Closing::new(now, unsent, limits));
    }

    /// When something will be late.
    pub(super) fn due(&self, limits: &WebSocketLimits) -> Instant {
        let silence = if self.pinged {
            limits.idle
        } else {
            limits.ping
        };
        let due = deadline_after(self.heard, silence);
        let stuck = self.stuck.map(|since| deadline_after(since, limits.write));
        let closing = self.closing.map(|closing| closing.due(self.stuck));
        stuck.into_iter().chain(closing).fold(due, Instant::min)
    }

    /// What must be late for the connection to end, or to be asked about; first what counts most.
    pub(super) fn late(&self, now: Instant, limits: &WebSocketLimits) -> Option<Late> {
        let late = |since: Instant, time| now.saturating_duration_since(since) >= time;
        if self
            .closing
            .is_some_and(|closing| closing.due(self.stuck) <= now)
        {
            return Some(Late::Close);
        }
        if self.stuck.is_some_and(|since| late(since, limits.write)) {
            return Some(Late::Reading);
        }
        if late(self.heard, limits.idle) {
            return Some(Late::Sign);
        }
        (late(self.heard, limits.ping) && !self.pinged).then_some(Late::Ping)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        times.pinged();
        assert_eq!(times.due(&limits), begin + 20 * SECOND);
        assert_eq!(times.late(begin + 19 * SECOND, &limits), None);
        assert_eq!(times.late(begin + 20 * SECOND, &limits), Some(Late::Sign));
        times.heard(begin + 19 * SECOND);
        assert_eq!(times.due(&limits), begin + 29 * SECOND);
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
