//! The face for Rust hosts: a VM, its scheduler and its engine on one thread.
//!
//! - [`Runtime`]: owns them and runs them; [`Builder`]: makes it
//! - [`Installation`]: the same in a VM and on an executor of the host's
//! - [`Scripts`]: what both can do with their scripts; [`Stats`]: what can be counted
//!
//! ```
//! let runtime = lute_net::runtime::Runtime::builder().build()?;
//! runtime.load_source("hello.luau", "assert(require('@lute/net/client').request)", &[])?;
//! runtime.run()?;
//! # Ok::<(), lute_net::Error>(())
//! ```

#[cfg(feature = "async-h1")]
mod async_h1;
mod builder;
mod error;
#[cfg(unix)]
mod installation;
mod scripts;
mod stats;
mod test_cases;

use std::{
    cell::Cell,
    future::Future,
    ops::Deref,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

#[cfg(unix)]
pub use self::installation::{Installation, install};
pub use self::{builder::Builder, error::Error, scripts::Scripts, stats::Stats};
use crate::script::{contained::contained, settings::Settings};

/// Runs Luau scripts that use the network, on the thread it was made on.
///
/// Dropping it closes every socket and coroutine it had. It has the methods of [`Scripts`], too.
///
/// ```
/// use lute_net::Runtime;
///
/// let runtime = Runtime::builder().build()?;
/// runtime.load_file("examples/request.luau".as_ref(), &[])?;
/// runtime.run()?;
/// assert_eq!(runtime.uncaught_errors(), 0);
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct Runtime {
    scripts: Scripts,
    settings: Settings,
    turning: Cell<bool>,
    stopping: Cell<bool>,
}

/// What is left after a [`Runtime::step`].
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let runtime = lute_net::Runtime::builder().build()?;
/// runtime.load_source("waits.luau", "require('@lute/task').wait(60)", &[])?;
/// let status = runtime.step(Duration::from_millis(2))?;
/// assert!(status.busy && !status.ready);
/// assert!(status.next_timer.is_some_and(|due| due > Instant::now()));
/// # Ok::<(), lute_net::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Something can be done at once: call `step` again in this frame if there is time.
    pub ready: bool,
    /// Something is left at all: a ready or waiting coroutine, or a listening server.
    pub busy: bool,
    /// When the next timer is due.
    pub next_timer: Option<Instant>,
}

impl Runtime {
    /// A runtime with settings.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs until nothing is left: no ready or waiting coroutine, no listening server.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("waits.luau", "require('@lute/task').wait(0.01)", &[])?;
    /// runtime.run()?;
    /// assert_eq!(runtime.waiting_coroutines(), 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Vm`] and [`Error::Io`] when the VM or the poller fails; [`Error::Reentered`]; [`Error::Panicked`].
    pub fn run(&self) -> Result<(), Error> {
        self.run_while(|| self.is_busy())
    }

    /// Runs until `future` is ready, and with it everything that is left to run meanwhile.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let timer = smol::Timer::after(Duration::from_millis(5));
    /// runtime.block_on(async { timer.await })?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::run`].
    ///
    /// # Panics
    /// When the future does.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        let _turn = self.enter()?;
        let wakeup = self.engine.reactor().wakeup();
        let waker = Waker::from(wakeup.clone());
        let mut future = pin!(future);
        loop {
            if wakeup.take()
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                contained(|| self.engine.run_tasks(None)).map_err(Error::Panicked)?;
                return Ok(value);
            }
            self.turn(&|| !wakeup.is_set())?;
        }
    }

    /// For a frame loop: looks at the sockets without waiting, runs what is ready, and stops when `budget` is used up.
    /// A single resume of a coroutine is not cut short.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("app.luau", "require('@lute/task').wait(0.05)", &[])?;
    /// while runtime.step(Duration::from_millis(2))?.busy {
    ///     std::thread::sleep(Duration::from_millis(16)); // draw the frame
    /// }
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn step(&self, budget: Duration) -> Result<Status, Error> {
        let _turn = self.enter()?;
        let limit = Instant::now() + budget.min(Duration::from_secs(3600));
        contained(|| self.turns_until(limit)).map_err(Error::Panicked)?
    }

    /// Ends gracefully: stops listening, serves the clients that the system has accepted, lets handlers answer, closes
    /// idle connections; [`Self::run`] then returns.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("app.luau", "require('@lute/net/server').serve({ port = 0, handler = print })", &[])?;
    /// runtime.stop();
    /// runtime.run()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn stop(&self) {
        self.stopping.set(true);
        self.script.drain();
    }

    /// For a hot reload: ends everything (every socket, timer and coroutine is gone when this returns) and starts over
    /// with a new VM and the same settings.
    ///
    /// ```
    /// let mut runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("app.luau", "require('@lute/task').wait(60)", &[])?;
    /// runtime.reset()?;
    /// assert_eq!(runtime.waiting_coroutines(), 0);
    /// runtime.load_source("app.luau", "print('the next version')", &[])?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Vm`] when the system has no memory left; the runtime then has ended.
    pub fn reset(&mut self) -> Result<(), Error> {
        contained(|| self.scripts.end()).map_err(Error::Panicked)?;
        self.stopping.set(false);
        self.scripts = builder::fresh(&self.scripts.engine, &self.settings)?;
        Ok(())
    }

    fn run_while(&self, goes_on: impl Fn() -> bool) -> Result<(), Error> {
        let _turn = self.enter()?;
        while goes_on() {
            self.turn(&goes_on)?;
        }
        // What was closed or abandoned last is dropped by its task's last turn.
        contained(|| self.engine.run_tasks(None)).map_err(Error::Panicked)?;
        Ok(())
    }

    /// Runs what is ready, and looks for more; waits for it when nothing is and `may_wait` says so.
    fn turn(&self, may_wait: &dyn Fn() -> bool) -> Result<(), Error> {
        let turned = contained(|| {
            if self.scripts.run_ready(None)? {
                self.engine.poll_sockets()?;
            } else if may_wait() {
                self.engine.park()?;
            }
            Ok(())
        });
        turned.map_err(Error::Panicked)?
    }

    fn turns_until(&self, limit: Instant) -> Result<Status, Error> {
        self.engine.poll_sockets()?;
        loop {
            let ready = self.scripts.run_ready(Some(limit))?;
            if !ready || Instant::now() >= limit {
                return Ok(Status {
                    ready,
                    busy: self.is_busy(),
                    next_timer: self.engine.next_deadline(),
                });
            }
            self.engine.poll_sockets()?;
        }
    }

    fn is_busy(&self) -> bool {
        if self.stopping.get() {
            return self.script.connections() > 0 || self.script.websocket_clients() > 0;
        }
        self.script.is_busy()
    }

    fn enter(&self) -> Result<Turning<'_>, Error> {
        if self.turning.replace(true) {
            return Err(Error::Reentered);
        }
        Ok(Turning(&self.turning))
    }
}

impl Deref for Runtime {
    type Target = Scripts;

    fn deref(&self) -> &Scripts {
        &self.scripts
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // A panic of the host's, in a value that is dropped now, has nowhere to go.
        let _ = contained(|| self.scripts.end());
    }
}

/// While the runtime runs.
struct Turning<'r>(&'r Cell<bool>);

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
