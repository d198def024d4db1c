//! The upper floor: Luau. It puts the modules into a VM and connects them with the engine.
//!
//! - [`Script`]: the VM's side of a runtime
//! - [`scheduler`]: which operation a coroutine waits for; [`time`]: `@lute/time`
//! - [`fetch`]: `client.request` and `client.stream`; [`request_options`]: what they are given; [`download`]: bodies of `client.stream`
//! - [`serve`]: `server.serve`; [`servers`]: those that are open; [`handler`]: calls a handler; [`encoding`]: writes its answers; [`kept_head`]: a request's head; [`raw_vm`]: the VM's
//!   C API, for what each request does; [`body_source`]: bodies that its answers stream; [`answers`]: `server.static`, `events`, `routes`;
//!   [`metrics`]: `server.metrics`
//! - [`json`] is `@std/json`; `async_h1`: requests and responses of `http_types`
//! - [`websocket`]: WebSockets of both sides; [`websocket_client`]: opens them
//! - [`notices`]: what the engine tells our Luau files
//! - [`interrupt`]: stops scripts that run for too long; [`memory`]: what is done when they have used theirs up
//! - [`testing`]: `@std/test`; [`modules`]: ours; [`natives`]: what is behind them; `places`: things by numbers with small places; [`host_modules`]: the host's;
//!   [`require`]: those from files
//! - [`loading`]: starts scripts; [`problems`]: errors on their way out
//! - [`calls`]: what the host calls; [`contained`]: its panics; [`settings`]: what it decides
//! - [`environment`]: the globals; [`luau`]: our Luau sources

mod answers;
#[cfg(feature = "async-h1")]
pub mod async_h1;
mod body_source;
pub mod calls;
pub mod contained;
mod download;
mod encoding;
mod environment;
mod fetch;
mod handler;
pub mod host_modules;
mod interrupt;
mod json;
mod kept_head;
mod loading;
mod luau;
mod memory;
mod metrics;
mod modules;
mod natives;
mod notices;
mod places;
mod problems;
mod raw_vm;
mod request_options;
mod require;
mod scheduler;
mod serve;
mod servers;
pub mod settings;
pub mod testing;
mod time;
mod websocket;
mod websocket_client;

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    task::Waker,
    time::Instant,
};

use mlua::prelude::{Lua, LuaError, LuaFunction, LuaResult, LuaTable, LuaThread};

pub use self::servers::Ports;
use self::{
    body_source::Sources,
    calls::Calls,
    download::Collected,
    handler::Exchanges,
    interrupt::Interrupt,
    memory::Collector,
    modules::{HostFunctions, Modules},
    problems::{describe, plain_message, script_frames},
    scheduler::Scheduler,
    servers::Servers,
    settings::Settings,
    testing::{Case, CaseResult, Selection, TestRun},
    websocket::Sockets,
    websocket_client::Clients,
};
use crate::engine::{Engine, client::Client, counters::Counted, dialer::Dialer, quota::Quota};

/// What a script is told that still runs when its runtime is gone.
const GONE: &str = "the runtime has ended";

/// The VM's side of a runtime.
pub struct Script {
    lua: mlua::WeakLua,
    engine: Rc<Engine>,
    interrupt: Rc<Interrupt>,
    scheduler: Rc<Scheduler>,
    client: Rc<Client>,
    servers: Servers,
    exchanges: Exchanges,
    sources: Sources,
    collected: Collected,
    sockets: Sockets,
    clients: Clients,
    calls: Calls,
    /// Requests of the client that are in flight.
    requests: Rc<Quota>,
    counter: Cell<u64>,
    settings: Settings,
    errors: Cell<u64>,
    collector: Collector,
    /// The coroutines of scripts that have not come to their end.
    loading: RefCell<Vec<LuaThread>>,
    ended: Cell<bool>,
    luau: OnceCell<LuauSide>,
}

/// What of ours in the VM Rust calls.
struct LuauSide {
    drive: LuaFunction,
    modules: Modules,
}

