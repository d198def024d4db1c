//! Client connections that wait for their next request.
//!
//! One task watches all of them: a connection that its server closes, or that waits too long, is closed at once.
//!
//! ```
#![doc = include_str!("examples/served.txt")]
//! engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
//! assert_eq!(client.pool().len(), 1, "it is kept for the next request");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{Engine, dialer::Destination, timers::Timers, transport::Transport};

/// Idle connections kept for one destination.
const PER_DESTINATION: usize = 64;

/// Idle connections kept in all.
const IN_ALL: usize = 256;

/// How long a connection waits for its next request. Servers that keep them shorter mostly say so in `Keep-Alive`.
const IDLE: Duration = Duration::from_secs(60);

/// What is taken off the time that a server says: its clock began earlier, and the next request needs time to get there.
const MARGIN: Duration = Duration::from_secs(1);

/// Idle connections by destination.
///
/// ```
#[doc = include_str!("examples/served.txt")]
/// assert_eq!(client.pool().len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    engine: Rc<Engine>,
    /// In the order in which they were kept: few enough to be looked through.
    idle: RefCell<Vec<Idle>>,
    watching: Cell<bool>,
    /// The task that watches, and when it looks next of itself.
    watcher: RefCell<Option<Waker>>,
    next_look: Cell<Option<Instant>>,
}

struct Idle {
    destination: Rc<Destination>,
    transport: Transport,
    until: Instant,
}

impl Pool {
    /// A pool without connections.
    pub(crate) fn new(engine: Rc<Engine>) -> Rc<Self> {
        Rc::new(Self {
            engine,
            idle: RefCell::default(),
            watching: Cell::new(false),
            watcher: RefCell::default(),
            next_look: Cell::new(None),
        })
    }

    /// The connection to `destination` that was used last, if the server has not closed it.
    pub(crate) fn take(&self, destination: &Rc<Destination>) -> Option<Transport> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        while let Some(last) = idle.iter().rposition(|idle| idle.leads_to(destination)) {
            let mut connection = idle.remove(last);
            if connection.until > now && connection.transport.is_quiet() {
                return Some(connection.transport);
            }
        }
        None
    }

    /// Keeps a connection whose last response was read to its end, for `kept_for` if the server has said that; not when the
    /// engine has no room for another connection, which somebody may be waiting for.
    pub(crate) fn keep(
        self: &Rc<Self>,
        destination: Rc<Destination>,
        transport: Transport,
        kept_for: Option<Duration>,
    ) {
        let time = kept_for.map_or(IDLE, |time| time.saturating_sub(MARGIN).min(IDLE));
        if time.is_zero() || self.engine.connections().is_full() {
            return;
        }
        let mut connection = Idle {
            destination,
            transport,
            until: Instant::now() + time,
        };
        if let Some(watcher) = &*self.watcher.borrow() {
            if connection.is_over(&mut Context::from_waker(watcher)) {
                return;
            }
            if self
                .next_look
                .get()
                .is_some_and(|next| connection.until < next)
            {
                watcher.wake_by_ref();
            }
        }
        self.make_room(&connection.destination);
        self.idle.borrow_mut().push(connection);
        self.watch();
    }

    /// Idle connections.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
    /// assert_eq!(client.pool().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether no connection is idle.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// drop(response); // unread
    /// assert!(client.pool().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all idle connections.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
    /// client.pool().clear();
    /// assert!(client.pool().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) {
        drop(self.idle.take());
        // Nothing is left to watch.
        self.watcher.take().into_iter().for_each(Waker::wake);
    }

    /// Closes the connection that has waited longest.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
    /// client.pool().drop_oldest();
    /// assert!(client.pool().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drop_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            idle.remove(0);
        }
    }

    /// Closes the oldest ones when there are too many for another to `destination`.
    fn make_room(&self, destination: &Rc<Destination>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < PER_DESTINATION {
            return;
        }
        let mut same = idle.iter().filter(|idle| idle.leads_to(destination));
        if same.by_ref().nth(PER_DESTINATION - 1).is_some() {
            let first = idle.iter().position(|idle| idle.leads_to(destination));
            first.map(|first| idle.remove(first));
        } else if idle.len() >= IN_ALL {
            idle.remove(0);
        }
    }

    /// Closes what the server closes and what has waited too long, as long as something waits.
    fn watch(self: &Rc<Self>) {
        if self.watching.replace(true) {
            return;
        }
        let (weak, timers) = (Rc::downgrade(self), self.engine.timers().clone());
        self.engine.spawn(watch(weak, timers)).detach();
    }

    /// Closes what is over; when the next is, if anything is left.
    fn close_over(&self, context: &mut Context<'_>) -> Option<Instant> {
        match &mut *self.watcher.borrow_mut() {
            Some(watcher) => watcher.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|connection| connection.until > now && !connection.is_over(context));
        let first = idle.iter().map(|connection| connection.until).min();
        // Not for each of many that end one after the other.
        self.next_look
            .set(first.map(|first| first.max(now + MARGIN)));
        self.next_look.get()
    }
}

impl Idle {
    fn leads_to(&self, destination: &Rc<Destination>) -> bool {
        Rc::ptr_eq(&self.destination, destination) || self.destination == *destination
    }

    /// Whether the server has closed, or has sent what nobody asked for; if not, the task is woken when it does.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.transport.poll_disturbed(context).is_ready()
    }
}

async fn watch(pool: Weak<Pool>, timers: Rc<Timers>) {
    let mut sleep = None;
    poll_fn(|context| {
        let Some(pool) = pool.upgrade() else {
            return Poll::Ready(());
        };
        while let Some(due) = pool.close_over(context) {
            let sleep = sleep.insert(timers.sleep_until(due));
            if Pin::new(sleep).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        pool.watcher.take();
        pool.watching.set(false);
        Poll::Ready(())
    })
    .await;
}
