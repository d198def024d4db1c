//! A number of things that may be there at once.
//!
//! ```
#![doc = include_str!("examples/engine.txt")]
//! engine.connections().set_limit(100);
//! assert_eq!((engine.connections().used(), engine.connections().limit()), (0, 100));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use event_listener::Event;

/// How many of something may be there at once, and how many are.
///
/// ```
/// use lute_net::engine::quota::Quota;
///
/// let connections = Quota::default();
/// connections.set_limit(1);
/// assert_eq!((connections.used(), connections.limit()), (0, 1));
/// ```
pub struct Quota {
    limit: Cell<usize>,
    used: Cell<usize>,
    changed: Event,
    spares: RefCell<Vec<Box<Spare>>>,
}

/// Ends one that nobody uses now, if there is one; false once it can't any more.
type Spare = dyn Fn() -> bool;

/// The right to one of them, until it is dropped.
pub(crate) struct Permit(Rc<Quota>);

impl Default for Quota {
    /// As many as there is memory for.
    fn default() -> Self {
        Self {
            limit: Cell::new(usize::MAX),
            used: Cell::new(0),
            changed: Event::new(),
            spares: RefCell::default(),
        }
    }
}

impl Quota {
    /// At most `limit` at once; those that are there already stay.
    ///
    /// ```
    /// let quota = lute_net::engine::quota::Quota::default();
    /// quota.set_limit(7);
    /// assert_eq!(quota.limit(), 7);
    /// ```
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
        self.wake();
    }

    /// How many may be there at once.
    ///
    /// ```
    /// assert_eq!(lute_net::engine::quota::Quota::default().limit(), usize::MAX);
    /// ```
    pub fn limit(&self) -> usize {
        self.limit.get()
    }

    /// How many are there.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(engine.connections().used(), 2, "the client's and the server's");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether no more may come.
    pub(crate) fn is_full(&self) -> bool {
        self.used.get() >= self.limit.get()
    }

    /// One more, if it may come.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Permit> {
        if self.is_full() {
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(Permit(self.clone()))
    }

    /// Waits until one more may come.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            self.spare();
            if self.is_full() {
                self.changed.listen().await;
            }
        }
    }

    /// From now on `spare` is asked when somebody waits for room.
    pub(crate) fn spares(&self, spare: impl Fn() -> bool + 'static) {
        self.spares.borrow_mut().push(Box::new(spare));
    }

    fn spare(&self) {
        self.spares.borrow_mut().retain(|spare| spare());
    }

    fn wake(&self) {
        self.changed.notify(usize::MAX);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{or, poll_once, yield_now};

    #[test]
    fn no_more_than_the_limit_are_there_at_once() {
        let quota = Rc::<Quota>::default();
        quota.set_limit(2);
        let (first, second) = (quota.take(), quota.take());
        assert!(first.is_some() && second.is_some() && quota.take().is_none());
        drop(first);
        assert_eq!(quota.used(), 1);
        assert!(quota.take().is_some());
    }

    #[test]
    fn who_waits_for_room_is_woken_by_an_end() {
        let quota = Rc::<Quota>::default();
        quota.set_limit(1);
        let permit = quota.take();
        smol::block_on(async {
            assert_eq!(poll_once(quota.room()).await, None);
            or(quota.room(), async {
                yield_now().await;
                drop(permit);
                std::future::pending().await
            })
            .await;
        });
    }
}
