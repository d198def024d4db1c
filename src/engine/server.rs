//! Accepts clients and owns their connections: dropping the server closes them all.
//!
//! ```
#![doc = include_str!("examples/served.txt")]
//! let body = engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
//! assert_eq!(body, b"hello");
//! server.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accepting;
mod connections;

use std::{cell::RefCell, future::Future, io, rc::Rc};

use smol::Task;
use tracing::info;

pub use super::observed::TARGET as REQUESTS_TARGET;

pub(super) use self::connections::Activity;
use self::connections::Connections;
use super::{
    Engine,
    counters::Counters,
    intake::{Bodies, Buffered},
    limits::Limits,
    listener::{ListenAt, Listener},
    measures::Measures,
    observed::Observed,
    service::Service,
    tls::ServerTls,
    websocket::WebSocket,
};

/// The `tracing` target of servers and their connections.
///
/// ```
/// assert_eq!(lute_net::engine::server::TARGET, "lute_net::server");
/// ```
pub const TARGET: &str = "lute_net::server";

/// How a server serves.
///
/// ```
/// use lute_net::engine::{intake::Bodies, limits::Limits, server::ServerOptions};
///
/// let limits = Limits { connections: 100, ..Limits::default() };
/// let options = ServerOptions { limits, bodies: Bodies::Streamed, tls: None };
/// assert_eq!(options.limits.connections, 100);
/// ```
pub struct ServerOptions {
    /// What it grants its clients.
    pub limits: Limits,
    /// Whether request bodies are taken whole or handed on as they come.
    pub bodies: Bodies,
    /// Certificate and key, when it serves over TLS.
    pub tls: Option<ServerTls>,
}

/// A listening server.
///
/// ```
#[doc = include_str!("examples/served.txt")]
/// assert_eq!((server.connections(), server.counters().requests()), (0, 0));
/// drop(server); // nobody listens any more
/// assert!(engine.block_on(client.send(ClientRequest::get(url)))?.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    port: u16,
    listener: RefCell<Option<Rc<Listener>>>,
    accepting: RefCell<Option<Task<()>>>,
    connections: Rc<Connections>,
    counters: Rc<Counters>,
    measures: Rc<Measures>,
    accept_rest: RefCell<Option<Box<dyn FnOnce()>>>,
}

/// What the connections of a server share.
pub(super) struct ServerContext<S> {
    pub(super) engine: Rc<Engine>,
    pub(super) service: Rc<S>,
    pub(super) limits: Limits,
    pub(super) bodies: Bodies,
    pub(super) buffered: Rc<Buffered>,
    pub(super) counters: Rc<Counters>,
    connections: Rc<Connections>,
    tls: Option<ServerTls>,
}

impl<S: Service> ServerContext<S> {
    pub(super) fn is_draining(&self) -> bool {
        self.connections.is_draining()
    }

    pub(super) fn set_websocket(&self, key: usize, socket: &Rc<WebSocket>) {
        self.connections.set_websocket(key, socket);
    }

    pub(super) fn set_activity(&self, key: usize, activity: Activity) {
        self.connections.set_activity(key, activity);
    }
}

impl Server {
    /// Listens and serves.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let options = ServerOptions { limits: Limits::default(), bodies: Bodies::Whole, tls: None };
    /// let taken = ListenAt::Internet { addresses: vec![([127, 0, 0, 1], server.port()).into()], reuse_port: false };
    /// let error = Server::listen(&engine, &taken, options, Rc::new(Hello(engine.clone()))).err();
    /// assert_eq!(error.map(|error| error.kind()), Some(std::io::ErrorKind::AddrInUse));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// In use, not allowed, not an address of this machine.
    pub fn listen<S: Service>(
        engine: &Rc<Engine>,
        at: &ListenAt,
        options: ServerOptions,
        service: Rc<S>,
    ) -> io::Result<Self> {
        let listener = Rc::new(Listener::bind(engine, at)?);
        let limit = options.limits.connections;
        let connections = Rc::new(Connections::new(limit, engine.deadlines().clone()));
        let measures = Rc::<Measures>::default();
        let secure = options.tls.is_some();
        info!(target: TARGET, address = %listener.address(), secure, "listening");
        let context = Rc::new(ServerContext {
            engine: engine.clone(),
            service: Rc::new(Observed::new(service, measures.clone())),
            limits: options.limits,
            bodies: options.bodies,
            buffered: Rc::default(),
            counters: Rc::default(),
            connections: connections.clone(),
            tls: options.tls,
        });
        let counters = context.counters.clone();
        let rest = (listener.clone(), context.clone());
        Ok(Self {
            port: listener.port(),
            accepting: RefCell::new(Some(
                engine.spawn(accepting::accept(context, listener.clone())),
            )),
            listener: RefCell::new(Some(listener)),
            connections,
            counters,
            measures,
            accept_rest: RefCell::new(Some(Box::new(move || {
                accepting::accept_what_waits(&rest.1, &rest.0)
            }))),
        })
    }

    /// The port it listens on; 0 for a Unix socket.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// assert_ne!(server.port(), 0, "one that was free");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are open.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let _response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(server.connections(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Those of them that are WebSockets.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// assert_eq!(server.websockets(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn websockets(&self) -> usize {
        self.connections.websockets()
    }

    /// What it has done so far.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(client.send(ClientRequest::get(url)))??;
    /// let counters = server.counters();
    /// assert_eq!((counters.requests(), counters.requests_in_flight()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The times and statuses of its answers; nothing is counted until that is turned on.
    pub(crate) fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Stops listening and lets what runs finish: clients that the system has accepted are still served if they ask soon, idle
    /// connections close, others after their next answer, and WebSockets are told that the server goes away (1001).
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let _response = engine.block_on(client.send(ClientRequest::get(url.clone())))??;
    /// server.drain();
    /// assert!(engine.block_on(client.send(ClientRequest { closes: true, ..ClientRequest::get(url) }))?.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self) {
        if !self.connections.begin_draining() {
            return;
        }
        let accept_rest = self.accept_rest.borrow_mut().take();
        accept_rest.into_iter().for_each(|accept| accept());
        self.accepting.borrow_mut().take();
        self.listener.borrow_mut().take();
        self.connections.end_idle();
    }

    /// Ready when no connection is left.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.block_on(async { client.send(ClientRequest::get(url)).await?.body.read_to_end().await })??;
    /// server.drain();
    /// engine.block_on(server.emptied())?;
    /// assert_eq!(server.connections(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn emptied(&self) -> impl Future<Output = ()> + use<> {
        let connections = self.connections.clone();
        async move {
            while connections.count() > 0 {
                connections.an_end().await;
            }
        }
    }

    /// Stops listening and drops every connection; how many there were.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// let _response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!((server.close(), server.close()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> usize {
        self.accept_rest.borrow_mut().take();
        self.accepting.borrow_mut().take();
        self.listener.borrow_mut().take();
        self.connections.close()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}
