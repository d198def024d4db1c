//! One request from its head to its handler's answer: everything that happens in the VM for it.

use std::ffi::{CStr, c_int, c_void};
use std::net::SocketAddr;
use std::slice;

use mlua::{
    LightUserData,
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaMultiValue, LuaResult, LuaTable, LuaValue},
};

use super::super::{handler::HandlerAnswer, kept_head};
use super::{
    Function, HEAD, closure, handling, push, string,
    workers::{Idle, Known},
};
use crate::engine::service::{Remote, Request, RequestBody};

/// What [`dispatcher`] takes from its table, in the order of `dispatch`'s upvalues, which begin at 1. It adds `run`.
const PARTS: [&str; 6] = ["template", "run", "workers", "seen", "lasts", "unanswered"];
const TEMPLATE: c_int = ffi::lua_upvalueindex(1);
const RUN: c_int = ffi::lua_upvalueindex(2);
const KNOWN: Known = Known {
    workers: ffi::lua_upvalueindex(3),
    seen: ffi::lua_upvalueindex(4),
};
const LASTS: c_int = ffi::lua_upvalueindex(5);
const UNANSWERED: c_int = ffi::lua_upvalueindex(6);

/// The fields of a request that are set at once; their names are the upvalues after the parts.
const FIELDS: [&CStr; 6] = [
    c"method",
    c"path",
    c"body",
    HEAD,
    c"__remote",
    c"__exchange",
];
const METHOD: c_int = ffi::lua_upvalueindex(7);
const PATH: c_int = ffi::lua_upvalueindex(8);
const BODY: c_int = ffi::lua_upvalueindex(9);
const KEPT_HEAD: c_int = ffi::lua_upvalueindex(10);
const REMOTE: c_int = ffi::lua_upvalueindex(11);
const EXCHANGE: c_int = ffi::lua_upvalueindex(12);

/// The last upvalue.
const IDLE: Idle = Idle(ffi::lua_upvalueindex(13));

/// Where the stack of `dispatch` has the request and the coroutine.
const REQUEST: c_int = 1;
const WORKER: c_int = 2;

/// What a handler did.
pub enum Called {
    /// It answered, and the answer is written.
    Written,
    /// It answered something that is not of strings alone.
    Answered(HandlerAnswer),
    /// It failed, and that has been reported.
    Failed,
    /// It waits.
    Later,
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

/// A call on its way through the VM.
struct Call<'c> {
    number: u64,
    request: &'c Request<'c>,
    /// An IPv4 address and its port as one number, which `luau/request.luau` writes out when a script asks; else a text.
    remote: Result<f64, String>,
    write: &'c mut dyn FnMut(Part<'_>) -> bool,
    written: bool,
}

/// Calls `dispatch`, which [`dispatcher`] made, with a request. An answer of strings alone goes to `write`, part by part. That
/// says whether a part can be sent, and must not use the VM; after a false the whole answer is returned instead.
///
/// # Errors
/// When the VM has no memory left.
pub fn call_handler(
    dispatch: &LuaFunction,
    number: u64,
    request: &Request<'_>,
    write: &mut dyn FnMut(Part<'_>) -> bool,
) -> LuaResult<Called> {
    let remote = match request.remote {
        Remote::Internet(SocketAddr::V4(address)) => {
            Ok((u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())) as f64)
        }
        other => Err(other.to_string()),
    };
    let mut call = Call {
        number,
        request,
        remote,
        write,
        written: false,
    };
    let pointer = LightUserData((&raw mut call).cast::<c_void>());
    let mut values: LuaMultiValue = dispatch.call(pointer)?;
    if call.written {
        return Ok(Called::Written);
    }
    let status = values.pop_front().unwrap_or(LuaValue::Nil);
    Ok(match status.as_i64() {
        Some(status) => {
            let mut next = || values.pop_front().unwrap_or(LuaValue::Nil);
            Called::Answered(HandlerAnswer {
                status: Some(status),
                body: next(),
                headers: next().as_table().cloned(),
                request: next().as_table().cloned(),
            })
        }
        None if status.is_boolean() => Called::Later,
        None => Called::Failed,
    })
}

/// The function for [`call_handler`]. `parts` is made by `luau/server.luau`, which says what is in it.
///
/// # Errors
/// When the VM has no memory left.
pub fn dispatcher(lua: &Lua, parts: &LuaTable) -> LuaResult<LuaFunction> {
    let run = handling::function(lua, parts)?;
    parts.set("run", run)?;
    let dispatch = Function::new(c"dispatch", dispatch);
    closure(lua, parts, &PARTS, &FIELDS, dispatch)
}

/// `dispatch(call)`. Returns nothing when the answer is written; status, body, headers and the request when it is more
/// than that; nil after a failure that was reported, false when the handler waits.
unsafe extern "C-unwind" fn dispatch(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. At most 8 places are used. A light userdata comes from `call_handler` alone, whose call
    // outlives this function: Luau can't make one, and no script ever sees this one. On a worker's empty stack there is room
    // for `LUA_MINSTACK` values.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        let Some(call) = call.as_mut() else {
            return 0;
        };
        ffi::lua_settop(state, 0);
        push_request(state, call);
        let worker = IDLE.push(state, &KNOWN);
        ffi::lua_xpush(state, worker, RUN);
        ffi::lua_pushnumber(worker, call.number as f64);
        ffi::lua_xpush(state, worker, REQUEST);
        match ffi::lua_resume_(worker, state, 2) {
            // Nothing that a script does is known to bring this about, but there would be nothing to take from the stack.
            ffi::LUA_OK if ffi::lua_gettop(worker) != handling::ANSWER => {
                ffi::lua_settop(worker, 0);
                keep_worker(state);
                ffi::lua_pushnil(state);
                1
            }
            ffi::LUA_OK => {
                ffi::lua_xmove(worker, state, handling::ANSWER);
                keep_worker(state);
                take_answer(state, call)
            }
            ffi::LUA_YIELD => {
                ffi::lua_settop(worker, 0);
                push_unanswered(state, call, None)
            }
            _ => push_unanswered(state, call, Some(worker)),
        }
    }
}

