//! From a destination to a connection: looks the name up, races its addresses, goes through a proxy, does the TLS
//! handshake.
//!
//! ```
//! use std::{net::TcpListener, rc::Rc, time::Duration};
//! use lute_net::engine::{Engine, dialer::{Dialer, Destination}};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let engine = Engine::new(Rc::new(smol::LocalExecutor::new()))?;
//! let dialer = Dialer::new(engine.clone());
//! let destination = Destination::new("127.0.0.1", listener.local_addr()?.port());
//! let transport = engine.block_on(dialer.dial(&destination, Duration::from_secs(5)))??;
//! assert!(!transport.is_secure());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod addresses;
mod contexts;
mod error;
mod gate;
mod proxy;
mod race;
mod tunnel;

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::or;

use self::{addresses::Lookups, contexts::Contexts};
pub(crate) use self::{
    addresses::literal,
    error::system_text,
    proxy::{ProxySettings, basic_credentials},
};
pub use self::{
    error::DialError,
    gate::{Gate, OpenGate},
    proxy::{Proxy, ProxyError},
};
use super::{
    Engine, socket::Socket, timers::deadline_after, tls::ClientTlsOptions, transport::Transport,
};

/// Where a connection ends, and the way to it. Connections to equal destinations can stand in for each other.
///
/// ```
/// use lute_net::engine::dialer::{Destination, Route};
///
/// let plain = Destination::new("a.example", 443);
/// let secure = Destination { tls: Some(Default::default()), ..plain.clone() };
/// assert!(plain != secure && secure.route == Route::Direct);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to check the host's certificate; none for a connection that is not encrypted.
    pub tls: Option<Rc<ClientTlsOptions>>,
    /// The way.
    pub route: Route,
}

/// The way to a destination.
///
/// ```
/// use lute_net::engine::dialer::{Destination, Route};
///
/// let local = Destination { route: Route::Local("/run/app.sock".into()), ..Destination::new("app", 80) };
/// assert_eq!(local.name(), "/run/app.sock");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the host itself.
    #[default]
    Direct,
    /// To whoever listens on this Unix socket; the host is only a name.
    Local(PathBuf),
    /// To a proxy that is asked with the absolute form of each target (RFC 9112 §3.2.2): for plain HTTP only.
    Forward(Rc<Proxy>),
    /// Through a proxy, by `CONNECT` (RFC 9110 §9.3.6).
    Tunnel(Rc<Proxy>),
}

