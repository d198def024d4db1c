//! The Luau sources that belong to the library, and how they are loaded.

use mlua::prelude::{Lua, LuaResult};
use mlua::{FromLuaMulti, IntoLuaMulti, chunk::Compiler};

/// One of our Luau files.
pub struct Source {
    name: &'static str,
    text: &'static str,
}

macro_rules! source {
    ($file:literal) => {
        Source {
            name: concat!("=", "[lute-net] ", $file),
            text: include_str!(concat!("luau/", $file)),
        }
    };
}

/// What tracebacks show in front of our own frames.
pub const CHUNK_PREFIX: &str = "[lute-net] ";

/// Which coroutine waits for what.
pub const SCHEDULER: Source = source!("scheduler.luau");
/// `@lute/task`, `@std/task`.
pub const TASK: Source = source!("task.luau");
/// `@lute/time`, `@std/time`.
pub const TIME: Source = source!("time.luau");
/// What requests are given, checked.
pub const REQUEST_OPTIONS: Source = source!("request_options.luau");
/// Server-Sent Events, read.
pub const EVENT_STREAM: Source = source!("event_stream.luau");
/// The metatable of a response's headers.
pub const RESPONSE_HEADERS: Source = source!("response_headers.luau");
/// What `client.stream` returns.
pub const RESPONSE: Source = source!("response.luau");
/// `@lute/net/client`.
pub const CLIENT: Source = source!("client.luau");
/// What `serve` was given, checked.
pub const CONFIGURATION: Source = source!("configuration.luau");
/// A server's request.
pub const REQUEST: Source = source!("request.luau");
/// Bodies that a script's functions make.
pub const BODIES: Source = source!("bodies.luau");
/// `server.static`, `events`, `routes`.
pub const ANSWERS: Source = source!("answers.luau");
/// `server.metrics`.
pub const METRICS: Source = source!("metrics.luau");
/// `@lute/net/server`.
pub const SERVER: Source = source!("server.luau");
/// WebSockets of both sides.
pub const WEBSOCKET: Source = source!("websocket.luau");
/// The client's side of them.
pub const CLIENT_WEBSOCKET: Source = source!("client_websocket.luau");
/// The server's side of them.
pub const SERVER_WEBSOCKET: Source = source!("server_websocket.luau");
/// The host's modules and calls.
pub const HOST: Source = source!("host.luau");
/// `print`.
pub const PRINT: Source = source!("print.luau");
/// `@lute/net`, `@std/net`.
pub const NET: Source = source!("net.luau");
/// `@std/json`.
pub const JSON: Source = source!("json.luau");
/// The assertions of `@std/test`.
pub const ASSERTIONS: Source = source!("assertions.luau");
/// `@std/test`.
pub const TEST: Source = source!("test.luau");
/// `require` around mlua.s.
pub const REQUIRE: Source = source!("require.luau");

/// Runs one of our files with `arguments` as its `...`; what it returns.
///
/// # Errors
/// When the VM has no memory left.
pub fn load<R: FromLuaMulti>(
    lua: &Lua,
    source: Source,
    arguments: impl IntoLuaMulti,
) -> LuaResult<R> {
    // Not level 2: it inlines functions, and then an error's level counts from the wrong one.
    let compiler = Compiler::new().set_optimization_level(1).set_debug_level(1);
    let chunk = lua
        .load(source.text)
        .set_name(source.name)
        .set_compiler(compiler);
    chunk.call(arguments)
}
