//! Timeouts of connections: many, seldom due, and moved with every request.
//!
//! A timer each would cost two operations on an ordered set per request. Here moving a deadline writes one field; a sweep
//! over all of them comes when the earliest may be due, and no more often than every tenth of a second.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;

/// How late a timeout may come.
const GRAIN: Duration = Duration::from_millis(100);

/// All deadlines of one thread.
#[derive(Default)]
pub struct Deadlines {
    entries: RefCell<Slab<Entry>>,
    next_sweep: Cell<Option<Instant>>,
    /// The next sweep comes no sooner, however early a deadline is.
    not_before: Cell<Option<Instant>>,
}

#[derive(Default)]
struct Entry {
    due: Option<Instant>,
    expired: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// A deadline that is not set yet.
    pub fn register(self: &Rc<Self>) -> Deadline {
        let index = self.entries.borrow_mut().insert(Entry::default());
        Deadline {
            deadlines: self.clone(),
            index,
        }
    }

    /// Expires the deadline with this [`Deadline::index`], whenever it is due, and wakes who waits for it.
    pub fn expire(&self, index: usize) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(index) {
            entry.due = None;
            entry.expired = true;
            entry.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Has the deadline with this [`Deadline::index`] expire at `due`, if it would expire later or never.
    pub fn bring_forward(&self, index: usize, due: Instant) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(index)
            && entry.due.is_none_or(|later| due < later)
        {
            entry.due = Some(due);
            self.sweep_at(due);
        }
    }

    /// When [`Self::sweep`] is to be called next.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.next_sweep.get()
    }

    /// Expires what is due at `now` and wakes who waits for it.
    pub fn sweep(&self, now: Instant) {
        if self.next_sweep.get().is_none_or(|due| due > now) {
            return;
        }
        let mut earliest: Option<Instant> = None;
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            let Some(due) = entry.due else { continue };
            if due <= now {
                entry.due = None;
                entry.expired = true;
                entry.waker.take().into_iter().for_each(Waker::wake);
            } else {
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
        }
        self.not_before.set(Some(now + GRAIN));
        self.next_sweep.set(None);
        if let Some(due) = earliest {
            self.sweep_at(due);
        }
    }

    fn sweep_at(&self, due: Instant) {
        // Or else one that is set anew whenever it expires, to a moment later, would keep the thread busy.
        let due = self.not_before.get().map_or(due, |least| due.max(least));
        if self.next_sweep.get().is_none_or(|next| due < next) {
            self.next_sweep.set(Some(due));
        }
    }
}

/// The deadline of one connection.
pub struct Deadline {
    deadlines: Rc<Deadlines>,
    index: usize,
}

impl Deadline {
    /// Its number, for [`Deadlines::expire`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// Sets it to `due`, or moves it there.
    pub fn set(&self, due: Instant) {
        self.with(|entry| {
            entry.due = Some(due);
            entry.expired = false;
        });
        self.deadlines.sweep_at(due);
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.with(|entry| {
            entry.due = None;
            entry.expired = false;
        });
    }

    /// Whether it is set and has not passed.
    pub fn is_set(&self) -> bool {
        self.with(|entry| entry.due.is_some())
    }

    /// Whether it has passed; if not, the task is woken when it does.
    pub fn poll_expired(&self, context: &Context<'_>) -> bool {
        self.with(|entry| {
            if entry.expired {
                return true;
            }
            match &mut entry.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            false
        })
    }

    /// Waits until it has passed.
    pub async fn passed(&self) {
        poll_fn(|context| {
            if self.poll_expired(context) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    fn with<T>(&self, f: impl FnOnce(&mut Entry) -> T) -> T {
        f(&mut self.deadlines.entries.borrow_mut()[self.index])
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.deadlines.entries.borrow_mut().remove(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(deadline: &Deadline) -> bool {
        deadline.poll_expired(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_deadline_expires_with_the_sweep_after_it() {
        let deadlines = Rc::<Deadlines>::default();
        let now = Instant::now();
        let (early, late) = (deadlines.register(), deadlines.register());
        late.set(now + Duration::from_secs(2));
        early.set(now + Duration::from_secs(1));
        assert_eq!(deadlines.next_sweep(), Some(now + Duration::from_secs(1)));
        deadlines.sweep(now);
        assert!(!expired(&early));
        deadlines.sweep(now + Duration::from_secs(1));
        assert!(expired(&early) && !expired(&late));
        assert_eq!(deadlines.next_sweep(), Some(now + Duration::from_secs(2)));
    }

    #[test]
    fn a_deadline_that_was_moved_or_cleared_does_not_expire() {
        let deadlines = Rc::<Deadlines>::default();
        let now = Instant::now();
        let (moved, cleared) = (deadlines.register(), deadlines.register());
        moved.set(now);
        cleared.set(now);
        moved.set(now + Duration::from_secs(5));
        cleared.clear();
        deadlines.sweep(now);
        assert!(!expired(&moved) && !expired(&cleared));
        drop(moved);
        deadlines.sweep(now + Duration::from_secs(5));
        assert_eq!(deadlines.next_sweep(), None);
    }

    #[test]
    fn a_deadline_can_be_brought_forward_but_not_put_off() {
        let deadlines = Rc::<Deadlines>::default();
        let now = Instant::now();
        let (early, late) = (deadlines.register(), deadlines.register());
        early.set(now);
        late.set(now + Duration::from_secs(9));
        for deadline in [&early, &late] {
            deadlines.bring_forward(deadline.index(), now + Duration::from_secs(1));
        }
        deadlines.sweep(now);
        assert!(expired(&early) && !expired(&late));
        deadlines.sweep(now + Duration::from_secs(1));
        assert!(expired(&late));
    }

    #[test]
    fn a_deadline_that_is_set_anew_whenever_it_expires_does_not_make_sweeps_come_sooner() {
        let deadlines = Rc::<Deadlines>::default();
        let now = Instant::now();
        let deadline = deadlines.register();
        deadline.set(now);
        deadlines.sweep(now);
        assert!(expired(&deadline));
        deadline.set(now + Duration::from_nanos(1));
        assert_eq!(deadlines.next_sweep(), Some(now + GRAIN));
    }

    #[test]
    fn sweeps_keep_their_distance() {
        let deadlines = Rc::<Deadlines>::default();
        let now = Instant::now();
        let (first, second) = (deadlines.register(), deadlines.register());
        first.set(now);
        second.set(now + Duration::from_millis(1));
        deadlines.sweep(now);
        assert_eq!(deadlines.next_sweep(), Some(now + GRAIN));
    }
}
