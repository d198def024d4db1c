//! Sends requests and reads their responses.
//!
//! ```
//! use std::{io::{Read, Write}, net::TcpListener, rc::Rc};
//! use lute_net::engine::{Engine, client::{Client, ClientRequest}, dialer::Dialer};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! std::thread::spawn(move || {
//!     let (mut server, _) = listener.accept().unwrap();
//!     let _ = server.read(&mut [0; 1024]);
//!     let _ = server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! });
//!
//! let engine = Engine::new(Rc::new(smol::LocalExecutor::new()))?;
//! let client = Client::new(Dialer::new(engine.clone()));
//! let request = ClientRequest::get(format!("http://{address}/").parse()?);
//! let body = engine.block_on(async {
//!     let mut response = client.send(request).await?;
//!     assert_eq!(response.status, 200);
//!     response.body.read_to_end().await
//! })??;
//! assert_eq!(body, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod clock;
pub mod content_coding;
mod error;
mod exchange;
mod fields;
mod head;
mod options;
mod redirect;
pub mod told;
mod upload;

use std::{
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use url::Url;

use self::{
    body::Reading,
    clock::ExchangeClock,
    exchange::{Exchange, Head},
    redirect::{Redirect, without_credentials},
    told::Told,
    upload::{Expectation, Upload},
};
pub use self::{
    body::ResponseBody,
    content_coding::ContentDecoder,
    error::ClientError,
    fields::Fields,
    head::is_own_field,
    options::{ClientOptions, ClientTimeouts, ProxyChoice, Redirects},
    upload::RequestBody,
};
use super::{
    Engine,
    dialer::{Destination, DialError, Dialer, ProxyError, Route},
    pool::Pool,
    timers::deadline_after,
    transport::Transport,
};

/// The methods whose request may be sent a second time (RFC 9110 §9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// How long to wait when no descriptor is left, before it is tried again.
const DESCRIPTOR_DELAY: Duration = Duration::from_millis(20);

/// How long the rest of a redirect's body may take before its connection is closed instead.
const SKIP_PATIENCE: Duration = Duration::from_millis(500);

/// A request.
#[derive(Clone)]
pub struct ClientRequest {
    /// With the scheme `http` or `https` and a host.
    pub url: Url,
    /// A token.
    pub method: String,
    /// Checked already: names are tokens, values have no control bytes. What the client writes itself is not among them:
    /// see [`is_own_field`].
    pub fields: Fields,
    /// Everything else.
    pub options: Rc<ClientOptions>,
}

impl ClientRequest {
    /// A GET with the default options.
    pub fn get(url: Url) -> Self {
        Self {
            url,
            method: "GET".to_owned(),
            fields: Fields::default(),
            options: Rc::default(),
        }
    }
}

/// A response whose head has come.
pub struct Response {
    /// 200–999.
    pub status: u16,
    /// Names as the server wrote them; without `Content-Encoding` and `Content-Length` when a coding was undone.
    pub fields: Fields,
    /// Where it came from, after redirects; without credentials.
    pub url: Url,
    /// What follows.
    pub body: ResponseBody,
}

/// Sends requests over connections that it keeps.
pub struct Client {
    dialer: Rc<Dialer>,
    pool: Rc<Pool>,
}

impl Client {
    /// A client without connections.
    pub fn new(dialer: Rc<Dialer>) -> Rc<Self> {
        let pool = Pool::new(dialer.engine().clone());
        Rc::new(Self { dialer, pool })
    }

    /// What it dials with.
    pub fn dialer(&self) -> &Rc<Dialer> {
        &self.dialer
    }

    /// Its idle connections.
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// As [`Self::send_body`], without a body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: ClientRequest) -> Result<Response, ClientError> {
        self.send_body(request, RequestBody::none()).await
    }

    /// Sends `request` and follows redirects, over kept connections where there are some. The response's body is still to
    /// be read.
    ///
    /// # Errors
    /// [`ClientError`]. A kept connection that the server closed meanwhile is none when the request may be sent again.
    pub async fn send_body(
        &self,
        mut request: ClientRequest,
        mut body: RequestBody,
    ) -> Result<Response, ClientError> {
        let total = request.options.timeouts.total;
        let due = deadline_after(Instant::now(), total);
        let mut followed = 0;
        loop {
            let told = Told::begin();
            let exchanged = self.exchange(&request, body, due).await;
            if let Some(told) = told {
                let status = exchanged.as_ref().map(|(_, head)| head.status);
                told.end(&request, status);
            }
            let (exchange, head) = exchanged?;
            let origin = || exchange.origin();
            let Some(redirect) = self.redirect(&request, &head, origin, &mut followed)? else {
                return Ok(self.respond(request, exchange, head));
            };
            body = Box::pin(self.leave(&request, exchange, head, &redirect)).await?;
            redirect.apply(&mut request);
        }
    }

    /// The redirect to follow, if there is one.
    fn redirect(
        &self,
        request: &ClientRequest,
        head: &Head,
        origin: impl Fn() -> String,
        followed: &mut u32,
    ) -> Result<Option<Redirect>, ClientError> {
        let limit = match request.options.redirects {
            Redirects::Manual => return Ok(None),
            Redirects::Refuse => 0,
            Redirects::Follow(limit) => limit,
        };
        let redirect = redirect::of_response(request, head.status, &head.fields, &origin)?;
        let Some(redirect) = redirect else {
            return Ok(None);
        };
        if request.options.redirects == Redirects::Refuse {
            let to = without_credentials(redirect.url).to_string();
            return Err(ClientError::Redirected(origin(), to));
        }
        if *followed == limit {
            return Err(ClientError::TooManyRedirects(origin(), limit));
        }
        *followed += 1;
        Ok(Some(redirect))
    }

    /// Ends an exchange that was redirected; the body for the next one.
    async fn leave(
        &self,
        request: &ClientRequest,
        mut exchange: Exchange,
        head: Head,
        redirect: &Redirect,
    ) -> Result<RequestBody, ClientError> {
        let body = if redirect.keeps_body {
            exchange.repeatable_body().ok_or_else(|| {
                let url = without_credentials(redirect.url.clone()).to_string();
                let problem = "the streamed body cannot be sent again";
                ClientError::BadRedirect(exchange.origin(), url, problem)
            })?
        } else {
            RequestBody::none()
        };
        if exchange.is_sent() {
            let mut response = self.respond(request.clone(), exchange, head);
            let patience = deadline_after(Instant::now(), SKIP_PATIENCE);
            let patience = self.engine().timers().sleep_until(patience);
            // What can't be read is an end of this connection, not of the request.
            let skipped = async { response.body.skip().await.is_ok() };
            or(skipped, async {
                patience.await;
                false
            })
            .await;
        }
        Ok(body)
    }

    fn respond(&self, request: ClientRequest, exchange: Exchange, head: Head) -> Response {
        let asked = head::asks_for_coding(&request) && !head.decoder.is_finished();
        let coding = asked.then(|| ContentDecoder::of_response(&head.fields));
        let coding = coding.flatten();
        let fields = match coding {
            None => head.fields,
            Some(_) => head.fields.only(|name| {
                !name.eq_ignore_ascii_case(b"content-encoding")
                    && !name.eq_ignore_ascii_case(b"content-length")
            }),
        };
        let reading = Reading {
            exchange,
            decoder: head.decoder,
            persistent: head.persistent,
            kept_for: head.kept_for,
        };
        let limit = request.options.max_body_size;
        Response {
            status: head.status,
            fields,
            url: without_credentials(request.url),
            body: ResponseBody::new(reading, coding, self.pool.clone(), limit),
        }
    }

    /// Sends one request, without following redirects, and waits for its response's head.
    async fn exchange(
        &self,
        request: &ClientRequest,
        mut body: RequestBody,
        due: Instant,
    ) -> Result<(Exchange, Head), ClientError> {
        let destination = Rc::new(
            self.destination(&request.url, &request.options)
                .map_err(ClientError::Proxy)?,
        );
        let mut expectation = Expectation::before(&body, request.options.timeouts.read);
        let mut kept = self.pool.take(&destination);
        loop {
            let reused = kept.is_some();
            let transport = match kept.take() {
                Some(transport) => transport,
                // Boxed, as what is rare and large would otherwise be moved about with every request.
                None => Box::pin(self.connect(request, &destination, due)).await?,
            };
            let mut exchange = self
                .begin(request, &destination, transport, body, expectation, due)
                .await;
            let outcome = poll_fn(|context| exchange.poll_head(context, &request.method)).await;
            let again = match &outcome {
                // RFC 9110 §10.1.1: the server does not know the expectation.
                Ok(head) if head.status == 417 && expectation != Expectation::None => {
                    expectation = Expectation::None;
                    true
                }
                Ok(_) => false,
                Err(error) => {
                    reused
                        && exchange.nothing_came()
                        && matches!(error, ClientError::Io(..) | ClientError::Closed(_))
                        && IDEMPOTENT.contains(&request.method.as_str())
                }
            };
            match again.then(|| exchange.repeatable_body()).flatten() {
                Some(again) => body = again,
                None => return outcome.map(|head| (exchange, head)),
            }
        }
    }

    async fn begin(
        &self,
        request: &ClientRequest,
        destination: &Rc<Destination>,
        mut transport: Transport,
        body: RequestBody,
        expectation: Expectation,
        due: Instant,
    ) -> Exchange {
        let engine = self.engine();
        let timeouts = request.options.timeouts;
        let clock = ExchangeClock::new(engine, due, timeouts.read);
        let mut body = Some(body);
        let upload = poll_fn(|context| {
            let body = body.take().unwrap_or_else(RequestBody::none);
            let head = |out: &mut Vec<u8>, body: &RequestBody| {
                head::encode(out, request, destination, body, expectation);
            };
            let upload = Upload::begin(engine, &mut transport, context, body, expectation, head);
            Poll::Ready(upload)
        })
        .await;
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

    /// A new connection. When no descriptor is left it waits for one, as long as a connection may take.
    async fn connect(
        &self,
        request: &ClientRequest,
        destination: &Destination,
        due: Instant,
    ) -> Result<Transport, ClientError> {
        let timeouts = request.options.timeouts;
        let begin = Instant::now();
        let until = due.min(deadline_after(begin, timeouts.connect));
        if self.engine().connections().is_full() {
            self.pool.drop_oldest();
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.dialer.dial(destination, left).await {
                Ok(transport) => return Ok(transport),
                Err(DialError::TimedOut { to, .. }) if until == due => {
                    return Err(ClientError::TimedOut(to, timeouts.total));
                }
                Err(DialError::TimedOut { to, .. }) => {
                    let after = timeouts.connect;
                    return Err(ClientError::Dial(DialError::TimedOut { to, after }));
                }
                Err(error) if lacks_descriptors(&error) && Instant::now() < until => {
                    self.pool.clear();
                    let next = Instant::now() + DESCRIPTOR_DELAY;
                    self.engine().timers().sleep_until(next).await;
                }
                Err(error) => return Err(ClientError::Dial(error)),
            }
        }
    }

    /// Where a connection for `url` ends, and the way there: a plain request is handed to its proxy, all else goes through
    /// it.
    ///
    /// # Errors
    /// When the environment names a proxy by a wrong URL.
    pub fn destination(
        &self,
        url: &Url,
        options: &ClientOptions,
    ) -> Result<Destination, ProxyError> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let secure = matches!(url.scheme(), "https" | "wss");
        let proxy = match (&options.socket_path, &options.proxy) {
            (Some(_), _) | (None, ProxyChoice::Direct) => None,
            (None, ProxyChoice::Through(proxy)) => Some(proxy.clone()),
            (None, ProxyChoice::Environment) => {
                let settings = self.dialer.environment();
                settings.proxy_for(url.scheme(), host, port)?
            }
        };
        let route = match (&options.socket_path, proxy) {
            (Some(path), _) => Route::Local(path.clone()),
            (None, None) => Route::Direct,
            (None, Some(proxy)) if url.scheme() == "http" => Route::Forward(proxy),
            (None, Some(proxy)) => Route::Tunnel(proxy),
        };
        Ok(Destination {
            host: host.to_owned(),
            port,
            tls: secure.then(|| options.tls.clone()),
            route,
        })
    }

    fn engine(&self) -> &Rc<Engine> {
        self.dialer.engine()
    }
}

/// No descriptor is left in this process or on this machine.
fn lacks_descriptors(error: &DialError) -> bool {
    let (DialError::Connect { error, .. } | DialError::NotFound { error, .. }) = error else {
        return false;
    };
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_under_way_is_small() {
        let engine = Engine::new(Rc::new(smol::LocalExecutor::new())).unwrap();
        let client = Client::new(Dialer::new(engine));
        let request = ClientRequest::get("http://127.0.0.1/".parse().unwrap());
        let sending = client.send(request);
        let size = size_of_val(&sending);
        assert!(size <= 4096, "{size} bytes");
    }
}