/// Pushes a request's table, a copy of the template.
unsafe fn push_request(state: *mut lua_State, call: &Call<'_>) {
    let (head, raw_head) = (call.request.head, call.request.raw_head);
    let body = match call.request.body {
        RequestBody::Whole(body) => body,
        RequestBody::Streamed => &[],
    };
    // SAFETY: as the module says. 3 places are used. The buffer is as long as was asked for, zeroed, and not known to anybody
    // else yet.
    unsafe {
        ffi::lua_clonetable(state, TEMPLATE);
        ffi::lua_pushvalue(state, METHOD);
        push(state, head.method().as_bytes());
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, PATH);
        push(state, head.path().as_bytes());
        ffi::lua_rawset(state, -3);
        if !body.is_empty() {
            ffi::lua_pushvalue(state, BODY);
            push(state, body);
            ffi::lua_rawset(state, -3);
        }
        ffi::lua_pushvalue(state, KEPT_HEAD);
        let size = kept_head::size(head, raw_head);
        let room = ffi::lua_newbuffer(state, size).cast::<u8>();
        kept_head::write(head, raw_head, slice::from_raw_parts_mut(room, size));
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, REMOTE);
        match &call.remote {
            Ok(address) => ffi::lua_pushnumber(state, *address),
            Err(text) => push(state, text.as_bytes()),
        }
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, EXCHANGE);
        ffi::lua_pushnumber(state, call.number as f64);
        ffi::lua_rawset(state, -3);
    }
}

/// Keeps the worker for the next request, unless a script knows it.
unsafe fn keep_worker(state: *mut lua_State) {
    // SAFETY: as the module says. 2 places are used.
    unsafe {
        let may_be_seen = KNOWN.any_seen(state).is_none_or(|any| any.get() != 0);
        if may_be_seen && KNOWN.is_seen(state, WORKER) {
            IDLE.is_not(state, WORKER);
        }
        if !IDLE.is(state, WORKER) {
            KNOWN.forget(state, WORKER);
        }
    }
}

/// Takes the answer from the top of the stack: status, body, headers.
unsafe fn take_answer(state: *mut lua_State, call: &mut Call<'_>) -> c_int {
    // SAFETY: as the module says. 3 places are used. The body's string is on the stack while it is written.
    unsafe {
        if let Some(body) = string(state, -2) {
            call.written = write_head(state, call) && (call.write)(Part::Body(body));
            if call.written {
                return 0;
            }
        }
        if ffi::lua_type(state, -2) == ffi::LUA_TNUMBER {
            ffi::lua_pushvalue(state, LASTS);
            ffi::lua_pushnumber(state, call.number as f64);
            ffi::lua_pushvalue(state, REQUEST);
            ffi::lua_call(state, 2, 0);
        }
        ffi::lua_pushvalue(state, REQUEST);
        4
    }
}

/// Writes the status and the headers, which lie around the body on the stack; false when they can't be sent, or are not all
/// strings.
unsafe fn write_head(state: *mut lua_State, call: &mut Call<'_>) -> bool {
    // SAFETY: as the module says. 2 places are used; a name and a value are on the stack while they are written.
    unsafe {
        let headers = ffi::lua_gettop(state);
        let kind = ffi::lua_type(state, headers);
        if kind != ffi::LUA_TNIL && kind != ffi::LUA_TTABLE {
            return false;
        }
        let status = ffi::lua_tonumber(state, headers - 2);
        let mut fine = (call.write)(Part::Status(status as i64));
        let mut position = 0;
        while fine && kind == ffi::LUA_TTABLE {
            position = ffi::lua_rawiter(state, headers, position);
            if position < 0 {
                break;
            }
            fine = match (string(state, -2), string(state, -1)) {
                (Some(name), Some(value)) => (call.write)(Part::Field(name, value)),
                _ => false,
            };
            ffi::lua_pop(state, 2);
        }
        fine
    }
}

/// Tells `luau/server.luau` of a handler that waits, or that has failed in the coroutine `failed`, where the error still is.
unsafe fn push_unanswered(
    state: *mut lua_State,
    call: &Call<'_>,
    failed: Option<*mut lua_State>,
) -> c_int {
    // SAFETY: as the module says. 6 places are used. A coroutine that failed has its error on top.
    unsafe {
        IDLE.is_not(state, WORKER);
        ffi::lua_pushvalue(state, UNANSWERED);
        ffi::lua_pushnumber(state, call.number as f64);
        ffi::lua_pushvalue(state, REQUEST);
        ffi::lua_pushvalue(state, WORKER);
        ffi::lua_pushboolean(state, c_int::from(failed.is_none()));
        match failed {
            Some(worker) => ffi::lua_xmove(worker, state, 1),
            None => ffi::lua_pushnil(state),
        }
        ffi::lua_call(state, 5, 1);
        1
    }
}
