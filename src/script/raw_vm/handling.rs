//! A handler's call inside of its coroutine, and what it returned taken apart.

use std::ffi::c_int;

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable},
};

use super::{Function, closure, push, string, workers::YIELDS};

/// The values of an answer: status, body, headers.
pub(super) const ANSWER: c_int = 3;

/// What [`function`] takes from its table, in the order of `run`'s upvalues, which begin at 1.
const PARTS: [&str; 4] = ["handler", "server", "conclude", "html"];
const HANDLER: c_int = ffi::lua_upvalueindex(1);
const SERVER: c_int = ffi::lua_upvalueindex(2);
const CONCLUDE: c_int = ffi::lua_upvalueindex(3);
const HTML: c_int = ffi::lua_upvalueindex(4);

/// Where the stack of `run` has the request, and what the handler returned. The exchange is before them.
const REQUEST: c_int = 2;
const VALUE: c_int = 3;

/// A function `run(exchange, request)` that calls the handler and returns an [`ANSWER`], or nothing when that came later and was
/// given to `luau/server.luau`. `parts` is made there, and says what is in it.
///
/// # Errors
/// When the VM has no memory left.
pub(super) fn function(lua: &Lua, parts: &LuaTable) -> LuaResult<LuaFunction> {
    let run = Function::new(c"run", run).continued_by(waited);
    closure(lua, parts, &PARTS, &[], run)
}

unsafe extern "C-unwind" fn run(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. 3 places are used besides the arguments.
    unsafe {
        ffi::lua_pushvalue(state, HANDLER);
        ffi::lua_pushvalue(state, REQUEST);
        ffi::lua_pushvalue(state, SERVER);
        ffi::lua_call(state, 2, 1);
        if ffi::lua_status(state) != ffi::LUA_OK {
            return YIELDS;
        }
        if push_plain(state) {
            return ANSWER;
        }
        conclude(state)
    }
}

/// What comes after the handler has waited, or what concludes its call has.
unsafe extern "C-unwind" fn waited(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: as the module says; what a continuation needs of the stack it has to ask for.
    unsafe {
        if ffi::lua_gettop(state) < VALUE {
            return 0;
        }
        ffi::lua_rawcheckstack(state, 1);
        conclude(state)
    }
}

/// Has Luau make an answer of what the handler returned, which may wait.
unsafe fn conclude(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. One place is used besides the exchange, the request and the value.
    unsafe {
        ffi::lua_settop(state, VALUE);
        ffi::lua_pushvalue(state, CONCLUDE);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, 3, ffi::LUA_MULTRET);
        if ffi::lua_status(state) != ffi::LUA_OK {
            return YIELDS;
        }
        ffi::lua_gettop(state)
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
    const STATUS: c_int = VALUE + 1;
    const BODY: c_int = VALUE + 2;
    const HEADERS: c_int = VALUE + 3;
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
                Some(b"body") if kind == ffi::LUA_TSTRING => BODY,
                Some(b"headers") if kind == ffi::LUA_TTABLE => HEADERS,
                _ => return false,
            };
            ffi::lua_replace(state, place);
            ffi::lua_pop(state, 1);
        }
        if ffi::lua_type(state, BODY) == ffi::LUA_TNIL {
            push(state, b"");
            ffi::lua_replace(state, BODY);
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
