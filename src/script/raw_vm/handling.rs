//! A worker for requests: a coroutine that calls one handler after the other, and takes apart what they return.

use std::{
    ffi::{CStr, c_int},
    slice,
};

use mlua::ffi::{self, lua_State};

use super::super::kept_head;
use super::{
    HEAD,
    dispatch::{Call, Part},
    push, string,
    workers::{NUMBER, Workers, YIELDS, begins, end, upvalue},
};
use crate::engine::service::RequestBody;

/// What the function takes from the table that `luau/server.luau` makes, in the order of its upvalues.
pub(super) const PARTS: [&str; 5] = ["served", "conclude", "answered", "answer", "html"];
const SERVED: c_int = upvalue(0);
const CONCLUDE: c_int = upvalue(1);
const ANSWERED: c_int = upvalue(2);
const ANSWER: c_int = upvalue(3);
const HTML: c_int = upvalue(4);

/// The fields of a request that are set at once; their names are the upvalues after the parts.
pub(super) const FIELDS: [&CStr; 6] = [
    c"method",
    c"path",
    c"body",
    HEAD,
    c"__remote",
    c"__exchange",
];
const METHOD: c_int = upvalue(5);
const PATH: c_int = upvalue(6);
const BODY: c_int = upvalue(7);
const KEPT_HEAD: c_int = upvalue(8);
const REMOTE: c_int = upvalue(9);
const EXCHANGE: c_int = upvalue(10);

/// Where a worker's stack has, after its number, its record, what belongs to the server, the template of its requests, the request,
/// what the handler returned, and then the answer: status, body, headers.
const RECORD: c_int = 2;
const OF_SERVER: c_int = 3;
const TEMPLATE: c_int = 4;
const REQUEST: c_int = 5;
const VALUE: c_int = 6;
const STATUS: c_int = 7;
const CONTENT: c_int = 8;
const HEADERS: c_int = 9;

/// What belongs to the server, by its index.
const ITS_TEMPLATE: c_int = 1;
const ITS_HANDLER: c_int = 2;
const ITS_TABLE: c_int = 3;

/// The number of no exchange.
const NOBODY: u64 = 0;

/// Where a worker's record has the request.
const RECORDED: c_int = 1;

/// `work(number, record)`: the body of a worker, which begins to work when it is resumed.
pub(super) unsafe extern "C-unwind" fn work(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says.
    unsafe { if begins(state) { rest(state) } else { 0 } }
}

/// What a worker does when it is resumed, and when what it has called returns after that has waited, or has caught an error: the
/// VM has left this function then.
pub(super) unsafe extern "C-unwind" fn resumed(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: as the module says; what a continuation needs of the stack it has to ask for. At most 14 places are used. The call
    // lives until this worker has yielded; no reference to it is held while the handler runs, and it is not used after that
    // has waited.
    unsafe {
        ffi::lua_rawcheckstack(state, 14);
        let Some(workers) = Workers::of(state) else {
            return 0;
        };
        let call = workers.call_of(state).cast::<Call<'_>>();
        if call.is_null() {
            return after_wait(state, workers);
        }
        match ffi::lua_gettop(state) {
            HEADERS => return after_conclusion(state, workers, call),
            VALUE => return after_handler(state, workers, call),
            _ => {}
        }
        if ffi::lua_rawgeti_(state, SERVED, (*call).place) != ffi::LUA_TTABLE {
            push(state, b"the server is gone");
            ffi::lua_error(state);
        }
        ffi::lua_rawgeti_(state, OF_SERVER, ITS_TEMPLATE);
        push_request(state, &*call);
        ffi::lua_pushvalue(state, REQUEST);
        ffi::lua_rawseti_(state, RECORD, RECORDED);
        (*call).calls = true;
        ffi::lua_rawgeti_(state, OF_SERVER, ITS_HANDLER);
        ffi::lua_pushvalue(state, REQUEST);
        ffi::lua_rawgeti_(state, OF_SERVER, ITS_TABLE);
        ffi::lua_call(state, 2, 1);
        if ffi::lua_status(state) != ffi::LUA_OK {
            return YIELDS;
        }
        after_handler(state, workers, call)
    }
}

/// The handler has returned.
unsafe fn after_handler(state: *mut lua_State, workers: &Workers, call: *mut Call<'_>) -> c_int {
    // SAFETY: as `resumed` says.
    unsafe {
        if push_plain(state) {
            (*call).written = write(state, &mut *call);
        } else if !conclude(state, (*call).number) {
            return YIELDS;
        }
        after_conclusion(state, workers, call)
    }
}

/// The answer is on the stack.
unsafe fn after_conclusion(state: *mut lua_State, workers: &Workers, call: *mut Call<'_>) -> c_int {
    // SAFETY: as `resumed` says.
    unsafe {
        if !(*call).written {
            push_answer(state, ANSWERED, None);
            ffi::lua_call(state, 4, 0);
        }
        if workers.is_seen(state) {
            return end(state);
        }
        (*call).rests = true;
        rest(state)
    }
}

