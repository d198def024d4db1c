//! Takes in clients for as long as there is room, rests when the system has none left, and has each served to its end.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use tracing::{debug, trace, warn};

use super::{ServerContext, TARGET};
use crate::engine::{
    connection::Connection,
    deadlines::Deadline,
    listener::Listener,
    service::{Remote, Service},
    socket::Socket,
    timers::deadline_after,
    tls::TlsStream,
    transport::Transport,
};

/// Connections accepted before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long accepting rests when the system has no descriptor or memory left for a connection.
const REST: Duration = Duration::from_millis(50);

/// Takes in clients until the listener fails.
pub(super) async fn accept<S: Service>(context: Rc<ServerContext<S>>, listener: Rc<Listener>) {
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
                Ok(Some((socket, remote))) => start(&context, socket, remote),
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
pub(super) fn accept_what_waits<S: Service>(context: &Rc<ServerContext<S>>, listener: &Listener) {
    for _ in 0..BACKLOG_AT_END {
        match listener.accept(&context.engine) {
            Ok(Some((socket, remote))) => start(context, socket, remote),
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

/// Gives a client a task of its own.
fn start<S: Service>(context: &Rc<ServerContext<S>>, socket: Socket, remote: Remote) {
    trace!(target: TARGET, %remote, "connected");
    let (key, deadline) = context.connections.add();
    let task = match context.tls {
        None => {
            let transport = Transport::Plain(socket);
            let mut connection = Connection::new(context.clone(), transport, remote, deadline, key);
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
        Some(_) => context
            .engine
            .spawn(serve_tls(context.clone(), socket, remote, deadline, key)),
    };
    context.connections.set_task(key, task);
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
