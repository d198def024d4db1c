//! The longer ways of a connection: answers that come later or are streamed, clients that read slowly, and its
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
    connection::{CONTINUE, Connection, Next},
    intake::Held,
    limits::LINGER,
    lingering,
    service::{Answer, BodySource, Rest, Service, StreamFraming, Streamed},
    timers::deadline_after,
    transport::Presence,
    upload::Upload,
    websocket::Upgrade,
};
use crate::wire::encode;

/// Parts of a request's body handed on in one go, before others have their turn.
const PARTS_PER_TURN: usize = 16;

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
                    if self.context.engine.is_time_up() {
                        yield_now().await;
                    }
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
        if matches!(answer.rest, Rest::Body(_)) && exchange.upload.takes_continue() {
            self.unsent.extend_from_slice(CONTINUE);
        }
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
        let mut parts = 0;
        while matches!(exchange.upload, Upload::Coming(_))
            && service
                .poll_body_wanted(exchange.number, context)
                .is_ready()
        {
            if parts == PARTS_PER_TURN {
                // A service that always wants more would keep everybody else waiting.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_part(exchange, context));
            parts += 1;
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
    pub(super) async fn flush(&mut self) -> io::Result<()> {
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
    pub(super) number: u64,
    pub(super) upload: Upload,
    /// The request's body, in the server's count of bytes in memory.
    _held: Held,
    /// What the client does is not known yet.
    watching: bool,
    over: bool,
}

impl<S: Service> Exchange<S> {
    pub(super) fn new(service: Rc<S>, number: u64, upload: Upload, held: Held) -> Self {
        Self {
            service,
            number,
            upload,
            _held: held,
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