/// The handler that a worker has called has waited, or what concludes its call has: Rust waits for the answer, unless the client is
/// gone.
unsafe fn after_wait(state: *mut lua_State, workers: &Workers) -> c_int {
    // SAFETY: as the module says. At most 6 places are used above the answer.
    unsafe {
        let number = ffi::lua_tonumber(state, NUMBER) as u64;
        if workers.was_disturbed(number) {
            return rest(state);
        }
        // An answer to nobody is dropped with what makes its body.
        let exchange = workers.waited(number).unwrap_or(NOBODY);
        if ffi::lua_gettop(state) < HEADERS && !conclude(state, exchange) {
            return YIELDS;
        }
        push_answer(state, ANSWER, Some(exchange));
        ffi::lua_call(state, 5, 0);
        workers.done(number);
        if workers.keep(state, number) {
            return rest(state);
        }
        end(state)
    }
}

/// The worker waits until it is resumed, and holds on to nothing.
unsafe fn rest(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. 1 place is used.
    unsafe {
        ffi::lua_settop(state, RECORD);
        ffi::lua_pushnil(state);
        ffi::lua_rawseti_(state, RECORD, RECORDED);
        ffi::lua_yield(state, 0)
    }
}

/// Has Luau make an answer of what the handler returned; false when that waits.
unsafe fn conclude(state: *mut lua_State, exchange: u64) -> bool {
    // SAFETY: as the module says. At most 4 places are used.
    unsafe {
        ffi::lua_settop(state, VALUE);
        ffi::lua_pushvalue(state, CONCLUDE);
        ffi::lua_pushnumber(state, exchange as f64);
        ffi::lua_pushvalue(state, REQUEST);
        ffi::lua_pushvalue(state, VALUE);
        ffi::lua_call(state, 3, 3);
        ffi::lua_status(state) == ffi::LUA_OK
    }
}

/// Pushes a function that takes an answer, and its arguments: the number of the exchange if there is one, status, body, headers, and
/// the request.
unsafe fn push_answer(state: *mut lua_State, function: c_int, exchange: Option<u64>) {
    // SAFETY: as the module says. At most 6 places are used.
    unsafe {
        ffi::lua_pushvalue(state, function);
        if let Some(exchange) = exchange {
            ffi::lua_pushnumber(state, exchange as f64);
        }
        for part in [STATUS, CONTENT, HEADERS, REQUEST] {
            ffi::lua_pushvalue(state, part);
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

/// Writes the answer; whether it can be sent so.
unsafe fn write(state: *mut lua_State, call: &mut Call<'_>) -> bool {
    // SAFETY: as the module says. The body's string is on the stack while it is written.
    unsafe {
        match string(state, CONTENT) {
            Some(body) => write_head(state, call) && (call.write)(Part::Body(body)),
            None => false,
        }
    }
}

/// Writes the status and the headers, which lie around the body on the stack; false when they can't be sent, or are not all
/// strings.
unsafe fn write_head(state: *mut lua_State, call: &mut Call<'_>) -> bool {
    // SAFETY: as the module says. 2 places are used; a name and a value are on the stack while they are written.
    unsafe {
        let kind = ffi::lua_type(state, HEADERS);
        if kind != ffi::LUA_TNIL && kind != ffi::LUA_TTABLE {
            return false;
        }
        let status = ffi::lua_tonumber(state, STATUS);
        let mut fine = (call.write)(Part::Status(status as i64));
        let mut position = 0;
        while fine && kind == ffi::LUA_TTABLE {
            position = ffi::lua_rawiter(state, HEADERS, position);
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

/// Pushes the answer for a value that is a string, or a table of a status, a string as body, and headers: what nearly all handlers
/// return. Whether it is such a value; what is pushed for another one is of no use.
unsafe fn push_plain(state: *mut lua_State) -> bool {
    // SAFETY: as the module says. 5 places are used.
    unsafe {
        match ffi::lua_type(state, VALUE) {
            ffi::LUA_TSTRING => {
                ffi::lua_pushnumber(state, 200.0);
                ffi::lua_pushvalue(state, VALUE);
                ffi::lua_pushvalue(state, HTML);
                true
            }
            ffi::LUA_TTABLE if ffi::lua_getmetatable(state, VALUE) == 0 => push_fields(state),
            _ => false,
        }
    }
}

/// As [`push_plain`], for a table.
unsafe fn push_fields(state: *mut lua_State) -> bool {
    // SAFETY: as the module says. 5 places are used; a name is on the stack while it is read.
    unsafe {
        ffi::lua_pushnumber(state, 200.0);
        ffi::lua_pushnil(state);
        ffi::lua_pushnil(state);
        let mut position = 0;
        loop {
            position = ffi::lua_rawiter(state, VALUE, position);
            if position < 0 {
                break;
            }
            let kind = ffi::lua_type(state, -1);
            let place = match string(state, -2) {
                Some(b"status") if kind == ffi::LUA_TNUMBER && is_status(state) => STATUS,
                Some(b"body") if kind == ffi::LUA_TSTRING => CONTENT,
                Some(b"headers") if kind == ffi::LUA_TTABLE => HEADERS,
                _ => return false,
            };
            ffi::lua_replace(state, place);
            ffi::lua_pop(state, 1);
        }
        if ffi::lua_type(state, CONTENT) == ffi::LUA_TNIL {
            push(state, b"");
            ffi::lua_replace(state, CONTENT);
        }
        true
    }
}

/// Whether the number on top of the stack is one for an answer.
unsafe fn is_status(state: *mut lua_State) -> bool {
    // SAFETY: as the module says.
    let number = unsafe { ffi::lua_tonumber(state, -1) };
    (200.0..=999.0).contains(&number) && number.fract() == 0.0
}
