//! One WebSocket, as whoever sends sees it.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use event_listener::Event;

use super::{Data, Role, frames, frames::Kind, send_queue::SendQueue, topics::Membership};
use crate::engine::{
    Engine, counters::Counters, limits::WebSocketLimits, service::Remote, transport::Transport,
};

/// What waits unsent is written once it is so much, and not only at the end of the turn.
const WRITE_AT: usize = 64 * 1024;

/// An open WebSocket, or one that was. All functions can be called at any time; after the end they do nothing.
///
/// ```
#[doc = include_str!("../examples/open_websocket.txt")]
/// assert!(socket.is_open());
/// drop(pump);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WebSocket {
    number: u64,
    role: Role,
    remote: Remote,
    engine: Rc<Engine>,
    counters: Option<Rc<Counters>>,
    pub(super) limits: Rc<WebSocketLimits>,
    state: Cell<State>,
    pub(super) output: RefCell<Output>,
    held: Cell<usize>,
    shrinking: Event,
    pub(super) memberships: RefCell<Vec<Membership>>,
}

/// What became of a message.
///
/// ```
#[doc = include_str!("../examples/open_websocket.txt")]
/// assert_eq!(socket.send(Data::Text("hi")), Sent::Taken);
/// socket.close(1000, "");
/// assert_eq!(socket.send(Data::Text("hi")), Sent::Dropped);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Taken,
    /// It waits, since the other end does not read as fast; [`WebSocketService::drained`](super::WebSocketService::drained)
    /// follows.
    Queued,
    /// The WebSocket is closed, or too much waits already.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Messages go both ways.
    Open,
    /// Our close frame is on its way, or sent; the other end's is awaited.
    Closing,
    /// Nothing is sent any more, but for what waits.
    Over,
}

/// The way out.
pub(super) struct Output {
    pub(super) transport: Transport,
    pub(super) queue: SendQueue,
    /// The system takes no more: the pump waits until it does.
    pub(super) blocked: bool,
    /// It took no more at some time since the queue was last empty: somebody may wait for
    /// [`WebSocketService::drained`](super::WebSocketService::drained).
    pub(super) drain_due: bool,
    /// The connection broke while something was written.
    pub(super) failure: Option<io::Error>,
    /// Why our close frame was sent.
    pub(super) closing: Option<(u16, String)>,
    /// The pump is at work and will write at its end.
    corked: bool,
    /// The queue uses the thread's write buffer.
    borrowed: bool,
    waker: Option<Waker>,
}

impl WebSocket {
    pub(super) fn new(
        engine: Rc<Engine>,
        transport: Transport,
        number: u64,
        role: Role,
        remote: Remote,
        limits: Rc<WebSocketLimits>,
        counters: Option<Rc<Counters>>,
    ) -> Rc<Self> {
        let output = Output {
            transport,
            queue: SendQueue::default(),
            blocked: false,
            drain_due: false,
            failure: None,
            closing: None,
            corked: false,
            borrowed: false,
            waker: None,
        };
        Rc::new(Self {
            number,
            role,
            remote,
            engine,
            counters,
            limits,
            state: Cell::new(State::Open),
            output: RefCell::new(output),
            held: Cell::new(0),
            shrinking: Event::new(),
            memberships: RefCell::default(),
        })
    }

    /// Its number; see [`WebSocketService`](super::WebSocketService).
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(socket.number(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which end this is.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(socket.role(), Role::Server);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn role(&self) -> Role {
        self.role
    }

    /// The other end's address.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(*socket.remote(), Remote::Internet(peer.local_addr()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether messages can be sent.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// socket.close(1000, "");
    /// assert!(!socket.is_open());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Bytes that wait to be sent.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(socket.unsent(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unsent(&self) -> usize {
        self.output.borrow().queue.len()
    }

    /// Sends a message.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(socket.send(Data::Binary(&[1, 2, 3])), Sent::Taken);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&self, data: Data<'_>) -> Sent {
        self.put(Kind::of(data), data.bytes())
    }

