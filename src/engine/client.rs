//! Sends a request and reads its response.

use std::{fmt, io, rc::Rc, time::Duration};

use super::{
    Engine,
    dialer::{Destination, DialError, Dialer},
    pool::Pool,
    socket::Socket,
    transport::Transport,
};
use crate::wire::{
    BodyDecoder, BodyError, BodyEvent, FieldStorage, HeadProgress, Parsed, ResponseError, encode,
    parse_response, unfold,
};

/// The largest response head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The largest response body, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(30);

/// The methods whose request may be sent a second time (RFC 9110 §9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// A request that is ready to be sent.
pub struct ClientRequest {
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// As it goes on the wire; a token.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All fields but `Content-Length`, checked already.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct ClientResponse {
    /// 200–999.
    pub status: u16,
    /// Names as the server wrote them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The whole body, transfer coding undone.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug)]
pub enum ClientError {
    /// There is no connection.
    Dial(DialError),
    /// The connection failed on the way.
    Io(String, io::Error),
    /// The server closed the connection before its response was complete.
    Closed(String),
    /// The response's head breaks HTTP's rules.
    Head(String, ResponseError),
    /// The response's body breaks HTTP's rules.
    Body(String, BodyError),
    /// The response's body is larger than the limit, in bytes.
    TooLarge(String, usize),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Io(host, error) => write!(f, "the connection to {host} failed: {}", plain(error)),
            Self::Closed(host) => write!(
                f,
                "{host} closed the connection before its response was complete"
            ),
            Self::Head(host, error) => write!(f, "{host} sent an invalid response: {error}"),
            Self::Body(host, error) => write!(f, "{host} sent an invalid response body: {error}"),
            Self::TooLarge(host, limit) => {
                write!(f, "the response of {host} is larger than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for ClientError {}

/// The system's text without Rust's `(os error N)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// Sends `request`, over a kept connection if there is one, and reads the response.
///
/// # Errors
/// [`ClientError`]. A kept connection that the server closed meanwhile is no error when the request may be sent again.
pub async fn request(
    dialer: &Dialer,
    pool: &Pool,
    request: &ClientRequest,
) -> Result<ClientResponse, ClientError> {
    let engine = dialer.engine();
    let origin = format!("{}:{}", request.host, request.port);
    if let Some(socket) = pool.take(&origin) {
        let outcome = Exchange::new(engine, socket, request, &origin)
            .run(pool)
            .await;
        let repeatable = IDEMPOTENT.contains(&request.method.as_str());
        match outcome {
            Err(Failure {
                nothing_came: true, ..
            }) if repeatable => {}
            other => return other.map_err(|failure| failure.error),
        }
    }
    let destination = Destination::new(request.host.as_str(), request.port);
    let dialed = dialer.dial(&destination, CONNECT).await;
    let socket = match dialed.map_err(ClientError::Dial)? {
        Transport::Plain(socket) => socket,
        Transport::Tls(_) => return Err(ClientError::Closed(origin)),
    };
    Exchange::new(engine, socket, request, &origin)
        .run(pool)
        .await
        .map_err(|failure| failure.error)
}

/// A failed exchange, and whether anything of a response had come.
struct Failure {
    error: ClientError,
    nothing_came: bool,
}

/// One request and its response on one connection.
struct Exchange<'r> {
    engine: &'r Rc<Engine>,
    socket: Socket,
    request: &'r ClientRequest,
    origin: &'r str,
    /// Bytes that were read and not used yet.
    input: Vec<u8>,
    nothing_came: bool,
}

/// A response's head, taken out of the input.
struct Head {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    decoder: BodyDecoder,
    persistent: bool,
}

impl<'r> Exchange<'r> {
    fn new(
        engine: &'r Rc<Engine>,
        socket: Socket,
        request: &'r ClientRequest,
        origin: &'r str,
    ) -> Self {
        Self {
            engine,
            socket,
            request,
            origin,
            input: Vec::new(),
            nothing_came: true,
        }
    }

    async fn run(mut self, pool: &Pool) -> Result<ClientResponse, Failure> {
        let outcome = self.exchange().await;
        let Self {
            socket,
            input,
            nothing_came,
            ..
        } = self;
        match outcome {
            Ok((response, persistent)) => {
                // Bytes beyond the response belong to nothing that was asked: such a connection is not used again.
                if persistent && input.is_empty() {
                    pool.keep(self.origin, socket);
                }
                Ok(response)
            }
            Err(error) => Err(Failure {
                error,
                nothing_came,
            }),
        }
    }

    async fn exchange(&mut self) -> Result<(ClientResponse, bool), ClientError> {
        self.send().await?;
        let mut head = self.read_head().await?;
        let body = self.read_body(&mut head.decoder).await?;
        let persistent = head.persistent && head.decoder.is_finished();
        Ok((
            ClientResponse {
                status: head.status,
                fields: head.fields,
                body,
            },
            persistent,
        ))
    }

    async fn send(&self) -> Result<(), ClientError> {
        let mut out = self.engine.buffers().take_write();
        let request = self.request;
        encode::request_line(&mut out, &request.method, &request.target);
        for (name, value) in &request.fields {
            encode::field(&mut out, name, value);
        }
        // RFC 9110 §8.6: a method that anticipates a body says so even when it is empty.
        if !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
            encode::content_length(&mut out, request.body.len() as u64);
        }
        encode::end_of_head(&mut out);
        out.extend_from_slice(&request.body);
        let written = self.socket.write_now(&out);
        let rest = match &written {
            Ok(written) => out[*written..].to_vec(),
            Err(_) => Vec::new(),
        };
        self.engine.buffers().return_write(out);
        match written {
            Ok(_) if rest.is_empty() => Ok(()),
            Ok(_) => self
                .socket
                .write_all(&rest)
                .await
                .map_err(|error| self.failed(error)),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn read_head(&mut self) -> Result<Head, ClientError> {
        let mut progress = HeadProgress::default();
        loop {
            if !self.read_more().await? {
                return Err(ClientError::Closed(self.origin.to_owned()));
            }
            while progress.worth_parsing(&self.input) || self.input.len() >= MAX_HEAD {
                let mut storage = FieldStorage::new();
                let parsed = parse_response(&self.input, &mut storage, MAX_HEAD);
                let Parsed::Complete(head) = parsed.map_err(|error| self.bad_head(error))? else {
                    break;
                };
                let length = head.length();
                progress = HeadProgress::default();
                if head.interim() {
                    self.input.drain(..length);
                    continue;
                }
                let framing = head
                    .framing(&self.request.method)
                    .map_err(|error| self.bad_head(error))?;
                let fields = head.fields().iter();
                let fields = fields
                    .map(|field| (field.name.to_owned(), unfold(field.value).into_owned()))
                    .collect();
                let head = Head {
                    status: head.status(),
                    fields,
                    decoder: BodyDecoder::new(framing),
                    persistent: head.persistent(),
                };
                self.input.drain(..length);
                return Ok(head);
            }
        }
    }

    async fn read_body(&mut self, decoder: &mut BodyDecoder) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        loop {
            let mut used = 0;
            let ended = loop {
                let (taken, event) = decoder
                    .decode(&self.input[used..])
                    .map_err(|error| self.bad_body(error))?;
                used += taken;
                match event {
                    BodyEvent::Piece(piece) if body.len() + piece.len() > MAX_BODY => {
                        return Err(ClientError::TooLarge(self.origin.to_owned(), MAX_BODY));
                    }
                    BodyEvent::Piece(piece) => body.extend_from_slice(piece),
                    BodyEvent::NeedMore => break false,
                    BodyEvent::End => break true,
                }
            };
            self.input.drain(..used);
            if ended {
                return Ok(body);
            }
            if !self.read_more().await? {
                decoder
                    .end_of_input()
                    .map_err(|error| self.bad_body(error))?;
                return Ok(body);
            }
        }
    }

    /// Adds what the server sends next to the input; false at the end.
    async fn read_more(&mut self) -> Result<bool, ClientError> {
        loop {
            self.socket
                .readable()
                .await
                .map_err(|error| self.failed(error))?;
            let mut buffer = self.engine.buffers().take_read();
            let read = self.socket.try_read(&mut buffer);
            if let Ok(Some(count)) = read {
                self.input.extend_from_slice(&buffer[..count]);
                self.nothing_came &= count == 0;
            }
            self.engine.buffers().return_read(buffer);
            match read {
                Ok(Some(count)) => return Ok(count > 0),
                Ok(None) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn failed(&self, error: io::Error) -> ClientError {
        ClientError::Io(self.origin.to_owned(), error)
    }

    fn bad_head(&self, error: ResponseError) -> ClientError {
        ClientError::Head(self.origin.to_owned(), error)
    }

    fn bad_body(&self, error: BodyError) -> ClientError {
        ClientError::Body(self.origin.to_owned(), error)
    }
}
