//! The middle floor: sockets, connections and dialing on smol, on one thread. It knows `wire` and nothing of Luau, so a
//! Rust program can use it alone; that is how it is tested and measured.
//!
//! - [`Engine`]: what everything on the thread shares
//! - [`reactor`]: readiness of sockets, by the system's `poller`; [`timers`]: deadlines; `deadlines`: those of connections;
//!   [`clock`]: the time of a turn; `buffers`: the shared read and write buffers
//! - [`socket`]: a non-blocking socket in the reactor; [`transport`]: what a connection's bytes go through
//! - [`server`]: owns its connections; [`listener`]: where clients come in; [`limits`]: what they are granted; [`counters`]: what is
//!   counted
//! - `observed`: what `tracing` is told of requests; `measures`: their times and statuses
//! - `connection`: one client; [`intake`]: its bytes become requests; `exchange`: answers that take longer;
//!   `upload`: bodies that come meanwhile
//! - [`service`]: what is asked of whoever answers; [`answer`]: writes a response
//! - [`tls`]: encryption; [`files`]: what a request for a file is answered with; [`file_body`]: a file's bytes in pieces
//! - [`websocket`]: what a connection can become; `lingering`: its last moments
//! - [`client`]: sends a request; [`dialer`]: connects to a host, through proxies and with TLS; [`pool`]: keeps connections for
//!   the next one
//! - `numbered`: tables by number
//! - [`policy`]: where a program may connect to and listen; [`quota`]: how many connections it may have
//!
//! A server and a client in Rust alone:
//!
//! ```
//! use std::{rc::Rc, task::{Context, Poll}};
//! use lute_net::engine::{
//!     Engine,
//!     answer::AnswerWriter,
//!     client::{Client, ClientRequest},
//!     dialer::Dialer,
//!     limits::Limits,
//!     intake::Bodies,
//!     listener::ListenAt,
//!     server::{Server, ServerOptions},
//!     service::{Answer, BodyPart, Reply, Request, Service},
//! };
//!
//! /// Answers at once, so that it is asked for nothing else.
//! struct Hello(Rc<Engine>);
//!
//! impl Service for Hello {
//!     fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
//!         let body = format!("hello {}", request.head.path());
//!         let written = AnswerWriter::begin(out, request.shape, 200)
//!             .and_then(|answer| answer.finish(&self.0.clock().date(), body.as_bytes()));
//!         Reply::Written { persistent: written.unwrap_or(false) }
//!     }
//!     fn poll_answer(&self, _: u64, _: &mut Context<'_>) -> Poll<Answer> { Poll::Pending }
//!     fn gone(&self, _: u64) {}
//!     fn sent(&self, _: u64) {}
//!     fn client_ended(&self, _: u64) {}
//!     fn poll_body_wanted(&self, _: u64, _: &mut Context<'_>) -> Poll<()> { Poll::Pending }
//!     fn body_part(&self, _: u64, _: BodyPart<'_>) {}
//! }
//!
//! let engine = Engine::new(Rc::default())?;
//! let at = ListenAt::Internet { addresses: vec!["127.0.0.1:0".parse()?], reuse_port: false };
//! let options = ServerOptions { limits: Limits::default(), bodies: Bodies::Whole, tls: None };
//! let server = Server::listen(&engine, &at, options, Rc::new(Hello(engine.clone())))?;
//! let client = Client::new(Dialer::new(engine.clone()));
//! let url = format!("http://127.0.0.1:{}/you", server.port()).parse()?;
//! let body = engine.block_on(async {
//!     let mut response = client.send(ClientRequest::get(url)).await?;
//!     response.body.read_to_end().await
//! })??;
//! assert_eq!(body, b"hello /you");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod answer;
pub(crate) mod buffers;
pub mod client;
pub mod clock;
mod connection;
pub mod counters;
pub(crate) mod deadlines;
pub mod dialer;
mod exchange;
pub mod file_body;
pub mod files;
pub mod intake;
pub mod limits;
mod lingering;
pub mod listener;
pub(crate) mod measures;
pub(crate) mod numbered;
pub(crate) mod observed;
pub mod policy;
mod poller;
pub mod pool;
pub mod quota;
pub mod reactor;
pub mod server;
pub mod service;
pub mod socket;
pub mod timers;
pub mod tls;
pub mod transport;
mod upload;
pub mod websocket;

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use smol::{LocalExecutor, Task};

use self::{
    buffers::Buffers, clock::Clock, deadlines::Deadlines, quota::Quota, reactor::Reactor,
    timers::Timers, websocket::Readers,
};

/// Tasks run in one go before timers and sockets are looked at again, so that tasks that wake each other starve nobody.
const TASKS_PER_TURN: usize = 256;

/// What everything on one thread shares: the executor, the reactor, the timers, the buffers and the clock.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::engine::Engine;
///
/// let engine = Engine::new(Rc::new(smol::LocalExecutor::new()))?;
/// let task = engine.spawn(async { 1 + 2 });
/// assert_eq!(engine.block_on(task)?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Engine {
    executor: Rc<LocalExecutor<'static>>,
    reactor: Rc<Reactor>,
    timers: Rc<Timers>,
    deadlines: Rc<Deadlines>,
    buffers: Buffers,
    clock: Clock,
    connections: Rc<Quota>,
    websocket_readers: Readers,
    /// When the tasks that run have to leave the thread to its owner.
    turn_end: Cell<Option<Instant>>,
}

