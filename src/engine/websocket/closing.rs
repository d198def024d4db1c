//! How long the end of a WebSocket that this end has closed may take.

use std::time::{Duration, Instant};

use crate::engine::{limits::WebSocketLimits, timers::deadline_after};

/// A close frame of ours that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    since: Instant,
    patience: Duration,
    /// The end, however much of what waits is taken by then.
    latest: Instant,
}

impl Closing {
    /// The close frame stands at the end of `unsent` bytes, which the other end must take no slower than
    /// [`WebSocketLimits::slowest`] says.
    pub(super) fn new(since: Instant, unsent: usize, limits: &WebSocketLimits) -> Self {
        let reading = Duration::from_secs_f64(unsent as f64 / limits.slowest.max(1) as f64);
        Self {
            since,
            patience: limits.close,
            latest: deadline_after(since, limits.close.saturating_add(reading)),
        }
    }

    /// When the wait for the answer is over, if the other end has taken nothing of what waits since `stuck`.
    pub(super) fn due(self, stuck: Option<Instant>) -> Instant {
        let since = stuck.map_or(self.since, |stuck| stuck.max(self.since));
        deadline_after(since, self.patience).min(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn closing(since: Instant) -> Closing {
        Closing::new(since, 100 * 1024, &WebSocketLimits::default())
    }

    #[test]
    fn a_websocket_that_takes_what_waits_has_more_time_to_answer_the_close_frame() {
        let since = Instant::now();
        let closing = closing(since);
        assert_eq!(closing.due(None), since + 10 * SECOND);
        let later = since + 50 * SECOND;
        assert_eq!(closing.due(Some(later)), later + 10 * SECOND);
    }

    #[test]
    fn a_websocket_that_takes_a_trickle_does_not_postpone_its_end_for_ever() {
        let since = Instant::now();
        let due = closing(since).due(Some(since + 3600 * SECOND));
        assert_eq!(due, since + 110 * SECOND);
    }
}
