//! The end of a connection whose WebSocket is over: both ends know, and what was sent last is to arrive.

use std::{future::poll_fn, io, task::Poll, time::Instant};

use super::{Role, WebSocket};
use crate::engine::{deadlines::Deadline, limits::LINGER, lingering, timers::deadline_after};

/// Sends what waits, the close frame last, and gives the other end time to take it. The server ends its side first, so that it is
/// not the client's port that stays in TIME_WAIT (RFC 6455 §7.1.1).
///
/// # Errors
/// When the connection is lost meanwhile: then there is nothing left to end.
pub(super) async fn say(socket: &WebSocket, deadline: &Deadline) -> io::Result<()> {
    let engine = socket.engine();
    deadline.set(deadline_after(Instant::now(), socket.limits.close));
    poll_fn(|context| {
        socket.woken_by(context);
        socket.flush();
        let output = socket.output.borrow();
        let over = output.queue.is_empty() || output.failure.is_some();
        if over || deadline.poll_expired(context) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    deadline.set(deadline_after(Instant::now(), LINGER));
    if socket.role() == Role::Server {
        poll_fn(|context| {
            let mut output = socket.output.borrow_mut();
            lingering::poll_end_sending(&mut output.transport, deadline, context)
        })
        .await?;
    }
    loop {
        let ended = poll_fn(|context| {
            let mut output = socket.output.borrow_mut();
            let transport = &mut output.transport;
            lingering::poll_drop_input(transport, deadline, engine.buffers(), context)
        })
        .await?;
        if ended {
            return Ok(());
        }
        futures_lite::future::yield_now().await;
    }
}

impl WebSocket {
    /// Its connection is dropped next: nothing more is sent, nor handed on of what was read.
    pub(crate) fn cut(&self) {
        self.end();
    }
}
