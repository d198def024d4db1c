//! The VM's C API, where mlua's safe one costs too much: what each request has to do.
//!
//! mlua makes a handle of each string and table that passes through Rust, checks text as UTF-8, and wraps each call; a
//! request whose handler reads headers and query took 28,700 instructions that way, and takes 20,000 with what is here
//! (`docs/performance.md`).
//!
//! - [`dispatch`]: makes a request's table, runs its handler, and takes the answer; [`handling`]: what of this is inside of the
//!   handler's coroutine
//! - [`fields`]: makes the table's headers and query when a script reads them
//! - [`request`]: begins a client's request; [`response`]: makes its response, and resumes who waits for it
//! - [`messages`]: hands a WebSocket's messages to a script's callback; [`sending`]: sends what a script gives it
//! - [`workers`]: the coroutines in which handlers and callbacks run
//! - [`json`]: makes and reads the values of JSON texts
//!
//! # Safety
//!
//! What every `unsafe` in these files relies on:
//!
//! - **The state** is the one that mlua or the VM hands to the running function, on the VM's own thread.
//! - **Stack space**: all code here runs as a C function, to which the VM promises `LUA_MINSTACK` (20) free places above its
//!   arguments. Each function says how many it uses; where the number depends on input, `luaL_checkstack` comes first.
//! - **Errors**: a function of the API that allocates may raise the VM's memory error, which is a C++ exception here and a
//!   `longjmp` in other builds. It passes through frames of these files only, up to the `lua_pcall` that runs them, and they
//!   are declared `C-unwind`. None of them owns anything that has a destructor: only references, numbers, and values on the
//!   VM's stack. What must be allocated is allocated before, outside of the protected call, or is the VM's. The two that make
//!   a function own what it is to have until the VM does: where the error is a `longjmp`, that leaks.
//! - **Pointers** into a string or a buffer of the VM's are used only while that value lies on the stack: the collector
//!   moves nothing and frees only what nobody refers to. Slices made of them live in one function, and no Luau runs meanwhile
//!   that could change them.
//! - **Types** are asked before a value is read as one: scripts can call these functions with what they like, those too that
//!   they were not given. `debug.info` finds every function that is on the stack of its coroutine.
#![allow(unsafe_code)]

mod dispatch;
mod fields;
mod handling;
pub mod json;
mod messages;
mod request;
mod response;
mod sending;
mod workers;

use std::{
    ffi::{CStr, c_char, c_int},
    slice,
};

use mlua::{
    IntoLuaMulti,
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaMultiValue, LuaResult, LuaTable, LuaValue},
};

pub use self::{
    dispatch::{Called, Handlers, Part},
    fields::{query_list, request_index},
    messages::{Receiver, Source},
    request::{PlainRequest, request_starter},
    response::{Received, Responses},
    sending::sender,
};

/// Where a request's table keeps its head.
const HEAD: &CStr = c"__head";

/// A function for the VM.
struct Function {
    name: &'static CStr,
    function: ffi::lua_CFunction,
    continuation: Option<ffi::lua_Continuation>,
}

impl Function {
    /// One whose calls of Luau can't wait.
    fn new(name: &'static CStr, function: ffi::lua_CFunction) -> Self {
        Self {
            name,
            function,
            continuation: None,
        }
    }

    /// What it calls can wait; `continuation` comes after that, in its place.
    fn continued_by(self, continuation: ffi::lua_Continuation) -> Self {
        Self {
            continuation: Some(continuation),
            ..self
        }
    }
}

/// The values of `parts` with these names, then the names of `fields`.
fn upvalues(
    lua: &Lua,
    parts: &LuaTable,
    names: &[&str],
    fields: &[&CStr],
) -> LuaResult<LuaMultiValue> {
    let mut upvalues = LuaMultiValue::new();
    for name in names {
        upvalues.push_back(parts.get(*name)?);
    }
    for name in fields {
        upvalues.push_back(LuaValue::String(lua.create_string(name.to_bytes())?));
    }
    Ok(upvalues)
}

/// A function of the VM's with [`upvalues`], then nil.
fn closure(
    lua: &Lua,
    parts: &LuaTable,
    names: &[&str],
    fields: &[&CStr],
    function: Function,
) -> LuaResult<LuaFunction> {
    let mut upvalues = upvalues(lua, parts, names, fields)?;
    upvalues.push_back(LuaValue::Nil);
    let count = upvalues.len() as c_int;
    // SAFETY: the closure takes all values on the stack as its upvalues and leaves itself.
    unsafe {
        lua.exec_raw(upvalues, move |state| {
            let name = function.name.as_ptr();
            ffi::lua_pushcclosurek(state, function.function, name, count, function.continuation);
        })
    }
}

/// A function of the VM's that owns `owned`: its first upvalue, before `upvalues`, is a userdata of `Some` of it.
fn owner<T: 'static>(
    lua: &Lua,
    owned: T,
    upvalues: impl IntoLuaMulti,
    function: Function,
) -> LuaResult<LuaFunction> {
    // SAFETY: the closure takes the values on the stack as its upvalues and leaves itself. The userdata owns the value and drops
    // it, which must not use the VM; the VM aligns it to 16 bytes. It is empty while the VM may still fail to make it.
    unsafe {
        lua.exec_raw(upvalues, move |state| {
            let count = ffi::lua_gettop(state) + 1;
            *ffi::lua_newuserdata_t(state, None) = Some(owned);
            ffi::lua_insert(state, 1);
            let name = function.name.as_ptr();
            ffi::lua_pushcclosurek(state, function.function, name, count, function.continuation);
        })
    }
}

/// Pushes bytes as a string. One place is used.
unsafe fn push(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: the VM copies the bytes. An empty slice's pointer is not null, and nothing is read of it.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast::<c_char>(), bytes.len()) };
}

/// The string at `position`, if there is one; it lives while it is on the stack.
unsafe fn string<'v>(state: *mut lua_State, position: c_int) -> Option<&'v [u8]> {
    // SAFETY: only strings are read, so nothing is converted, and the pointer is valid for the length.
    unsafe {
        if ffi::lua_type(state, position) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let start = ffi::lua_tolstring(state, position, &mut length);
        Some(slice::from_raw_parts(start.cast(), length))
    }
}

/// The buffer at `position`, if there is one; it lives while it is on the stack.
unsafe fn buffer<'v>(state: *mut lua_State, position: c_int) -> Option<&'v mut [u8]> {
    // SAFETY: null for anything but a buffer, else valid for the length. No Luau runs while the slice is used.
    unsafe {
        let mut length = 0;
        let start = ffi::lua_tobuffer(state, position, &mut length);
        (!start.is_null()).then(|| slice::from_raw_parts_mut(start.cast(), length))
    }
}
