//! What a connection waits for, and for how long.

use std::time::{Duration, Instant};

use super::{Connection, Next};
use crate::engine::{
    intake::{Refusal, RefusalBody},
    limits::{FIRST_REQUEST_AT_END, SLOWEST_BODY},
    server::Activity,
    service::Service,
    timers::deadline_after,
};

/// What is awaited from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of the first request.
    Fresh,
    /// The first byte of another request.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body that began at this moment.
    Body(Instant),
}

impl<S: Service> Connection<S> {
    /// Sets the deadline for what is awaited now.
    pub(super) fn enter_phase(&mut self) {
        let phase = match (self.intake.body(), self.phase) {
            (Some(_), Phase::Body(since)) => Phase::Body(since),
            (Some(_), _) => Phase::Body(self.context.engine.clock().now()),
            (None, Phase::Fresh) if self.input.is_empty() => Phase::Fresh,
            (None, _) if self.input.is_empty() => Phase::Idle,
            // The head's time runs from its first byte.
            (None, Phase::Head) => return,
            (None, _) => Phase::Head,
        };
        self.enter(phase);
    }

    /// Waits for `phase` from now on.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        let draining = self.context.is_draining();
        let timeouts = &self.context.limits.timeouts;
        let (activity, timeout) = match phase {
            Phase::Fresh if draining => (Activity::Fresh, FIRST_REQUEST_AT_END),
            Phase::Fresh => (Activity::Fresh, timeouts.idle),
            Phase::Idle => (Activity::Idle, timeouts.idle),
            Phase::Head => (Activity::Busy, timeouts.header),
            Phase::Body(_) => (Activity::Busy, timeouts.body),
        };
        self.set_activity(activity);
        if phase == Phase::Idle && draining {
            self.context
                .engine
                .deadlines()
                .expire(self.deadline.index());
            return;
        }
        let now = self.context.engine.clock().now();
        if let (Phase::Body(since), Some(body)) = (phase, self.intake.body())
            && is_too_slow(body.received(), now.duration_since(since), timeout)
        {
            self.deadline.set(now);
            return;
        }
        self.deadline.set(deadline_after(now, timeout));
    }

    /// What the end of the connection would cut off.
    pub(super) fn set_activity(&mut self, activity: Activity) {
        if self.activity != activity {
            self.activity = activity;
            self.context.set_activity(self.key, activity);
        }
    }

    /// The client took too long.
    pub(super) fn expired(&mut self) -> Next<S> {
        if matches!(self.phase, Phase::Fresh | Phase::Idle) {
            return Next::Gone;
        }
        let refusal = Refusal {
            status: 408,
            reason: "the request took too long to come".to_owned(),
        };
        let mut out = Vec::new();
        let body = self.intake.refusal_body();
        let body = body.unwrap_or_else(|| RefusalBody::to(&self.input));
        let next = self.refuse(&refusal, body, &mut out);
        self.unsent.append(&mut out);
        next
    }
}

/// Whether a body comes more slowly than a client may send, once `grace` has passed.
pub fn is_too_slow(received: u64, elapsed: Duration, grace: Duration) -> bool {
    let least = elapsed.as_millis() * u128::from(SLOWEST_BODY) / 1000;
    elapsed > grace && u128::from(received) < least
}
