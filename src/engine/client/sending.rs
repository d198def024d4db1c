//! A request from its beginning to the head of its final response, with redirects and requests that are sent again.

use std::{
    future::Future,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_lite::future::or;

use super::{
    Client, ClientError, ClientRequest, RequestBody, Response,
    clock::ExchangeClock,
    exchange::{Exchange, Head},
    redirect::{Hops, Redirect},
    told::Told,
    upload::{Expectation, Upload},
};
use crate::engine::{dialer::Destination, timers::deadline_after, transport::Transport};

/// The methods whose request may be sent a second time (RFC 9110 §9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// How long the rest of a redirect's body may take before its connection is closed instead.
const SKIP_PATIENCE: Duration = Duration::from_millis(500);

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// A request under way: a future of its response. A state machine of its own rather than an `async fn`, which would keep
/// each of its variables twice and be moved about with every request.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let sending: Sending = client.send(ClientRequest::get(url)); // nothing happens before it is polled
/// assert_eq!(server.counters().requests(), 0);
/// assert_eq!(engine.block_on(sending)??.status, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sending {
    client: Rc<Client>,
    request: ClientRequest,
    due: Instant,
    hops: Hops,
    told: Option<Told>,
    step: Step,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the largest is what nearly every request is"
)]
enum Step {
    /// The next exchange begins, with this body.
    Begins(RequestBody),
    /// It waits for a connection.
    Connects(Box<Connecting>),
    /// The request is sent, and its response waited for.
    Exchanges(Sent),
    /// What is left of a redirect's body is read, before the next exchange begins with this one.
    Skips(Boxed<()>, RequestBody),
    Over,
}

struct Connecting {
    opening: Boxed<Result<Transport, ClientError>>,
    destination: Rc<Destination>,
    body: RequestBody,
    expectation: Expectation,
}

struct Sent {
    exchange: Exchange,
    expectation: Expectation,
    reused: bool,
}

