//! Moves the bytes of one WebSocket: reads and hands on messages, writes what is to be sent, keeps its times, and ends it
//! so that both ends know.

#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io, mem,
    rc::Rc,
    task::{Context, Poll},
};

use async_tungstenite::tungstenite::protocol::CloseFrame;

use super::{
    Ending, Role, Upgrade, WebSocketService,
    arrivals::{Arrivals, End},
    farewell, frames,
    handle::{State, WebSocket},
    reader::{Reader, Violation},
    times::{Late, Times},
};
use crate::engine::{
    Engine, counters::Counters, deadlines::Deadline, service::Remote, transport::Transport,
};

/// Reads before others get their turn. Only TLS has something to read without an event.
const READS_PER_TURN: usize = 4;

/// Reads of what has come before the connection broke: about as much as the system keeps.
const READS_AT_END: usize = 64;

/// How a transport is read.
type Read = fn(&mut Transport, &mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>;

/// A connection after the handshake.
///
/// ```
#[doc = include_str!("../examples/sockets.txt")]
/// use lute_net::engine::{service::Remote, transport::Transport, websocket::{PumpOptions, Role}};
///
/// let options = PumpOptions {
///     transport: Transport::Plain(left),
///     role: Role::Client,
///     remote: Remote::Local,
///     input: Vec::new(),
///     counters: None,
/// };
/// assert!(options.input.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PumpOptions {
    /// What it goes through.
    pub transport: Transport,
    /// Which end this is.
    pub role: Role,
    /// The other end's address.
    pub remote: Remote,
    /// What was read behind the handshake.
    pub input: Vec<u8>,
    /// Where its bytes are counted.
    pub counters: Option<Rc<Counters>>,
}

/// The task of one WebSocket. Dropping it drops the connection.
///
/// ```
#[doc = include_str!("../examples/open_websocket.txt")]
/// let task = engine.spawn(pump.run());
/// drop(peer);
/// engine.block_on(task)?; // the other end is gone
/// assert!(!socket.is_open());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pump {
    socket: Rc<WebSocket>,
    service: Rc<dyn WebSocketService>,
    deadline: Deadline,
    /// While a message is cut in two, or a pong is owed.
    reader: Option<Box<Reader>>,
    /// Bytes that were read and not used yet.
    input: Vec<u8>,
    times: Times,
    reported: bool,
}

