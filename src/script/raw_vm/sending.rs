//! `ws:send(data)`: from the script's value to the WebSocket, without a copy in between.

use std::{
    ffi::{CStr, c_int},
    str,
};

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult},
};

use super::super::websocket::Outlet;
use super::{Function, buffer, owner, string};
use crate::engine::websocket::Data;

/// Where a WebSocket's table has its number.
const ID: &CStr = c"__id";

/// A function `send(ws, data)` that sends through `outlet` and returns what that says; where it says nothing, or the arguments
/// are not what they must be, what `rest(ws, data)` returns.
///
/// # Errors
/// When the VM has no memory left.
pub fn sender(lua: &Lua, outlet: Outlet, rest: LuaFunction) -> LuaResult<LuaFunction> {
    let id = lua.create_string(ID.to_bytes())?;
    owner(lua, outlet, (rest, id), Function::new(c"send", send))
}

/// `send(ws, data)`; its upvalues are the outlet, `rest`, and the name of the number.
unsafe extern "C-unwind" fn send(state: *mut lua_State) -> c_int {
    const REST: c_int = ffi::lua_upvalueindex(2);
    // SAFETY: as the module says. Besides the two arguments at most 2 places are used.
    unsafe {
        if let Some(sent) = sent(state) {
            ffi::lua_pushnumber(state, sent as f64);
            return 1;
        }
        ffi::lua_settop(state, 2);
        ffi::lua_pushvalue(state, REST);
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, 2, 1);
        1
    }
}

/// Sends the second argument through the WebSocket that is the first.
unsafe fn sent(state: *mut lua_State) -> Option<i64> {
    const OUTLET: c_int = ffi::lua_upvalueindex(1);
    // SAFETY: as the module says. The outlet lives as long as this closure, which runs; no Luau runs while the message's bytes
    // are used.
    unsafe {
        let outlet = ffi::lua_touserdata(state, OUTLET).cast::<Option<Outlet>>();
        let outlet = outlet.as_ref()?.as_ref()?;
        let data = match buffer(state, 2) {
            Some(bytes) => Data::Binary(bytes),
            None => Data::Text(str::from_utf8(string(state, 2)?).ok()?),
        };
        if outlet.is_current(ffi::lua_topointer(state, 1)) {
            return outlet.send_to_current(data);
        }
        outlet.send(number(state)?, data)
    }
}

/// The number of the WebSocket that is the first argument.
unsafe fn number(state: *mut lua_State) -> Option<u64> {
    const ID: c_int = ffi::lua_upvalueindex(3);
    // SAFETY: as the module says. One place is used.
    unsafe {
        if ffi::lua_type(state, 1) != ffi::LUA_TTABLE {
            return None;
        }
        ffi::lua_pushvalue(state, ID);
        if ffi::lua_rawget(state, 1) != ffi::LUA_TNUMBER {
            return None;
        }
        Some(ffi::lua_tonumber(state, -1) as u64)
    }
}