impl Sending {
    /// Does nothing yet, but its time for the whole begins.
    pub(super) fn new(client: Rc<Client>, request: ClientRequest, body: RequestBody) -> Self {
        let due = deadline_after(Instant::now(), request.options.timeouts.total);
        Self {
            client,
            request,
            due,
            hops: Hops::default(),
            told: None,
            step: Step::Begins(body),
        }
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<Response, ClientError>> {
        loop {
            let exchanged = ready!(self.poll_exchanged(context));
            if let Some(told) = self.told.take() {
                let status = exchanged.as_ref().map(|(_, head)| head.status);
                told.end(&self.request, status);
            }
            let (exchange, head) = exchanged?;
            let origin = || exchange.origin();
            let redirect = self
                .hops
                .next(&self.request, head.status, &head.fields, origin)?;
            let Some(redirect) = redirect else {
                let response = self.client.respond(&self.request, exchange, head);
                return Poll::Ready(Ok(response));
            };
            self.leave(exchange, head, redirect)?;
        }
    }

    /// Sends one request, without following redirects, and waits for its response's head.
    fn poll_exchanged(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(Exchange, Head), ClientError>> {
        loop {
            match &mut self.step {
                Step::Skips(skipping, body) => {
                    ready!(skipping.as_mut().poll(context));
                    self.step = Step::Begins(mem::take(body));
                }
                Step::Begins(body) => {
                    let body = mem::take(body);
                    self.begin(body, context)?;
                }
                Step::Connects(connecting) => {
                    let transport = ready!(connecting.opening.as_mut().poll(context))?;
                    let Connecting {
                        destination,
                        body,
                        expectation,
                        ..
                    } = &mut **connecting;
                    let (destination, body) = (destination.clone(), mem::take(body));
                    let expectation = *expectation;
                    let exchange =
                        self.exchange(&destination, transport, body, expectation, context);
                    self.step = Step::Exchanges(Sent {
                        exchange,
                        expectation,
                        reused: false,
                    });
                }
                Step::Exchanges(sent) => {
                    let outcome = ready!(sent.exchange.poll_head(context, &self.request.method));
                    match sent.again(&outcome, &self.request.method) {
                        Some((body, expectation)) => {
                            let destination = sent.exchange.destination().clone();
                            self.connect(destination, body, expectation);
                        }
                        None => {
                            let step = mem::replace(&mut self.step, Step::Over);
                            let Step::Exchanges(Sent { exchange, .. }) = step else {
                                return Poll::Pending;
                            };
                            return Poll::Ready(outcome.map(|head| (exchange, head)));
                        }
                    }
                }
                Step::Over => return Poll::Pending,
            }
        }
    }

    /// Sends the request over a kept connection, or begins to open one.
    fn begin(&mut self, body: RequestBody, context: &mut Context<'_>) -> Result<(), ClientError> {
        self.told = Told::begin();
        let destination = self.client.way(&self.request)?;
        let expectation = Expectation::before(&body, self.request.options.timeouts.read);
        let Some(transport) = self.client.pool().take(&destination) else {
            self.connect(destination, body, expectation);
            return Ok(());
        };
        let exchange = self.exchange(&destination, transport, body, expectation, context);
        self.step = Step::Exchanges(Sent {
            exchange,
            expectation,
            reused: true,
        });
        Ok(())
    }

    fn connect(
        &mut self,
        destination: Rc<Destination>,
        body: RequestBody,
        expectation: Expectation,
    ) {
        let (client, timeouts) = (self.client.clone(), self.request.options.timeouts);
        let (to, due) = (destination.clone(), self.due);
        self.step = Step::Connects(Box::new(Connecting {
            opening: Box::pin(async move { client.connect(timeouts, &to, due).await }),
            destination,
            body,
            expectation,
        }));
    }

    fn exchange(
        &self,
        destination: &Rc<Destination>,
        mut transport: Transport,
        body: RequestBody,
        expectation: Expectation,
        context: &mut Context<'_>,
    ) -> Exchange {
        let engine = self.client.engine();
        let timeouts = self.request.options.timeouts;
        let clock = ExchangeClock::new(engine, self.due, timeouts.read);
        let head = |out: &mut Vec<u8>, body: &RequestBody| {
            super::head::encode(out, &self.request, destination, body, expectation);
        };
        let upload = Upload::begin(engine, &mut transport, context, body, expectation, head);
        let (engine, destination) = (engine.clone(), destination.clone());
        Exchange::new(
            engine,
            destination,
            transport,
            upload,
            clock,
            timeouts.total,
        )
    }

    /// Ends an exchange that was redirected.
    fn leave(
        &mut self,
        mut exchange: Exchange,
        head: Head,
        redirect: Redirect,
    ) -> Result<(), ClientError> {
        let name = exchange.origin();
        let body = redirect.next_body(|| exchange.repeatable_body(), || name.clone())?;
        self.step = if exchange.is_sent() {
            let response = self.client.respond(&self.request, exchange, head);
            Step::Skips(Box::pin(skip(self.client.clone(), response)), body)
        } else {
            Step::Begins(body)
        };
        redirect.apply(&mut self.request);
        Ok(())
    }
}

impl Future for Sending {
    type Output = Result<Response, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.poll_response(context);
        if polled.is_ready() {
            self.step = Step::Over;
        }
        polled
    }
}

impl Sent {
    /// The body to send the request with once more, over a new connection, and what to expect then; none when the outcome
    /// stands.
    fn again(
        &mut self,
        outcome: &Result<Head, ClientError>,
        method: &str,
    ) -> Option<(RequestBody, Expectation)> {
        let expectation = match outcome {
            // RFC 9110 §10.1.1: the server does not know the expectation.
            Ok(head) if head.status == 417 && self.expectation != Expectation::None => {
                Expectation::None
            }
            Err(ClientError::Io(..) | ClientError::Closed(_))
                if self.reused && self.exchange.nothing_came() && IDEMPOTENT.contains(&method) =>
            {
                self.expectation
            }
            _ => return None,
        };
        Some((self.exchange.repeatable_body()?, expectation))
    }
}

/// Reads and drops what is left of a response, so that its connection can be used again.
async fn skip(client: Rc<Client>, mut response: Response) {
    let patience = deadline_after(Instant::now(), SKIP_PATIENCE);
    let patience = client.engine().timers().sleep_until(patience);
    // What can't be read is an end of this connection, not of the request.
    let skipped = async { drop(response.body.skip().await) };
    or(skipped, patience).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, dialer::Dialer};

    #[test]
    fn a_request_under_way_is_small() {
        let engine = Engine::new(Rc::new(smol::LocalExecutor::new())).unwrap();
        let client = Client::new(Dialer::new(engine));
        let request = ClientRequest::get("http://127.0.0.1/".parse().unwrap());
        let sending = client.send(request);
        let size = size_of_val(&sending);
        assert!(size <= 768, "{size} bytes");
    }
}