impl Destination {
    /// A destination without TLS, reached directly.
    ///
    /// ```
    /// let destination = lute_net::engine::dialer::Destination::new("[::1]", 8080);
    /// assert_eq!((destination.port, destination.tls.is_none()), (8080, true));
    /// ```
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            route: Route::Direct,
        }
    }

    /// What errors call it: `host:port`, or the Unix socket's path.
    ///
    /// ```
    /// assert_eq!(lute_net::engine::dialer::Destination::new("[::1]", 8080).name(), "[::1]:8080");
    /// ```
    pub fn name(&self) -> String {
        match &self.route {
            Route::Local(path) => path.display().to_string(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Opens connections.
///
/// ```
#[doc = include_str!("examples/served.txt")]
/// let dialer: Rc<Dialer> = Dialer::new(engine.clone());
/// let destination = Destination::new("127.0.0.1", server.port());
/// assert!(engine.block_on(dialer.dial(&destination, std::time::Duration::from_secs(20)))?.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dialer {
    engine: Rc<Engine>,
    gate: Rc<dyn Gate>,
    contexts: Contexts,
    lookups: Lookups,
    environment: OnceCell<ProxySettings>,
}

impl Dialer {
    /// A dialer that may connect to everything.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let dialer = lute_net::engine::dialer::Dialer::new(engine.clone());
    /// assert!(Rc::ptr_eq(dialer.engine(), &engine));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(engine: Rc<Engine>) -> Rc<Self> {
        Self::with_gate(engine, Rc::new(OpenGate))
    }

    /// A dialer that asks `gate` before each lookup and each connection.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let policy = lute_net::Policy::closed();
    /// let client = Client::new(Dialer::with_gate(engine.clone(), Rc::new(policy)));
    /// assert!(engine.block_on(client.send(ClientRequest::get(url)))?.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_gate(engine: Rc<Engine>, gate: Rc<dyn Gate>) -> Rc<Self> {
        Rc::new(Self {
            lookups: Lookups::new(engine.clone()),
            engine,
            gate,
            contexts: Contexts::default(),
            environment: OnceCell::new(),
        })
    }

    /// The engine it dials on.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let dialer = lute_net::engine::dialer::Dialer::new(engine.clone());
    /// assert_eq!(dialer.engine().connections().used(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// The proxies that the environment names, as they were when this was first called.
    pub(crate) fn environment(&self) -> &ProxySettings {
        self.environment
            .get_or_init(ProxySettings::from_environment)
    }

    /// The lookups of names, which all go through here.
    pub(crate) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// Connects: lookup, TCP, proxy and TLS within `timeout` in all. Dropping the future closes what it has opened.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let destination = Destination::new("127.0.0.1", server.port());
    /// let transport = engine.block_on(client.dialer().dial(&destination, std::time::Duration::from_secs(20)))??;
    /// assert_eq!(transport.socket().peer()?.as_socket().map(|peer| peer.port()), Some(server.port()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DialError`], which names the host.
    pub async fn dial(
        &self,
        destination: &Destination,
        timeout: Duration,
    ) -> Result<Transport, DialError> {
        let deadline = deadline_after(Instant::now(), timeout);
        let late = self.engine.timers().sleep_until(deadline);
        or(self.open(destination), async {
            late.await;
            Err(DialError::TimedOut {
                to: destination.name(),
                after: timeout,
            })
        })
        .await
    }

    async fn open(&self, destination: &Destination) -> Result<Transport, DialError> {
        let Destination { host, port, .. } = destination;
        let permit = self.engine.connections().permit().await;
        let socket = match &destination.route {
            Route::Direct => self.connect(host, *port, &destination.name()).await?,
            Route::Local(path) => self.connect_local(path).await?,
            Route::Forward(proxy) => {
                self.ask_name(host, *port)?;
                self.connect(proxy.host(), proxy.port(), &proxy.name())
                    .await?
            }
            Route::Tunnel(proxy) => {
                self.ask_name(host, *port)?;
                let mut socket = self
                    .connect(proxy.host(), proxy.port(), &proxy.name())
                    .await?;
                tunnel::open(&mut socket, proxy, destination).await?;
                socket
            }
        };
        let socket = socket.holding(permit);
        let Some(options) = &destination.tls else {
            return Ok(Transport::Plain(socket));
        };
        let tls = self.contexts.get(options).await.map_err(DialError::Tls)?;
        let stream = tls.connect(host, socket).await.map_err(DialError::Tls)?;
        Ok(Transport::Tls(Box::new(stream)))
    }

    /// Connects to the first address of `host` that the gate lets through and that accepts; errors call it `name`.
    async fn connect(&self, host: &str, port: u16, name: &str) -> Result<Socket, DialError> {
        self.ask_name(host, port)?;
        let addresses = self.lookups.resolve(host, port).await;
        let addresses = addresses.map_err(|error| DialError::NotFound {
            host: host.to_owned(),
            error,
        })?;
        let (mut allowed, mut refusal) = (Vec::with_capacity(addresses.len()), None);
        for address in addresses {
            match self.gate.address(host, address) {
                Ok(()) => allowed.push(address),
                Err(reason) => refusal = Some(reason),
            }
        }
        if let Some(reason) = refusal.filter(|_| allowed.is_empty()) {
            return Err(DialError::Denied(reason));
        }
        race::connect(&self.engine, &allowed)
            .await
            .map_err(|error| DialError::connect(name.to_owned(), error))
    }

    async fn connect_local(&self, path: &Path) -> Result<Socket, DialError> {
        self.gate.path(path).map_err(DialError::Denied)?;
        race::connect_local(&self.engine, path)
            .await
            .map_err(|error| DialError::connect(path.display().to_string(), error))
    }

    fn ask_name(&self, host: &str, port: u16) -> Result<(), DialError> {
        self.gate.name(host, port).map_err(DialError::Denied)
    }
}

#[cfg(test)]
mod tests;
