//! Our modules, each loaded when a script first requires it: a script of one line compiles none of them.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use mlua::prelude::{Lua, LuaError, LuaFunction, LuaResult, LuaTable};

use super::{
    Script, answers, body_source, calls, fetch, host_modules::HostShims, json, luau, metrics,
    raw_vm, raw_vm::Responses, serve, testing, testing::TestFunctions, time, websocket,
    websocket_client,
};

/// The modules that scripts can require, and the functions in them that Rust calls.
pub struct Modules {
    /// What `luau/scheduler.luau` works on.
    native: LuaTable,
    /// What `luau/scheduler.luau` returned.
    scheduler: LuaTable,
    loaded: RefCell<HashMap<String, LuaTable>>,
    server: OnceCell<ServerFunctions>,
    bodies: OnceCell<BodyFunctions>,
    websockets: OnceCell<WebSocketModule>,
    host: OnceCell<HostFunctions>,
    test: OnceCell<TestFunctions>,
}

/// The functions of `luau/server.luau` that Rust calls.
pub struct ServerFunctions {
    /// Makes a handler into a function that takes a request of no server.
    #[cfg(feature = "async-h1")]
    pub endpoint: LuaFunction,
    /// The client of an exchange is gone.
    pub gone: LuaFunction,
    /// What a handler returned can't be sent.
    pub unsendable: LuaFunction,
    /// What requests go to.
    pub handlers: raw_vm::Handlers,
}

/// `luau/bodies.luau`, and the functions in it that Rust calls.
pub struct BodyFunctions {
    /// What it returned.
    half: LuaTable,
    /// The next piece of a body is wanted.
    pub pull: LuaFunction,
    /// A body is sent, or will not be.
    pub end_stream: LuaFunction,
}

/// The functions of `luau/websocket.luau` that Rust calls.
pub struct WebSocketFunctions {
    /// A WebSocket is open.
    pub opened: LuaFunction,
    /// What messages go to.
    pub receiver: raw_vm::Receiver,
    /// What was queued is sent.
    pub drained: LuaFunction,
    /// A WebSocket is over.
    pub closed: LuaFunction,
    /// A connection ended before it was one.
    pub abandoned: LuaFunction,
}

struct WebSocketModule {
    functions: WebSocketFunctions,
    /// What it returned.
    shared: LuaTable,
}

/// The functions of `luau/host.luau`.
pub struct HostFunctions {
    /// Around the functions of the host's modules.
    pub shims: HostShims,
    /// Calls a function in a coroutine of its own.
    pub call: LuaFunction,
    /// Closes the coroutine of such a call.
    pub give_up: LuaFunction,
}

impl Modules {
    /// No module is loaded yet.
    pub fn new(native: LuaTable, scheduler: LuaTable) -> Self {
        Self {
            native,
            scheduler,
            loaded: RefCell::default(),
            server: OnceCell::new(),
            bodies: OnceCell::new(),
            websockets: OnceCell::new(),
            host: OnceCell::new(),
            test: OnceCell::new(),
        }
    }

    /// The functions of the server module; a script that serves has loaded it.
    pub fn server(&self) -> Option<&ServerFunctions> {
        self.server.get()
    }

    /// The functions for WebSockets; a script that has some has loaded them.
    pub fn websockets(&self) -> Option<&WebSocketFunctions> {
        self.websockets.get().map(|module| &module.functions)
    }

    /// The functions of streamed bodies; a script that streams one has loaded them.
    pub fn bodies(&self) -> Option<&BodyFunctions> {
        self.bodies.get()
    }

