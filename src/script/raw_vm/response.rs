//! A client's response as a Luau table, and its way to the coroutine that waits for it.

use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_void},
};

use mlua::{
    LightUserData,
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable, LuaValue},
};

use super::{Function, closure, push};
use crate::{engine::client::Fields, script::scheduler::HandedOver};

/// A response as a script gets it.
pub struct Received<'r> {
    /// 200–999.
    pub status: u16,
    /// Names as the server wrote them.
    pub fields: &'r Fields,
    /// None of one that is read as it comes.
    pub body: Option<&'r [u8]>,
    /// The last one, after redirects.
    pub url: &'r str,
}

/// Makes responses, and hands them over.
#[derive(Clone)]
pub struct Responses {
    make: LuaFunction,
    deliver: LuaFunction,
}

/// What the functions take from their table, in the order of their upvalues, which begin at 1: the headers' metatable, a table
/// with all fields, which each response begins as a copy of; what `luau/scheduler.luau` resumes a coroutine with, and what it puts
/// first.
const PARTS: [&str; 4] = ["headersMeta", "template", "finish", "done"];
const HEADERS_META: c_int = ffi::lua_upvalueindex(1);
const TEMPLATE: c_int = ffi::lua_upvalueindex(2);
const FINISH: c_int = ffi::lua_upvalueindex(3);
const DONE: c_int = ffi::lua_upvalueindex(4);

/// The fields of a response: the upvalues after the parts.
const FIELDS: [&CStr; 6] = [c"status", c"ok", c"headers", c"body", c"url", c"cookies"];
const STATUS: c_int = ffi::lua_upvalueindex(5);
const OK: c_int = ffi::lua_upvalueindex(6);
const HEADERS: c_int = ffi::lua_upvalueindex(7);
const BODY: c_int = ffi::lua_upvalueindex(8);
const URL: c_int = ffi::lua_upvalueindex(9);
const COOKIES: c_int = ffi::lua_upvalueindex(10);

/// A response on its way through the VM, and the wait that it ends.
struct Call<'r> {
    wait: u64,
    response: Received<'r>,
    /// The table is there; what fails from now on is the coroutine's resumption.
    made: Cell<bool>,
}

impl Responses {
    /// Headers get the metatable `headers_meta`; `scheduler` is what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(lua: &Lua, headers_meta: &LuaTable, scheduler: &LuaTable) -> LuaResult<Self> {
        let template = lua.create_table_with_capacity(0, FIELDS.len())?;
        for name in FIELDS {
            template.raw_set(lua.create_string(name.to_bytes())?, false)?;
        }
        let parts = lua.create_table()?;
        parts.set("headersMeta", headers_meta)?;
        parts.set("template", template)?;
        parts.set("finish", scheduler.get::<LuaFunction>("finish")?)?;
        parts.set("done", scheduler.get::<LuaValue>("DONE")?)?;
        let made = |function| closure(lua, &parts, &PARTS, &FIELDS, function);
        Ok(Self {
            make: made(Function::new(c"make", make))?,
            deliver: made(Function::new(c"deliver", deliver))?,
        })
    }

    /// The response's table.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn make(&self, response: Received<'_>) -> LuaResult<LuaTable> {
        let mut call = Call::new(0, response);
        self.make.call(call.pointer())
    }

    /// Ends the wait with the response.
    ///
    /// # Errors
    /// When the VM has no memory left to resume who waits.
    pub fn deliver(&self, wait: u64, response: Received<'_>) -> LuaResult<HandedOver> {
        let mut call = Call::new(wait, response);
        match self.deliver.call(call.pointer()) {
            Ok(()) => Ok(HandedOver::Ended),
            Err(error) if call.made.get() => Err(error),
            Err(error) => Ok(HandedOver::Unmade(error)),
        }
    }
}

impl<'r> Call<'r> {
    fn new(wait: u64, response: Received<'r>) -> Self {
        let made = Cell::new(false);
        Self {
            wait,
            response,
            made,
        }
    }

    fn pointer(&mut self) -> LightUserData {
        LightUserData((&raw mut *self).cast::<c_void>())
    }
}

/// `make(call)`: the response.
unsafe extern "C-unwind" fn make(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. At most 9 places are used. A light userdata comes from `Responses` alone, whose call
    // outlives this function: Luau can't make one, and no script ever sees this one.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        let Some(call) = call.as_ref() else {
            return 0;
        };
        push_response(state, &call.response);
        1
    }
}

/// `deliver(call)`.
unsafe extern "C-unwind" fn deliver(state: *mut lua_State) -> c_int {
    // SAFETY: as of `make`; 3 places more are used.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        let Some(call) = call.as_ref() else {
            return 0;
        };
        ffi::lua_pushvalue(state, FINISH);
        ffi::lua_pushnumber(state, call.wait as f64);
        ffi::lua_pushvalue(state, DONE);
        push_response(state, &call.response);
        call.made.set(true);
        ffi::lua_call(state, 3, 0);
        0
    }
}

/// Pushes the response. 9 places are used.
unsafe fn push_response(state: *mut lua_State, response: &Received<'_>) {
    // SAFETY: as the module says.
    unsafe {
        ffi::lua_clonetable(state, TEMPLATE);
        ffi::lua_pushvalue(state, STATUS);
        ffi::lua_pushnumber(state, response.status.into());
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, OK);
        let is_ok = (200..=299).contains(&response.status);
        ffi::lua_pushboolean(state, is_ok.into());
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, HEADERS);
        push_headers(state, response.fields);
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, BODY);
        match response.body {
            Some(body) => push(state, body),
            None => ffi::lua_pushnil(state),
        }
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, URL);
        push(state, response.url.as_bytes());
        ffi::lua_rawset(state, -3);
        ffi::lua_pushvalue(state, COOKIES);
        push_cookies(state, response.fields);
        ffi::lua_rawset(state, -3);
    }
}

/// Pushes the headers as the server wrote them; repeated ones are joined with `, ` under the first one's name.
unsafe fn push_headers(state: *mut lua_State, fields: &Fields) {
    // SAFETY: as the module says. 5 places are used, and what is asked for.
    unsafe {
        ffi::lua_createtable(state, 0, fields.len() as c_int);
        for (index, (name, value)) in fields.iter().enumerate() {
            let same = |(other, _): &(&[u8], &[u8])| other.eq_ignore_ascii_case(name);
            if fields.iter().take(index).any(|field| same(&field)) {
                continue;
            }
            push(state, name);
            push(state, value);
            let mut pieces = 1;
            for (_, more) in fields.iter().skip(index + 1).filter(same) {
                ffi::luaL_checkstack(state, 4, c"repeated headers".as_ptr());
                push(state, b", ");
                push(state, more);
                pieces += 2;
            }
            if pieces > 1 {
                ffi::lua_concat(state, pieces);
            }
            ffi::lua_rawset(state, -3);
        }
        ffi::lua_pushvalue(state, HEADERS_META);
        ffi::lua_setmetatable(state, -2);
    }
}

/// Pushes the values of the `Set-Cookie` fields, in order.
unsafe fn push_cookies(state: *mut lua_State, fields: &Fields) {
    let is_cookie = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b"set-cookie");
    // SAFETY: as the module says. 2 places are used.
    unsafe {
        ffi::lua_createtable(state, fields.iter().filter(is_cookie).count() as c_int, 0);
        for (position, (_, value)) in (1..).zip(fields.iter().filter(is_cookie)) {
            push(state, value);
            ffi::lua_rawseti_(state, -2, position);
        }
    }
}
