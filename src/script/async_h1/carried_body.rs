//! The body of a response that came through a connection of the host's.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_lite::AsyncRead;
use http_types::Body;

use crate::{
    engine::{
        Engine,
        timers::{Sleep, deadline_after},
    },
    script::{contained::contained, download::Pieces, interrupt::timed_out},
};

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// How much of it there may be, and how long it may take.
pub struct Limits {
    /// Bytes in all.
    pub size: u64,
    /// When the whole exchange has to be over.
    pub due: Instant,
    /// How long that is, for the error.
    pub total: Duration,
    /// Without a byte.
    pub read: Duration,
}

/// A body of `http_types`, read piece by piece. Dropped, it closes the host's connection.
pub struct CarriedBody {
    body: Option<Body>,
    host: String,
    engine: Rc<Engine>,
    limits: Limits,
    late: Sleep,
    stalled: Option<Sleep>,
    delivered: u64,
    room: Vec<u8>,
}

impl CarriedBody {
    /// A body that `host` sends.
    pub fn new(body: Body, host: String, engine: Rc<Engine>, limits: Limits) -> Self {
        Self {
            body: Some(body),
            host,
            late: engine.timers().sleep_until(limits.due),
            engine,
            limits,
            stalled: None,
            delivered: 0,
            room: vec![0; PIECE],
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, String>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(None));
        };
        // What reads it is async-h1's, or the host's stream below.
        let read = contained(|| Pin::new(body).poll_read(context, &mut self.room));
        let count = match read {
            Ok(Poll::Ready(Ok(count))) => count,
            Ok(Poll::Ready(Err(error))) => return Poll::Ready(Err(error.to_string())),
            Ok(Poll::Pending) => return self.poll_late(context).map(Err),
            Err(panic) => return Poll::Ready(Err(panic)),
        };
        self.stalled = None;
        self.delivered += count as u64;
        if self.delivered > self.limits.size {
            let problem = format!("the response is larger than {} bytes", self.limits.size);
            return Poll::Ready(Err(problem));
        }
        Poll::Ready(Ok((count > 0).then(|| self.room[..count].to_vec())))
    }

    /// A panic in the destructor of the host's stream has nowhere to go.
    fn end(&mut self) {
        let body = self.body.take();
        let _ = contained(|| drop(body));
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<String> {
        if Pin::new(&mut self.late).poll(context).is_ready() {
            return Poll::Ready(timed_out(self.limits.total));
        }
        let patience = self.limits.read;
        let timers = self.engine.timers();
        let stalled = self
            .stalled
            .get_or_insert_with(|| timers.sleep_until(deadline_after(Instant::now(), patience)));
        let polled = Pin::new(stalled).poll(context);
        polled.map(|()| format!("{} without a byte", timed_out(patience)))
    }
}

impl Drop for CarriedBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl Pieces for CarriedBody {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, String>> {
        let polled = self.poll_piece(context);
        if !matches!(polled, Poll::Pending | Poll::Ready(Ok(Some(_)))) {
            self.end();
        }
        let host = &self.host;
        polled.map_err(|problem| format!("network request failed: {host}: {problem}"))
    }

    fn is_ended(&self) -> bool {
        self.body.is_none()
    }
}
