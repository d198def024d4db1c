//! The longer ways of a connection: answers that come later, bodies that are streamed, clients that read slowly, and its
//! end.

use std::{
    future::poll_fn,
    io, mem,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_lite::future::yield_now;

use super::{
    connection::{Connection, Next, encode_continue, is_too_slow},
    intake::{BodyIntake, Piece},
    limits::LINGER,
    service::{Answer, BodyPart, BodySource, Rest, Service, StreamFraming, Streamed},
    timers::deadline_after,
    transport::Presence,
};
use crate::wire::encode;

/// What is read and dropped of a body that its handler did not want, before the connection is ended instead.
const SKIPPED: u64 = 256 * 1024;

/// The handler's answer, or the client's end before it.
enum Awaited {
    Answer(Answer),
    Gone,
}

impl<S: Service> Connection<S> {
    /// Does what comes next until the connection can read its next request; false when there is none.
    pub(super) async fn proceed(&mut self, mut next: Next) -> bool {
        loop {
            let step = match next {
                Next::Gone => return false,
                Next::Read | Next::Send => self.flush().await.map(|()| None),
                Next::Close => {
                    // The client may be gone by now: then there is nothing left to end.
                    let _ = self.end().await;
                    return false;
                }
                Next::Skip(body) => self.skip(body).await.map(Some),
                Next::Await(exchange, body) => self.answer_later(exchange, body).await.map(Some),
                Next::Stream(streamed, body) => self.stream(streamed, body).await.map(Some),
            };
            next = match step {
                Err(_) => return false,
                Ok(Some(next)) => next,
                Ok(None) if self.input.is_empty() => return true,
                Ok(None) => {
                    let handled = poll_fn(|context| Poll::Ready(self.handle_kept(context))).await;
                    match handled {
                        Err(_) => return false,
                        Ok(Next::Read) if self.unsent.is_empty() => return true,
                        Ok(next) => next,
                    }
                }
            };
        }
    }

    /// Waits for a handler's answer and sends it.
    async fn answer_later(
        &mut self,
        exchange: u64,
        mut body: Option<Box<BodyIntake>>,
    ) -> io::Result<Next> {
        self.flush().await?;
        let _in_flight = self.context.counters.in_flight();
        let waiting = Waiting {
            service: self.context.service.clone(),
            exchange: Some(exchange),
        };
        self.deadline.clear();
        let answer = match self.await_answer(exchange, &mut body).await {
            Awaited::Answer(answer) => answer,
            Awaited::Gone => return Ok(Next::Gone),
        };
        waiting.answered();
        self.unsent.extend_from_slice(&answer.bytes);
        match answer.rest {
            Rest::Body(streamed) => return Ok(Next::Stream(streamed, body)),
            Rest::Close => return Ok(Next::Close),
            Rest::Next => self.flush().await?,
        }
        Ok(body.map_or(Next::Read, Next::Skip))
    }

    async fn await_answer(&mut self, exchange: u64, body: &mut Option<Box<BodyIntake>>) -> Awaited {
        let mut watching = true;
        let began = Instant::now();
        poll_fn(|context| {
            loop {
                if let Poll::Ready(answer) = self.context.service.poll_answer(exchange, context) {
                    return Poll::Ready(Awaited::Answer(answer));
                }
                if body.is_some()
                    && self
                        .context
                        .service
                        .poll_body_wanted(exchange, context)
                        .is_ready()
                {
                    match self.poll_part(exchange, body, began, context) {
                        Poll::Ready(()) => continue,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                // Bytes of a streamed body are not looked at before they are wanted.
                if !watching || body.is_some() {
                    return Poll::Pending;
                }
                match ready!(self.transport.poll_presence(context)) {
                    Presence::Sends => {}
                    Presence::Ended => self.context.service.client_ended(exchange),
                    Presence::Lost => return Poll::Ready(Awaited::Gone),
                }
                watching = false;
            }
        })
        .await
    }

    /// Hands on the part of the request's body that the handler waits for.
    fn poll_part(
        &mut self,
        exchange: u64,
        body: &mut Option<Box<BodyIntake>>,
        began: Instant,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let server = self.context.clone();
        let Some(intake) = body else {
            return Poll::Ready(());
        };
        if intake.takes_continue() {
            let mut out = Vec::new();
            encode_continue(&mut out);
            // A client that can't be written to can't be read from either: the read tells.
            let _ = self.write_now(context, &out);
        }
        loop {
            let (used, piece) = intake.piece(&self.input, &server.limits);
            let part = match piece {
                Piece::Bytes(bytes) => Some(BodyPart::Bytes(bytes)),
                Piece::End => Some(BodyPart::End),
                Piece::Refused(ref refusal) => Some(BodyPart::Broken(&refusal.reason)),
                Piece::More => None,
            };
            let over = matches!(part, Some(BodyPart::End | BodyPart::Broken(_)));
            if let Some(part) = part {
                server.service.body_part(exchange, part);
                self.input.drain(..used);
                self.deadline.clear();
                if over {
                    *body = None;
                }
                return Poll::Ready(());
            }
            self.input.drain(..used);
            let read = self.poll_more(context, began, intake.received());
            let problem = match ready!(read) {
                Ok(0) => "the client closed the connection before the body was complete".to_owned(),
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            server
                .service
                .body_part(exchange, BodyPart::Broken(&problem));
            *body = None;
            return Poll::Ready(());
        }
    }

    /// Reads more of a body into the input, within the body's time.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        began: Instant,
        received: u64,
    ) -> Poll<io::Result<usize>> {
        let timeout = self.context.limits.timeouts.body;
        let now = self.context.engine.clock().now();
        if self.deadline.poll_expired(context)
            || is_too_slow(received, now.duration_since(began), timeout)
        {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the body took too long to come",
            )));
        }
        let mut buffer = self.context.engine.buffers().take_read();
        let read = self.transport.poll_read(context, &mut buffer);
        if let Poll::Ready(Ok(count)) = read {
            self.context.counters.received(count);
            self.input.extend_from_slice(&buffer[..count]);
        }
        self.context.engine.buffers().return_read(buffer);
        if read.is_pending() && !self.deadline.is_set() {
            self.deadline.set(deadline_after(now, timeout));
        }
        read
    }

    /// Reads and drops the rest of a body that its handler did not want; ends the connection when that is too much.
    async fn skip(&mut self, mut body: Box<BodyIntake>) -> io::Result<Next> {
        self.flush().await?;
        if body.takes_continue() {
            // The client was never told to send it.
            return Ok(Next::Close);
        }
        let (server, began) = (self.context.clone(), Instant::now());
        let mut skipped = 0;
        loop {
            let (used, piece) = body.piece(&self.input, &server.limits);
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
            skipped += used as u64;
            if skipped > SKIPPED {
                return Ok(Next::Close);
            }
            if wants_more && poll_fn(|context| self.poll_more(context, began, skipped)).await? == 0
            {
                return Ok(Next::Gone);
            }
        }
    }

    /// Sends a body as it is made: the next piece is asked for when the last one is taken.
    async fn stream(
        &mut self,
        streamed: Streamed,
        body: Option<Box<BodyIntake>>,
    ) -> io::Result<Next> {
        let Streamed {
            mut source,
            mut framing,
            persistent,
        } = streamed;
        let _in_flight = self.context.counters.in_flight();
        loop {
            self.flush().await?;
            self.deadline.clear();
            let Some(piece) = self.next_piece(&mut *source).await? else {
                break;
            };
            match &mut framing {
                StreamFraming::Chunked => encode::chunk(&mut self.unsent, &piece),
                StreamFraming::UntilClose => self.unsent = piece,
                StreamFraming::Length(left) => {
                    *left = left
                        .checked_sub(piece.len() as u64)
                        .ok_or(io::ErrorKind::InvalidData)?;
                    self.unsent = piece;
                }
            }
        }
        match framing {
            StreamFraming::Chunked => encode::last_chunk(&mut self.unsent),
            StreamFraming::Length(0) => {}
            // Too short: the client sees that by the connection's end.
            StreamFraming::Length(_) => return Ok(Next::Gone),
            StreamFraming::UntilClose => return Ok(Next::Close),
        }
        self.flush().await?;
        match body {
            _ if !persistent => Ok(Next::Close),
            Some(body) => Ok(Next::Skip(body)),
            None => Ok(Next::Read),
        }
    }

    /// A client that ends its side while a body is streamed to it has gone away, as Node and browsers see it.
    async fn next_piece(&mut self, source: &mut dyn BodySource) -> io::Result<Option<Vec<u8>>> {
        let mut watching = true;
        poll_fn(|context| {
            if let Poll::Ready(piece) = source.poll_piece(context) {
                return Poll::Ready(piece);
            }
            while watching {
                match self.transport.poll_presence(context) {
                    Poll::Pending => break,
                    Poll::Ready(Presence::Sends) => watching = false,
                    Poll::Ready(Presence::Ended | Presence::Lost) => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Writes what is unsent, as long as the client takes some of it in time.
    async fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let timeout = self.context.limits.timeouts.write;
        let bytes = mem::take(&mut self.unsent);
        let mut written = 0;
        self.deadline.clear();
        poll_fn(|context| {
            while written < bytes.len() {
                match self.transport.poll_write(context, &bytes[written..])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(count) => {
                        written += count;
                        self.context.counters.sent(count);
                        self.deadline.clear();
                    }
                    Poll::Pending if self.deadline.poll_expired(context) => {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    Poll::Pending => {
                        if !self.deadline.is_set() {
                            self.deadline.set(deadline_after(Instant::now(), timeout));
                        }
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the connection: what is unsent goes out, then nothing more is sent, and what the client still sends is read for
    /// a while and dropped, so that the system's reset does not take the last answer away.
    async fn end(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.input = Vec::new();
        self.deadline.set(deadline_after(Instant::now(), LINGER));
        poll_fn(|context| {
            if self.deadline.poll_expired(context) {
                return Poll::Ready(Ok(()));
            }
            self.transport.poll_finish(context)
        })
        .await?;
        loop {
            let ended = poll_fn(|context| {
                if self.deadline.poll_expired(context) {
                    return Poll::Ready(Ok(true));
                }
                let mut buffer = self.context.engine.buffers().take_read();
                let read = self.transport.poll_read(context, &mut buffer);
                self.context.engine.buffers().return_read(buffer);
                read.map_ok(|count| count == 0)
            })
            .await?;
            if ended {
                return Ok(());
            }
            yield_now().await;
        }
    }
}

/// An exchange whose answer is awaited; tells the service when nobody waits any more.
struct Waiting<S: Service> {
    service: Rc<S>,
    exchange: Option<u64>,
}

impl<S: Service> Waiting<S> {
    fn answered(mut self) {
        self.exchange = None;
    }
}

impl<S: Service> Drop for Waiting<S> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange {
            self.service.gone(exchange);
        }
    }
}
