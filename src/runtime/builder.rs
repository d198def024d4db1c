//! How a runtime is made.

use std::{cell::Cell, rc::Rc};

#[cfg(unix)]
use mlua::prelude::Lua;
use mlua::prelude::LuaResult;
use smol::LocalExecutor;

#[cfg(unix)]
use super::Installation;
use super::{Error, Runtime, Scripts};
use crate::{
    engine::{Engine, policy::Policy},
    script::{
        Ports, Script,
        host_modules::HostModule,
        settings::{Limits, ScriptError, Settings},
    },
};

/// How to make a [`Runtime`], or to [install](Self::install) the modules into a VM; see [`Runtime::builder`].
///
/// ```
/// use lute_net::Runtime;
///
/// let runtime = Runtime::builder()
///     .on_error(|error| eprintln!("a script failed: {error}"))
///     .module("@game/info", |module| module.value("version", "1.2"))
///     .build()?;
/// # Ok::<(), lute_net::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Builder {
    pub(super) settings: Settings,
}

impl Builder {
    /// Called with each error that no script caught. Without it they go to stderr.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    ///
    /// let problems = Rc::new(RefCell::new(Vec::new()));
    /// let seen = problems.clone();
    /// let runtime = lute_net::Runtime::builder()
    ///     .on_error(move |error| seen.borrow_mut().push(error.message.clone()))
    ///     .build()?;
    /// runtime.load_source("app.luau", "\nerror('no map')", &[])?;
    /// assert_eq!(*problems.borrow(), ["app.luau:2: no map"]);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn on_error(mut self, hook: impl Fn(&ScriptError) + 'static) -> Self {
        self.settings.on_error = Rc::new(hook);
        self
    }

    /// For one of several processes that serve on the same ports: every server listens with SO_REUSEPORT, whatever its
    /// script says, and port 0 is refused, as each process would get another one.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().share_ports().on_error(|_| {}).build()?;
    /// runtime.load_source("app.luau", "require('@lute/net/server').serve({ port = 0, handler = print })", &[])?;
    /// assert_eq!(runtime.uncaught_errors(), 1);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn share_ports(mut self) -> Self {
        self.settings.ports = Ports::Shared;
        self
    }

    /// Gives the scripts a module of the host's: `require(name)`, which must begin with `@`. `make` fills it when a script
    /// first requires it, again after each [`Runtime::reset`]; the module is then read-only. See [`HostModule`].
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder()
    ///     .module("@game/dice", |module| {
    ///         module.function("roll", |_, sides: u32| match sides {
    ///             0 => Err("a die has at least one side"),
    ///             sides => Ok(sides),
    ///         })
    ///     })
    ///     .build()?;
    /// runtime.load_source("app.luau", r#"
    ///     local dice = require("@game/dice") :: any
    ///     assert(dice.roll(6) == 6)
    ///     local _, problem = pcall(function() return dice.roll(0) end)
    ///     assert(problem == "app.luau:4: a die has at least one side")
    ///     _, problem = pcall(function() return dice.roll("six") end)
    ///     assert(problem == "app.luau:6: invalid argument #1 to 'roll' (number expected, got string)")
    /// "#, &[])?;
    /// assert_eq!(runtime.uncaught_errors(), 0);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn module(
        mut self,
        name: &str,
        make: impl Fn(&mut HostModule<'_>) -> LuaResult<()> + 'static,
    ) -> Self {
        self.settings.modules.add(name, make);
        self
    }

    /// Where the scripts may connect to and listen: everywhere without this.
    ///
    /// ```
    /// use lute_net::{Policy, Runtime};
    ///
    /// let runtime = Runtime::builder()
    ///     .policy(Policy::closed().allow_connect("api.example.com:443")?)
    ///     .build()?;
    /// runtime.load_source("plugin.luau", r#"
    ///     local client = require("@lute/net/client")
    ///     local _, problem = pcall(function() return client.request("http://169.254.169.254/") end)
    ///     assert(problem == "plugin.luau:3: network request failed: connecting to 169.254.169.254:80 is not allowed")
    /// "#, &[])?;
    /// runtime.run()?;
    /// assert_eq!(runtime.uncaught_errors(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = Rc::new(policy);
        self
    }

    /// What the scripts may use; see [`Limits`].
    ///
    /// ```
    /// use lute_net::{Limits, Runtime};
    ///
    /// let limits = Limits { memory: Some(16 << 20), ..Limits::default() };
    /// let runtime = Runtime::builder().limits(limits).on_error(|_| {}).build()?;
    /// runtime.load_source("fills.luau", "local t = {} while true do table.insert(t, string.rep('x', 1e5) .. #t) end", &[])?;
    /// assert_eq!(runtime.uncaught_errors(), 1);
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Makes the runtime.
    ///
    /// ```
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Vm`] when the system has no descriptor or no memory left; [`Error::Setting`].
    pub fn build(self) -> Result<Runtime, Error> {
        self.check()?;
        let engine = self.engine()?;
        Ok(Runtime {
            scripts: fresh(&engine, &self.settings)?,
            settings: self.settings,
            turning: Cell::new(false),
            stopping: Cell::new(false),
        })
    }

    /// Puts the modules into a VM that the host has, and what they do onto its executor; see [`install`](super::install).
    ///
    /// ```
    /// let (lua, executor) = (mlua::Lua::new(), smol::LocalExecutor::new());
    /// let installation = lute_net::Runtime::builder()
    ///     .module("@game/info", |module| module.value("version", "1.2"))
    ///     .install(&lua, &executor)?;
    /// let version: String = lua.load("return require('@game/info').version").eval()?;
    /// assert_eq!(version, "1.2");
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`install`](super::install); [`Error::Setting`].
    #[cfg(unix)]
    pub fn install(self, lua: &Lua, executor: &LocalExecutor<'_>) -> Result<Installation, Error> {
        self.check()?;
        let engine = self.engine()?;
        let script = Script::new(lua, engine.clone(), self.settings)?;
        let scripts = Scripts {
            lua: lua.clone(),
            engine,
            script,
        };
        Installation::new(scripts, executor)
    }

    fn engine(&self) -> Result<Rc<Engine>, Error> {
        let engine = Engine::new(Rc::new(LocalExecutor::new()))?;
        let connections = self.settings.limits.connections;
        engine
            .connections()
            .set_limit(connections.unwrap_or(usize::MAX));
        Ok(engine)
    }

    fn check(&self) -> Result<(), Error> {
        match self
            .settings
            .modules
            .names()
            .find(|name| !name.starts_with('@'))
        {
            Some(name) => Err(Error::Setting(format!(
                "the module's name '{name}' must begin with '@'"
            ))),
            None => Ok(()),
        }
    }
}

/// Scripts in a new VM.
pub(super) fn fresh(engine: &Rc<Engine>, settings: &Settings) -> Result<Scripts, Error> {
    let (lua, script) = Script::in_new_vm(engine.clone(), settings.clone())?;
    Ok(Scripts {
        lua,
        engine: engine.clone(),
        script,
    })
}
