//! Values of JSON texts, and their texts. See the module above for the rules of its `unsafe`.

use std::{ffi::c_int, ffi::c_void, ptr, slice};

use mlua::{
    MultiValue,
    ffi::{self, lua_State},
    prelude::{Lua, LuaResult, LuaTable, LuaValue},
};

use super::{push as push_text, string};
use crate::script::json::{DEPTH, Problem, Tape, Token, Writer};

/// Places on the stack for each level of nesting.
const LEVEL: c_int = 4;

/// Makes the value that a tape says; empty objects get `marker` as their metatable.
///
/// # Errors
/// When the VM has no memory left.
pub fn push(lua: &Lua, tape: &Tape<'_>, marker: LuaTable) -> LuaResult<MultiValue> {
    // SAFETY: `marker` is the first place; the value is left where it was. Space for the deepest tape is asked for.
    unsafe {
        lua.exec_raw(marker, |state| {
            ffi::luaL_checkstack(state, LEVEL * (DEPTH as c_int + 2), c"JSON".as_ptr());
            let mut tokens = tape.tokens().iter();
            push_value(state, tape, &mut tokens);
            ffi::lua_remove(state, 1);
        })
    }
}

/// Pushes the next value of the tape.
unsafe fn push_value(
    state: *mut lua_State,
    tape: &Tape<'_>,
    tokens: &mut slice::Iter<'_, Token<'_>>,
) {
    // SAFETY: as the module says. 2 places are used at each level; serde_json has limited the levels.
    unsafe {
        match tokens.next() {
            None | Some(Token::Null) => ffi::lua_pushlightuserdata(state, ptr::null_mut()),
            Some(Token::Boolean(value)) => ffi::lua_pushboolean(state, c_int::from(*value)),
            Some(Token::Number(value)) => ffi::lua_pushnumber(state, *value),
            Some(Token::Text(text)) => push_text(state, text.as_bytes()),
            Some(Token::Unescaped(range)) => push_text(state, tape.unescaped(range).as_bytes()),
            Some(Token::Array(count)) => {
                ffi::lua_createtable(state, places(*count), 0);
                for index in 1..=places(*count) {
                    push_value(state, tape, tokens);
                    ffi::lua_rawseti_(state, -2, index);
                }
            }
            Some(Token::Object(count)) => {
                ffi::lua_createtable(state, 0, places(*count));
                for _ in 0..*count {
                    push_value(state, tape, tokens);
                    push_value(state, tape, tokens);
                    ffi::lua_rawset(state, -3);
                }
                if *count == 0 {
                    ffi::lua_pushvalue(state, 1);
                    ffi::lua_setmetatable(state, -2);
                }
            }
        }
    }
}

