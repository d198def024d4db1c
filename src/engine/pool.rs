//! Client connections that wait for their next request.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use super::{Engine, dialer::Destination, transport::Transport};

/// Idle connections kept for one destination.
const PER_DESTINATION: usize = 64;

/// Idle connections kept in all.
const IN_ALL: usize = 256;

/// How long a connection waits for its next request. Servers that keep them shorter mostly say so in `Keep-Alive`.
const IDLE: Duration = Duration::from_secs(60);

/// What is taken off the time that a server says: its clock began earlier, and the next request needs time to get there.
const MARGIN: Duration = Duration::from_secs(1);

/// Idle connections by destination.
pub struct Pool {
    engine: Rc<Engine>,
    idle: RefCell<HashMap<Rc<Destination>, VecDeque<Idle>>>,
    count: Cell<usize>,
    sweeping: Cell<bool>,
}

struct Idle {
    transport: Transport,
    until: Instant,
}

impl Pool {
    /// A pool without connections.
    pub fn new(engine: Rc<Engine>) -> Rc<Self> {
        Rc::new(Self {
            engine,
            idle: RefCell::default(),
            count: Cell::new(0),
            sweeping: Cell::new(false),
        })
    }

    /// The connection to `destination` that was used last, if the server has not closed it.
    pub fn take(&self, destination: &Destination) -> Option<Transport> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(destination)?;
        let now = Instant::now();
        while let Some(mut connection) = connections.pop_back() {
            self.count.set(self.count.get() - 1);
            if connection.until > now && connection.transport.is_quiet() {
                return Some(connection.transport);
            }
        }
        idle.remove(destination);
        None
    }

    /// Keeps a connection whose last response was read to its end, for `kept_for` if the server has said that; not when the
    /// engine has no room for another connection, which somebody may be waiting for.
    pub fn keep(
        self: &Rc<Self>,
        destination: Rc<Destination>,
        transport: Transport,
        kept_for: Option<Duration>,
    ) {
        let time = kept_for.map_or(IDLE, |time| time.saturating_sub(MARGIN).min(IDLE));
        if time.is_zero() || self.engine.connections().is_full() {
            return;
        }
        if self.count.get() >= IN_ALL {
            self.drop_oldest();
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(destination).or_default();
        if connections.len() == PER_DESTINATION {
            connections.pop_front();
            self.count.set(self.count.get() - 1);
        }
        connections.push_back(Idle {
            transport,
            until: Instant::now() + time,
        });
        self.count.set(self.count.get() + 1);
        drop(idle);
        self.sweep_later();
    }

    /// Idle connections.
    pub fn len(&self) -> usize {
        self.count.get()
    }

    /// Whether no connection is idle.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        self.count.set(0);
        drop(self.idle.take());
    }

    /// Closes the connection that would be closed first.
    pub fn drop_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        let next = |connections: &VecDeque<Idle>| connections.front().map(|first| first.until);
        let oldest = idle
            .iter()
            .filter_map(|(destination, connections)| Some((next(connections)?, destination)))
            .min_by_key(|(until, _)| *until)
            .map(|(_, destination)| destination.clone());
        if let Some(connections) = oldest.and_then(|oldest| idle.get_mut(&oldest)) {
            connections.pop_front();
            self.count.set(self.count.get() - 1);
        }
    }

    /// Closes what has waited too long as long as something waits.
    fn sweep_later(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let (weak, timers) = (Rc::downgrade(self), self.engine.timers().clone());
        let sweeping = async move {
            while let Some(next) = weak.upgrade().and_then(|pool| pool.sweep(Instant::now())) {
                timers.sleep_until(next).await;
            }
            finish(&weak);
        };
        self.engine.spawn(sweeping).detach();
    }

    /// Closes what has waited too long; when to look again, if anything is left.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, connections| {
            connections.retain(|connection| connection.until > now);
            !connections.is_empty()
        });
        self.count.set(idle.values().map(VecDeque::len).sum());
        let ends = idle.values().flatten().map(|connection| connection.until);
        // Not for each of many that end one after the other.
        ends.min().map(|first| first.max(now + MARGIN))
    }
}

fn finish(pool: &Weak<Pool>) {
    if let Some(pool) = pool.upgrade() {
        pool.sweeping.set(false);
    }
}
