//! The upper floor: Luau. It puts the modules into a VM and connects them with the engine.
//!
//! - [`Script`]: the VM's side of a runtime
//! - [`scheduler`]: which operation a coroutine waits for; [`time`]: `@lute/time`
//! - [`fetch`]: requests of `client.request`
//! - [`serve`]: `server.serve`; [`handler`]: calls a handler; [`request_fields`]: headers and query for it;
//!   [`body_source`]: bodies that its answers stream; [`answers`]: `server.static`, `events`, `routes`
//! - [`websocket`]: WebSockets of both sides
//! - [`testing`]: `@std/test`; [`modules`]: ours; [`require`]: those from files
//! - [`environment`]: the globals; [`luau`]: our Luau sources

mod answers;
mod body_source;
mod environment;
mod fetch;
mod handler;
mod luau;
mod modules;
mod natives;
mod request_fields;
mod require;
mod scheduler;
mod serve;
pub mod testing;
mod time;
mod websocket;

use std::{
    cell::{Cell, OnceCell, RefCell},
    path::Path,
    rc::Rc,
    time::Instant,
};

use mlua::prelude::{Lua, LuaError, LuaFunction, LuaResult, LuaTable, LuaVariadic};

pub use self::serve::Ports;
use self::{
    body_source::Sources,
    handler::Exchanges,
    modules::{Modules, ServerFunctions, WebSocketFunctions},
    scheduler::Scheduler,
    serve::Servers,
    testing::{CaseResult, TestRun},
    websocket::Sockets,
};
use crate::engine::{Engine, pool::Pool};

/// What a script is told that still runs when its runtime is gone.
const GONE: &str = "the runtime has ended";

/// Called with each error that no script caught.
pub type ErrorHook = Box<dyn Fn(&ScriptError)>;

/// An error that no script caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// What was raised, as a string.
    pub message: String,
    /// Where, one line a frame; empty where there is none.
    pub traceback: String,
}

/// The VM's side of a runtime.
pub struct Script {
    lua: mlua::WeakLua,
    engine: Rc<Engine>,
    scheduler: Rc<Scheduler>,
    pool: Rc<Pool>,
    servers: Servers,
    exchanges: Exchanges,
    sources: Sources,
    sockets: Sockets,
    counter: Cell<u64>,
    hook: RefCell<ErrorHook>,
    errors: Cell<u64>,
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
    pub fn new(
        lua: &Lua,
        engine: Rc<Engine>,
        hook: ErrorHook,
        ports: Ports,
    ) -> LuaResult<Rc<Self>> {
        let script = Rc::new(Self {
            lua: lua.weak(),
            scheduler: Scheduler::new(engine.clone()),
            engine,
            pool: Rc::default(),
            servers: Servers::new(ports),
            exchanges: Exchanges::default(),
            sources: Sources::default(),
            sockets: Sockets::default(),
            counter: Cell::new(0),
            hook: RefCell::new(hook),
            errors: Cell::new(0),
            ended: Cell::new(false),
            luau: OnceCell::new(),
        });
        script.install(lua)?;
        Ok(script)
    }

    /// Starts a script file with `arguments` as its `...`; it runs up to its first wait.
    ///
    /// # Errors
    /// A text for the user when the file can't be read or is no Luau. Errors of the running script go to the hook.
    pub fn start_file(&self, path: &Path, arguments: &[String]) -> Result<(), String> {
        let lua = self.lua().map_err(|error| plain_message(&error))?;
        let name = require::chunk_name(path);
        let chunk = require::compile(&lua, path, &name)?;
        self.start(&lua, chunk, arguments)
    }

    /// As [`Self::start_file`], for a source that is no file; `name` stands in its errors.
    ///
    /// # Errors
    /// As [`Self::start_file`].
    pub fn start_source(
        &self,
        name: &str,
        source: &str,
        arguments: &[String],
    ) -> Result<(), String> {
        let lua = self.lua().map_err(|error| plain_message(&error))?;
        let chunk = require::compile_text(&lua, source.as_bytes(), &format!("@{name}"))?;
        self.start(&lua, chunk, arguments)
    }

    /// Starts the test cases that scripts have registered; see [`testing::start`].
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn start_tests(
        &self,
        wants: impl Fn(Option<&str>, &str) -> bool + 'static,
        report: impl Fn(CaseResult) + 'static,
    ) -> LuaResult<TestRun> {
        let lua = self.lua()?;
        let luau = self.luau.get().ok_or_else(|| LuaError::runtime(GONE))?;
        match luau.modules.run_tests() {
            Some(run) => testing::start(&lua, run, &luau.drive, wants, report),
            None => Ok(TestRun::without_cases()),
        }
    }

