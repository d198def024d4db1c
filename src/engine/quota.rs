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
        self.changed.notify(usize::MAX);
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

    /// One more, as soon as it may come. An end wakes one of those who wait: with thousands of them, all would cost more than
    /// what they wait for.
    pub(crate) async fn permit(self: &Rc<Self>) -> Permit {
        loop {
            if let Some(permit) = self.take() {
                return permit;
            }
            self.wait().await;
        }
    }

    /// Waits until one more may come; who waits may leave it to others.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            self.wait().await;
            if !self.is_full() {
                // It may be long before it is taken here, if ever.
                self.changed.notify_additional(1);
            }
        }
    }

    /// Waits for an end, or makes one.
    async fn wait(&self) {
        self.spare();
        if self.is_full() {
            self.changed.listen().await;
        }
    }

    /// From now on `spare` is asked when somebody waits for room.
    pub(crate) fn spares(&self, spare: impl Fn() -> bool + 'static) {
        self.spares.borrow_mut().push(Box::new(spare));
    }

    fn spare(&self) {
        self.spares.borrow_mut().retain(|spare| spare());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
        self.0.changed.notify_additional(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
    };

    use futures_lite::future::{or, poll_once, yield_now};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    type Waiting<'q> = Pin<Box<dyn Future<Output = Permit> + 'q>>;

    /// The permits that are there for `waiting` now.
    fn taken(waiting: &mut Vec<Waiting<'_>>, waker: &Waker) -> Vec<Permit> {
        let mut permits = Vec::new();
        waiting.retain_mut(
            |one| match one.as_mut().poll(&mut Context::from_waker(waker)) {
                Poll::Ready(permit) => {
                    permits.push(permit);
                    false
                }
                Poll::Pending => true,
            },
        );
        permits
    }

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

    #[test]
    fn an_end_wakes_one_of_many_who_wait_and_all_have_their_turn() {
        let quota = Rc::<Quota>::default();
        quota.set_limit(2);
        let mut held = vec![quota.take().unwrap(), quota.take().unwrap()];
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(wakes.clone());
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        for _ in 0..100 {
            waiting.push(Box::pin(quota.permit()));
        }
        assert!(taken(&mut waiting, &waker).is_empty());
        held.clear();
        assert_eq!(wakes.0.swap(0, Ordering::SeqCst), 2);
        let mut all = 0;
        loop {
            let permits = taken(&mut waiting, &waker);
            if permits.is_empty() {
                break;
            }
            all += permits.len();
        }
        assert_eq!((all, waiting.len()), (100, 0));
        assert!(wakes.0.load(Ordering::SeqCst) <= 100);
    }

    #[test]
    fn who_leaves_the_room_unused_holds_up_nobody() {
        let quota = Rc::<Quota>::default();
        quota.set_limit(1);
        let permit = quota.take();
        let waker = Waker::noop();
        let mut room = Box::pin(quota.room());
        assert!(
            room.as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
        let wakes = Arc::<Wakes>::default();
        let mut gone: Vec<Waiting<'_>> = vec![Box::pin(quota.permit())];
        let mut waiting: Vec<Waiting<'_>> = vec![Box::pin(quota.permit())];
        assert!(taken(&mut gone, waker).is_empty());
        assert!(taken(&mut waiting, &wakes.clone().into()).is_empty());
        drop(permit);
        assert!(
            room.as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_ready()
        );
        // It was woken, and does not look.
        gone.clear();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(taken(&mut waiting, waker).len(), 1);
    }
}
