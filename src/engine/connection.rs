//! One client of a server, from its first byte to its last: reads requests, has the service answer them in order, and
//! ends the connection so that the client can read the last answer.
//!
//! The common way is short: [`Connection::poll_turn`] reads, answers and writes in one go, on the thread's shared buffers.
//! What takes longer (an answer that comes later, a streamed body, a client that reads slowly) is in `exchange.rs` and
//! `upload.rs`.

mod phase;

use std::{
    future::poll_fn,
    io, mem,
    rc::Rc,
    task::{Context, Poll},
};

use futures_lite::future::yield_now;
use tracing::debug;

use self::phase::Phase;
pub(super) use self::phase::is_too_slow;
use super::{
    answer::Shape,
    deadlines::Deadline,
    exchange::{After, Exchange},
    intake::{Held, Intake, Refusal, RefusalBody, Taken},
    server::{self, Activity, ServerContext},
    service::{Remote, Reply, Request, RequestBody, Service, Streamed},
    transport::Transport,
    upload::{Coming, Upload},
    websocket::{Pump, PumpOptions, Role, Upgrade},
};
use crate::wire::{FieldStorage, Parsed, RequestHead, parse_request};

/// One client.
pub(super) struct Connection<S> {
    pub(super) context: Rc<ServerContext<S>>,
    pub(super) transport: Transport,
    pub(super) deadline: Deadline,
    pub(super) key: usize,
    remote: Remote,
    /// Bytes that were read and not used yet.
    pub(super) input: Vec<u8>,
    /// Bytes that could not be written yet.
    pub(super) unsent: Vec<u8>,
    intake: Intake,
    phase: Phase,
    activity: Activity,
}

/// Bytes of answers to pipelined requests that are made before they are sent: a client that asks for much at once does
/// not fill the memory with it.
const BATCH: usize = 256 * 1024;

/// What a connection does next.
pub(super) enum Next<S: Service> {
    /// Read.
    Read,
    /// Send what was answered, then go on with what was read.
    Send,
    /// Wait for an answer, and hand on the request's body while it is made.
    Await(Exchange<S>),
    /// Send a body, and hand on the rest of the request's own.
    Stream(Streamed, Exchange<S>),
    /// Read what is left of a request's body, since its answer did not need it.
    Skip(Box<Coming>),
    /// Become a WebSocket, once the answer that says so is sent.
    Upgrade(Box<Upgrade>),
    /// End the connection gracefully.
    Close,
    /// The client is gone.
    Gone,
}

impl<S: Service> Connection<S> {
    pub(super) fn new(
        context: Rc<ServerContext<S>>,
        transport: Transport,
        remote: Remote,
        deadline: Deadline,
        key: usize,
    ) -> Self {
        Self {
            context,
            transport,
            deadline,
            key,
            remote,
            input: Vec::new(),
            unsent: Vec::new(),
            intake: Intake::default(),
            phase: Phase::Fresh,
            activity: Activity::Fresh,
        }
    }

    /// Serves the client until it leaves or has to, or wants a WebSocket. What is held while it is idle is kept small: the
    /// future is little more than a pointer.
    pub(super) async fn run(&mut self) -> Option<Box<Upgrade>> {
        self.enter(Phase::Fresh);
        loop {
            let next = match poll_fn(|context| self.poll_turn(context)).await {
                Ok(Next::Read) if self.unsent.is_empty() => {
                    // TLS holds what it has taken from the socket: a read may follow at once, for as long as the client sends.
                    if self.transport.is_secure() {
                        yield_now().await;
                    }
                    continue;
                }
                Ok(Next::Gone) | Err(_) => return None,
                Ok(next) => next,
            };
            self.set_activity(Activity::Busy);
            match Box::pin(self.proceed(next)).await {
                After::Request => {
                    if self.input.is_empty() {
                        // A body that was read as it came leaves room for much more than an idle connection needs.
                        self.input = Vec::new();
                    }
                    self.enter_phase();
                }
                After::End => return None,
                After::Upgrade(upgrade) => return Some(upgrade),
            }
        }
    }

    /// The connection as a WebSocket.
    pub(super) fn into_websocket(self, upgrade: Upgrade) -> Option<Pump> {
        self.deadline.clear();
        let options = PumpOptions {
            transport: self.transport,
            role: Role::Server,
            remote: self.remote,
            input: self.input,
            counters: Some(self.context.counters.clone()),
        };
        let pump = Pump::with_deadline(&self.context.engine, self.deadline, upgrade, options)?;
        self.context.set_websocket(self.key, pump.socket());
        Some(pump)
    }

