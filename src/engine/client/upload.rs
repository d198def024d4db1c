//! The sending side of an exchange: the head, and the body behind it.

use std::{
    fmt, io, mem,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::ClientError;
use crate::{
    engine::{
        Engine, deadlines::Deadline, service::BodySource, timers::deadline_after,
        transport::Transport,
    },
    wire::encode,
};

/// How long to wait for `100 Continue` before the body is sent without it (RFC 9110 §10.1.1); curl waits as long.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// From this size on a server is asked before a body is sent to it, in bytes; as curl does.
const LARGE: usize = 1024 * 1024;

/// Writes and pieces in one go, before others have their turn.
const STEPS: usize = 16;

/// Body bytes that go out in one write with the head.
const WITH_HEAD: usize = 16 * 1024;

/// A request's body.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let request = ClientRequest { method: "POST".into(), ..ClientRequest::get(url) };
/// let body = RequestBody::Bytes(Rc::new(b"a note".to_vec()));
/// assert_eq!(engine.block_on(client.send_body(request, body))??.status, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Rc<Vec<u8>>),
    /// Made while it is sent.
    Streamed {
        /// Where it comes from. Nothing is asked of it before the server is ready for the body, or has said nothing for a
        /// second.
        source: Box<dyn BodySource>,
        /// Its length in bytes, where that is known: it is then sent with a `Content-Length`, chunked otherwise.
        length: Option<u64>,
    },
}

impl RequestBody {
    /// These bytes, maybe none.
    ///
    /// ```
    /// use lute_net::engine::client::RequestBody;
    ///
    /// assert!(matches!(RequestBody::bytes(b"a note".to_vec()), RequestBody::Bytes(_)));
    /// assert!(matches!(RequestBody::bytes(Vec::new()), RequestBody::Empty));
    /// ```
    pub fn bytes(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        Self::Bytes(Rc::new(bytes))
    }

    /// The same once more; none of one that is streamed.
    ///
    /// ```
    /// use lute_net::engine::client::RequestBody;
    ///
    /// let body = RequestBody::bytes(b"a note".to_vec());
    /// assert!(body.again().is_some(), "a redirect may want it once more");
    /// ```
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Streamed { .. } => None,
        }
    }

    /// Whether it is large, or of unknown size: worth asking the server first.
    fn is_large(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Bytes(bytes) => bytes.len() >= LARGE,
            Self::Streamed { .. } => true,
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "none"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Streamed { length, .. } => write!(f, "streamed, length {length:?}"),
        }
    }
}

/// Whether the server is asked before the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The body follows its head.
    None,
    /// It follows `100 Continue`, or so much time without an answer.
    Continue(Duration),
}

impl Expectation {
    /// What is expected before `body` is sent to a server that may be silent for `patience`.
    pub fn before(body: &RequestBody, patience: Duration) -> Self {
        if !body.is_large() {
            return Self::None;
        }
        Self::Continue(CONTINUE_PATIENCE.min(patience / 2))
    }
}

/// What is still to be sent.
pub struct Upload {
    /// Bytes that are encoded, and how many of them are sent.
    encoded: Vec<u8>,
    sent: usize,
    body: RequestBody,
    /// Bytes of `RequestBody::Bytes` that are sent or encoded; for a streamed body, those that were made.
    position: u64,
    stage: Stage,
    /// Whether the request may have to be sent again.
    repeatable: bool,
    /// Why the server takes no more. It may have answered before, so this is not the end of the exchange.
    failure: Option<io::Error>,
}

enum Stage {
    /// The server was asked; until then the body waits.
    Asks(Deadline),
    /// The body goes out.
    Sends,
    /// Nothing more goes out, and whether the body has been sent whole.
    Over { whole: bool },
}

