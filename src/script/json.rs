//! `@std/json` (RFC 8259): text to Luau values and back.
//!
//! serde_json reads the text, onto a flat [`tape`] of tokens, of which [`raw_vm`](super::raw_vm) makes the values in one go: no
//! tree in between. The other way [`raw_vm`](super::raw_vm) walks the values and the [`writer`] writes each.

mod tape;
mod writer;

use std::rc::Rc;

use mlua::prelude::{Lua, LuaFunction, LuaNil, LuaResult, LuaString, LuaTable, LuaValue};
use mlua::{IntoLuaMulti, MultiValue};

pub use self::{
    tape::{Tape, Token},
    writer::{DEPTH, Problem, Writer},
};
use super::{interrupt::Interrupt, raw_vm::json as raw};

/// The longest text that is written, in bytes. A table that is in a value many times is written as often: without a limit a
/// few of them could fill any memory.
const LONGEST: usize = 256 << 20;

/// What `luau/json.luau` calls. `deserialize(text, marker)` and `serialize(value, pretty, marker)` return the result, or
/// nil and why not. `marker` is the metatable of tables that are objects though they are empty. `memory` is what the VM may
/// have: no text is longer. What takes too long is stopped when `interrupt` says so.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, memory: Option<usize>, interrupt: &Rc<Interrupt>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set("null", LuaValue::NULL)?;
    native.set("deserialize", deserialize_function(lua)?)?;
    native.set(
        "serialize",
        serialize_function(lua, memory, interrupt.clone())?,
    )?;
    Ok(native)
}

fn deserialize_function(lua: &Lua) -> LuaResult<LuaFunction> {
    lua.create_function(|lua, (text, marker): (LuaString, LuaTable)| {
        let text = text.as_bytes();
        match Tape::read(&text) {
            Ok(tape) => raw::push(lua, &tape, marker),
            Err(error) => refused(lua, format!("invalid JSON: {error}")),
        }
    })
}

fn serialize_function(
    lua: &Lua,
    memory: Option<usize>,
    interrupt: Rc<Interrupt>,
) -> LuaResult<LuaFunction> {
    let longest = memory.unwrap_or(LONGEST).min(LONGEST);
    lua.create_function(
        move |lua, (value, pretty, marker): (LuaValue, bool, LuaTable)| {
            let mut writer = Writer::new(pretty, longest, &interrupt);
            match raw::walk(lua, value, marker, &mut writer)? {
                Ok(()) => lua.create_string(writer.text_so_far())?.into_lua_multi(lua),
                Err(problem @ (Problem::TooLong(_) | Problem::Late)) => {
                    refused(lua, format!("cannot serialize value: {problem}"))
                }
                Err(problem) => {
                    let place = String::from_utf8_lossy(writer.path()).into_owned();
                    refused(lua, format!("cannot serialize value{place}: {problem}"))
                }
            }
        },
    )
}

fn refused(lua: &Lua, message: String) -> LuaResult<MultiValue> {
    (LuaNil, message).into_lua_multi(lua)
}
