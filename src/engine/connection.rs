//! One client of a server, from its first byte to its last: reads requests, has the service answer them in order, and
//! ends the connection so that the client can read the last answer.

use std::{
    future::poll_fn,
    io, mem,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_lite::future::{or, yield_now};

use super::{Engine, answer::Shape, buffers::READ_SIZE, socket::Socket, timers::deadline_after};
use crate::wire::{
    BodyDecoder, BodyEvent, BodyFraming, Expect, FieldStorage, HeadProgress, Parsed, RequestHead,
    encode, parse_request,
};

/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The largest request body, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// How long a client may still send after its last answer, so that the system's reset does not take that answer away.
const LINGER: Duration = Duration::from_secs(2);

/// Answers the requests of a server's connections.
pub trait Service: 'static {
    /// Answers `request` into `out`, or says that the answer comes later. `out` holds earlier answers already.
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply;

    /// The answer of an exchange that was to come later, once.
    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer>;

    /// The client of an exchange is gone: its answer is not wanted any more.
    fn gone(&self, exchange: u64);
}

/// A request as a service sees it.
pub struct Request<'a> {
    /// Method, target and fields.
    pub head: &'a RequestHead<'a, 'a>,
    /// The head's bytes as they came.
    pub raw_head: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: SocketAddr,
    /// What the answer must look like.
    pub shape: Shape,
}

/// What a service did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer is written; whether the connection goes on.
    Written {
        /// False when the answer says `Connection: close`.
        persistent: bool,
    },
    /// The answer comes later, under this number.
    Later(u64),
}

/// An answer that came later.
pub struct Answer {
    /// The encoded response.
    pub bytes: Vec<u8>,
    /// Whether the connection goes on.
    pub persistent: bool,
}

/// Serves one client until it leaves or has to.
pub async fn serve<S: Service>(
    engine: Rc<Engine>,
    socket: Socket,
    peer: SocketAddr,
    service: Rc<S>,
) {
    let mut connection = Connection {
        engine,
        socket,
        peer,
        service,
        input: Vec::new(),
        progress: HeadProgress::default(),
        body: None,
    };
    // An error here is the client's departure: nothing is left to tell it.
    let _ = connection.run().await;
}

struct Connection<S> {
    engine: Rc<Engine>,
    socket: Socket,
    peer: SocketAddr,
    service: Rc<S>,
    /// Bytes that were read and not used yet.
    input: Vec<u8>,
    progress: HeadProgress,
    /// A request whose body is still on its way.
    body: Option<Box<IncomingBody>>,
}

/// A request whose head is complete and whose body is not.
struct IncomingBody {
    head: Vec<u8>,
    decoder: BodyDecoder,
    body: Vec<u8>,
}

/// What a connection does next.
enum Next {
    Read,
    Await(u64),
    Close,
}

