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
    addresses::{literal, resolve},
    error::system_text,
    proxy::{ProxySettings, basic_credentials},
};
pub use self::{
    error::DialError,
    gate::{Gate, OpenGate},
    proxy::{Proxy, ProxyError},
};
use super::{
    Engine, quota::Permit, socket::Socket, timers::deadline_after, tls::ClientTlsOptions,
    transport::Transport,
};

/// Where a connection ends, and the way to it. Connections to equal destinations can stand in for each other.
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
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            route: Route::Direct,
        }
    }

    /// What errors call it: `host:port`, or the Unix socket's path.
    pub fn name(&self) -> String {
        match &self.route {
            Route::Local(path) => path.display().to_string(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Opens connections.
pub struct Dialer {
    engine: Rc<Engine>,
    gate: Rc<dyn Gate>,
    contexts: Contexts,
    lookups: Lookups,
    environment: OnceCell<ProxySettings>,
}

impl Dialer {
    /// A dialer that may connect to everything.
    pub fn new(engine: Rc<Engine>) -> Rc<Self> {
        Self::with_gate(engine, Rc::new(OpenGate))
    }

    /// A dialer that asks `gate` before each lookup and each connection.
    pub fn with_gate(engine: Rc<Engine>, gate: Rc<dyn Gate>) -> Rc<Self> {
        Rc::new(Self {
            engine,
            gate,
            contexts: Contexts::default(),
            lookups: Lookups::default(),
            environment: OnceCell::new(),
        })
    }

    /// The engine it dials on.
    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// The proxies that the environment names, as they were when this was first called.
    pub(crate) fn environment(&self) -> &ProxySettings {
        self.environment
            .get_or_init(ProxySettings::from_environment)
    }

    /// Connects: lookup, TCP, proxy and TLS within `timeout` in all. Dropping the future closes what it has opened.
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
        let permit = self.permit().await;
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
                let socket = self
                    .connect(proxy.host(), proxy.port(), &proxy.name())
                    .await?;
                tunnel::open(&socket, proxy, destination).await?;
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

    /// Waits until the engine may have another connection.
    async fn permit(&self) -> Permit {
        loop {
            self.engine.connections().room().await;
            if let Some(permit) = self.engine.connections().take() {
                return permit;
            }
        }
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
