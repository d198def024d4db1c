//! Accepts clients and owns their connections: dropping the server closes them all.

mod accepting;
mod connections;

use std::{cell::RefCell, future::Future, io, rc::Rc};

use smol::Task;
use tracing::info;

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
pub const TARGET: &str = "lute_net::server";

/// How a server serves.
pub struct ServerOptions {
    /// What it grants its clients.
    pub limits: Limits,
    /// Whether request bodies are taken whole or handed on as they come.
    pub bodies: Bodies,
    /// Certificate and key, when it serves over TLS.
    pub tls: Option<ServerTls>,
}

/// A listening server.
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
    /// # Errors
    /// As [`Listener::bind`].
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
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Those of them that are WebSockets.
    pub fn websockets(&self) -> usize {
        self.connections.websockets()
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The times and statuses of its answers; nothing is counted until that is turned on.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Stops listening and lets what runs finish: clients that the system has accepted are still served if they ask soon, idle
    /// connections close, others after their next answer, and WebSockets are told that the server goes away (1001).
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
    pub fn emptied(&self) -> impl Future<Output = ()> + use<> {
        let connections = self.connections.clone();
        async move {
            while connections.count() > 0 {
                connections.an_end().await;
            }
        }
    }

    /// Stops listening and drops every connection; how many there were.
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
