//! The runtime's timers: one ordered set, so that the next deadline is always known.
//!
//! ```
#![doc = include_str!("examples/engine.txt")]
//! use std::time::{Duration, Instant};
//!
//! let due = Instant::now() + Duration::from_millis(2);
//! engine.block_on(engine.timers().sleep_until(due))?;
//! assert!(Instant::now() >= due);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// All timers of one runtime.
///
/// ```
#[doc = include_str!("examples/engine.txt")]
/// assert_eq!(engine.timers().next_deadline(), None, "none is set");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Timers {
    pending: RefCell<BTreeMap<TimerKey, Due>>,
    counter: Cell<u64>,
}

/// Names one timer, in the order in which timers fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    deadline: Instant,
    number: u64,
}

/// What happens when a timer is due.
enum Due {
    Wake(Waker),
    Token(u64),
}

impl Timers {
    /// Sets a timer that [`Self::fire`] reports as `token`.
    pub(crate) fn set(&self, deadline: Instant, token: u64) -> TimerKey {
        self.insert(deadline, Due::Token(token))
    }

    /// Takes a timer out before it fires; later it does nothing.
    pub(crate) fn cancel(&self, key: TimerKey) {
        self.pending.borrow_mut().remove(&key);
    }

    /// A future that is ready at `deadline`.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// use std::time::Instant;
    /// use futures_lite::future::or;
    ///
    /// let never = engine.timers().sleep_until(lute_net::engine::timers::deadline_after(Instant::now(), std::time::Duration::MAX));
    /// let now = engine.timers().sleep_until(Instant::now());
    /// assert!(engine.block_on(or(async { never.await; false }, async { now.await; true }))?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sleep_until(self: &Rc<Self>, deadline: Instant) -> Sleep {
        Sleep {
            timers: self.clone(),
            deadline,
            key: None,
        }
    }

    /// When the next timer is due.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// use std::time::{Duration, Instant};
    /// use futures_lite::future::poll_once;
    ///
    /// let due = Instant::now() + Duration::from_secs(60);
    /// let mut sleep = engine.timers().sleep_until(due);
    /// engine.block_on(poll_once(&mut sleep))?; // a timer is set when it is waited for
    /// assert_eq!(engine.timers().next_deadline(), Some(due));
    /// drop(sleep);
    /// assert_eq!(engine.timers().next_deadline(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pending
            .borrow()
            .first_key_value()
            .map(|(key, _)| key.deadline)
    }

    /// Wakes what is due at `now` and hands the tokens of the other kind to `take`, oldest deadline first.
    pub(crate) fn fire(&self, now: Instant, mut take: impl FnMut(u64)) {
        loop {
            let mut pending = self.pending.borrow_mut();
            let Some(first) = pending
                .first_entry()
                .filter(|entry| entry.key().deadline <= now)
            else {
                return;
            };
            let due = first.remove();
            drop(pending);
            match due {
                Due::Wake(waker) => waker.wake(),
                Due::Token(token) => take(token),
            }
        }
    }

    fn insert(&self, deadline: Instant, due: Due) -> TimerKey {
        let number = self.counter.get();
        self.counter.set(number + 1);
        let key = TimerKey { deadline, number };
        self.pending.borrow_mut().insert(key, due);
        key
    }
}

/// `now + duration`, or a moment so far away that no program sees it.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lute_net::engine::timers::deadline_after;
///
/// let now = Instant::now();
/// assert_eq!(deadline_after(now, Duration::from_secs(1)), now + Duration::from_secs(1));
/// assert!(deadline_after(now, Duration::MAX) > now);
/// ```
pub fn deadline_after(now: Instant, duration: Duration) -> Instant {
    const FAR_AWAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(duration.min(FAR_AWAY)).unwrap_or(now)
}

/// Waits for a moment; see [`Timers::sleep_until`].
///
/// ```
#[doc = include_str!("examples/engine.txt")]
/// use std::time::Instant;
/// use lute_net::engine::timers::Sleep;
///
/// let sleep: Sleep = engine.timers().sleep_until(Instant::now());
/// assert_eq!(engine.block_on(sleep)?, ());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Sleep {
    timers: Rc<Timers>,
    deadline: Instant,
    key: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        if let Some(key) = self.key.take() {
            self.timers.cancel(key);
        }
        let key = self
            .timers
            .insert(self.deadline, Due::Wake(context.waker().clone()));
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timers.cancel(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(timers: &Timers, now: Instant) -> Vec<u64> {
        let mut tokens = Vec::new();
        timers.fire(now, |token| tokens.push(token));
        tokens
    }

    #[test]
    fn timers_fire_by_deadline_and_then_in_the_order_they_were_set() {
        let timers = Timers::default();
        let now = Instant::now();
        timers.set(now + Duration::from_millis(2), 1);
        timers.set(now + Duration::from_millis(1), 2);
        timers.set(now + Duration::from_millis(1), 3);
        assert_eq!(timers.next_deadline(), Some(now + Duration::from_millis(1)));
        assert!(fired(&timers, now).is_empty());
        assert_eq!(fired(&timers, now + Duration::from_millis(5)), [2, 3, 1]);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire() {
        let timers = Timers::default();
        let now = Instant::now();
        let key = timers.set(now, 1);
        timers.cancel(key);
        assert!(fired(&timers, now).is_empty());
    }

    #[test]
    fn a_deadline_beyond_all_time_is_still_a_deadline() {
        let now = Instant::now();
        assert!(deadline_after(now, Duration::MAX) > now + Duration::from_secs(1_000_000));
    }
}
