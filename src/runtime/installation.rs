//! Our modules in a VM and on an executor of the host's.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    ops::Deref,
    rc::{Rc, Weak},
    task::{Poll, Waker},
};

use futures_lite::future::{or, yield_now};
use mlua::prelude::Lua;
use smol::{Async, LocalExecutor, Task, Timer};

use super::{Builder, Error, Scripts, scripts::run_ready};
use crate::{
    engine::{Engine, reactor::PollerDescriptor},
    script::{
        Script,
        contained::{Contained, contained},
    },
};

/// Puts the modules into `lua`, and what they do onto `executor`: one task there drives the scripts, with the sockets
/// awaited through the host's own reactor. See [`Builder::install`] for settings.
///
/// `require` is replaced, and `coroutine.close`, `resume` and `running` know of coroutines that wait; so the VM's globals
/// must still be writable ([`Lua::sandbox`] comes after). Everything ends when the [`Installation`] is dropped.
///
/// ```
/// use mlua::Lua;
/// use smol::LocalExecutor;
///
/// let (lua, executor) = (Lua::new(), LocalExecutor::new());
/// let installation = lute_net::install(&lua, &executor)?;
/// let wait = lua.load("return function() return (require('@lute/task').wait(0.01)) end").eval()?;
/// let passed = smol::block_on(executor.run(installation.call::<f64>(&wait, ())));
/// assert!(passed.is_ok_and(|passed| passed >= 0.01));
/// # Ok::<(), lute_net::Error>(())
/// ```
///
/// # Errors
/// [`Error::Vm`] when the globals are read-only or the VM has no memory left; [`Error::Io`] when the system has no
/// descriptor left.
pub fn install(lua: &Lua, executor: &LocalExecutor<'_>) -> Result<Installation, Error> {
    Builder::default().install(lua, executor)
}

/// Our modules in a VM of the host's; see [`install`]. Dropping it closes every socket and coroutine it had, and the
/// modules' functions then raise. It has the methods of [`Scripts`], too.
///
/// ```
/// # let (lua, executor) = (mlua::Lua::new(), smol::LocalExecutor::new());
/// let installation: lute_net::Installation = lute_net::install(&lua, &executor)?;
/// installation.load_source("app.luau", "require('@lute/task').wait(60)", &[])?;
/// drop(installation); // closes the coroutine
/// assert!(lua.load("require('@lute/task').wait(60)").exec().is_err());
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct Installation {
    scripts: Scripts,
    idle: Rc<RefCell<Vec<Waker>>>,
    _driver: Task<()>,
}

impl Installation {
    pub(super) fn new(scripts: Scripts, executor: &LocalExecutor<'_>) -> Result<Self, Error> {
        let idle = Rc::<RefCell<Vec<Waker>>>::default();
        let driver = Driver {
            descriptor: Async::new_nonblocking(scripts.engine.reactor().descriptor())?,
            engine: scripts.engine.clone(),
            script: Rc::downgrade(&scripts.script),
            idle: idle.clone(),
        };
        Ok(Self {
            scripts,
            idle,
            _driver: executor.spawn(driver.run()),
        })
    }

    /// Ready when nothing is left: no ready or waiting coroutine, no listening server.
    ///
    /// ```
    /// # let (lua, executor) = (mlua::Lua::new(), smol::LocalExecutor::new());
    /// let installation = lute_net::install(&lua, &executor)?;
    /// installation.load_source("app.luau", "require('@lute/task').wait(0.01)", &[])?;
    /// smol::block_on(executor.run(installation.finished()));
    /// assert_eq!(installation.waiting_coroutines(), 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn finished(&self) -> impl Future<Output = ()> + use<> {
        let (script, idle) = (self.script.clone(), self.idle.clone());
        poll_fn(move |context| {
            if !script.is_busy() {
                return Poll::Ready(());
            }
            let mut idle = idle.borrow_mut();
            if !idle.iter().any(|one| one.will_wake(context.waker())) {
                idle.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Ends gracefully: stops listening and lets handlers answer; [`Self::finished`] tells when that is done.
    ///
    /// ```
    /// # let (lua, executor) = (mlua::Lua::new(), smol::LocalExecutor::new());
    /// let installation = lute_net::install(&lua, &executor)?;
    /// installation.load_source("app.luau", "require('@lute/net/server').serve({ port = 0, handler = print })", &[])?;
    /// installation.stop();
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn stop(&self) {
        self.script.drain();
    }
}

impl Deref for Installation {
    type Target = Scripts;

    fn deref(&self) -> &Scripts {
        &self.scripts
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = contained(|| self.scripts.end());
        let idle = self.idle.take();
        idle.into_iter().for_each(Waker::wake);
    }
}

/// Drives the scripts from a task on the host's executor, for as long as their installation is there.
struct Driver {
    engine: Rc<Engine>,
    script: Weak<Script>,
    /// Readable when a socket of ours has something to do.
    descriptor: Async<PollerDescriptor>,
    idle: Rc<RefCell<Vec<Waker>>>,
}

impl Driver {
    async fn run(self) {
        while let Some(script) = self.script.upgrade() {
            let turned = contained(|| self.turn(&script));
            let ready = match turned {
                Ok(Ok(ready)) => ready,
                Ok(Err(Error::Io(error))) => {
                    // Without its poller nothing of this goes on.
                    return script.report(&Error::Io(error).to_string(), "");
                }
                Ok(Err(error)) => failed(&script, &error),
                Err(text) => failed(&script, &Error::Panicked(text)),
            };
            drop(script);
            if ready {
                // The host's tasks have their turns between ours.
                yield_now().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// Whether something is ready afterwards.
    fn turn(&self, script: &Script) -> Result<bool, Error> {
        script.ring_with(None);
        self.engine.poll_sockets()?;
        let ready = run_ready(&self.engine, script, None)?;
        if !script.is_busy() {
            let idle = self.idle.take();
            idle.into_iter().for_each(Waker::wake);
        }
        Ok(ready)
    }

    /// Until a task, a socket, a timer or somebody who called into the VM has something to do.
    async fn wait(&self) {
        let called = poll_fn(|context| match self.script.upgrade() {
            Some(script) if !script.is_ready() => {
                script.ring_with(Some(context.waker().clone()));
                Poll::Pending
            }
            _ => Poll::Ready(()),
        });
        // A timer that is set meanwhile rings.
        let timer = async {
            match self.engine.next_deadline() {
                Some(due) => drop(Timer::at(due).await),
                None => std::future::pending().await,
            }
        };
        let socket = async { drop(self.descriptor.readable().await) };
        let waited = Contained::new(or(or(self.engine.next_task(), called), or(timer, socket)));
        if let (Err(text), Some(script)) = (waited.await, self.script.upgrade()) {
            failed(&script, &Error::Panicked(text));
        }
    }
}

/// Tells of an error that belongs to no script; others go on.
fn failed(script: &Script, error: &Error) -> bool {
    script.report(&error.to_string(), "");
    true
}
