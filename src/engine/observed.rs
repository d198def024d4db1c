//! A service whose exchanges are told to `tracing` and counted in [`Measures`], when somebody wants to know: otherwise a
//! request costs one look at either.
//!
//! An exchange is a span `request` (target [`TARGET`], level debug: `method`, `path`, `remote`) in which the service is
//! called, and at its end an event `answered` (`method`, `path`, `status`, `seconds`, `bytes`), or `client gone` when the
//! client did not wait for the whole answer. Its time runs from the request's last byte until the answer is made; of a
//! streamed one, until its last piece is taken.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use tracing::{Level, Span, debug, debug_span, enabled};

use super::{
    measures::Measures,
    numbered::Numbered,
    service::{Answer, BodyPart, BodySource, Reply, Request, Rest, Service, Streamed},
};

/// The `tracing` target of requests and their answers.
///
/// ```
/// assert_eq!(lute_net::engine::server::REQUESTS_TARGET, "lute_net::requests");
/// ```
pub const TARGET: &str = "lute_net::requests";

/// A service that is watched.
pub struct Observed<S> {
    service: Rc<S>,
    measures: Rc<Measures>,
    /// The exchanges that are not over, by number; only those that began while somebody wanted to know.
    open: RefCell<Numbered<Observation>>,
}

/// An exchange on its way.
struct Observation {
    began: Instant,
    span: Span,
    method: String,
    path: String,
    status: Option<u16>,
    bytes: Rc<Cell<u64>>,
}

impl<S: Service> Observed<S> {
    /// Watches `service`.
    pub fn new(service: Rc<S>, measures: Rc<Measures>) -> Self {
        Self {
            service,
            measures,
            open: RefCell::default(),
        }
    }

    fn respond_observed(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
        let mut observation = Observation::begin(request);
        let start = out.len();
        let reply = observation
            .span
            .in_scope(|| self.service.respond(request, out));
        observation.answered(out.get(start..).unwrap_or_default());
        match reply {
            Reply::Written { .. } | Reply::Upgraded(_) => {
                observation.end(&self.measures);
                reply
            }
            Reply::Later(number) => {
                self.open.borrow_mut().insert(number, observation);
                reply
            }
            Reply::Streamed(number, streamed) => {
                let streamed = observation.counting(streamed);
                self.open.borrow_mut().insert(number, observation);
                Reply::Streamed(number, streamed)
            }
        }
    }

    fn take(&self, exchange: u64) -> Option<Observation> {
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            return None;
        }
        open.remove(&exchange)
    }
}

impl<S: Service> Service for Observed<S> {
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
        if self.measures.is_on() || enabled!(target: TARGET, Level::DEBUG) {
            return self.respond_observed(request, out);
        }
        self.service.respond(request, out)
    }

    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer> {
        self.service.poll_answer(exchange, context).map(|answer| {
            let mut open = self.open.borrow_mut();
            let Some(observation) = open.get_mut(&exchange) else {
                return answer;
            };
            observation.answered(&answer.bytes);
            let rest = match answer.rest {
                Rest::Body(streamed) => Rest::Body(observation.counting(streamed)),
                rest => rest,
            };
            Answer { rest, ..answer }
        })
    }

    fn gone(&self, exchange: u64) {
        if let Some(mut observation) = self.take(exchange) {
            observation.status = None;
            observation.end(&self.measures);
        }
        self.service.gone(exchange);
    }

    fn sent(&self, exchange: u64) {
        if let Some(observation) = self.take(exchange) {
            observation.end(&self.measures);
        }
        self.service.sent(exchange);
    }

    fn client_ended(&self, exchange: u64) {
        self.service.client_ended(exchange);
    }

    fn poll_body_wanted(&self, exchange: u64, context: &mut Context<'_>) -> Poll<()> {
        self.service.poll_body_wanted(exchange, context)
    }

    fn body_part(&self, exchange: u64, part: BodyPart<'_>) {
        self.service.body_part(exchange, part);
    }
}

impl Observation {
    fn begin(request: &Request<'_>) -> Self {
        let (method, path) = (request.head.method(), request.head.path());
        let span = debug_span!(target: TARGET, "request", method, path, remote = %request.remote);
        Self {
            began: Instant::now(),
            span,
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            bytes: Rc::default(),
        }
    }

    /// Takes note of an answer's bytes: its head, and its body unless that follows.
    fn answered(&mut self, bytes: &[u8]) {
        self.bytes.set(self.bytes.get() + bytes.len() as u64);
        self.status = self.status.or_else(|| status_of(bytes));
    }

    /// The same streamed body, of which each piece is counted.
    fn counting(&self, streamed: Streamed) -> Streamed {
        let source = Counting {
            source: streamed.source,
            bytes: self.bytes.clone(),
        };
        Streamed {
            source: Box::new(source),
            ..streamed
        }
    }

    fn end(self, measures: &Measures) {
        let took = self.began.elapsed();
        if measures.is_on() {
            measures.count(self.status, took);
        }
        let (seconds, bytes) = (took.as_secs_f64(), self.bytes.get());
        let (method, path) = (self.method.as_str(), self.path.as_str());
        self.span.in_scope(|| match self.status {
            Some(status) => {
                debug!(target: TARGET, method, path, status, seconds, bytes, "answered");
            }
            None => debug!(target: TARGET, method, path, seconds, bytes, "client gone"),
        });
    }
}

/// The status in an encoded response (`HTTP/1.1 200 …`).
fn status_of(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(9..12)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// A body's source that counts what it gives.
struct Counting {
    source: Box<dyn BodySource>,
    bytes: Rc<Cell<u64>>,
}

impl BodySource for Counting {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let piece = self.source.poll_piece(context);
        if let Poll::Ready(Ok(Some(bytes))) = &piece {
            self.bytes.set(self.bytes.get() + bytes.len() as u64);
        }
        piece
    }
}
