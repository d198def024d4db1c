//! Readiness of sockets: one level-triggered poller per runtime.
//!
//! A [`Watched`] socket costs one registration when it opens and one when it closes; a request in between costs no
//! `epoll_ctl`. Level mode has three traps, held by the tests in `tests/rust/idle_cpu.rs`:
//!
//! - an event nobody waits for comes again at once, so its direction is taken out of the interest until somebody waits;
//! - a hang-up or an error is reported even with an empty interest, so such a socket leaves the poller;
//! - a key may be reused while an old event for it is still in the batch, so keys carry a generation.
//!
//! There is `unsafe` here since a slot names its socket by number. [`Watched`] makes that good: it owns the socket, and its
//! `drop` removes the slot, and the descriptor from the poller, before the socket is closed.
//!
//! ```
#![doc = include_str!("examples/engine.txt")]
//! use std::net::{TcpListener, TcpStream};
//! use lute_net::engine::reactor::Direction;
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! listener.set_nonblocking(true)?;
//! let listener = engine.reactor().watch(listener)?;
//! let _client = TcpStream::connect(listener.get().local_addr()?)?;
//! engine.block_on(listener.ready(Direction::Read))??;
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(unsafe_code)]

mod wakers;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    num::NonZeroUsize,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

use self::wakers::Alarm;
pub(crate) use self::wakers::Wakeup;
use super::poller::{AsSource, BorrowedSource, Event, Events, Interest, Poller, RawSource, raw};

/// Events taken from the poller at once.
const BATCH: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Which way a task waits for a socket.
///
/// ```
#[doc = include_str!("examples/engine.txt")]
/// use std::net::{TcpListener, TcpStream};
/// use lute_net::engine::reactor::Direction;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// stream.set_nonblocking(true)?;
/// let stream = engine.reactor().watch(stream)?;
/// engine.block_on(stream.ready(Direction::Write))??; // there is room
/// drop(listener.accept()?);
/// engine.block_on(stream.ready(Direction::Read))??; // the end is there
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Until bytes, an end or an error can be read.
    Read,
    /// Until bytes can be written.
    Write,
}

/// The poller of one runtime and the tasks that wait on it.
///
/// ```
#[doc = include_str!("examples/sockets.txt")]
/// assert_eq!(engine.reactor().watched(), 2);
/// drop((left, right));
/// assert_eq!(engine.reactor().watched(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reactor {
    poller: Arc<Poller>,
    alarm: Arc<Alarm>,
    slots: RefCell<Slab<Slot>>,
    generation: Cell<u32>,
    events: RefCell<Events>,
}

impl Reactor {
    /// A reactor with a poller of its own.
    ///
    /// # Errors
    /// When the system has no descriptor left for the poller.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let poller = Arc::new(Poller::new()?);
        let alarm = Arc::new(Alarm::new(poller.clone()));
        Ok(Rc::new(Self {
            poller,
            alarm,
            slots: RefCell::default(),
            generation: Cell::new(0),
            events: RefCell::new(Events::with_capacity(BATCH)),
        }))
    }

    /// Watches `source`, which must be non-blocking, until the returned value is dropped.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// use std::net::{TcpListener, TcpStream};
    /// use lute_net::engine::reactor::Direction;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let listener = engine.reactor().watch(listener)?;
    /// let _client = TcpStream::connect(listener.get().local_addr()?)?;
    /// engine.block_on(listener.ready(Direction::Read))??;
    /// assert!(listener.get().accept().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system refuses the registration (no memory, too many watches).
    pub fn watch<S: AsSource>(self: &Rc<Self>, source: S) -> io::Result<Watched<S>> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let slot = Slot::new(raw(&source), generation);
        let index = self.slots.borrow_mut().insert(slot);
        let watched = Watched {
            source,
            reactor: self.clone(),
            index,
        };
        self.with_slot(index, |slot, key| slot.attach(&self.poller, key))?;
        Ok(watched)
    }

    /// Sockets that are watched.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// drop(left);
    /// assert_eq!(engine.reactor().watched(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watched(&self) -> usize {
        self.slots.borrow().len()
    }

    /// The poller's own descriptor, for another reactor to wait on: readable when a socket has something to do.
    #[cfg(unix)]
    pub(crate) fn descriptor(self: &Rc<Self>) -> PollerDescriptor {
        PollerDescriptor(self.poller.clone())
    }

    /// A wakeup that ends [`Self::turn`]'s wait, or the next one's, and remembers that it was called.
    pub(crate) fn wakeup(&self) -> Arc<Wakeup> {
        Arc::new(Wakeup::new(self.poller.clone()))
    }

    /// A waker that ends [`Self::turn`]'s wait when it is called from another thread.
    pub(crate) fn alarm(&self) -> Waker {
        self.alarm.clone().into()
    }

    /// From here until the next [`Self::turn`] has waited, a call of the alarm ends that wait.
    pub(crate) fn arm(&self) {
        self.alarm.arm();
    }

    /// Waits for events, at most `timeout` (for ever with `None`), and wakes the tasks they concern.
    ///
    /// # Errors
    /// When the system's poller fails; nothing a peer does can make it.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        let waited = self.poller.wait(&mut events, timeout);
        self.alarm.disarm();
        waited?;
        for event in events.iter() {
            let mut slots = self.slots.borrow_mut();
            let found = slots
                .get_mut(index_of(event.key))
                .filter(|slot| slot.key(index_of(event.key)) == event.key);
            if let Some(slot) = found {
                slot.notice(&self.poller, event)?;
            }
        }
        Ok(())
    }

    fn with_slot<T>(&self, index: usize, f: impl FnOnce(&mut Slot, usize) -> T) -> T {
        let slot = &mut self.slots.borrow_mut()[index];
        let key = slot.key(index);
        f(slot, key)
    }
}