    /// The functions for the host's modules and calls.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn host(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<&HostFunctions> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let native = calls::natives(lua, script)?;
        let host: LuaTable = luau::load(lua, luau::HOST, (native, &self.scheduler))?;
        let host = HostFunctions {
            shims: HostShims {
                immediate: host.get("immediate")?,
                waiting: host.get("waiting")?,
            },
            call: host.get("call")?,
            give_up: host.get("giveUp")?,
        };
        Ok(self.host.get_or_init(|| host))
    }

    /// The functions of the test module; a script that has cases has loaded it.
    pub fn test(&self) -> Option<&TestFunctions> {
        self.test.get()
    }

    /// The module of this name, if it is one of ours.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn get(&self, lua: &Lua, script: &Rc<Script>, name: &str) -> LuaResult<Option<LuaTable>> {
        if let Some(module) = self.loaded.borrow().get(name) {
            return Ok(Some(module.clone()));
        }
        match name {
            "@lute/time" | "@std/time" | "@lute/task" | "@std/task" => self.load_task(lua)?,
            "@lute/net/client" | "@std/net" => self.load_client(lua, script)?,
            "@lute/net/server" => self.load_server(lua, script)?,
            "@lute/net" => self.load_net(lua, script)?,
            "@std/test" => self.load_test(lua, script)?,
            "@std/json" => self.load_json(lua, script)?,
            _ => return self.load_host_module(lua, script, name),
        }
        Ok(self.loaded.borrow().get(name).cloned())
    }

    fn load_host_module(
        &self,
        lua: &Lua,
        script: &Rc<Script>,
        name: &str,
    ) -> LuaResult<Option<LuaTable>> {
        let modules = &script.settings.modules;
        if !modules.names().any(|known| known == name) {
            return Ok(None);
        }
        let shims = &self.host(lua, script)?.shims;
        let module = modules.make(lua, script, shims, name)?;
        if let Some(module) = &module {
            self.keep(name, module.clone());
        }
        Ok(module)
    }

    fn load_task(&self, lua: &Lua) -> LuaResult<()> {
        let time = time::load(lua)?;
        let durations = lua.create_table()?;
        durations.set("toSeconds", time.to_seconds)?;
        self.keep_all(&time.modules)?;
        let task: LuaTable =
            luau::load(lua, luau::TASK, (&self.native, &self.scheduler, durations))?;
        self.keep_all(&task)
    }

    fn load_client(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<()> {
        let headers_meta: LuaTable = luau::load(lua, luau::RESPONSE_HEADERS, ())?;
        let responses = Responses::new(lua, &headers_meta, &self.scheduler)?;
        let natives = fetch::natives(lua, script, &responses)?;
        let bodies = self.load_bodies(lua, script)?;
        let options: LuaTable = luau::load(lua, luau::REQUEST_OPTIONS, ())?;
        let event_stream: LuaFunction = luau::load(lua, luau::EVENT_STREAM, ())?;
        let parts = (&natives, &self.scheduler, event_stream);
        let stream_of: LuaFunction = luau::load(lua, luau::RESPONSE, parts)?;
        let native = websocket_client::natives(lua, script)?;
        let websockets = self.load_websockets(lua, script)?;
        let parts = (native, &self.scheduler, websockets, &options);
        let websocket: LuaFunction = luau::load(lua, luau::CLIENT_WEBSOCKET, parts)?;
        let parts = (
            natives,
            &self.scheduler,
            bodies,
            options,
            stream_of,
            websocket,
        );
        self.keep_all(&luau::load(lua, luau::CLIENT, parts)?)
    }

    fn load_bodies(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
        if let Some(bodies) = self.bodies.get() {
            return Ok(bodies.half.clone());
        }
        let natives = body_source::natives(lua, script)?;
        let half: LuaTable = luau::load(lua, luau::BODIES, (natives, &self.scheduler))?;
        let _ = self.bodies.set(BodyFunctions {
            pull: half.get("pull")?,
            end_stream: half.get("endStream")?,
            half: half.clone(),
        });
        Ok(half)
    }

    fn load_server(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<()> {
        let natives = answers::natives(lua, script)?;
        let answers: LuaTable = luau::load(lua, luau::ANSWERS, (natives, &self.scheduler))?;
        let natives = serve::natives(lua, script)?;
        let request: LuaTable = luau::load(lua, luau::REQUEST, (&natives, &self.scheduler))?;
        let bodies = self.load_bodies(lua, script)?;
        let settings_of: LuaFunction = luau::load(lua, luau::CONFIGURATION, ())?;
        let metrics: LuaTable = luau::load(lua, luau::METRICS, metrics::natives(lua, script)?)?;
        let parts = (
            natives,
            &self.scheduler,
            answers,
            bodies,
            request,
            settings_of,
            metrics,
            self.load_server_websockets(lua, script)?,
        );
        let server: LuaTable = luau::load(lua, luau::SERVER, parts)?;
        let _ = self.server.set(ServerFunctions {
            #[cfg(feature = "async-h1")]
            endpoint: server.get("endpoint")?,
            gone: server.get("gone")?,
            unsendable: server.get("unsendable")?,
            handlers: raw_vm::Handlers::new(lua, &server.get("handlers")?, &self.scheduler)?,
        });
        self.keep("@lute/net/server", server.get("module")?);
        Ok(())
    }

    fn load_server_websockets(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
        let natives = websocket::server::natives(lua, script)?;
        let shared = self.load_websockets(lua, script)?;
        luau::load(lua, luau::SERVER_WEBSOCKET, (natives, shared))
    }

    fn load_websockets(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<&LuaTable> {
        if self.websockets.get().is_none() {
            let natives = websocket::methods::natives(lua, script)?;
            let shared: LuaTable = luau::load(lua, luau::WEBSOCKET, (natives, &self.scheduler))?;
            let _ = self.websockets.set(WebSocketModule {
                functions: WebSocketFunctions {
                    opened: shared.get("opened")?,
                    receiver: raw_vm::Receiver::new(
                        lua,
                        &shared.get("receiver")?,
                        &self.scheduler,
                    )?,
                    drained: shared.get("drained")?,
                    closed: shared.get("closed")?,
                    abandoned: shared.get("abandoned")?,
                },
                shared,
            });
        }
        let module = self.websockets.get();
        module
            .map(|module| &module.shared)
            .ok_or_else(|| LuaError::runtime(super::GONE))
    }

    fn load_net(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<()> {
        let client = self.get(lua, script, "@lute/net/client")?;
        let server = self.get(lua, script, "@lute/net/server")?;
        self.keep("@lute/net", luau::load(lua, luau::NET, (client, server))?);
        Ok(())
    }

    fn load_json(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<()> {
        let memory = script.settings.limits.memory;
        self.keep(
            "@std/json",
            luau::load(
                lua,
                luau::JSON,
                json::natives(lua, memory, &script.interrupt)?,
            )?,
        );
        Ok(())
    }

    fn load_test(&self, lua: &Lua, script: &Rc<Script>) -> LuaResult<()> {
        let clock = Rc::default();
        let natives = testing::natives(lua, script, &clock)?;
        let assertions: LuaTable = luau::load(lua, luau::ASSERTIONS, ())?;
        let test: LuaTable = luau::load(lua, luau::TEST, (natives, &self.scheduler, assertions))?;
        let _ = self.test.set(TestFunctions::new(&test, clock)?);
        self.keep("@std/test", test.get("module")?);
        Ok(())
    }

    fn keep_all(&self, modules: &LuaTable) -> LuaResult<()> {
        for pair in modules.pairs::<String, LuaTable>() {
            let (name, module) = pair?;
            self.keep(&name, module);
        }
        Ok(())
    }

    fn keep(&self, name: &str, module: LuaTable) {
        self.loaded.borrow_mut().insert(name.to_owned(), module);
    }
}