impl Upload {
    /// Sends the head that `encode` writes, and then `body`.
    pub fn begin(
        engine: &Engine,
        transport: &mut Transport,
        context: &mut Context<'_>,
        body: RequestBody,
        expectation: Expectation,
        encode: impl FnOnce(&mut Vec<u8>, &RequestBody),
    ) -> Self {
        let mut out = engine.buffers().take_write();
        encode(&mut out, &body);
        let mut position = 0;
        let stage = match (expectation, &body) {
            (Expectation::Continue(patience), _) => {
                let deadline = engine.deadlines().register();
                deadline.set(deadline_after(Instant::now(), patience));
                Stage::Asks(deadline)
            }
            (Expectation::None, RequestBody::Empty) => Stage::Over { whole: true },
            (Expectation::None, RequestBody::Bytes(bytes)) if bytes.len() <= WITH_HEAD => {
                out.extend_from_slice(bytes);
                position = bytes.len() as u64;
                Stage::Over { whole: true }
            }
            (Expectation::None, _) => Stage::Sends,
        };
        let (mut encoded, mut failure) = (Vec::new(), None);
        match transport.poll_write(context, &out) {
            Poll::Ready(Ok(count)) if count == out.len() => {}
            Poll::Ready(Ok(count)) => encoded = out[count..].to_vec(),
            Poll::Pending => encoded.clone_from(&out),
            Poll::Ready(Err(error)) => failure = Some(error),
        }
        engine.buffers().return_write(out);
        Self {
            encoded,
            sent: 0,
            body,
            position,
            stage: if failure.is_some() {
                Stage::Over { whole: false }
            } else {
                stage
            },
            repeatable: true,
            failure,
        }
    }