impl<S: Service> Connection<S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            loop {
                let mut buffer = self.engine.buffers().take_read();
                let read = self.socket.try_read(&mut buffer);
                let Ok(Some(count)) = read else {
                    self.engine.buffers().return_read(buffer);
                    read?;
                    break;
                };
                if count == 0 {
                    self.engine.buffers().return_read(buffer);
                    return Ok(());
                }
                let (next, unsent) = self.take_in(buffer, count);
                self.proceed(next?, unsent).await?;
                if count < READ_SIZE {
                    break;
                }
                yield_now().await;
            }
        }
    }

    /// Handles freshly read bytes, and puts the buffer back.
    fn take_in(&mut self, buffer: Vec<u8>, count: usize) -> (io::Result<Next>, Vec<u8>) {
        if self.input.is_empty() {
            let result = self.handle(&buffer[..count], |connection, rest| {
                connection.input.extend_from_slice(rest)
            });
            self.engine.buffers().return_read(buffer);
            return result;
        }
        self.input.extend_from_slice(&buffer[..count]);
        self.engine.buffers().return_read(buffer);
        self.handle_kept()
    }

    /// Handles the bytes that were kept from earlier reads.
    fn handle_kept(&mut self) -> (io::Result<Next>, Vec<u8>) {
        let input = mem::take(&mut self.input);
        self.handle(&input, |connection, rest| connection.input = rest.to_vec())
    }

    /// Handles `input`, writes what can be written, keeps the rest of both.
    fn handle(
        &mut self,
        input: &[u8],
        keep: impl FnOnce(&mut Self, &[u8]),
    ) -> (io::Result<Next>, Vec<u8>) {
        let mut out = self.engine.buffers().take_write();
        let (used, next) = self.advance(input, &mut out);
        if used < input.len() {
            keep(self, &input[used..]);
        }
        let written = self.socket.write_now(&out);
        let unsent = match &written {
            Ok(written) => out[*written..].to_vec(),
            Err(_) => Vec::new(),
        };
        self.engine.buffers().return_write(out);
        (written.map(|_| next), unsent)
    }

    /// Sends what is left to send, waits for answers that come later, and goes on with what was kept meanwhile.
    async fn proceed(&mut self, mut next: Next, mut unsent: Vec<u8>) -> io::Result<()> {
        loop {
            if !unsent.is_empty() {
                self.socket.write_all(&mem::take(&mut unsent)).await?;
            }
            let exchange = match next {
                Next::Read => return Ok(()),
                Next::Close => return self.end().await,
                Next::Await(exchange) => exchange,
            };
            let answer = self.answer_of(exchange).await;
            self.socket.write_all(&answer.bytes).await?;
            drop(answer.bytes);
            if !answer.persistent {
                return self.end().await;
            }
            if self.input.is_empty() {
                return Ok(());
            }
            let (result, rest) = self.handle_kept();
            (next, unsent) = (result?, rest);
        }
    }

    async fn answer_of(&self, exchange: u64) -> Answer {
        let waiting = Waiting {
            service: &*self.service,
            exchange: Some(exchange),
        };
        let answer = poll_fn(|context| self.service.poll_answer(exchange, context)).await;
        waiting.answered();
        answer
    }

    /// Works through `input`: how much of it was used, and what comes next. Answers are added to `out`.
    fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Next) {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let (taken, next) = match self.body.take() {
                Some(body) => self.advance_body(body, rest, out),
                None => self.advance_head(rest, out),
            };
            used += taken;
            match next {
                Some(Next::Read) | None if taken == 0 => break,
                Some(Next::Read) | None => {}
                Some(other) => return (used, other),
            }
        }
        (used, Next::Read)
    }

    fn advance_head(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Option<Next>) {
        if !self.progress.worth_parsing(input) && input.len() < MAX_HEAD {
            return (0, None);
        }
        let mut storage = FieldStorage::new();
        let head = match parse_request(input, &mut storage, MAX_HEAD) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) => return (0, None),
            Err(error) => {
                return (
                    0,
                    Some(self.refuse(error.status(), &error.to_string(), out)),
                );
            }
        };
        self.progress = HeadProgress::default();
        let (raw_head, rest) = input.split_at(head.length());
        match head.framing() {
            BodyFraming::Empty => (raw_head.len(), self.respond(&head, raw_head, &[], out)),
            BodyFraming::Length(length) if length > MAX_BODY as u64 => {
                (0, Some(self.refuse(413, "the body is too large", out)))
            }
            BodyFraming::Length(length) if length <= rest.len() as u64 => {
                let body = &rest[..length as usize];
                (
                    raw_head.len() + body.len(),
                    self.respond(&head, raw_head, body, out),
                )
            }
            framing => {
                if head.expect() == Expect::Continue && rest.is_empty() {
                    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                let decoder = BodyDecoder::new(framing);
                self.body = Some(Box::new(IncomingBody {
                    head: raw_head.to_vec(),
                    decoder,
                    body: Vec::new(),
                }));
                (raw_head.len(), None)
            }
        }
    }

    fn advance_body(
        &mut self,
        mut incoming: Box<IncomingBody>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> (usize, Option<Next>) {
        let mut used = 0;
        loop {
            let (taken, event) = match incoming.decoder.decode(&input[used..]) {
                Ok(step) => step,
                Err(error) => {
                    return (
                        used,
                        Some(self.refuse(error.status(), &error.to_string(), out)),
                    );
                }
            };
            used += taken;
            match event {
                BodyEvent::Piece(piece) if incoming.body.len() + piece.len() > MAX_BODY => {
                    return (used, Some(self.refuse(413, "the body is too large", out)));
                }
                BodyEvent::Piece(piece) => incoming.body.extend_from_slice(piece),
                BodyEvent::NeedMore => {
                    self.body = Some(incoming);
                    return (used, None);
                }
                BodyEvent::End => return (used, self.respond_with_body(&incoming, out)),
            }
        }
    }

    fn respond_with_body(&mut self, incoming: &IncomingBody, out: &mut Vec<u8>) -> Option<Next> {
        let mut storage = FieldStorage::new();
        match parse_request(&incoming.head, &mut storage, MAX_HEAD) {
            Ok(Parsed::Complete(head)) => self.respond(&head, &incoming.head, &incoming.body, out),
            // The same bytes were a complete head before the body came.
            _ => Some(Next::Close),
        }
    }

    fn respond(
        &mut self,
        head: &RequestHead<'_, '_>,
        raw_head: &[u8],
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let shape = Shape::new(head.version(), head.method(), head.persistent());
        let request = Request {
            head,
            raw_head,
            body,
            peer: self.peer,
            shape,
        };
        match self.service.respond(&request, out) {
            Reply::Written { persistent: true } => None,
            Reply::Written { persistent: false } => Some(Next::Close),
            Reply::Later(exchange) => Some(Next::Await(exchange)),
        }
    }

    fn refuse(&self, status: u16, reason: &str, out: &mut Vec<u8>) -> Next {
        encode::error_response(out, status, &self.engine.clock().date(), reason);
        Next::Close
    }

    /// Ends the connection: nothing more is sent, and what the client still sends is read for a while and dropped.
    async fn end(&mut self) -> io::Result<()> {
        self.input = Vec::new();
        self.socket.stream().shutdown(Shutdown::Write)?;
        let deadline = deadline_after(Instant::now(), LINGER);
        let timeout = async {
            self.engine.timers().sleep_until(deadline).await;
            Ok(())
        };
        or(self.drain(), timeout).await?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    async fn drain(&self) -> io::Result<()> {
        loop {
            let mut buffer = self.engine.buffers().take_read();
            let read = self.socket.try_read(&mut buffer);
            self.engine.buffers().return_read(buffer);
            match read? {
                Some(0) => return Ok(()),
                Some(_) => yield_now().await,
                None => self.socket.readable().await?,
            }
        }
    }
}

/// An exchange whose answer is awaited; tells the service when nobody waits any more.
struct Waiting<'s, S: Service> {
    service: &'s S,
    exchange: Option<u64>,
}

impl<S: Service> Waiting<'_, S> {
    fn answered(mut self) {
        self.exchange = None;
    }
}

impl<S: Service> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange {
            self.service.gone(exchange);
        }
    }
}
