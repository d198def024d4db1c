//! The VM's C API, where mlua's safe one costs too much: what each request has to do.
//!
//! mlua makes a handle of each string and table that passes through Rust, checks text as UTF-8, and wraps each call; a
//! request whose handler reads headers and query took 28,700 instructions that way, and takes 21,800 with what is here
//! (`docs/performance.md`). There are three functions: [`call_handler`], called by Rust, and [`request_index`] and
//! [`query_list`], which make functions for Luau.
//!
//! # Safety
//!
//! What every `unsafe` here relies on:
//!
//! - **The state** is the one that mlua or the VM hands to the running function, on the VM's own thread.
//! - **Stack space**: all code here runs as a C function, to which the VM promises `LUA_MINSTACK` (20) free places above its
//!   arguments (`lua.exec_raw` calls its closure as one). Each function says how many it uses; where the number
//!   depends on input, `luaL_checkstack` comes first.
//! - **Errors**: a function of the API that allocates may raise the VM's memory error, which is a C++ exception here and a
//!   `longjmp` in other builds. It passes through frames of this file only, up to the `lua_pcall` that runs them, and they are
//!   declared `C-unwind`. None of them owns anything that has a destructor: only references, numbers, and values on the
//!   VM's stack. What must be allocated is allocated before, outside of the protected call, or is the VM's.
//! - **Pointers** into a string or a buffer of the VM's are used only while that value lies on the stack: the collector
//!   moves nothing and frees only what nobody refers to. Slices made of them live in one function, and no Luau runs meanwhile
//!   that could change them.
//! - **Types** are asked before a value is read as one: scripts can call these functions with what they like.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int},
    net::SocketAddr,
    slice,
};

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable, LuaValue},
};

use super::kept_head::{self, KeptHead, decode, is_encoded, query_pairs};
use crate::engine::service::{Remote, Request, RequestBody};

/// Where a request's table keeps its head.
const HEAD: &CStr = c"__head";

/// Places that a table gets at once for a query's pairs; more come as they are needed.
const MOST_PAIRS_EXPECTED: usize = 64;

/// Calls `dispatch` of `luau/server.luau` with a request: its number, method, path, body (nil for an empty one), head and
/// remote. The status is nil after a failure, false when the answer comes later.
///
/// # Errors
/// When the VM has no memory left.
pub fn call_handler(
    lua: &Lua,
    dispatch: &LuaFunction,
    number: u64,
    request: &Request<'_>,
) -> LuaResult<(LuaValue, LuaValue, Option<LuaTable>)> {
    let (head, raw_head) = (request.head, request.raw_head);
    let body = match request.body {
        RequestBody::Whole(body) => body,
        RequestBody::Streamed => &[],
    };
    // An IPv4 address and its port fit a number; `luau/request.luau` writes them out when a script asks.
    let remote = match request.remote {
        Remote::Internet(SocketAddr::V4(address)) => {
            Ok((u64::from(u32::from(*address.ip())) << 16 | u64::from(address.port())) as f64)
        }
        other => Err(other.to_string()),
    };
    let remote = remote.as_ref();
    let call = move |state: *mut lua_State| {
        // SAFETY: as the module says. The function is on the stack; 6 places are used. The buffer is as long as was asked
        // for, zeroed, and not known to anybody else yet. `call` captures references and numbers.
        unsafe {
            ffi::lua_pushnumber(state, number as f64);
            push(state, head.method().as_bytes());
            push(state, head.path().as_bytes());
            if body.is_empty() {
                ffi::lua_pushnil(state);
            } else {
                push(state, body);
            }
            let size = kept_head::size(head, raw_head);
            let room = ffi::lua_newbuffer(state, size).cast::<u8>();
            kept_head::write(head, raw_head, slice::from_raw_parts_mut(room, size));
            match remote {
                Ok(address) => ffi::lua_pushnumber(state, *address),
                Err(text) => push(state, text.as_bytes()),
            }
            ffi::lua_call(state, 6, 3);
        }
    };
    // SAFETY: `call` leaves three values where the function was.
    unsafe { lua.exec_raw(dispatch, call) }
}

/// The `__index` of requests: makes `headers` (with the metatable `headers_meta`), `query` and `url` of the kept head and
/// sets them; asks `rest(request, key)` for every other field.
///
/// # Errors
/// When the VM has no memory left.
pub fn request_index(
    lua: &Lua,
    rest: LuaFunction,
    headers_meta: LuaTable,
) -> LuaResult<LuaFunction> {
    // SAFETY: the closure takes the two values on the stack as its upvalues and leaves itself.
    unsafe {
        lua.exec_raw((rest, headers_meta), |state| {
            ffi::lua_pushcclosurek(state, index, c"index".as_ptr(), 2, None);
        })
    }
}

/// A function that takes a kept head and returns its query as a flat list of keys and values, decoded, in order.
///
/// # Errors
/// When the VM has no memory left.
pub fn query_list(lua: &Lua) -> LuaResult<LuaFunction> {
    // SAFETY: `list_query` keeps to the rules of this module.
    unsafe { lua.create_c_function(list_query) }
}

