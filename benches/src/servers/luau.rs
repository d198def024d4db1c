//! The handlers of the peers in Rust: either in Rust, or the one of `scripts/server.luau`, the very script that lute-net runs.

use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use mlua::{Function, Lua, Table, Thread, Value};

use crate::contract::Handler;

const SCRIPT: &str = include_str!("../../scripts/server.luau");

/// What the peer's HTTP library knows about a request.
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub body: Bytes,
}

/// Answers requests.
#[derive(Clone)]
pub enum Responder {
    /// The fixed answer, or the request's body.
    Rust {
        echo: bool,
        body: Bytes,
    },
    Luau(Rc<Script>),
}

pub struct Script {
    lua: Lua,
    handler: Function,
    reads_head: bool,
}

impl Responder {
    pub fn new(handler: Handler, luau: bool) -> Result<Self> {
        if luau {
            let script = Script::load(handler)
                .map_err(|error| anyhow!("{error}"))
                .context("scripts/server.luau")?;
            return Ok(Responder::Luau(Rc::new(script)));
        }
        match handler {
            Handler::Hello | Handler::Large => Ok(Responder::Rust {
                echo: false,
                body: handler.answer().into(),
            }),
            Handler::Echo => Ok(Responder::Rust {
                echo: true,
                body: Bytes::new(),
            }),
            Handler::Read | Handler::Wait | Handler::Work => {
                bail!("only the Luau handlers offer `{}`", handler.name())
            }
        }
    }

    /// Status and body. `headers` are looked at only if the handler reads them.
    pub async fn answer<'a, H>(&self, request: Request<'a>, headers: H) -> Result<(u16, Bytes)>
    where
        H: Iterator<Item = (&'a str, &'a [u8])>,
    {
        match self {
            Responder::Rust { echo: true, .. } => Ok((200, request.body)),
            Responder::Rust { echo: false, body } => Ok((200, body.clone())),
            Responder::Luau(script) => script
                .answer(request, headers)
                .await
                .map_err(|error| anyhow!("{error}")),
        }
    }
}

impl Script {
    /// Runs the script with a `require` that keeps the handler which it serves.
    fn load(handler: Handler) -> mlua::Result<Self> {
        let lua = Lua::new();
        let server = lua.create_table()?;
        let serve = lua.create_function(|lua, config: Table| {
            lua.set_named_registry_value("handler", config.get::<Function>("handler")?)?;
            lua.create_table()
        })?;
        server.set("serve", serve)?;
        let task = lua.create_table()?;
        task.set(
            "wait",
            lua.globals()
                .get::<Table>("coroutine")?
                .get::<Function>("yield")?,
        )?;
        let require = lua.create_function(move |_, name: String| match name.as_str() {
            "@lute/net/server" => Ok(server.clone()),
            "@lute/task" => Ok(task.clone()),
            _ => Err(mlua::Error::runtime(format!("no module {name}"))),
        })?;
        lua.globals().set("require", require)?;
        lua.load(SCRIPT)
            .set_name("server.luau")
            .call::<()>(("0", handler.name()))?;
        let function = lua.named_registry_value("handler")?;
        Ok(Self {
            lua,
            handler: function,
            reads_head: handler == Handler::Read,
        })
    }

    /// In a coroutine of its own; when that yields, others have their turn before it goes on.
    async fn answer<'a, H>(&self, request: Request<'a>, headers: H) -> mlua::Result<(u16, Bytes)>
    where
        H: Iterator<Item = (&'a str, &'a [u8])>,
    {
        let table = self.lua.create_table()?;
        table.set("method", request.method)?;
        table.set("path", request.path)?;
        table.set("body", self.lua.create_string(&request.body)?)?;
        if self.reads_head {
            self.set_headers_and_query(&table, &request, headers)?;
        }
        let thread: Thread = self.lua.create_thread(self.handler.clone())?;
        let mut answer: Value = thread.resume(table)?;
        while thread.is_resumable() {
            smol::future::yield_now().await;
            answer = thread.resume(())?;
        }
        let answer = answer
            .as_table()
            .ok_or_else(|| mlua::Error::runtime("the handler answers no table"))?;
        let body: mlua::LuaString = answer.get("body")?;
        Ok((
            answer.get("status")?,
            Bytes::copy_from_slice(&body.as_bytes()),
        ))
    }

    fn set_headers_and_query<'a, H>(
        &self,
        table: &Table,
        request: &Request<'a>,
        headers: H,
    ) -> mlua::Result<()>
    where
        H: Iterator<Item = (&'a str, &'a [u8])>,
    {
        let header_table = self.lua.create_table()?;
        for (name, value) in headers {
            header_table.raw_set(name, self.lua.create_string(value)?)?;
        }
        let query = self.lua.create_table()?;
        for (key, value) in form_urlencoded::parse(request.query.as_bytes()) {
            query.raw_set(key.as_ref(), value.as_ref())?;
        }
        table.set("headers", header_table)?;
        table.set("query", query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(handler: Handler) -> (u16, Bytes) {
        let responder = Responder::new(handler, true).unwrap();
        let body = Bytes::from(if handler == Handler::Echo {
            handler.answer()
        } else {
            Vec::new()
        });
        let request = Request {
            method: "GET",
            path: "/",
            query: "name=World",
            body,
        };
        let headers = [("x-greeting", b"Hello".as_slice())];
        smol::block_on(responder.answer(request, headers.into_iter())).unwrap()
    }

    #[test]
    fn every_handler_of_the_script_gives_the_agreed_answer() {
        for handler in [
            Handler::Hello,
            Handler::Read,
            Handler::Echo,
            Handler::Large,
            Handler::Wait,
            Handler::Work,
        ] {
            let (status, body) = ask(handler);
            assert_eq!(status, 200);
            assert!(body == handler.answer(), "{}", handler.name());
        }
    }

    #[test]
    fn every_script_compiles() {
        for script in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts")).unwrap() {
            let path = script.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("--!strict\n"), "{}", path.display());
            Lua::new().load(text).into_function().unwrap();
        }
    }
}