    /// Reads once, answers what is whole, and writes what can be written.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Next<S>>> {
        // What has come already came in time: the thread may have been busy.
        if self.deadline.poll_expired(context) && !self.transport.has_unread(context) {
            return Poll::Ready(Ok(self.expired()));
        }
        let mut buffer = self.context.engine.buffers().take_read();
        let read = self.transport.poll_read(context, &mut buffer);
        let count = match read {
            Poll::Ready(Ok(count)) if count > 0 => count,
            other => {
                self.context.engine.buffers().return_read(buffer);
                return other.map_ok(|_| Next::Gone);
            }
        };
        self.context.counters.received(count);
        let next = self.take_in(context, buffer, count);
        if matches!(next, Ok(Next::Read)) {
            self.enter_phase();
        }
        Poll::Ready(next)
    }

    /// Handles freshly read bytes, and puts the buffer back.
    fn take_in(
        &mut self,
        context: &mut Context<'_>,
        buffer: Vec<u8>,
        count: usize,
    ) -> io::Result<Next<S>> {
        if self.input.is_empty() {
            let (used, next) = self.handle(context, &buffer[..count]);
            self.input.extend_from_slice(&buffer[used..count]);
            self.context.engine.buffers().return_read(buffer);
            return next;
        }
        self.input.extend_from_slice(&buffer[..count]);
        self.context.engine.buffers().return_read(buffer);
        self.handle_kept(context)
    }

    /// Handles the bytes that were kept from earlier reads.
    pub(super) fn handle_kept(&mut self, context: &mut Context<'_>) -> io::Result<Next<S>> {
        let mut input = mem::take(&mut self.input);
        let (used, next) = self.handle(context, &input);
        if used < input.len() {
            input.drain(..used);
            self.input = input;
        }
        next
    }

    /// Handles `input`: how much of it was used, and what comes next. Answers are written at once, as far as they can be.
    fn handle(&mut self, context: &mut Context<'_>, input: &[u8]) -> (usize, io::Result<Next<S>>) {
        let mut out = self.context.engine.buffers().take_write();
        let (used, next) = self.advance(input, &mut out);
        let written = self.write_now(context, &out);
        self.context.engine.buffers().return_write(out);
        (used, written.map(|()| next))
    }

    /// Works through `input`. Answers are added to `out`.
    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Next<S>) {
        let mut used = 0;
        while used < input.len() {
            if out.len() >= BATCH || used > 0 && self.context.engine.is_time_up() {
                return (used, Next::Send);
            }
            let mut storage = FieldStorage::new();
            let server = &self.context;
            let (start, refusal_body) = (used, self.intake.refusal_body());
            let (taken, result) = self.intake.next(
                &input[used..],
                &mut storage,
                &server.limits,
                &server.buffered,
                server.bodies,
            );
            used += taken;
            let next = match result {
                Taken::More if taken == 0 => break,
                Taken::More => continue,
                Taken::WantsContinue => {
                    out.extend_from_slice(CONTINUE);
                    continue;
                }
                Taken::Request {
                    head,
                    raw_head,
                    body,
                } => self.respond(
                    &head,
                    raw_head,
                    RequestBody::Whole(body),
                    Upload::Whole,
                    out,
                ),
                Taken::Collected(whole) => self.respond_again(whole.raw_head(), whole.body(), out),
                Taken::Streaming {
                    head,
                    raw_head,
                    body,
                } if body.is_over() => {
                    let body = RequestBody::Whole(&[]);
                    self.respond(&head, raw_head, body, Upload::Whole, out)
                }
                Taken::Streaming {
                    head,
                    raw_head,
                    body,
                } => {
                    let upload = Upload::coming(body);
                    self.respond(&head, raw_head, RequestBody::Streamed, upload, out)
                }
                Taken::Refused(refusal) => {
                    let body = refusal_body.unwrap_or_else(|| RefusalBody::to(&input[start..]));
                    self.refuse(&refusal, body, out)
                }
            };
            if !matches!(next, Next::Read) {
                return (used, next);
            }
        }
        (used, Next::Read)
    }

    fn respond_again(&mut self, raw_head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Next<S> {
        let mut storage = FieldStorage::new();
        match parse_request(raw_head, &mut storage, raw_head.len()) {
            Ok(Parsed::Complete(head)) => self.respond(
                &head,
                raw_head,
                RequestBody::Whole(body),
                Upload::Whole,
                out,
            ),
            // The same bytes were a complete head before the body came.
            _ => Next::Close,
        }
    }

    fn respond(
        &mut self,
        head: &RequestHead<'_, '_>,
        raw_head: &[u8],
        body: RequestBody<'_>,
        mut upload: Upload,
        out: &mut Vec<u8>,
    ) -> Next<S> {
        // The times of the next head and body are their own.
        self.phase = Phase::Idle;
        let server = &self.context;
        server.counters.request();
        let persistent = head.persistent() && !server.is_draining();
        let shape_once_read = Shape::new(head.version(), head.method(), persistent);
        let shape = if upload.awaits_continue() {
            shape_once_read.last()
        } else {
            shape_once_read
        };
        let secure = self.transport.is_secure();
        let request = Request {
            head,
            raw_head,
            body,
            remote: &self.remote,
            secure,
            shape,
            shape_once_read,
        };
        // While an answer is made the service may keep the body.
        let exchange = |number, upload| {
            let held = Held::of(&server.buffered, body.length());
            Exchange::new(server.service.clone(), number, upload, held)
        };
        let begin = out.len();
        match server.service.respond(&request, out) {
            Reply::Later(number) => Next::Await(exchange(number, upload)),
            Reply::Streamed(number, streamed) => {
                if upload.takes_continue() {
                    out.splice(begin..begin, CONTINUE.iter().copied());
                }
                Next::Stream(streamed, exchange(number, upload))
            }
            Reply::Upgraded(upgrade) => Next::Upgrade(upgrade),
            Reply::Written { persistent: false } => Next::Close,
            Reply::Written { persistent: true } => upload.after_answer(),
        }
    }

    fn refuse(&self, refusal: &Refusal, body: RefusalBody, out: &mut Vec<u8>) -> Next<S> {
        debug!(target: server::TARGET, status = refusal.status, reason = refusal.reason, "refused");
        refusal.write(body, &self.context.engine.clock().date(), out);
        Next::Close
    }

    /// Writes what goes without waiting; the rest is kept in `unsent`, behind what is there already.
    fn write_now(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while self.unsent.is_empty() && written < bytes.len() {
            match self.transport.poll_write(context, &bytes[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.context.counters.sent(written);
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