/// `index(request, key)`; its upvalues are what [`request_index`] was given.
unsafe extern "C-unwind" fn index(state: *mut lua_State) -> c_int {
    const REST: c_int = ffi::lua_upvalueindex(1);
    // SAFETY: as the module says. Besides the two arguments at most 8 places are used.
    unsafe {
        ffi::lua_settop(state, 2);
        let push_field = match string(state, 2) {
            Some(b"headers") => push_headers,
            Some(b"query") => push_query,
            Some(b"url") => push_url,
            _ => {
                ffi::lua_pushvalue(state, REST);
                ffi::lua_insert(state, 1);
                ffi::lua_call(state, 2, 1);
                return 1;
            }
        };
        if ffi::lua_type(state, 1) != ffi::LUA_TTABLE {
            return 0;
        }
        ffi::lua_rawgetfield(state, 1, HEAD.as_ptr());
        let Some(head) = buffer(state, 3) else {
            return 0;
        };
        push_field(state, head);
        if ffi::lua_getreadonly(state, 1) == 0 {
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushvalue(state, -2);
            ffi::lua_rawset(state, 1);
        }
        1
    }
}

/// Pushes the headers: names in lower case; the values of repeated ones are joined with `, `, Cookie's with `; ` (RFC 6265bis).
unsafe fn push_headers(state: *mut lua_State, bytes: &mut [u8]) {
    kept_head::lower_names(bytes);
    let head = KeptHead::read(bytes);
    let count = head.count();
    // SAFETY: as the module says. 3 places are used, and what `push_joined` asks for.
    unsafe {
        ffi::lua_createtable(state, 0, count as c_int);
        let mut joined = 0_u128;
        for first in 0..count {
            if joined >> first & 1 == 1 {
                continue;
            }
            let name = head.name(first);
            push(state, name);
            push(state, head.value(first));
            let again = (first + 1..count).filter(|later| head.name(*later) == name);
            joined |= push_joined(state, name, again.map(|later| (later, head.value(later))));
            ffi::lua_rawset(state, -3);
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        ffi::lua_setmetatable(state, -2);
    }
}

/// Joins the value on the stack with the values of later fields of that name: a bit for each of those.
#[inline]
unsafe fn push_joined<'b>(
    state: *mut lua_State,
    name: &[u8],
    later: impl Iterator<Item = (usize, &'b [u8])>,
) -> u128 {
    let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
    let mut joined = 0;
    let mut pieces = 1;
    for (index, value) in later {
        // SAFETY: as the module says; there is space for the two places of this turn.
        unsafe {
            ffi::luaL_checkstack(state, 4, c"repeated headers".as_ptr());
            push(state, separator);
            push(state, value);
        }
        pieces += 2;
        joined |= 1 << index;
    }
    if pieces > 1 {
        // SAFETY: so many strings are on the stack.
        unsafe { ffi::lua_concat(state, pieces) };
    }
    joined
}

/// Pushes the query: the first of repeated keys.
unsafe fn push_query(state: *mut lua_State, bytes: &mut [u8]) {
    let query = KeptHead::read(bytes).query();
    let expected = memchr::memchr_iter(b'&', query).count() + usize::from(!query.is_empty());
    // SAFETY: as the module says. 4 places are used.
    unsafe {
        let room = push_room(state, query);
        ffi::lua_createtable(state, 0, expected.min(MOST_PAIRS_EXPECTED) as c_int);
        // In reverse, so that the first of repeated keys is the one that stays.
        for (key, value) in query_pairs(query).rev() {
            push_decoded(state, key, room);
            push_decoded(state, value, room);
            ffi::lua_rawset(state, -3);
        }
    }
}

/// Pushes the target as it was sent.
unsafe fn push_url(state: *mut lua_State, bytes: &mut [u8]) {
    // SAFETY: as the module says. One place is used.
    unsafe { push(state, KeptHead::read(bytes).target()) };
}

/// `list(head)`; see [`query_list`].
unsafe extern "C-unwind" fn list_query(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. Besides the argument 4 places are used.
    unsafe {
        ffi::lua_settop(state, 1);
        let Some(head) = buffer(state, 1) else {
            return 0;
        };
        let query = KeptHead::read(head).query();
        let room = push_room(state, query);
        ffi::lua_createtable(state, 0, 0);
        let texts = query_pairs(query).flat_map(|(key, value)| [key, value]);
        for (position, text) in (1..).zip(texts) {
            push_decoded(state, text, room);
            ffi::lua_rawseti_(state, -2, position);
        }
        1
    }
}

/// Pushes room to decode parts of `query` into: nil and none where nothing is encoded.
unsafe fn push_room<'v>(state: *mut lua_State, query: &[u8]) -> &'v mut [u8] {
    if !is_encoded(query) {
        // SAFETY: as the module says. One place is used.
        unsafe { ffi::lua_pushnil(state) };
        return &mut [];
    }
    // SAFETY: the buffer is so long, nobody else knows it, and it stays on the stack while the caller uses it.
    unsafe {
        let room = ffi::lua_newbuffer(state, query.len());
        slice::from_raw_parts_mut(room.cast(), query.len())
    }
}

unsafe fn push_decoded(state: *mut lua_State, text: &[u8], room: &mut [u8]) {
    let decoded = if is_encoded(text) {
        decode(text, room)
    } else {
        text
    };
    // SAFETY: as the module says. One place is used.
    unsafe { push(state, decoded) };
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