impl Pump {
    /// The pump of a connection that has become a WebSocket; none when the upgrade was used before.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert!(Rc::ptr_eq(pump.socket(), &socket));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(engine: &Rc<Engine>, upgrade: Upgrade, options: PumpOptions) -> Option<Self> {
        Self::with_deadline(engine, engine.deadlines().register(), upgrade, options)
    }

    /// As [`Self::new`], with the deadline that the connection has already.
    pub(crate) fn with_deadline(
        engine: &Rc<Engine>,
        deadline: Deadline,
        mut upgrade: Upgrade,
        options: PumpOptions,
    ) -> Option<Self> {
        let service = upgrade.service.take()?;
        let socket = WebSocket::new(
            engine.clone(),
            options.transport,
            upgrade.number,
            options.role,
            options.remote,
            upgrade.limits.clone(),
            options.counters,
        );
        Some(Self {
            socket,
            service,
            deadline,
            reader: None,
            input: options.input,
            times: Times::new(engine.clock().now()),
            reported: false,
        })
    }

    /// The WebSocket.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// assert!(pump.socket().is_open());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn socket(&self) -> &Rc<WebSocket> {
        &self.socket
    }

    /// Runs it to its end.
    ///
    /// ```
    #[doc = include_str!("../examples/open_websocket.txt")]
    /// peer.write_all(b"\x88\x80\0\0\0\0")?; // a close frame
    /// engine.block_on(async { futures_lite::future::zip(pump.run(), async { drop(peer) }).await })?;
    /// assert!(!socket.is_open());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn run(mut self) {
        self.times.heard(self.socket.engine().clock().now());
        self.arm();
        self.service.clone().opened(&self.socket);
        let (ending, way) = poll_fn(|context| self.poll_open(context)).await;
        self.report(&ending);
        // What lives until the end would be part of the task from its beginning.
        drop(ending);
        self.reader = None;
        self.input = Vec::new();
        if way == Way::Together {
            // The other end may be gone by now.
            let _ = farewell::say(&self.socket, &self.deadline).await;
        }
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<(Ending, Way)> {
        self.socket.woken_by(context);
        if let Some(failure) = self.write() {
            return Poll::Ready(self.take_last(context, &failure));
        }
        // Asked again after the deadline has been moved, so that it wakes this task.
        while self.deadline.poll_expired(context) {
            if let Some(end) = self.expired(context) {
                return Poll::Ready(end);
            }
        }
        for _ in 0..READS_PER_TURN {
            if self.socket.is_full() {
                return self.poll_paused(context);
            }
            let Poll::Ready(end) = self.poll_next(context, Transport::poll_read) else {
                self.rest();
                return Poll::Pending;
            };
            if let Some(end) = end {
                return Poll::Ready(end);
            }
            if let Some(failure) = self.write() {
                return Poll::Ready(self.take_last(context, &failure));
            }
            if self.socket.engine().is_time_up() {
                break;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what waits; the failure of the connection, if that shows it.
    fn write(&mut self) -> Option<io::Error> {
        let mut progress = self.socket.flush();
        if self.pays() {
            progress |= self.socket.flush();
        }
        let mut output = self.socket.output.borrow_mut();
        let failure = output.failure.take();
        let waits = output.blocked;
        let drained = output.queue.is_empty() && mem::take(&mut output.drain_due);
        drop(output);
        if progress {
            self.socket.wake_shrinking();
        }
        let clock = self.socket.engine().clock();
        match (waits, progress) {
            (false, _) => self.times.all_sent(),
            (true, true) => self.times.some_sent(clock.now()),
            (true, false) => self.times.none_sent(|| clock.now()),
        }
        if drained && failure.is_none() && self.socket.is_open() {
            self.service.drained(self.socket.number());
        }
        failure
    }

    /// Adds the pong that was owed while nothing could be sent, if there is one and something can; whether there was.
    fn pays(&mut self) -> bool {
        let Some(mut reader) = self.reader.take_if(|reader| reader.owes()) else {
            return false;
        };
        let mut output = self.socket.output.borrow_mut();
        let can = !output.blocked && self.socket.state() == State::Open;
        if can {
            reader.pay(output.queue.end());
        }
        drop(output);
        if reader.is_free() {
            let readers = self.socket.engine().websocket_readers();
            readers.put_back(self.socket.role(), reader);
        } else {
            self.reader = Some(reader);
        }
        can
    }

    /// The connection takes nothing more; what has come over it before is handed on all the same.
    fn take_last(&mut self, context: &mut Context<'_>, failure: &io::Error) -> (Ending, Way) {
        for _ in 0..READS_AT_END {
            if self.socket.is_full() {
                break;
            }
            match self.poll_next(context, Transport::poll_read_now) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(end)) => return end,
                Poll::Pending => break,
            }
        }
        self.lost(failure)
    }

    /// Hands on what was read before, or else reads. Ready without a value when there is more to do.
    fn poll_next(&mut self, context: &mut Context<'_>, read: Read) -> Poll<Option<(Ending, Way)>> {
        if self.input.is_empty() {
            return self.poll_read(context, read);
        }
        // The receiver had no room for it before.
        self.times.heard(self.socket.engine().clock().now());
        let mut input = mem::take(&mut self.input);
        Poll::Ready(self.take_in(&mut input))
    }

    /// Reads once and hands on what came. Ready without a value when there is more to do.
    fn poll_read(&mut self, context: &mut Context<'_>, read: Read) -> Poll<Option<(Ending, Way)>> {
        let engine = self.socket.engine().clone();
        let mut buffer = engine.buffers().take_read();
        let mut output = self.socket.output.borrow_mut();
        let read = read(&mut output.transport, context, &mut buffer);
        drop(output);
        let end = match read {
            Poll::Pending => None,
            Poll::Ready(Ok(0)) => Some(self.cut_off("the connection ended without a close frame")),
            Poll::Ready(Err(ref failure)) => Some(self.lost(failure)),
            Poll::Ready(Ok(count)) => {
                self.socket.count_received(count);
                self.times.heard(engine.clock().now());
                self.take_in(&mut buffer[..count])
            }
        };
        engine.buffers().return_read(buffer);
        read.map(|_| end)
    }

    /// Hands on the messages of `input`; what can't be handed on yet is kept.
    fn take_in(&mut self, input: &mut [u8]) -> Option<(Ending, Way)> {
        self.socket.cork();
        let mut arrivals = Arrivals::new(&self.socket, self.reader.take(), input);
        self.service.received(self.socket.number(), &mut arrivals);
        let remains = arrivals.finish();
        let end = remains.end.map(|end| match end {
            End::Closed(frame) => self.closed_by_peer(frame),
            End::Violated(violation) => self.violated(violation),
        });
        self.socket.uncork();
        self.reader = remains.reader;
        self.input.extend_from_slice(remains.input);
        end
    }

    /// The close frame of the other end came: ours follows, unless it was first.
    fn closed_by_peer(&self, frame: Option<CloseFrame>) -> (Ending, Way) {
        if let Some(ending) = self.our_ending() {
            return (ending, Way::Together);
        }
        let (code, reason) = frame
            .map(|frame| (u16::from(frame.code), frame.reason.to_string()))
            .unzip();
        self.send_close(code, "");
        let ending = Ending {
            code: code.unwrap_or(1005),
            reason: reason.unwrap_or_default(),
            problem: None,
            dropped: false,
        };
        (ending, Way::Together)
    }

    fn violated(&self, violation: Violation) -> (Ending, Way) {
        if let Some(ending) = self.our_ending() {
            return (ending, Way::Together);
        }
        self.send_close(Some(violation.code), &violation.reason);
        let ending = Ending {
            code: violation.code,
            problem: Some(violation.reason.clone()),
            reason: violation.reason,
            dropped: false,
        };
        (ending, Way::Together)
    }

    fn send_close(&self, code: Option<u16>, reason: &str) {
        let mut output = self.socket.output.borrow_mut();
        frames::close(
            output.queue.end(),
            self.socket.role(),
            code,
            frames::fitting(reason),
        );
        drop(output);
        self.socket.end();
    }

    fn lost(&self, failure: &io::Error) -> (Ending, Way) {
        self.cut_off(&format!("the connection was lost: {failure}"))
    }

    fn cut_off(&self, problem: &str) -> (Ending, Way) {
        let ending = self.our_ending().unwrap_or_else(|| Ending {
            code: 1006,
            reason: String::new(),
            problem: Some(problem.to_owned()),
            dropped: false,
        });
        (ending, Way::Alone)
    }

    /// The end that we have asked for, if we have.
    fn our_ending(&self) -> Option<Ending> {
        let closing = self.socket.output.borrow().closing.clone();
        closing.map(|(code, reason)| Ending {
            code,
            reason,
            problem: None,
            dropped: false,
        })
    }

    /// The receiver has enough: nothing is read, and only a reset shows that the other end is gone.
    fn poll_paused(&mut self, context: &mut Context<'_>) -> Poll<(Ending, Way)> {
        let lost = self.socket.output.borrow_mut().transport.poll_lost(context);
        // Of a Unix socket an ordinary end shows as well, behind what is still to be read.
        if lost.is_ready() && self.input.is_empty() && !self.has_unread(context) {
            return Poll::Ready(self.cut_off("the connection was lost"));
        }
        self.rest();
        Poll::Pending
    }

    /// Before waiting: sets the deadline if what it is for has changed.
    fn rest(&mut self) {
        if !self.times.is_closing() && self.socket.state() == State::Closing {
            let now = self.socket.engine().clock().now();
            let unsent = self.socket.unsent();
            self.times.closing(now, unsent, &self.socket.limits);
            self.arm();
        }
        if self.times.is_stuck() || !self.deadline.is_set() {
            self.arm();
        }
    }

    fn arm(&self) {
        self.deadline.set(self.times.due(&self.socket.limits));
    }

    /// Something may be late; the end, if it is too late.
    fn expired(&mut self, context: &mut Context<'_>) -> Option<(Ending, Way)> {
        let now = self.socket.engine().clock().now();
        match self.times.late(now, &self.socket.limits) {
            None => {}
            Some(Late::Close) => return Some(self.cut_off("the close frame was not answered")),
            Some(Late::Reading) => return Some(self.cut_off("the other end reads nothing")),
            // What we do not read we can't hear, but a ping to an end that has gone fails.
            Some(Late::Sign | Late::Ping) if self.socket.is_full() => {
                self.socket.ping(b"");
                self.times.heard(now);
            }
            // What has come already came in time.
            Some(Late::Sign | Late::Ping) if self.has_unread(context) => self.times.heard(now),
            Some(Late::Sign) => return Some(self.cut_off("nothing came for too long")),
            Some(Late::Ping) => {
                self.times.pinged(now);
                self.socket.probe();
                if let Some(failure) = self.write() {
                    return Some(self.take_last(context, &failure));
                }
            }
        }
        self.arm();
        None
    }

    fn has_unread(&self, context: &mut Context<'_>) -> bool {
        self.socket
            .output
            .borrow_mut()
            .transport
            .has_unread(context)
    }

    fn report(&mut self, ending: &Ending) {
        if !mem::replace(&mut self.reported, true) {
            self.socket.end();
            self.service.closed(self.socket.number(), ending);
        }
    }
}

/// How the connection of a WebSocket that is over ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// With the other end: it is to read our last frame.
    Together,
    /// At once: it is gone, or does not answer.
    Alone,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if self.reported {
            return;
        }
        let ending = self.our_ending().unwrap_or(Ending {
            code: 1006,
            reason: String::new(),
            problem: Some("the connection was dropped".to_owned()),
            dropped: true,
        });
        self.report(&Ending {
            dropped: true,
            ..ending
        });
    }
}
