//! Accepts clients and owns their connections: dropping the server closes them all.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use futures_lite::future::or;
use slab::Slab;
use smol::Task;
use tracing::{debug, info, trace, warn};

use super::{
    Engine,
    connection::Connection,
    counters::Counters,
    deadlines::{Deadline, Deadlines},
    intake::{Bodies, Buffered},
    limits::{FIRST_REQUEST_AT_END, Limits},
    listener::{ListenAt, Listener},
    measures::Measures,
    observed::Observed,
    service::{Remote, Service},
    socket::Socket,
    timers::deadline_after,
    tls::{ServerTls, TlsStream},
    transport::Transport,
    websocket::{WebSocket, frames},
};

/// The `tracing` target of servers and their connections.
pub const TARGET: &str = "lute_net::server";

/// Connections accepted before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long accepting rests when the system has no descriptor or memory left for a connection.
const REST: Duration = Duration::from_millis(50);

/// Descriptors that are left for the program's own files and outgoing connections.
const SPARE_DESCRIPTORS: usize = 32;

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
        self.connections.draining.get()
    }

    /// The connection is a WebSocket from now on.
    pub(super) fn set_websocket(&self, key: usize, socket: &Rc<WebSocket>) {
        if let Some(entry) = self.connections.entries.borrow_mut().get_mut(key) {
            entry.websocket = Some(socket.clone());
        }
        if self.is_draining() {
            socket.close(frames::GOING_AWAY, "");
        }
    }

    pub(super) fn set_activity(&self, key: usize, activity: Activity) {
        if let Some(entry) = self.connections.entries.borrow_mut().get_mut(key) {
            entry.activity = activity;
        }
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
        let limit = allowed(options.limits.connections);
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
            accepting: RefCell::new(Some(engine.spawn(accept(context, listener.clone())))),
            listener: RefCell::new(Some(listener)),
            connections,
            counters,
            measures,
            accept_rest: RefCell::new(Some(Box::new(move || accept_what_waits(&rest.1, &rest.0)))),
        })
    }

    /// The port it listens on; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.entries.borrow().len()
    }

    /// Those of them that are WebSockets.
    pub fn websockets(&self) -> usize {
        let entries = self.connections.entries.borrow();
        entries
            .iter()
            .filter(|(_, entry)| entry.websocket.is_some())
            .count()
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
        if self.connections.draining.replace(true) {
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
            while !connections.entries.borrow().is_empty() {
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

/// The connections of one server.
struct Connections {
    limit: usize,
    deadlines: Rc<Deadlines>,
    draining: Cell<bool>,
    entries: RefCell<Slab<Entry>>,
    waits_for_end: RefCell<Vec<Waker>>,
}

struct Entry {
    task: Option<Task<()>>,
    activity: Activity,
    deadline: usize,
    websocket: Option<Rc<WebSocket>>,
}

/// What a connection's end would cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// The first request, which may be on its way.
    Fresh,
    /// A request or its answer.
    Busy,
    /// Nothing: it is kept for another request.
    Idle,
}

impl Connections {
    fn new(limit: usize, deadlines: Rc<Deadlines>) -> Self {
        Self {
            limit,
            deadlines,
            draining: Cell::new(false),
            entries: RefCell::default(),
            waits_for_end: RefCell::default(),
        }
    }

    fn start<S: Service>(&self, context: &Rc<ServerContext<S>>, socket: Socket, remote: Remote) {
        trace!(target: TARGET, %remote, "connected");
        let deadline = self.deadlines.register();
        let entry = Entry {
            task: None,
            activity: Activity::Fresh,
            deadline: deadline.index(),
            websocket: None,
        };
        let key = self.entries.borrow_mut().insert(entry);
        let task = match context.tls {
            None => {
                let transport = Transport::Plain(socket);
                let mut connection =
                    Connection::new(context.clone(), transport, remote, deadline, key);
                // Nothing but the connection is moved in: an async block keeps a copy of all it was given.
                context.engine.spawn(async move {
                    if let Some(upgrade) = connection.run().await {
                        let context = connection.context.clone();
                        if let Some(pump) = connection.into_websocket(*upgrade) {
                            Box::pin(pump.run()).await;
                        }
                        context.connections.forget(key);
                    } else {
                        connection.context.connections.forget(key);
                    }
                })
            }
            Some(_) => {
                context
                    .engine
                    .spawn(serve_tls(context.clone(), socket, remote, deadline, key))
            }
        };
        self.entries.borrow_mut()[key].task = Some(task);
    }

    fn forget(&self, key: usize) {
        let entry = self.entries.borrow_mut().try_remove(key);
        if let Some(task) = entry.and_then(|entry| entry.task) {
            task.detach();
        }
        self.wake_waiting();
    }

    /// Ends what is kept for another request, and gives what has just connected a little time for its first.
    fn end_idle(&self) {
        let first_request = deadline_after(Instant::now(), FIRST_REQUEST_AT_END);
        for (_, entry) in self.entries.borrow().iter() {
            if let Some(websocket) = &entry.websocket {
                websocket.close(frames::GOING_AWAY, "");
                continue;
            }
            match entry.activity {
                Activity::Fresh => self.deadlines.bring_forward(entry.deadline, first_request),
                Activity::Busy => {}
                Activity::Idle => self.deadlines.expire(entry.deadline),
            }
        }
    }

    fn close(&self) -> usize {
        // The tasks are dropped outside the borrow: what they hold may come back here.
        let entries = self.entries.take();
        let count = entries.len();
        drop(entries);
        self.wake_waiting();
        count
    }

    fn is_full(&self) -> bool {
        self.entries.borrow().len() >= self.limit
    }

    fn wake_waiting(&self) {
        self.waits_for_end.take().into_iter().for_each(Waker::wake);
    }

    /// Waits for the next end of a connection.
    async fn an_end(&self) {
        let mut registered = false;
        poll_fn(|context| {
            if std::mem::replace(&mut registered, true) {
                return Poll::Ready(());
            }
            self.waits_for_end
                .borrow_mut()
                .push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until there is room for another connection.
    async fn room(&self) {
        while self.is_full() {
            self.an_end().await;
        }
    }
}

/// Serves a client over TLS.
async fn serve_tls<S: Service>(
    context: Rc<ServerContext<S>>,
    socket: Socket,
    remote: Remote,
    deadline: Deadline,
    key: usize,
) {
    if let Some(stream) = Box::pin(handshake(&context, socket, &deadline)).await {
        let transport = Transport::Tls(Box::new(stream));
        let mut connection = Connection::new(context.clone(), transport, remote, deadline, key);
        if let Some(upgrade) = connection.run().await
            && let Some(pump) = connection.into_websocket(*upgrade)
        {
            Box::pin(pump.run()).await;
        }
    }
    context.connections.forget(key);
}

/// A client that fails the handshake, or takes too long for it, has been told by TLS itself: nothing else is left to do.
async fn handshake<S: Service>(
    context: &ServerContext<S>,
    socket: Socket,
    deadline: &Deadline,
) -> Option<TlsStream> {
    let tls = context.tls.as_ref()?;
    let timeouts = &context.limits.timeouts;
    deadline.set(deadline_after(Instant::now(), timeouts.handshake));
    let timeout = async {
        deadline.passed().await;
        None
    };
    let accepted = async {
        let accepted = tls.accept(socket).await;
        accepted
            .inspect_err(|error| debug!(target: TARGET, %error, "TLS handshake failed"))
            .ok()
    };
    or(accepted, timeout).await
}

/// The configured number of connections, and always fewer than the process may have descriptors.
fn allowed(configured: usize) -> usize {
    #[cfg(unix)]
    if let Some(descriptors) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        return configured
            .min(descriptors.saturating_sub(SPARE_DESCRIPTORS))
            .max(1);
    }
    configured.max(1)
}

async fn accept<S: Service>(context: Rc<ServerContext<S>>, listener: Rc<Listener>) {
    loop {
        context.connections.room().await;
        context.engine.connections().room().await;
        if listener.ready().await.is_err() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if context.connections.is_full() {
                break;
            }
            match listener.accept(&context.engine) {
                Ok(Some((socket, remote))) => context.connections.start(&context, socket, remote),
                Ok(None) => break,
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    warn!(target: TARGET, %error, "cannot accept clients for a while");
                    // Out of descriptors or memory: the backlog waits for an end of some connection, or a while.
                    let deadline = deadline_after(Instant::now(), REST);
                    or(
                        context.connections.an_end(),
                        context.engine.timers().sleep_until(deadline),
                    )
                    .await;
                    break;
                }
            }
        }
    }
}

/// Takes in the clients that the system has accepted already, before the listener closes on them.
fn accept_what_waits<S: Service>(context: &Rc<ServerContext<S>>, listener: &Listener) {
    for _ in 0..BACKLOG_AT_END {
        match listener.accept(&context.engine) {
            Ok(Some((socket, remote))) => context.connections.start(context, socket, remote),
            Err(error) if is_about_one_connection(&error) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// More than the system holds: the loop above always ends by itself.
const BACKLOG_AT_END: usize = 65536;

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected
    )
}
