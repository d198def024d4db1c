//! A VM, its scheduler and its engine on one thread.

use std::{
    cell::Cell,
    fmt, io,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use mlua::prelude::{Lua, LuaError};
use smol::LocalExecutor;

use crate::{
    engine::Engine,
    script::{
        ErrorHook, Ports, Script, ScriptError,
        testing::{Case, CaseResult, Selection},
    },
};

/// Runs Luau scripts that use the network, on the thread it was made on.
///
/// Dropping it closes every socket and coroutine it had.
pub struct Runtime {
    lua: Lua,
    engine: Rc<Engine>,
    script: Rc<Script>,
    turning: Cell<bool>,
    stopping: Cell<bool>,
}

/// How to make a [`Runtime`]; see [`Runtime::builder`].
#[derive(Default)]
pub struct Builder {
    on_error: Option<ErrorHook>,
    ports: Ports,
    longest_turn: Option<Duration>,
}

/// What is left after a [`Runtime::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Something can be done at once: call `step` again in this frame if there is time.
    pub ready: bool,
    /// Something is left at all: a ready or waiting coroutine, or a listening server.
    pub busy: bool,
    /// When the next timer is due.
    pub next_timer: Option<Instant>,
}

/// Why a runtime can't do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// The script can't be read or is no Luau: a text for the user, with file and line.
    Script(String),
    /// The VM failed (it has no memory left).
    Vm(LuaError),
    /// The system's poller failed.
    Io(io::Error),
    /// Called from inside the script that it should run.
    Reentered,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(message) => f.write_str(message),
            Self::Vm(error) => write!(f, "the Luau VM failed: {error}"),
            Self::Io(error) => write!(f, "the poller failed: {error}"),
            Self::Reentered => f.write_str("a runtime cannot be run from inside its own script"),
        }
    }
}

impl std::error::Error for Error {}

