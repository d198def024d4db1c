//! A request's body that comes while its answer is made: handed on to the handler that wants it, or dropped.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{
    connection::{CONTINUE, Connection, Next, is_too_slow},
    exchange::Exchange,
    intake::{BodyIntake, Piece, Refusal},
    service::{BodyPart, Service},
    timers::deadline_after,
};

/// What is read and dropped of a body that its handler did not want, before the connection is ended instead.
const SKIPPED: usize = 256 * 1024;

/// What is to come of a request's body while its answer is made.
pub(super) enum Upload {
    /// Nothing.
    Whole,
    /// The rest of it.
    Coming(Box<Coming>),
    /// It stopped, or broke the rules or the limits: nobody knows where the next request would begin.
    Broken,
}

impl Upload {
    pub(super) fn coming(intake: BodyIntake) -> Self {
        Self::Coming(Box::new(Coming {
            intake,
            waited: Duration::ZERO,
            waits_since: None,
        }))
    }

    /// Whether the client waits to be told to send it.
    pub(super) fn awaits_continue(&self) -> bool {
        matches!(self, Self::Coming(coming) if coming.intake.awaits_continue())
    }

    /// As [`Self::awaits_continue`], once: an answer that is streamed while the body may still be read must tell the client
    /// before its own head, since behind that there is no place for a 1xx (RFC 9110 §15.2).
    pub(super) fn takes_continue(&mut self) -> bool {
        match self {
            Self::Coming(coming) => coming.intake.takes_continue(),
            Self::Whole | Self::Broken => false,
        }
    }

    pub(super) fn after_answer<S: Service>(self) -> Next<S> {
        match self {
            Self::Whole => Next::Read,
            Self::Coming(body) => Next::Skip(body),
            Self::Broken => Next::Close,
        }
    }
}

/// The rest of a request's body, and how long its client was waited for. The time that the handler takes between two parts
/// is not the client's.
pub(super) struct Coming {
    intake: BodyIntake,
    waited: Duration,
    waits_since: Option<Instant>,
}

impl Coming {
    fn is_too_slow(&mut self, now: Instant, grace: Duration) -> bool {
        let since = *self.waits_since.get_or_insert(now);
        let waited = self.waited + now.duration_since(since);
        is_too_slow(self.intake.received(), waited, grace)
    }

    fn stop_waiting(&mut self, now: Instant) {
        if let Some(since) = self.waits_since.take() {
            self.waited += now.duration_since(since);
        }
    }
}

impl<S: Service> Connection<S> {
    /// Hands on the part of the request's body that the handler waits for.
    pub(super) fn poll_part(
        &mut self,
        exchange: &mut Exchange<S>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let server = self.context.clone();
        let Upload::Coming(coming) = &mut exchange.upload else {
            return Poll::Ready(());
        };
        if coming.intake.takes_continue() {
            self.unsent.extend_from_slice(CONTINUE);
        }
        let refusal = loop {
            let (used, piece) = coming.intake.piece(&self.input, &server.limits);
            match piece {
                Piece::Bytes(bytes) => {
                    server
                        .service
                        .body_part(exchange.number, BodyPart::Bytes(bytes));
                    self.input.drain(..used);
                    return Poll::Ready(());
                }
                Piece::End => {
                    server.service.body_part(exchange.number, BodyPart::End);
                    self.input.drain(..used);
                    exchange.upload = Upload::Whole;
                    return Poll::Ready(());
                }
                Piece::Refused(refusal) => break refusal,
                Piece::More => {
                    self.input.drain(..used);
                }
            }
            match ready!(self.poll_more(coming, context)) {
                Ok(0) => {
                    break Refusal {
                        status: 400,
                        reason: "the client closed the connection before the body was complete"
                            .to_owned(),
                    };
                }
                Ok(_) => {}
                Err(error) => {
                    let timed_out = error.kind() == io::ErrorKind::TimedOut;
                    break Refusal {
                        status: if timed_out { 408 } else { 400 },
                        reason: error.to_string(),
                    };
                }
            }
        };
        exchange.upload = Upload::Broken;
        server
            .service
            .body_part(exchange.number, BodyPart::Broken(&refusal));
        Poll::Ready(())
    }

    /// Reads more of a body into the input, within the body's time.
    fn poll_more(
        &mut self,
        coming: &mut Coming,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // A `100 Continue` that did not go out at once.
        while !self.unsent.is_empty() {
            let Poll::Ready(count) = self.transport.poll_write(context, &self.unsent)? else {
                break;
            };
            self.unsent.drain(..count);
            self.context.counters.sent(count);
        }
        let mut buffer = self.context.engine.buffers().take_read();
        let read = self.transport.poll_read(context, &mut buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.context.counters.received(count);
            self.input.extend_from_slice(&buffer[..count]);
        }
        self.context.engine.buffers().return_read(buffer);
        let timeout = self.context.limits.timeouts.body;
        let now = self.context.engine.clock().now();
        if read.is_ready() {
            coming.stop_waiting(now);
            self.deadline.clear();
            return read;
        }
        if self.deadline.poll_expired(context) || coming.is_too_slow(now, timeout) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the body took too long to come",
            )));
        }
        if !self.deadline.is_set() {
            self.deadline.set(deadline_after(now, timeout));
        }
        Poll::Pending
    }

    /// Reads and drops the rest of a body that its handler did not want; ends the connection when that is too much.
    pub(super) async fn skip(&mut self, mut body: Box<Coming>) -> io::Result<Next<S>> {
        self.flush().await?;
        if body.intake.takes_continue() {
            // The client was never told to send it.
            return Ok(Next::Close);
        }
        self.deadline.clear();
        let server = self.context.clone();
        let mut skipped = 0;
        loop {
            let (used, piece) = body.intake.piece(&self.input, &server.limits);
            match piece {
                Piece::End => {
                    self.input.drain(..used);
                    return Ok(Next::Read);
                }
                Piece::Refused(_) => return Ok(Next::Close),
                Piece::Bytes(_) | Piece::More => {}
            }
            let wants_more = matches!(piece, Piece::More);
            self.input.drain(..used);
            skipped += used;
            if skipped > SKIPPED {
                return Ok(Next::Close);
            }
            if wants_more && poll_fn(|context| self.poll_more(&mut body, context)).await? == 0 {
                return Ok(Next::Gone);
            }
        }
    }
}
