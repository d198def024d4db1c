//! How long the end of a WebSocket that this end has closed may take.

use std::time::{Duration, Instant};

use crate::engine::{
    limits::{CLOSE_HANDSHAKE, SLOWEST_BODY},
    timers::deadline_after,
};

/// A close frame of ours that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    since: Instant,
    /// The end, however much of what waits is taken by then.
    latest: Instant,
}

impl Closing {
    /// The close frame stands at the end of `unsent` bytes, of which the other end must take [`SLOWEST_BODY`] in a second.
    pub(super) fn new(since: Instant, unsent: usize) -> Self {
        let reading = Duration::from_secs(unsent as u64 / SLOWEST_BODY);
        Self {
            since,
            latest: deadline_after(since, CLOSE_HANDSHAKE.saturating_add(reading)),
        }
    }

    /// When the wait for the answer is over, if the other end has taken nothing of what waits since `stuck`.
    pub(super) fn due(self, stuck: Option<Instant>) -> Instant {
        let since = stuck.map_or(self.since, |stuck| stuck.max(self.since));
        deadline_after(since, CLOSE_HANDSHAKE).min(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_websocket_that_takes_what_waits_has_more_time_to_answer_the_close_frame() {
        let since = Instant::now();
        let closing = Closing::new(since, 100 * 1024);
        assert_eq!(closing.due(None), since + CLOSE_HANDSHAKE);
        let later = since + 50 * SECOND;
        assert_eq!(closing.due(Some(later)), later + CLOSE_HANDSHAKE);
    }

    #[test]
    fn a_websocket_that_takes_a_trickle_does_not_postpone_its_end_for_ever() {
        let since = Instant::now();
        let closing = Closing::new(since, 100 * 1024);
        let due = closing.due(Some(since + 3600 * SECOND));
        assert_eq!(due, since + CLOSE_HANDSHAKE + 100 * SECOND);
    }
}
