//! The longer ways of a connection: answers that come later, bodies that are streamed, clients that read slowly, and its
//! end.

use std::{
    future::poll_fn,
    io, mem,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_lite::future::yield_now;

use super::{
    connection::{CONTINUE, Connection, Next, is_too_slow},
    intake::{BodyIntake, Piece, Refusal},
    limits::LINGER,
    lingering,
    service::{Answer, BodyPart, BodySource, Rest, Service, StreamFraming, Streamed},
    timers::deadline_after,
    transport::Presence,
    websocket::Upgrade,
};
use crate::wire::encode;

/// What is read and dropped of a body that its handler did not want, before the connection is ended instead.
const SKIPPED: usize = 256 * 1024;

impl<S: Service> Connection<S> {
    /// Does what comes next until the connection can read its next request, or there is none.
    pub(super) async fn proceed(&mut self, mut next: Next<S>) -> After {
        loop {
            let step = match next {
                Next::Gone => return After::End,
                Next::Read | Next::Send => self.flush().await.map(|()| None),
                Next::Close => {
                    // The client may be gone by now: then there is nothing left to end.
                    let _ = self.end().await;
                    return After::End;
                }
                Next::Upgrade(upgrade) => {
                    return match self.flush().await {
                        Ok(()) => After::Upgrade(upgrade),
                        Err(_) => After::End,
                    };
                }
                Next::Skip(body) => self.skip(body).await.map(Some),
                Next::Await(exchange) => self.answer_later(exchange).await.map(Some),
                Next::Stream(streamed, exchange) => self.stream(streamed, exchange).await.map(Some),
            };
            next = match step {
                Err(_) => return After::End,
                Ok(Some(next)) => next,
                Ok(None) if self.input.is_empty() => return After::Request,
                Ok(None) => {
                    let handled = poll_fn(|context| Poll::Ready(self.handle_kept(context))).await;
                    match handled {
                        Err(_) => return After::End,
                        Ok(Next::Read) if self.unsent.is_empty() => return After::Request,
                        Ok(next) => next,
                    }
                }
            };
        }
    }

    /// Waits for a handler's answer and sends it.
    async fn answer_later(&mut self, mut exchange: Exchange<S>) -> io::Result<Next<S>> {
        let _in_flight = self.context.counters.in_flight();
        self.flush().await?;
        self.deadline.clear();
        let Some(answer) = self.await_answer(&mut exchange).await else {
            return Ok(Next::Gone);
        };
        self.queue(answer.bytes);
        match answer.rest {
            Rest::Body(streamed) => return Ok(Next::Stream(streamed, exchange)),
            Rest::Upgrade(upgrade) => {
                exchange.finish();
                return Ok(Next::Upgrade(upgrade));
            }
            Rest::Close => {
                exchange.finish();
                return Ok(Next::Close);
            }
            Rest::Next => {}
        }
        let upload = exchange.finish();
        self.flush().await?;
        Ok(upload.after_answer())
    }

    /// The handler's answer; none when the client is gone.
    async fn await_answer(&mut self, exchange: &mut Exchange<S>) -> Option<Answer> {
        let (service, number) = (self.context.service.clone(), exchange.number);
        poll_fn(|context| {
            loop {
                if let Poll::Ready(answer) = service.poll_answer(number, context) {
                    return Poll::Ready(Some(answer));
                }
                match ready!(self.poll_client(exchange, context)) {
                    Presence::Sends => {}
                    Presence::Ended => service.client_ended(number),
                    Presence::Lost => return Poll::Ready(None),
                }
            }
        })
        .await
    }

    /// While an answer is made: hands on the parts of the request's body that its handler waits for, and watches the client.
    fn poll_client(
        &mut self,
        exchange: &mut Exchange<S>,
        context: &mut Context<'_>,
    ) -> Poll<Presence> {
        let service = self.context.service.clone();
        while matches!(exchange.upload, Upload::Coming(_))
            && service
                .poll_body_wanted(exchange.number, context)
                .is_ready()
        {
            ready!(self.poll_part(exchange, context));
            exchange.watching = true;
        }
        // Bytes that nobody wants yet hide what comes after them, but for a reset.
        let presence = if exchange.watching {
            ready!(self.transport.poll_presence(context))
        } else {
            ready!(self.transport.poll_lost(context));
            Presence::Lost
        };
        exchange.watching = false;
        Poll::Ready(presence)
    }

    /// Hands on the part of the request's body that the handler waits for.
    fn poll_part(&mut self, exchange: &mut Exchange<S>, context: &mut Context<'_>) -> Poll<()> {
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
    async fn skip(&mut self, mut body: Box<Coming>) -> io::Result<Next<S>> {
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

    /// Sends a body as it is made: the next piece is asked for when the last one is taken.
    async fn stream(
        &mut self,
        streamed: Streamed,
        mut exchange: Exchange<S>,
    ) -> io::Result<Next<S>> {
        let Streamed {
            mut source,
            mut framing,
            persistent,
        } = streamed;
        let _in_flight = self.context.counters.in_flight();
        loop {
            self.flush().await?;
            self.deadline.clear();
            let Some(piece) = self.next_piece(&mut *source, &mut exchange).await? else {
                break;
            };
            match &mut framing {
                StreamFraming::Chunked => encode::chunk(&mut self.unsent, &piece),
                StreamFraming::UntilClose => self.queue(piece),
                StreamFraming::Length(left) => {
                    *left = left
                        .checked_sub(piece.len() as u64)
                        .ok_or(io::ErrorKind::InvalidData)?;
                    self.queue(piece);
                }
            }
            // A source that is never late and a client that takes all at once would keep everybody else waiting.
            yield_now().await;
        }
        match framing {
            StreamFraming::Chunked => encode::last_chunk(&mut self.unsent),
            // Too short: the client sees that by the connection's end.
            StreamFraming::Length(left) if left > 0 => return Ok(Next::Gone),
            StreamFraming::Length(_) | StreamFraming::UntilClose => {}
        }
        self.flush().await?;
        let upload = exchange.finish();
        if !persistent || framing == StreamFraming::UntilClose {
            return Ok(Next::Close);
        }
        Ok(upload.after_answer())
    }

    /// A client that ends its side while a body is streamed to it has gone away, as Node and browsers see it.
    async fn next_piece(
        &mut self,
        source: &mut dyn BodySource,
        exchange: &mut Exchange<S>,
    ) -> io::Result<Option<Vec<u8>>> {
        exchange.watching = true;
        poll_fn(|context| {
            loop {
                if let Poll::Ready(piece) = source.poll_piece(context) {
                    return Poll::Ready(piece);
                }
                match ready!(self.poll_client(exchange, context)) {
                    Presence::Sends => {}
                    Presence::Ended | Presence::Lost => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                }
            }
        })
        .await
    }

    /// Puts `bytes` behind what is unsent.
    fn queue(&mut self, bytes: Vec<u8>) {
        if self.unsent.is_empty() {
            self.unsent = bytes;
        } else {
            self.unsent.extend_from_slice(&bytes);
        }
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
            lingering::poll_end_sending(&mut self.transport, &self.deadline, context)
        })
        .await?;
        loop {
            let ended = poll_fn(|context| {
                let buffers = self.context.engine.buffers();
                lingering::poll_drop_input(&mut self.transport, &self.deadline, buffers, context)
            })
            .await?;
            if ended {
                return Ok(());
            }
            yield_now().await;
        }
    }
}

/// What comes after an answer.
pub(super) enum After {
    /// The next request.
    Request,
    /// Nothing: the connection has ended.
    End,
    /// The connection becomes a WebSocket.
    Upgrade(Box<Upgrade>),
}

/// A request whose answer is made or sent while its connection waits. Dropped before [`Self::finish`], it tells the service
/// that the client is gone.
pub(super) struct Exchange<S: Service> {
    service: Rc<S>,
    number: u64,
    upload: Upload,
    /// What the client does is not known yet.
    watching: bool,
    over: bool,
}

impl<S: Service> Exchange<S> {
    pub(super) fn new(service: Rc<S>, number: u64, upload: Upload) -> Self {
        Self {
            service,
            number,
            upload,
            watching: true,
            over: false,
        }
    }

    /// The answer has been sent; what is left of the request's body.
    fn finish(mut self) -> Upload {
        self.over = true;
        self.service.sent(self.number);
        mem::replace(&mut self.upload, Upload::Whole)
    }
}

impl<S: Service> Drop for Exchange<S> {
    fn drop(&mut self) {
        if !self.over {
            self.service.gone(self.number);
        }
    }
}

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