impl From<LuaError> for Error {
    fn from(error: LuaError) -> Self {
        Self::Vm(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Builder {
    /// Called with each error that no script caught. Without it they go to stderr.
    pub fn on_error(mut self, hook: impl Fn(&ScriptError) + 'static) -> Self {
        self.on_error = Some(Box::new(hook));
        self
    }

    /// For one of several processes that serve on the same ports: every server listens with SO_REUSEPORT, whatever its
    /// script says, and port 0 is refused, as each process would get another one.
    pub fn share_ports(mut self) -> Self {
        self.ports = Ports::Shared;
        self
    }

    /// How long a script may run between two waits. From then on it is stopped, whatever it catches: an error that
    /// nobody caught. Without it a script may run for as long as it likes. The check slows tight loops down.
    pub fn longest_turn(mut self, limit: Duration) -> Self {
        self.longest_turn = Some(limit);
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// When the system has no descriptor or no memory left.
    pub fn build(self) -> Result<Runtime, Error> {
        let lua = Lua::new();
        let engine = Engine::new(Rc::new(LocalExecutor::new()))?;
        let hook = self
            .on_error
            .unwrap_or_else(|| Box::new(|error| eprintln!("{error}")));
        let script = Script::new(&lua, engine.clone(), hook, self.ports)?;
        script.limit_turns(self.longest_turn);
        lua.sandbox(true)?;
        Ok(Runtime {
            lua,
            engine,
            script,
            turning: Cell::new(false),
            stopping: Cell::new(false),
        })
    }
}

impl fmt::Display for ScriptError {
    /// The message, and below it the traceback, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.traceback
            .lines()
            .try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

impl Runtime {
    /// A runtime with settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The VM. Its globals are read-only.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// The engine, for Rust code that shares the thread.
    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// Starts the script at `path` with `arguments` as its `...`: it runs up to its first wait.
    ///
    /// # Errors
    /// [`Error::Script`] when the file can't be read or is no Luau. What the running script raises goes to the error hook.
    pub fn load_file(&self, path: &Path, arguments: &[String]) -> Result<(), Error> {
        self.script
            .start_file(path, arguments)
            .map_err(Error::Script)
    }

    /// As [`Self::load_file`], for a source that is no file. `name` is what errors call it, and what its `require` goes
    /// out from.
    ///
    /// # Errors
    /// As [`Self::load_file`].
    pub fn load_source(&self, name: &str, source: &str, arguments: &[String]) -> Result<(), Error> {
        self.script
            .start_source(name, source, arguments)
            .map_err(Error::Script)
    }

    /// Runs until nothing is left: no ready or waiting coroutine, no listening server.
    ///
    /// # Errors
    /// [`Error::Vm`] and [`Error::Io`] when the VM or the poller fails; [`Error::Reentered`].
    pub fn run(&self) -> Result<(), Error> {
        self.run_while(|| self.is_busy())
    }

    /// Runs the `@std/test` cases of the selection, in the order in which the loaded scripts have registered them;
    /// `report` is told of each as it ends. What the cases leave running goes on only with the next call.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_tests(
        &self,
        selection: Selection,
        report: impl Fn(CaseResult) + 'static,
    ) -> Result<(), Error> {
        let tests = self.script.start_tests(selection, report)?;
        while !tests.is_finished() {
            self.run_while(|| !tests.is_finished() && !tests.is_overdue() && self.is_busy())?;
            if !tests.is_finished() && !tests.expire(&self.script)? {
                let message = "the cases did not come to their end";
                return Err(Error::Script(message.to_owned()));
            }
        }
        Ok(())
    }

    /// The `@std/test` cases that the loaded scripts have registered.
    ///
    /// # Errors
    /// [`Error::Vm`] when the VM has no memory left.
    pub fn test_cases(&self) -> Result<Vec<Case>, Error> {
        Ok(self.script.test_cases()?)
    }

    /// As [`Self::load_file`] for a test file: returns when the script has come to its end, so that all its cases are
    /// registered. Within `limit` only: what still waits then is an error, and a loop is stopped as one that the script
    /// did not catch.
    ///
    /// # Errors
    /// As [`Self::load_file`] and [`Self::run`].
    pub fn load_tests(&self, path: &Path, limit: Duration) -> Result<(), Error> {
        self.script.stop_after(limit);
        let loaded = self
            .load_file(path, &[])
            .and_then(|()| self.finish_loading(limit));
        self.script.go_on();
        loaded
    }

    fn finish_loading(&self, limit: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + limit.min(Duration::from_secs(24 * 3600));
        let alarm = self.engine.spawn({
            let timers = self.engine.timers().clone();
            async move { timers.sleep_until(deadline).await }
        });
        let loading = || self.script.is_loading();
        self.run_while(|| loading() && Instant::now() < deadline && self.is_busy())?;
        drop(alarm);
        if loading() {
            let message = "the script waits outside of its cases and does not come to its end";
            return Err(Error::Script(message.to_owned()));
        }
        Ok(())
    }

    fn run_while(&self, goes_on: impl Fn() -> bool) -> Result<(), Error> {
        let _turn = self.enter()?;
        while goes_on() {
            let tasks_left = self.engine.run_tasks(None);
            self.script.round(None)?;
            let more = tasks_left | self.engine.run_tasks(None);
            if more || self.script.is_ready() {
                self.engine.poll_sockets()?;
            } else if goes_on() {
                self.engine.park()?;
            }
        }
        // What was closed or abandoned last is dropped by its task's last turn.
        self.engine.run_tasks(None);
        Ok(())
    }

    /// For a frame loop: looks at the sockets without waiting, runs what is ready, and stops when `budget` is used up.
    /// A single resume of a coroutine is not cut short.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn step(&self, budget: Duration) -> Result<Status, Error> {
        let _turn = self.enter()?;
        let limit = Instant::now() + budget.min(Duration::from_secs(3600));
        self.engine.poll_sockets()?;
        loop {
            let tasks_left = self.engine.run_tasks(Some(limit));
            self.script.round(Some(limit))?;
            let ready = tasks_left | self.engine.run_tasks(Some(limit)) | self.script.is_ready();
            if !ready || Instant::now() >= limit {
                let next_timer = self.engine.next_deadline();
                return Ok(Status {
                    ready,
                    busy: self.is_busy(),
                    next_timer,
                });
            }
            self.engine.poll_sockets()?;
        }
    }

    /// Ends gracefully: stops listening, serves the clients that the system has accepted, lets handlers answer, closes
    /// idle connections; [`Self::run`] then returns.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.script.drain();
    }

    /// Errors that no script caught, so far.
    pub fn uncaught_errors(&self) -> u64 {
        self.script.errors()
    }

    /// Coroutines that wait for a timer or the network.
    pub fn waiting_coroutines(&self) -> usize {
        self.script.waiting()
    }

    /// Open connections of the scripts' servers.
    pub fn connections(&self) -> usize {
        self.script.connections()
    }

    fn is_busy(&self) -> bool {
        if self.stopping.get() {
            return self.script.connections() > 0;
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

impl Drop for Runtime {
    fn drop(&mut self) {
        self.script.clear();
        // A task that was ended is dropped, with its socket, on its next turn.
        while self.engine.run_tasks(None) {}
    }
}

/// While the runtime runs.
struct Turning<'r>(&'r Cell<bool>);

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