/// A socket in the reactor; leaves it before it is closed.
///
/// ```
#[doc = include_str!("examples/engine.txt")]
/// use std::net::TcpListener;
/// use lute_net::engine::reactor::Watched;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// listener.set_nonblocking(true)?;
/// let listener: Watched<TcpListener> = engine.reactor().watch(listener)?;
/// assert_eq!(engine.reactor().watched(), 1);
/// drop(listener); // leaves the reactor, and is closed
/// assert_eq!(engine.reactor().watched(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Watched<S: AsSource> {
    source: S,
    reactor: Rc<Reactor>,
    index: usize,
}

impl<S: AsSource> Watched<S> {
    /// The socket itself.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let listener = engine.reactor().watch(listener)?;
    /// assert_ne!(listener.get().local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self) -> &S {
        &self.source
    }

    /// Waits until `direction` is possible, or has ended or failed: the read or write that follows tells.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// use std::net::{TcpListener, TcpStream};
    /// use lute_net::engine::reactor::Direction;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let listener = engine.reactor().watch(listener)?;
    /// let _client = TcpStream::connect(listener.get().local_addr()?)?;
    /// assert!(engine.block_on(listener.ready(Direction::Read))?.is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn ready(&self, direction: Direction) -> io::Result<()> {
        poll_fn(|context| self.poll_ready(direction, context)).await
    }

    /// As [`Self::ready`]. Each `Ready` is given out once; call again after the operation would have blocked.
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.reactor.with_slot(self.index, |slot, key| {
            let side = slot.side(direction);
            if std::mem::take(&mut side.ready) {
                return Poll::Ready(Ok(()));
            }
            side.waits(context);
            if side.interested && slot.attached {
                return Poll::Pending;
            }
            slot.side(direction).interested = true;
            match slot.update(&self.reactor.poller, key) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
    }

    /// Waits until the connection is reset, whatever there is to read before that; nothing else may wait to read
    /// meanwhile. Where the system does not tell without an interest (kqueue), it waits for ever.
    pub(crate) fn poll_hung_up(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reactor.with_slot(self.index, |slot, key| {
            if slot.hung_up {
                return Poll::Ready(Ok(()));
            }
            slot.read.waits(context);
            if !slot.read.interested {
                return Poll::Pending;
            }
            slot.read.interested = false;
            match slot.update(&self.reactor.poller, key) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        })
    }
}

impl<S: AsSource> Drop for Watched<S> {
    fn drop(&mut self) {
        let slot = self.reactor.slots.borrow_mut().remove(self.index);
        if slot.attached {
            // A descriptor that the system has already dropped from the poller is what we want: no error to act on.
            let _ = self.reactor.poller.delete(slot.descriptor());
        }
    }
}

/// What is known of one watched socket.
struct Slot {
    descriptor: RawSource,
    generation: u32,
    attached: bool,
    hung_up: bool,
    read: Side,
    write: Side,
}

/// One direction of a socket.
#[derive(Default)]
struct Side {
    /// In the poller's interest set.
    interested: bool,
    /// An event came that no task has taken yet.
    ready: bool,
    /// The task that waits.
    waker: Option<Waker>,
}

impl Slot {
    fn new(descriptor: RawSource, generation: u32) -> Self {
        let read = Side {
            interested: true,
            ..Side::default()
        };
        Self {
            descriptor,
            generation,
            attached: false,
            hung_up: false,
            read,
            write: Side::default(),
        }
    }

    /// Generation and index in one number; never the poller's own key.
    fn key(&self, index: usize) -> usize {
        (self.generation as usize & 0x7fff_ffff) << 32 | index
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    fn interest(&self) -> Interest {
        Interest {
            read: self.read.interested,
            write: self.write.interested,
        }
    }

    fn descriptor(&self) -> BorrowedSource<'_> {
        // SAFETY: a slot lives inside the life of its `Watched`, which owns the open descriptor.
        unsafe { BorrowedSource::borrow_raw(self.descriptor) }
    }

    fn attach(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        poller.add(self.descriptor(), key, self.interest())?;
        self.attached = true;
        Ok(())
    }

    fn update(&mut self, poller: &Poller, key: usize) -> io::Result<()> {
        if !self.attached {
            return self.attach(poller, key);
        }
        poller.modify(self.descriptor(), key, self.interest())
    }

    fn notice(&mut self, poller: &Poller, event: Event) -> io::Result<()> {
        let before = (self.read.interested, self.write.interested);
        if event.readable && !self.read.notice() {
            self.read.interested = false;
        }
        if event.writable {
            // Writability is asked for only when a write would have blocked, so the answer ends the interest.
            self.write.notice();
            self.write.interested = false;
        }
        let after = (self.read.interested, self.write.interested);
        self.hung_up |= event.hung_up;
        if event.hung_up && after == (false, false) {
            self.attached = false;
            return poller.delete(self.descriptor());
        }
        if before == after {
            return Ok(());
        }
        self.update(poller, event.key)
    }
}

impl Side {
    fn waits(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Takes note of an event; whether a task waited for it.
    fn notice(&mut self) -> bool {
        self.ready = true;
        match self.waker.take() {
            Some(waker) => {
                waker.wake();
                true
            }
            None => false,
        }
    }
}

fn index_of(key: usize) -> usize {
    key & 0xffff_ffff
}

/// The descriptor of a reactor's poller; see [`Reactor::descriptor`].
#[cfg(unix)]
pub(crate) struct PollerDescriptor(Arc<Poller>);

#[cfg(unix)]
impl AsSource for PollerDescriptor {
    fn as_fd(&self) -> BorrowedSource<'_> {
        self.0.as_fd()
    }
}