fn places(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

/// Writes a value; a table with `marker` as its metatable is an object.
///
/// # Errors
/// When the VM has no memory left; inside, why the value has no JSON text, and `writer` knows where.
pub fn walk(
    lua: &Lua,
    value: LuaValue,
    marker: LuaTable,
    writer: &mut Writer<'_>,
) -> LuaResult<Result<(), Problem>> {
    let mut outcome = Ok(());
    let noted = &mut outcome;
    // SAFETY: the value is the second place. `writer` and `noted` are references; what they allocate belongs to others.
    unsafe {
        lua.exec_raw::<()>((marker, value), |state| {
            ffi::luaL_checkstack(state, LEVEL * (DEPTH as c_int + 2), c"JSON".as_ptr());
            let marker = ffi::lua_topointer(state, 1);
            *noted = write_value(state, marker, writer);
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(outcome)
}

/// Writes the value on the top of the stack.
unsafe fn write_value(
    state: *mut lua_State,
    marker: *const c_void,
    writer: &mut Writer<'_>,
) -> Result<(), Problem> {
    // SAFETY: as the module says; `write_table` says how many places it uses.
    unsafe {
        match ffi::lua_type(state, -1) {
            ffi::LUA_TNIL => writer.null(),
            ffi::LUA_TBOOLEAN => writer.boolean(ffi::lua_toboolean(state, -1) != 0),
            ffi::LUA_TNUMBER => writer.number(ffi::lua_tonumber(state, -1))?,
            ffi::LUA_TSTRING => writer.text(string(state, -1).unwrap_or_default())?,
            ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(state, -1).is_null() => writer.null(),
            ffi::LUA_TTABLE => write_table(state, marker, writer)?,
            other => return Err(Problem::Type(type_name(other))),
        }
        Ok(())
    }
}

fn type_name(kind: c_int) -> &'static str {
    match kind {
        ffi::LUA_TFUNCTION => "function",
        ffi::LUA_TTHREAD => "thread",
        ffi::LUA_TBUFFER => "buffer",
        ffi::LUA_TVECTOR => "vector",
        _ => "userdata",
    }
}

/// Writes the table on the top of the stack. A list when its keys are 1 to their number, also without any; else an object.
unsafe fn write_table(
    state: *mut lua_State,
    marker: *const c_void,
    writer: &mut Writer<'_>,
) -> Result<(), Problem> {
    // SAFETY: as the module says. 2 places are used at each level, and `Writer::open` limits the levels.
    unsafe {
        let metatable = ffi::lua_getmetatablepointer(state, -1);
        if !metatable.is_null() && metatable == marker {
            return write_object(state, marker, writer);
        }
        let next = ffi::lua_rawiter(state, -1, 0);
        if next < 0 {
            writer.open(b'[')?;
            writer.close(b']', true);
            return Ok(());
        }
        let first_key = ffi::lua_type(state, -2);
        ffi::lua_pop(state, 2);
        match first_key {
            ffi::LUA_TSTRING => write_object(state, marker, writer),
            ffi::LUA_TNUMBER => write_list(state, marker, writer),
            _ => Err(Problem::MixedKeys),
        }
    }
}

/// Writes the table on the top of the stack as an object.
unsafe fn write_object(
    state: *mut lua_State,
    marker: *const c_void,
    writer: &mut Writer<'_>,
) -> Result<(), Problem> {
    // SAFETY: as the module says. 2 places are used at each level.
    unsafe {
        writer.open(b'{')?;
        let table = ffi::lua_gettop(state);
        let mut is_empty = true;
        let mut next = ffi::lua_rawiter(state, table, 0);
        while next >= 0 {
            let Some(key) = string(state, table + 1) else {
                return Err(Problem::MixedKeys);
            };
            writer.separate(is_empty)?;
            is_empty = false;
            writer.text(key)?;
            writer.colon();
            if let Err(problem) = write_value(state, marker, writer) {
                // The levels below have left what they had above this key.
                writer.note_key(string(state, table + 1).unwrap_or_default());
                return Err(problem);
            }
            ffi::lua_pop(state, 2);
            next = ffi::lua_rawiter(state, table, next);
        }
        writer.close(b'}', is_empty);
        Ok(())
    }
}

/// Writes the table on the top of the stack, whose first key is a number, as a list.
unsafe fn write_list(
    state: *mut lua_State,
    marker: *const c_void,
    writer: &mut Writer<'_>,
) -> Result<(), Problem> {
    // SAFETY: as the module says. 2 places are used at each level.
    unsafe {
        let length = ffi::lua_objlen(state, -1);
        check_list(state, length)?;
        writer.open(b'[')?;
        for index in 1..=length {
            writer.separate(index == 1)?;
            ffi::lua_rawgeti_(state, -1, places(index));
            if let Err(problem) = write_value(state, marker, writer) {
                writer.note_index(index);
                return Err(problem);
            }
            ffi::lua_pop(state, 1);
        }
        writer.close(b']', length == 0);
        Ok(())
    }
}

/// Whether the keys of the table on the top of the stack are 1 to `length` and no others.
unsafe fn check_list(state: *mut lua_State, length: usize) -> Result<(), Problem> {
    let mut count = 0;
    // SAFETY: as the module says. 2 places are used.
    unsafe {
        let mut next = ffi::lua_rawiter(state, -1, 0);
        while next >= 0 {
            if ffi::lua_type(state, -2) != ffi::LUA_TNUMBER {
                return Err(Problem::MixedKeys);
            }
            let key = ffi::lua_tonumber(state, -2);
            if key < 1.0 || key > length as f64 || key.fract() != 0.0 {
                return Err(Problem::NoList);
            }
            count += 1;
            ffi::lua_pop(state, 2);
            next = ffi::lua_rawiter(state, -1, next);
        }
    }
    if count == length {
        Ok(())
    } else {
        Err(Problem::NoList)
    }
}
