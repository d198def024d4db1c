//! A request's headers and query as Luau tables, made when a script first reads them.

use std::ffi::c_int;
use std::slice;

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable},
};

use super::super::kept_head::{self, KeptHead};
use super::{HEAD, buffer, push, string};
use crate::wire::query;

/// Places that a table gets at once for a query's pairs; more come as they are needed.
const MOST_PAIRS_EXPECTED: usize = 64;

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
        joined |= 1 << index;
        // A length that is said again is the same one (RFC 9110 §8.6): others were refused.
        if name == b"content-length" {
            continue;
        }
        // SAFETY: as the module says; there is space for the two places of this turn.
        unsafe {
            ffi::luaL_checkstack(state, 4, c"repeated headers".as_ptr());
            push(state, separator);
            push(state, value);
        }
        pieces += 2;
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
        for (key, value) in query::pairs(query).rev() {
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
        let texts = query::pairs(query).flat_map(|(key, value)| [key, value]);
        for (position, text) in (1..).zip(texts) {
            push_decoded(state, text, room);
            ffi::lua_rawseti_(state, -2, position);
        }
        1
    }
}

/// Pushes room to decode parts of `query` into: nil and none where nothing is encoded.
unsafe fn push_room<'v>(state: *mut lua_State, query: &[u8]) -> &'v mut [u8] {
    if !query::is_encoded(query) {
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
    let decoded = if query::is_encoded(text) {
        query::decode(text, room)
    } else {
        text
    };
    // SAFETY: as the module says. One place is used.
    unsafe { push(state, decoded) };
}