impl Script {
    /// Puts the modules into `lua`.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(lua: &Lua, engine: Rc<Engine>, settings: Settings) -> LuaResult<Rc<Self>> {
        let interrupt = Rc::new(Interrupt::new(lua));
        interrupt.limit_turns(settings.limits.turn);
        let script = Rc::new(Self {
            lua: lua.weak(),
            scheduler: Scheduler::new(engine.clone(), interrupt.clone()),
            interrupt,
            client: Client::new(Dialer::with_gate(engine.clone(), settings.policy.clone())),
            engine,
            servers: Servers::new(settings.ports),
            exchanges: Exchanges::default(),
            sources: Sources::default(),
            collected: Collected::default(),
            sockets: Sockets::default(),
            clients: Clients::default(),
            calls: Calls::default(),
            requests: Rc::default(),
            counter: Cell::new(0),
            settings,
            errors: Cell::new(0),
            collector: Collector::default(),
            loading: RefCell::default(),
            ended: Cell::new(false),
            luau: OnceCell::new(),
        });
        let requests = script.settings.limits.requests;
        script.requests.set_limit(requests.unwrap_or(usize::MAX));
        script.install(lua)?;
        if let Some(limit) = script.settings.limits.memory {
            lua.set_memory_limit(limit)?;
        }
        Ok(script)
    }

    /// As [`Self::new`], in a VM of our own, which is then closed to changes.
    ///
    /// # Errors
    /// When there is no memory left.
    pub fn in_new_vm(engine: Rc<Engine>, settings: Settings) -> LuaResult<(Lua, Rc<Self>)> {
        let lua = Lua::new();
        let script = Self::new(&lua, engine, settings)?;
        environment::adapt_globals(&lua)?;
        lua.sandbox(true)?;
        Ok((lua, script))
    }

    /// Starts the test cases that scripts have registered; see [`testing::start`].
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn start_tests(
        self: &Rc<Self>,
        selection: Selection,
        report: impl Fn(CaseResult) + 'static,
    ) -> LuaResult<TestRun> {
        let lua = self.lua()?;
        let luau = self.luau.get().ok_or_else(|| LuaError::runtime(GONE))?;
        match luau.modules.test() {
            Some(test) => testing::start(&lua, self, test, &luau.drive, selection, report),
            None => Ok(TestRun::without_cases()),
        }
    }

    /// The test cases that scripts have registered.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn test_cases(&self) -> LuaResult<Vec<Case>> {
        let luau = self.luau.get().ok_or_else(|| LuaError::runtime(GONE))?;
        match luau.modules.test() {
            Some(test) => testing::list(&self.lua()?, test),
            None => Ok(Vec::new()),
        }
    }

    /// What stops scripts that run for too long.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Resumes what is ready, until `limit` if there is one.
    ///
    /// # Errors
    /// When the VM itself fails.
    pub fn round(&self, limit: Option<Instant>) -> LuaResult<()> {
        self.scheduler.fire_timers();
        self.collect_in_time()?;
        if !self.scheduler.is_ready() {
            return Ok(());
        }
        let failed = |error: &LuaError| self.report_failure(error);
        self.scheduler
            .round(&self.lua()?, limit, failed, || self.collect_in_time())
    }

    /// Whether a coroutine can be resumed now.
    pub fn is_ready(&self) -> bool {
        self.scheduler.is_ready()
    }

    /// Whether anything is left: a ready or waiting coroutine, a listening server or an open WebSocket.
    pub fn is_busy(&self) -> bool {
        self.scheduler.is_busy() || self.servers.count() > 0 || self.sockets.count() > 0
    }

    /// Errors that no script caught, so far.
    pub fn errors(&self) -> u64 {
        self.errors.get()
    }

    /// Coroutines that wait for an operation.
    pub fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }

    /// Open connections of this script's servers.
    pub fn connections(&self) -> usize {
        self.servers.connections()
    }

    /// Servers that listen or drain.
    pub fn servers(&self) -> usize {
        self.servers.count()
    }

    /// Open WebSockets.
    pub fn websockets(&self) -> usize {
        self.sockets.count()
    }

    /// What the servers have done so far.
    pub(crate) fn served(&self) -> Counted {
        self.servers.counted()
    }

    /// Calls `waker` once when something outside of a round makes a coroutine ready or sets a timer.
    pub fn ring_with(&self, waker: Option<Waker>) {
        self.scheduler.ring_with(waker);
    }

    /// WebSockets that this script has opened.
    pub fn websocket_clients(&self) -> usize {
        self.clients.count()
    }

    /// Stops listening everywhere and lets what runs finish.
    pub fn drain(&self) {
        self.servers.drain();
        self.sockets.end_clients();
    }

    /// Ends everything: servers with their connections, operations, kept connections.
    pub fn clear(&self) {
        self.ended.set(true);
        self.loading.take();
        self.servers.clear();
        self.sockets.clear();
        self.clients.clear();
        self.sources.clear();
        self.collected.clear();
        self.scheduler.clear();
        self.calls.clear();
        self.client.pool().clear();
    }

    /// The module of this name that is no file, if there is one.
    ///
    /// # Errors
    /// Those of the host's maker; when the VM has no memory left.
    pub fn module(self: &Rc<Self>, lua: &Lua, name: &str) -> LuaResult<Option<LuaTable>> {
        match self.luau.get() {
            Some(luau) => luau.modules.get(lua, self, name),
            None => Ok(None),
        }
    }

    fn collect_in_time(&self) -> LuaResult<()> {
        match self.settings.limits.memory {
            Some(limit) => self.collector.collect_in_time(&self.lua()?, limit),
            None => Ok(()),
        }
    }

    fn install(self: &Rc<Self>, lua: &Lua) -> LuaResult<()> {
        let native = scheduler::natives(lua, self)?;
        let half: LuaTable = luau::load(lua, luau::SCHEDULER, &native)?;
        self.scheduler.connect(lua, &half)?;

        let builtin = {
            let script = Rc::downgrade(self);
            lua.create_function(move |lua, name: mlua::LuaString| {
                let Some(script) = script.upgrade() else {
                    return Ok((None, None));
                };
                Ok(match script.module(lua, &name.to_string_lossy()) {
                    Ok(module) => (module, None),
                    Err(error) => (None, Some(plain_message(&error))),
                })
            })?
        };
        let require = require::function(lua, half.get("closed")?, builtin)?;
        lua.globals().set("require", require)?;
        environment::adapt_coroutines(lua, half.get("coroutines")?)?;
        let drive = half.get("drive")?;
        let _ = self.luau.set(LuauSide {
            drive,
            modules: Modules::new(native, half),
        });
        Ok(())
    }

    /// The functions of `luau/host.luau`.
    fn host_functions(self: &Rc<Self>, lua: &Lua) -> LuaResult<&HostFunctions> {
        let luau = self.luau.get().ok_or_else(|| LuaError::runtime(GONE))?;
        luau.modules.host(lua, self)
    }

    /// The functions of the server module, loaded if need be.
    #[cfg(feature = "async-h1")]
    fn server_functions(self: &Rc<Self>, lua: &Lua) -> LuaResult<&modules::ServerFunctions> {
        self.module(lua, "@lute/net/server")?;
        let luau = self.luau.get().filter(|_| !self.ended.get());
        luau.and_then(|luau| luau.modules.server())
            .ok_or_else(|| LuaError::runtime(GONE))
    }

    /// Closes the coroutine of a call that nobody waits for.
    fn give_up(self: &Rc<Self>, thread: LuaThread) {
        let given_up: LuaResult<()> = self
            .lua()
            .and_then(|lua| self.host_functions(&lua)?.give_up.call(thread));
        if let Err(error) = given_up {
            self.report_failure(&error);
        }
    }

    fn lua(&self) -> LuaResult<Lua> {
        self.lua
            .try_upgrade()
            .ok_or_else(|| LuaError::runtime(GONE))
    }

    /// A number for an exchange, a server or a body source; each is used once.
    fn next_number(&self) -> u64 {
        let number = self.counter.get() + 1;
        self.counter.set(number);
        number
    }
}
