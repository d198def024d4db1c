//! A request on its way to a script's handler, and the handler's answer on its way back.

use std::{ffi::c_int, net::SocketAddr};

use mlua::{
    ffi,
    prelude::{Lua, LuaResult, LuaTable},
};

use super::{
    Function,
    handling::{self, resumed, work},
    workers::Crew,
};
use crate::engine::service::{Remote, Request};

/// Calls the handlers of all servers.
pub struct Handlers {
    crew: Crew,
}

/// What a handler did.
pub enum Called {
    /// It answered, and the answer is written.
    Written,
    /// It answered something that is not of strings alone: Luau has given that to Rust.
    Answered,
    /// It failed, and that has been reported.
    Failed,
    /// It waits in the worker of this number.
    Later(u64),
}

/// A part of an answer, in the order in which they come.
pub enum Part<'v> {
    /// From 200 to 999.
    Status(i64),
    /// A header's name and value; any number of them.
    Field(&'v [u8], &'v [u8]),
    /// The whole body.
    Body(&'v [u8]),
}

/// A request while its handler is called.
pub(super) struct Call<'c> {
    pub(super) number: u64,
    /// The place of the handler's parts.
    pub(super) place: c_int,
    pub(super) request: &'c Request<'c>,
    /// An IPv4 address and its port as one number, which `luau/request.luau` writes out when a script asks; else a text.
    pub(super) remote: Result<f64, String>,
    pub(super) write: &'c mut dyn FnMut(Part<'_>) -> bool,
    /// The handler is called, or has returned.
    pub(super) calls: bool,
    /// The answer is written, or else given to Rust.
    pub(super) written: bool,
    /// The worker can be resumed again.
    pub(super) rests: bool,
}

impl Handlers {
    /// `parts` is made by `luau/server.luau`, which says what is in it; `scheduler` is what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(lua: &Lua, parts: &LuaTable, scheduler: &LuaTable) -> LuaResult<Self> {
        let work = Function::new(c"work", work).continued_by(resumed);
        let (names, fields) = (&handling::PARTS, &handling::FIELDS);
        let crew = Crew::new(lua, parts, scheduler, names, fields, work)?;
        Ok(Self { crew })
    }

    /// Calls the handler at `place` with a request. An answer of strings alone goes to `write`, part by part. That says whether a
    /// part can be sent, and must not use the VM; after a false the whole answer is given to Rust instead.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn call(
        &self,
        lua: &Lua,
        place: c_int,
        number: u64,
        request: &Request<'_>,
        write: &mut dyn FnMut(Part<'_>) -> bool,
    ) -> LuaResult<Called> {
        let worker = self.crew.take()?;
        let workers = &self.crew.workers;
        let mut call = Call {
            number,
            place,
            request,
            remote: remote(request),
            write,
            calls: false,
            written: false,
            rests: false,
        };
        match workers.resume(worker, (&raw mut call).cast()) {
            ffi::LUA_YIELD if !call.rests => {
                workers.waits(worker, number);
                return Ok(Called::Later(worker.number()));
            }
            ffi::LUA_YIELD => workers.put_back(worker),
            // A script knows it: it has come to its end.
            ffi::LUA_OK => {}
            // There was no memory for the request.
            ffi::LUA_ERRMEM if !call.calls => return Err(self.crew.out_of_memory(lua, worker)),
            _ => {
                self.crew.report(lua, worker)?;
                return Ok(Called::Failed);
            }
        }
        Ok(if call.written {
            Called::Written
        } else {
            Called::Answered
        })
    }

    /// Nobody waits any more for the answer of this exchange. Whether the worker was to give it: one that has returned may be at
    /// another's by now.
    pub fn give_up(&self, exchange: u64, worker: u64) -> bool {
        let workers = &self.crew.workers;
        let gives = workers.waited(worker) == Some(exchange);
        if gives {
            workers.done(worker);
        }
        gives
    }
}

fn remote(request: &Request<'_>) -> Result<f64, String> {
    match request.remote {
        Remote::Internet(SocketAddr::V4(address)) => {
            Ok((u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())) as f64)
        }
        other => Err(other.to_string()),
    }
}