impl Engine {
    /// An engine whose tasks run on `executor`.
    ///
    /// ```
    /// let engine = lute_net::engine::Engine::new(Default::default())?;
    /// assert_eq!(engine.reactor().watched(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system has no descriptor left for the poller.
    pub fn new(executor: Rc<LocalExecutor<'static>>) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            executor,
            reactor: Reactor::new()?,
            timers: Rc::default(),
            deadlines: Rc::default(),
            buffers: Buffers::default(),
            clock: Clock::default(),
            connections: Rc::default(),
            websocket_readers: Readers::default(),
            turn_end: Cell::default(),
        }))
    }

    /// Readiness of sockets.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// assert_eq!(engine.reactor().watched(), 2, "`left` and `right`");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// Deadlines.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let soon = std::time::Instant::now() + std::time::Duration::from_millis(1);
    /// engine.block_on(engine.timers().sleep_until(soon))?;
    /// assert!(std::time::Instant::now() >= soon);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timers(&self) -> &Rc<Timers> {
        &self.timers
    }

    /// Deadlines of connections.
    pub(crate) fn deadlines(&self) -> &Rc<Deadlines> {
        &self.deadlines
    }

    /// The thread's shared buffers.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The time of this turn.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// assert!(engine.clock().date().ends_with("GMT"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What reads WebSocket frames.
    pub(crate) fn websocket_readers(&self) -> &Readers {
        &self.websocket_readers
    }

    /// The connections of servers and clients together.
    ///
    /// ```
    #[doc = include_str!("examples/served.txt")]
    /// engine.connections().set_limit(2); // the client's end and the server's are on this thread
    /// assert_eq!(engine.block_on(client.send(ClientRequest::get(url)))??.status, 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connections(&self) -> &Rc<Quota> {
        &self.connections
    }

    /// Runs `future` on the thread; dropping the task ends it.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let answer = engine.spawn(async { 42 });
    /// assert_eq!(engine.block_on(answer)?, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.executor.spawn(future)
    }

    /// Runs `future` and all tasks until `future` ends, for a Rust program without scripts.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// assert_eq!(engine.block_on(async { 42 })?, 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system's poller fails.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = pin!(future);
        let alarm = self.reactor.alarm();
        loop {
            self.reactor.arm();
            let polled = future.as_mut().poll(&mut Context::from_waker(&alarm));
            if let Poll::Ready(output) = polled {
                return Ok(output);
            }
            self.run_tasks(None);
            self.park()?;
            self.fire_timers(|_| {});
        }
    }

    /// Runs the tasks that are ready, until `limit` if there is one. Whether some may be left.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let task = engine.spawn(async {});
    /// while engine.run_tasks(None) {}
    /// assert!(task.is_finished());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run_tasks(&self, limit: Option<Instant>) -> bool {
        self.turn_end.set(limit);
        for _ in 0..TASKS_PER_TURN {
            if !self.executor.try_tick() {
                return false;
            }
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                break;
            }
        }
        true
    }

    /// Whether a task that has done something and could go on at once should let others have the thread: the limit of
    /// [`Self::run_tasks`] is over.
    pub(crate) fn is_time_up(&self) -> bool {
        let end = self.turn_end.get();
        end.is_some_and(|end| Instant::now() >= end)
    }

    /// Waits for a task that is ready and runs it: for an executor in which this one is nested.
    pub(crate) async fn next_task(&self) {
        self.executor.tick().await;
    }

    /// Looks at the sockets without waiting.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// let reading = engine.spawn(async move { right.readable().await });
    /// engine.run_tasks(None);
    /// left.try_write(b"x")?;
    /// while !reading.is_finished() { // a frame of a program that has its own loop
    ///     engine.poll_sockets()?;
    ///     engine.run_tasks(None);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system's poller fails.
    pub fn poll_sockets(&self) -> io::Result<()> {
        self.clock.advance();
        self.reactor.turn(Some(Duration::ZERO))
    }

    /// Waits until a socket, a timer or another thread has something to do; returns at once when a task is ready.
    ///
    /// # Errors
    /// When the system's poller fails.
    pub(crate) fn park(&self) -> io::Result<()> {
        self.reactor.arm();
        let alarm = self.reactor.alarm();
        // While this future is pending, a task woken from another thread calls the alarm.
        let mut tick = pin!(self.executor.tick());
        let ran = matches!(
            tick.as_mut().poll(&mut Context::from_waker(&alarm)),
            Poll::Ready(())
        );
        let timeout = if ran {
            Some(Duration::ZERO)
        } else {
            self.until_next_timer()
        };
        let turned = self.reactor.turn(timeout);
        self.clock.advance();
        turned
    }

    /// Wakes whoever waits for a moment that has come. `take` gets the numbers of the scripts' waits that are over.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let sleep = engine.spawn(engine.timers().sleep_until(std::time::Instant::now() + std::time::Duration::from_millis(1)));
    /// while !sleep.is_finished() { // a frame of a program that has its own loop
    ///     engine.fire_timers(|_| {});
    ///     engine.run_tasks(None);
    /// }
    /// assert_eq!(engine.next_deadline(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fire_timers(&self, take: impl FnMut(u64)) {
        let now = Instant::now();
        self.deadlines.sweep(now);
        self.timers.fire(now, take);
    }

    /// When [`Self::fire_timers`] has something to do next.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// let due = std::time::Instant::now() + std::time::Duration::from_secs(60);
    /// let _sleep = engine.spawn(engine.timers().sleep_until(due));
    /// engine.run_tasks(None);
    /// assert_eq!(engine.next_deadline(), Some(due));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        let sweep = self.deadlines.next_sweep();
        let timer = self.timers.next_deadline();
        sweep.into_iter().chain(timer).min()
    }

    fn until_next_timer(&self) -> Option<Duration> {
        self.next_deadline()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}