    /// Sends a ping with the first 125 bytes of `payload` (RFC 6455 §5.5); none while the other end does not read
    /// what is sent, so that pings without end fill no memory.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert_eq!(socket.ping(b"are you there?"), Sent::Taken);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ping(&self, payload: &[u8]) -> Sent {
        if self.output.borrow().blocked {
            return Sent::Dropped;
        }
        let payload = &payload[..payload.len().min(frames::CONTROL_PAYLOAD)];
        self.put(Kind::Ping, payload)
    }

    /// Sends a ping behind what waits: whether the other end is still there.
    pub(super) fn probe(&self) {
        self.put(Kind::Ping, b"");
    }

    /// Sends a close frame behind what waits, with what fits of `reason`, and nothing after it.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// socket.close(1000, "bye");
    /// assert_eq!(socket.send(Data::Text("more")), Sent::Dropped);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self, code: u16, reason: &str) {
        if self.state.get() != State::Open {
            return;
        }
        let reason = frames::fitting(reason);
        self.state.set(State::Closing);
        let mut output = self.output.borrow_mut();
        frames::close(output.queue.end(), self.role, Some(code), reason);
        output.closing = Some((code, reason.to_owned()));
        output.wake();
        drop(output);
        // Nothing can be sent any more: those who wait to send learn it now, though the other end may take nothing for long.
        self.wake_shrinking();
    }

    /// The receiver has done with one of the messages that it had held on to.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// socket.release(); // nothing was held: nothing happens
    /// assert!(socket.is_open());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self) {
        let was_full = self.is_full();
        self.held.set(self.held.get().saturating_sub(1));
        if was_full && !self.is_full() {
            self.output.borrow_mut().wake();
        }
    }

    /// Ready when no more than `limit` bytes wait to be sent, or none will be.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// socket.send(Data::Text("hi"));
    /// engine.block_on(socket.shrunk(1024 * 1024))?;
    /// assert!(socket.unsent() <= 1024 * 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn shrunk(&self, limit: usize) {
        while self.unsent() > limit && self.is_open() {
            self.shrinking.listen().await;
        }
    }

    /// Sends a frame that was encoded for many.
    pub(super) fn put_encoded(&self, frame: &[u8]) -> Sent {
        if !self.is_open() {
            return Sent::Dropped;
        }
        let mut output = self.output.borrow_mut();
        if !output.has_room(frame.len(), self.limits.queue) {
            return Sent::Dropped;
        }
        // Nothing waits: it need not be copied.
        let written = if output.queue.is_empty() && !output.corked && !output.blocked {
            let written = output.write(frame);
            self.count_sent(written);
            written
        } else {
            0
        };
        output.queue.end().extend_from_slice(&frame[written..]);
        self.appended(&mut output)
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// Nothing more is sent, and whoever waits for that learns it.
    pub(super) fn end(&self) {
        self.state.set(State::Over);
        self.leave_topics();
        self.wake_shrinking();
    }

    pub(super) fn hold(&self) {
        self.held.set(self.held.get() + 1);
    }

    /// Whether the receiver holds on to too many messages to be given more.
    pub(super) fn is_full(&self) -> bool {
        self.is_open() && self.held.get() > self.limits.held
    }

    /// From here on until [`Self::uncork`], small messages are collected.
    pub(super) fn cork(&self) {
        let mut output = self.output.borrow_mut();
        output.corked = true;
        output.borrowed = output
            .queue
            .borrow_buffer(|| self.engine.buffers().take_write());
    }

    /// Writes what was collected, as far as it goes.
    pub(super) fn uncork(&self) {
        let mut output = self.output.borrow_mut();
        output.corked = false;
        self.write_queue(&mut output);
        if mem::take(&mut output.borrowed) {
            let buffer = output.queue.return_buffer();
            self.engine.buffers().return_write(buffer);
        }
    }

    /// From here on it is this task that is woken when something is to be done.
    pub(super) fn woken_by(&self, context: &Context<'_>) {
        match &mut self.output.borrow_mut().waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Writes what waits, as far as it goes; whether some of it was.
    pub(super) fn flush(&self) -> bool {
        let mut output = self.output.borrow_mut();
        if output.queue.is_empty() {
            return false;
        }
        output.blocked = false;
        let before = output.queue.len();
        self.write_queue(&mut output);
        let progress = output.queue.len() < before;
        output.queue.shrink();
        progress
    }

    pub(super) fn wake_shrinking(&self) {
        self.shrinking.notify(usize::MAX);
    }

    pub(super) fn count_received(&self, count: usize) {
        if let Some(counters) = &self.counters {
            counters.received(count);
        }
    }

    pub(super) fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    fn put(&self, kind: Kind, payload: &[u8]) -> Sent {
        if !self.is_open() {
            return Sent::Dropped;
        }
        let mut output = self.output.borrow_mut();
        let longest = frames::longest(payload.len());
        if !output.has_room(longest, self.limits.queue) {
            self.write_queue(&mut output);
            if !output.has_room(longest, self.limits.queue) {
                return Sent::Dropped;
            }
        }
        frames::frame(output.queue.end(), self.role, kind, payload);
        self.appended(&mut output)
    }

    /// Something was added to the queue.
    fn appended(&self, output: &mut Output) -> Sent {
        if output.queue.len() >= WRITE_AT {
            self.write_queue(output);
        }
        if output.blocked {
            return Sent::Queued;
        }
        if !output.corked && !output.queue.is_empty() {
            output.wake();
        }
        Sent::Taken
    }

    fn write_queue(&self, output: &mut Output) {
        while !output.blocked && output.failure.is_none() && !output.queue.is_empty() {
            let queue = mem::take(&mut output.queue);
            let written = output.write(queue.unsent());
            output.queue = queue;
            output.queue.take(written);
            self.count_sent(written);
        }
        if output.failure.is_some() {
            output.queue.clear();
            output.wake();
        }
    }

    fn count_sent(&self, count: usize) {
        if let Some(counters) = &self.counters {
            counters.sent(count);
        }
    }
}

impl Output {
    /// Writes some of `bytes`; how many that were. The rest waits for the system, or the connection has failed.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let waker = self.waker.as_ref().unwrap_or(Waker::noop()).clone();
        match self
            .transport
            .poll_write(&mut Context::from_waker(&waker), bytes)
        {
            Poll::Ready(Ok(0)) => self.failure = Some(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => return count,
            Poll::Ready(Err(error)) => self.failure = Some(error),
            Poll::Pending => {
                self.blocked = true;
                // Whoever writes, it is the pump that keeps the time of it and says when the queue is empty.
                if !mem::replace(&mut self.drain_due, true) {
                    self.wake();
                }
            }
        }
        0
    }

    fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.queue.len().saturating_add(bytes) <= limit
    }

    fn wake(&mut self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