    /// Sends as much as the server takes; whether that was anything.
    ///
    /// # Errors
    /// Those of the body's source. A connection that fails is no error here: see [`Self::failure`].
    pub fn send(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Result<bool, ClientError> {
        let sent = self.send_steps(transport, context);
        self.let_go();
        sent
    }

    fn send_steps(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Result<bool, ClientError> {
        let mut progress = false;
        for _ in 0..STEPS {
            match self.poll_step(transport, context) {
                Poll::Pending | Poll::Ready(Ok(Step::Over)) => return Ok(progress),
                Poll::Ready(Ok(Step::Sent)) => progress = true,
                Poll::Ready(Err(StepError::Source(error))) => return Err(error),
                Poll::Ready(Err(StepError::Transport(error))) => {
                    self.failure = Some(error);
                    self.stage = Stage::Over { whole: false };
                    self.encoded = Vec::new();
                    self.sent = 0;
                    return Ok(progress);
                }
            }
        }
        // A source that is never late and a server that takes all at once would keep everybody else waiting.
        context.waker().wake_by_ref();
        Ok(progress)
    }

    fn poll_step(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<Result<Step, StepError>> {
        if self.sent < self.encoded.len() {
            self.sent += ready!(write(transport, context, &self.encoded[self.sent..]))?;
            if self.sent == self.encoded.len() {
                self.encoded = Vec::new();
                self.sent = 0;
            }
            return Poll::Ready(Ok(Step::Sent));
        }
        match &self.stage {
            Stage::Over { .. } => return Poll::Ready(Ok(Step::Over)),
            Stage::Asks(deadline) if !deadline.poll_expired(context) => return Poll::Pending,
            Stage::Asks(_) => self.stage = Stage::Sends,
            Stage::Sends => {}
        }
        match &mut self.body {
            RequestBody::Empty => {
                self.stage = Stage::Over { whole: true };
                return Poll::Ready(Ok(Step::Over));
            }
            RequestBody::Bytes(bytes) => {
                let rest = &bytes[self.position as usize..];
                if rest.is_empty() {
                    self.stage = Stage::Over { whole: true };
                    return Poll::Ready(Ok(Step::Over));
                }
                self.position += ready!(write(transport, context, rest))? as u64;
            }
            RequestBody::Streamed { source, length } => {
                let piece = ready!(source.poll_piece(context));
                let piece = piece.map_err(|error| ClientError::Source(error.to_string()))?;
                self.encoded = encoded_piece(piece.as_deref(), *length, &mut self.position)?;
                if piece.is_none() {
                    self.stage = Stage::Over { whole: true };
                }
            }
        }
        Poll::Ready(Ok(Step::Sent))
    }

    /// The server wants the body.
    pub fn go_on(&mut self) {
        if matches!(self.stage, Stage::Asks(_)) {
            self.stage = Stage::Sends;
        }
    }

    /// The server has answered: a body that it was only asked about is not sent.
    pub fn answered(&mut self) {
        if matches!(self.stage, Stage::Asks(_)) {
            self.stage = Stage::Over { whole: false };
        }
    }

    /// The response stands: the request is not sent again, so a body of which nothing more goes out is dropped.
    pub fn response_stands(&mut self) {
        self.repeatable = false;
        self.let_go();
    }

    /// Drops what nothing more is taken from: a source may hold files, or a script's function and all that it uses.
    fn let_go(&mut self) {
        let Stage::Over { whole } = self.stage else {
            return;
        };
        if !self.repeatable {
            self.body = RequestBody::Empty;
        } else if let RequestBody::Streamed { source, .. } = &mut self.body
            && (whole || self.position > 0)
        {
            *source = Box::new(Exhausted);
        }
    }

    /// Whether the body's source is what everything waits for.
    pub fn waits_for_source(&self) -> bool {
        matches!(self.stage, Stage::Sends)
            && self.encoded.is_empty()
            && matches!(self.body, RequestBody::Streamed { .. })
    }

    /// Whether all was sent.
    pub fn is_whole(&self) -> bool {
        self.encoded.is_empty() && matches!(self.stage, Stage::Over { whole: true })
    }

    /// Why the server took no more, if it did not.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// The body, when it can be sent again; of a streamed one nothing can be asked here any more.
    pub fn repeatable_body(&mut self) -> Option<RequestBody> {
        if let Some(again) = self.body.again() {
            return Some(again);
        }
        let untouched = self.position == 0
            && matches!(self.stage, Stage::Asks(_) | Stage::Over { whole: false });
        self.stage = Stage::Over { whole: false };
        untouched.then(|| mem::take(&mut self.body))
    }
}

/// A body's source that has come to its end.
struct Exhausted;

impl BodySource for Exhausted {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        Poll::Ready(Ok(None))
    }
}

enum Step {
    Sent,
    Over,
}

enum StepError {
    Source(ClientError),
    Transport(io::Error),
}

impl From<ClientError> for StepError {
    fn from(error: ClientError) -> Self {
        Self::Source(error)
    }
}

fn write(
    transport: &mut Transport,
    context: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<Result<usize, StepError>> {
    let written = ready!(transport.poll_write(context, bytes));
    Poll::Ready(match written {
        Ok(0) => Err(StepError::Transport(io::ErrorKind::WriteZero.into())),
        Ok(count) => Ok(count),
        Err(error) => Err(StepError::Transport(error)),
    })
}

/// A piece, or the end, as it is sent; `position` is what was made before it.
fn encoded_piece(
    piece: Option<&[u8]>,
    length: Option<u64>,
    position: &mut u64,
) -> Result<Vec<u8>, ClientError> {
    *position += piece.map_or(0, <[u8]>::len) as u64;
    fits(*position, length, piece.is_none())?;
    let mut out = Vec::new();
    match (length, piece) {
        (None, Some(piece)) => encode::chunk(&mut out, piece),
        (None, None) => encode::last_chunk(&mut out),
        (Some(_), Some(piece)) => out.extend_from_slice(piece),
        (Some(_), None) => {}
    }
    Ok(out)
}

/// Whether `made` bytes of a streamed body, which may be all, keep to its `Content-Length`, if it has one.
///
/// # Errors
/// When there are more, or all and less.
pub(crate) fn fits(made: u64, length: Option<u64>, is_all: bool) -> Result<(), ClientError> {
    match length {
        Some(length) if made > length => {
            Err(ClientError::SourceLength("longer than its Content-Length"))
        }
        Some(length) if is_all && made < length => {
            Err(ClientError::SourceLength("shorter than its Content-Length"))
        }
        _ => Ok(()),
    }
}
