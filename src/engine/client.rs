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
mod content_coding;
mod error;
mod exchange;
mod fields;
mod head;
mod options;
mod redirect;
mod request;
mod sending;
mod told;
mod upload;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use url::Url;

#[cfg(feature = "async-h1")]
pub(crate) use self::redirect::Hops;
#[cfg(feature = "async-h1")]
pub(crate) use self::upload::fits;
use self::{body::Reading, exchange::Exchange, exchange::Head, upload::Expectation};
pub use self::{
    body::ResponseBody,
    content_coding::ContentDecoder,
    error::ClientError,
    fields::Fields,
    head::is_own_field,
    options::{ClientOptions, ClientTimeouts, ProxyChoice, Redirects},
    request::{ClientRequest, RequestUrl, Response},
    sending::Sending,
    told::TARGET,
    upload::RequestBody,
};
use super::{
    Engine,
    dialer::{Destination, DialError, Dialer, ProxyError, Route},
    pool::Pool,
    timers::deadline_after,
    transport::Transport,
};

/// How long to wait when no descriptor is left, before it is tried again.
const DESCRIPTOR_DELAY: Duration = Duration::from_millis(20);

/// Sends requests over connections that it keeps.
///
/// ```
#[doc = include_str!("examples/served.txt")]
/// let client: Rc<Client> = Client::new(Dialer::new(engine.clone()));
/// assert_eq!(engine.block_on(client.send(ClientRequest::get(url)))??.status, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    dialer: Rc<Dialer>,
    pool: Rc<Pool>,
}

impl Client {
    /// A client without connections.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let client = Client::new(Dialer::new(engine.clone()));
    /// assert!(client.pool().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(dialer: Rc<Dialer>) -> Rc<Self> {
        let pool = Pool::new(dialer.engine().clone());
        let idle = Rc::downgrade(&pool);
        let spare = move || {
            idle.upgrade().is_some_and(|idle| {
                idle.drop_oldest();
                true
            })
        };
        dialer.engine().connections().spares(spare);
        Rc::new(Self { dialer, pool })
    }

    /// What it dials with.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// assert!(Rc::ptr_eq(client.dialer().engine(), &engine));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dialer(&self) -> &Rc<Dialer> {
        &self.dialer
    }

    /// Its idle connections.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
    /// assert_eq!(client.pool().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// As [`Self::send_body`], without a body.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(response.status, 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(self: &Rc<Self>, request: ClientRequest) -> Sending {
        self.send_body(request, RequestBody::Empty)
    }

    /// Sends `request` and follows redirects, over kept connections where there are some. The response's body is still to
    /// be read. A kept connection that the server closed meanwhile is no error when the request may be sent again.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let request = ClientRequest { method: "PUT".into(), ..ClientRequest::get(url) };
    /// let sending = client.send_body(request, RequestBody::bytes(b"a note".to_vec()));
    /// assert_eq!(engine.block_on(sending)??.status, 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_body(self: &Rc<Self>, request: ClientRequest, body: RequestBody) -> Sending {
        Sending::new(self.clone(), request, body)
    }

    fn respond(&self, request: &ClientRequest, mut exchange: Exchange, head: Head) -> Response {
        exchange.response_stands();
        let asked = head::asks_for_coding(request) && !head.decoder.is_finished();
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
            persistent: head.persistent && !request.closes,
            kept_for: head.kept_for,
        };
        let limit = request.options.max_body_size;
        Response {
            status: head.status,
            fields,
            url: request.url.without_credentials(),
            body: ResponseBody::new(reading, coding, self.pool.clone(), limit),
        }
    }

    /// A new connection. When no descriptor is left it waits for one, as long as a connection may take.
    async fn connect(
        &self,
        timeouts: ClientTimeouts,
        destination: &Destination,
        due: Instant,
    ) -> Result<Transport, ClientError> {
        let begin = Instant::now();
        let until = due.min(deadline_after(begin, timeouts.connect));
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

    /// As [`Self::destination`], which a URL remembers.
    fn way(&self, request: &ClientRequest) -> Result<Rc<Destination>, ClientError> {
        if let Some(known) = request.url.known_way(&request.options) {
            return Ok(known);
        }
        let found = self.destination(&request.url, &request.options);
        let found = Rc::new(found.map_err(ClientError::Proxy)?);
        request.url.keep_way(&request.options, &found);
        Ok(found)
    }

    /// Where a connection for `url` ends, and the way there: a plain request is handed to its proxy, all else goes through
    /// it.
    ///
    /// # Errors
    /// When the environment names a proxy by a wrong URL.
    pub(crate) fn destination(
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
