//! One client of a server, from its first byte to its last: reads requests, has the service answer them in order, and
//! ends the connection so that the client can read the last answer.
//!
//! The common way is short: [`Connection::poll_turn`] reads, answers and writes in one go, on the thread's shared buffers.
//! What takes longer (an answer that comes later, a streamed body, a client that reads slowly) is in `exchange.rs`.

use std::{
    future::poll_fn,
    io, mem,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    answer::Shape,
    deadlines::Deadline,
    intake::{BodyIntake, Intake, Refusal, Taken},
    limits::SLOWEST_BODY,
    server::ServerContext,
    service::{Remote, Reply, Request, RequestBody, Service, Streamed},
    timers::deadline_after,
    transport::Transport,
};
use crate::wire::{FieldStorage, Parsed, RequestHead, encode, parse_request};

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
}

/// What is awaited from the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body that began at this moment.
    Body(Instant),
}

/// Bytes of answers to pipelined requests that are made before they are sent: a client that asks for much at once does
/// not fill the memory with it.
const BATCH: usize = 256 * 1024;

/// What a connection does next.
pub(super) enum Next {
    /// Read.
    Read,
    /// Send what was answered, then go on with what was read.
    Send,
    /// Wait for an answer, and hand on the request's body while it is made.
    Await(u64, Option<Box<BodyIntake>>),
    /// Send a body; the rest of the request's own may still be on its way.
    Stream(Streamed, Option<Box<BodyIntake>>),
    /// Read what is left of a request's body, since its answer did not need it.
    Skip(Box<BodyIntake>),
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
            phase: Phase::Idle,
        }
    }

    /// Serves the client until it leaves or has to. What is held while it is idle is kept small: the future is little more
    /// than a pointer.
    pub(super) async fn run(&mut self) {
        self.enter(Phase::Idle);
        loop {
            let next = match poll_fn(|context| self.poll_turn(context)).await {
                Ok(Next::Read) if self.unsent.is_empty() => continue,
                Ok(Next::Gone) | Err(_) => return,
                Ok(next) => next,
            };
            self.context.set_busy(self.key, true);
            if !Box::pin(self.proceed(next)).await {
                return;
            }
            self.context.set_busy(self.key, false);
            self.enter_phase();
        }
    }

    /// Reads once, answers what is whole, and writes what can be written.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if self.deadline.poll_expired(context) && !self.has_unread_request(context) {
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
    ) -> io::Result<Next> {
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
    pub(super) fn handle_kept(&mut self, context: &mut Context<'_>) -> io::Result<Next> {
        let mut input = mem::take(&mut self.input);
        let (used, next) = self.handle(context, &input);
        if used < input.len() {
            input.drain(..used);
            self.input = input;
        }
        next
    }

    /// Handles `input`: how much of it was used, and what comes next. Answers are written at once, as far as they can be.
    fn handle(&mut self, context: &mut Context<'_>, input: &[u8]) -> (usize, io::Result<Next>) {
        let mut out = self.context.engine.buffers().take_write();
        let (used, next) = self.advance(input, &mut out);
        let written = self.write_now(context, &out);
        self.context.engine.buffers().return_write(out);
        (used, written.map(|()| next))
    }

    /// Works through `input`. Answers are added to `out`.
    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Next) {
        let mut used = 0;
        while used < input.len() {
            if out.len() >= BATCH {
                return (used, Next::Send);
            }
            let mut storage = FieldStorage::new();
            let server = &self.context;
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
                    encode_continue(out);
                    continue;
                }
                Taken::Request {
                    head,
                    raw_head,
                    body,
                } => self.respond(&head, raw_head, RequestBody::Whole(body), None, out),
                Taken::Collected(whole) => self.respond_again(whole.raw_head(), whole.body(), out),
                Taken::Streaming {
                    head,
                    raw_head,
                    body,
                } => self.respond(
                    &head,
                    raw_head,
                    RequestBody::Streamed,
                    Some(Box::new(body)),
                    out,
                ),
                Taken::Refused(refusal) => self.refuse(&refusal, out),
            };
            if !matches!(next, Next::Read) {
                return (used, next);
            }
        }
        (used, Next::Read)
    }

    fn respond_again(&mut self, raw_head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Next {
        let mut storage = FieldStorage::new();
        match parse_request(raw_head, &mut storage, raw_head.len()) {
            Ok(Parsed::Complete(head)) => {
                self.respond(&head, raw_head, RequestBody::Whole(body), None, out)
            }
            // The same bytes were a complete head before the body came.
            _ => Next::Close,
        }
    }

    fn respond(
        &mut self,
        head: &RequestHead<'_, '_>,
        raw_head: &[u8],
        body: RequestBody<'_>,
        intake: Option<Box<BodyIntake>>,
        out: &mut Vec<u8>,
    ) -> Next {
        let server = &self.context;
        server.counters.request();
        let persistent = head.persistent() && !server.is_draining();
        let shape = Shape::new(head.version(), head.method(), persistent);
        let secure = self.transport.is_secure();
        let request = Request {
            head,
            raw_head,
            body,
            remote: &self.remote,
            secure,
            shape,
        };
        match server.service.respond(&request, out) {
            Reply::Later(exchange) => Next::Await(exchange, intake),
            Reply::Streamed(streamed) => Next::Stream(streamed, intake),
            Reply::Written { persistent: false } => Next::Close,
            Reply::Written { persistent: true } => intake.map_or(Next::Read, Next::Skip),
        }
    }

    pub(super) fn refuse(&self, refusal: &Refusal, out: &mut Vec<u8>) -> Next {
        encode::error_response(
            out,
            refusal.status,
            &self.context.engine.clock().date(),
            &refusal.reason,
        );
        Next::Close
    }

    /// Writes what goes without waiting; the rest is kept in `unsent`.
    pub(super) fn write_now(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.transport.poll_write(context, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.context.counters.sent(written);
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Sets the deadline for what is awaited now.
    fn enter_phase(&mut self) {
        let phase = match (self.intake.body(), self.phase) {
            (Some(_), Phase::Body(since)) => Phase::Body(since),
            (Some(_), _) => Phase::Body(self.context.engine.clock().now()),
            (None, _) if self.input.is_empty() => Phase::Idle,
            // The head's time runs from its first byte.
            (None, Phase::Head) => return,
            (None, _) => Phase::Head,
        };
        self.enter(phase);
    }

    fn enter(&mut self, phase: Phase) {
        let timeouts = &self.context.limits.timeouts;
        let timeout = match phase {
            Phase::Idle => timeouts.idle,
            Phase::Head => timeouts.header,
            Phase::Body(_) => timeouts.body,
        };
        if (phase == Phase::Idle) != (self.phase == Phase::Idle) {
            self.context.set_busy(self.key, phase != Phase::Idle);
        }
        self.phase = phase;
        if phase == Phase::Idle && self.context.is_draining() {
            self.context
                .engine
                .deadlines()
                .expire(self.deadline.index());
            return;
        }
        let now = self.context.engine.clock().now();
        if let (Phase::Body(since), Some(body)) = (phase, self.intake.body())
            && is_too_slow(body.received(), now.duration_since(since), timeout)
        {
            self.deadline.set(now);
            return;
        }
        self.deadline.set(deadline_after(now, timeout));
    }

    /// An idle connection's time is up, but its next request has come already.
    fn has_unread_request(&mut self, context: &mut Context<'_>) -> bool {
        self.phase == Phase::Idle && self.transport.has_unread(context)
    }

    /// The client took too long.
    fn expired(&mut self) -> Next {
        if self.phase == Phase::Idle {
            return Next::Gone;
        }
        let refusal = Refusal {
            status: 408,
            reason: "the request took too long to come".to_owned(),
        };
        let mut out = Vec::new();
        let next = self.refuse(&refusal, &mut out);
        self.unsent.append(&mut out);
        next
    }
}

/// Whether a body comes more slowly than a client may send, once `grace` has passed.
pub(super) fn is_too_slow(
    received: u64,
    elapsed: std::time::Duration,
    grace: std::time::Duration,
) -> bool {
    elapsed > grace && received < elapsed.as_secs().saturating_mul(SLOWEST_BODY)
}

pub(super) fn encode_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}
