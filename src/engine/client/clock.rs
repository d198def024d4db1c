//! The times of one exchange.

use std::{
    task::Context,
    time::{Duration, Instant},
};

use crate::engine::{Engine, deadlines::Deadline, timers::deadline_after};

/// When an exchange is given up: at a fixed moment, and when nothing has moved for some time.
pub struct ExchangeClock {
    deadline: Deadline,
    due: Instant,
    patience: Duration,
}

/// What has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The time for the whole.
    Due,
    /// The time without any progress.
    Stalled(Duration),
}

impl ExchangeClock {
    /// Ends at `due`, and after `patience` without progress.
    pub fn new(engine: &Engine, due: Instant, patience: Duration) -> Self {
        Self {
            deadline: engine.deadlines().register(),
            due,
            patience,
        }
    }

    /// Something has moved.
    pub fn progress(&self) {
        self.deadline.clear();
    }

    /// What has passed, if anything; otherwise the task is woken when it does. Where something of this
    /// program's own is waited for, and not the server, only the whole time counts.
    pub fn late(&self, context: &Context<'_>, waits: WaitsFor) -> Option<Late> {
        if self.deadline.poll_expired(context) {
            let due = Instant::now() >= self.due;
            return Some(if due {
                Late::Due
            } else {
                Late::Stalled(self.patience)
            });
        }
        if waits == WaitsFor::OwnSource {
            self.deadline.set(self.due);
        } else if !self.deadline.is_set() {
            let stalled = deadline_after(Instant::now(), self.patience);
            self.deadline.set(self.due.min(stalled));
        }
        None
    }
}

/// Whom an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The server.
    Server,
    /// The source of the request's body.
    OwnSource,
}