    /// Resumes what is ready, until `limit` if there is one.
    ///
    /// # Errors
    /// When the VM itself fails.
    pub fn round(&self, limit: Option<Instant>) -> LuaResult<()> {
        self.scheduler.fire_timers();
        if !self.scheduler.is_ready() {
            return Ok(());
        }
        self.scheduler.round(&self.lua()?, limit)
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

    /// Stops listening everywhere and lets what runs finish.
    pub fn drain(&self) {
        self.servers.drain();
    }

    /// Ends everything: servers with their connections, operations, kept connections.
    pub fn clear(&self) {
        self.ended.set(true);
        self.servers.clear();
        self.sockets.clear();
        self.sources.clear();
        self.scheduler.clear();
        self.pool.clear();
    }

    fn install(self: &Rc<Self>, lua: &Lua) -> LuaResult<()> {
        let native = scheduler_natives(lua, self)?;
        let half: LuaTable = luau::load(lua, luau::SCHEDULER, &native)?;
        self.scheduler.connect(&half)?;

        let builtin = {
            let script = Rc::downgrade(self);
            lua.create_function(move |lua, name: mlua::LuaString| {
                let Some(script) = script.upgrade() else {
                    return Ok(None);
                };
                match script.luau.get() {
                    Some(luau) => luau.modules.get(lua, &script, &name.to_string_lossy()),
                    None => Ok(None),
                }
            })?
        };
        let require = require::function(lua, half.get("closed")?, builtin)?;
        lua.globals().set("require", require)?;
        environment::adapt_globals(lua, half.get("coroutines")?)?;
        let drive = half.get("drive")?;
        let _ = self.luau.set(LuauSide {
            drive,
            modules: Modules::new(native, half),
        });
        Ok(())
    }

    fn start(&self, lua: &Lua, chunk: LuaFunction, arguments: &[String]) -> Result<(), String> {
        let thread = lua
            .create_thread(chunk)
            .map_err(|error| plain_message(&error))?;
        let Some(luau) = self.luau.get() else {
            return Err(GONE.to_owned());
        };
        let arguments: LuaVariadic<String> = arguments.iter().cloned().collect();
        luau.drive
            .call((thread, arguments))
            .map_err(|error| plain_message(&error))
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

    /// The client of an exchange is gone; its handler may be collected if it waits for nothing.
    fn exchange_gone(&self, exchange: u64) {
        self.call_server(|server| server.gone.call(exchange));
    }

    /// What a handler returned can't be sent.
    fn unsendable(&self, exchange: u64, problem: &str) {
        self.call_server(|server| server.unsendable.call((exchange, problem)));
    }

    /// Asks the function of a body source for its next piece.
    fn pull(&self, source: u64) {
        self.call_server(|server| server.pull.call(source));
    }

    /// A body source is sent to its end, or dropped before it.
    fn end_stream(&self, source: u64, whole: bool) {
        self.call_server(|server| server.end_stream.call((source, whole)));
    }

    fn call_server(&self, call: impl FnOnce(&ServerFunctions) -> LuaResult<()>) {
        let luau = self.luau.get().filter(|_| !self.ended.get());
        let Some(server) = luau.and_then(|luau| luau.modules.server()) else {
            return;
        };
        if let Err(error) = call(server) {
            self.report_failure(&error);
        }
    }

    fn call_websockets<R>(
        &self,
        call: impl FnOnce(&WebSocketFunctions) -> LuaResult<R>,
    ) -> Option<R> {
        let luau = self.luau.get().filter(|_| !self.ended.get())?;
        let called = call(luau.modules.websockets()?);
        called.inspect_err(|error| self.report_failure(error)).ok()
    }

    fn report(&self, message: &str, traceback: &str) {
        self.errors.set(self.errors.get() + 1);
        let frames = traceback
            .lines()
            .filter(|frame| !frame.contains(luau::CHUNK_PREFIX));
        let traceback = frames.collect::<Vec<_>>().join("\n");
        (self.hook.borrow())(&ScriptError {
            message: message.to_owned(),
            traceback,
        });
    }

    /// Reports an error of the VM's own.
    fn report_failure(&self, error: &LuaError) {
        self.report(&plain_message(error), "");
    }
}

fn scheduler_natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "abandon",
        lua.create_function(move |_, wait: u64| {
            scheduler
                .upgrade()
                .into_iter()
                .for_each(|scheduler| scheduler.abandon(wait));
            Ok(())
        })?,
    )?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "sleep",
        lua.create_function(move |_, seconds: f64| {
            scheduler
                .upgrade()
                .map(|scheduler| scheduler.sleep(seconds))
                .ok_or_else(|| LuaError::runtime(GONE))
        })?,
    )?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "wake",
        lua.create_function(move |_, ()| {
            scheduler
                .upgrade()
                .into_iter()
                .for_each(|scheduler| scheduler.wake());
            Ok(())
        })?,
    )?;
    let weak = Rc::downgrade(script);
    native.set(
        "report",
        lua.create_function(
            move |_, (message, traceback): (mlua::LuaString, mlua::LuaString)| {
                weak.upgrade().into_iter().for_each(|script| {
                    script.report(&message.to_string_lossy(), &traceback.to_string_lossy())
                });
                Ok(())
            },
        )?,
    )?;
    Ok(native)
}

/// An error's text without Rust's words and without a traceback.
fn plain_message(error: &LuaError) -> String {
    match error {
        LuaError::RuntimeError(message)
        | LuaError::SyntaxError { message, .. }
        | LuaError::MemoryError(message) => message
            .split("\nstack traceback:")
            .next()
            .unwrap_or_default()
            .to_owned(),
        LuaError::CallbackError { cause, .. } => plain_message(cause),
        other => other.to_string(),
    }
}
