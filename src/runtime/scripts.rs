//! The scripts of one VM, as their host deals with them.

use std::{path::Path, rc::Rc, time::Instant};

use mlua::prelude::{Lua, LuaFunction, LuaTable};
use mlua::{FromLuaMulti, IntoLuaMulti};

use super::{Error, Stats};
use crate::{
    engine::Engine,
    script::{Script, calls::Call, contained::contained},
};

/// The scripts of one VM: loads them, calls into them, counts what they do. A [`Runtime`](crate::Runtime) and an
/// [`Installation`](crate::Installation) have these methods.
///
/// ```
/// use lute_net::{Runtime, Scripts};
///
/// let runtime = Runtime::builder().build()?;
/// let scripts: &Scripts = &runtime;
/// assert_eq!(scripts.stats().coroutines, 0);
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct Scripts {
    pub(super) lua: Lua,
    pub(super) engine: Rc<Engine>,
    pub(super) script: Rc<Script>,
}

impl Scripts {
    /// The VM. A runtime's globals are read-only.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let sum: f64 = runtime.lua().load("1 + 2").eval()?;
    /// assert_eq!(sum, 3.0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// The engine, for Rust code that shares the thread.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let ran = Rc::new(Cell::new(false));
    /// let mark = ran.clone();
    /// let task = runtime.engine().spawn(async move { mark.set(true) });
    /// runtime.block_on(task)?;
    /// assert!(ran.get());
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn engine(&self) -> &Rc<Engine> {
        &self.engine
    }

    /// Starts the script at `path` with `arguments` as its `...`: it runs up to its first wait.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_file("examples/request.luau".as_ref(), &[])?;
    /// runtime.run()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Script`] when the file can't be read or is no Luau. What the running script raises goes to the error hook.
    pub fn load_file(&self, path: &Path, arguments: &[String]) -> Result<(), Error> {
        let started = contained(|| self.script.start_file(path, arguments));
        started.map_err(Error::Panicked)?.map_err(Error::Script)
    }

    /// As [`Self::load_file`], for a source that is no file. `name` is what errors call it, and what its `require` goes
    /// out from.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("sum.luau", "local a, b = ...; assert(a + b == 3)", &["1".into(), "2".into()])?;
    /// assert_eq!(runtime.uncaught_errors(), 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::load_file`].
    pub fn load_source(&self, name: &str, source: &str, arguments: &[String]) -> Result<(), Error> {
        let started = contained(|| self.script.start_source(name, source, arguments));
        started.map_err(Error::Panicked)?.map_err(Error::Script)
    }

    /// Calls a function of a script's in a coroutine of its own. It runs up to its first wait before this returns; the
    /// [`Call`] is a future for the rest. What the function raises is the call's error and does not go to the error hook.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let double = runtime.lua().load(r#"
    ///     local task = require("@lute/task")
    ///     return function(number) task.wait(0.01) return number * 2 end
    /// "#).eval()?;
    /// let call = runtime.call::<f64>(&double, 21);
    /// assert_eq!(runtime.block_on(call)?, Ok(42.0));
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn call<R: FromLuaMulti>(
        &self,
        function: &LuaFunction,
        arguments: impl IntoLuaMulti,
    ) -> Call<R> {
        Call::start(&self.script, function, arguments)
    }

    /// The module that `require(name)` gives, if that is no file: one of ours or of the host's.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let task = runtime.module("@lute/task")?.expect("it is one of ours");
    /// assert!(task.contains_key("wait")?);
    /// assert!(runtime.module("./file")?.is_none());
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Vm`]: those of the host's maker of the module; when the VM has no memory left.
    pub fn module(&self, name: &str) -> Result<Option<LuaTable>, Error> {
        Ok(self.script.module(&self.lua, name)?)
    }

    /// Errors that no script caught, so far.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().on_error(|_| {}).build()?;
    /// runtime.load_source("raises.luau", "error('oh')", &[])?;
    /// assert_eq!(runtime.uncaught_errors(), 1);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn uncaught_errors(&self) -> u64 {
        self.script.errors()
    }

    /// Coroutines that wait for a timer or the network.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("waits.luau", "require('@lute/task').wait(60)", &[])?;
    /// assert_eq!(runtime.waiting_coroutines(), 1);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn waiting_coroutines(&self) -> usize {
        self.script.waiting()
    }

    /// Open connections of the scripts' servers; see [`Self::stats`] for more.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// assert_eq!(runtime.connections(), 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn connections(&self) -> usize {
        self.script.connections()
    }

    /// What the scripts have done and hold.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// runtime.load_source("serves.luau", "require('@lute/net/server').serve({ port = 0, handler = print })", &[])?;
    /// let stats = runtime.stats();
    /// assert_eq!((stats.servers, stats.connections, stats.requests), (1, 0, 0));
    /// assert!(stats.memory > 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let served = self.script.served();
        Stats {
            servers: self.script.servers(),
            coroutines: self.script.waiting(),
            connections: self.script.connections(),
            websockets: self.script.websockets(),
            sockets: self.engine.reactor().watched(),
            memory: self.lua.used_memory(),
            uncaught_errors: self.script.errors(),
            requests: served.requests,
            requests_in_flight: served.requests_in_flight,
            bytes_received: served.bytes_received,
            bytes_sent: served.bytes_sent,
        }
    }

    /// Runs what is ready, until `limit` if there is one. Whether something is ready afterwards.
    pub(super) fn run_ready(&self, limit: Option<Instant>) -> Result<bool, Error> {
        run_ready(&self.engine, &self.script, limit)
    }

    /// Ends everything at once: servers, connections, operations, coroutines.
    pub(super) fn end(&self) {
        self.script.clear();
        // A task that was ended is dropped, with its socket, on its next turn.
        let mut turns = 0;
        while self.engine.run_tasks(None) && turns < LAST_TURNS {
            turns += 1;
        }
    }
}

/// As [`Scripts::run_ready`].
pub(super) fn run_ready(
    engine: &Engine,
    script: &Script,
    limit: Option<Instant>,
) -> Result<bool, Error> {
    let tasks_left = engine.run_tasks(limit);
    script.round(limit)?;
    Ok(tasks_left | engine.run_tasks(limit) | script.is_ready())
}

/// A task of the host's that is always ready must not hold up the end for ever.
const LAST_TURNS: usize = 4096;
