//! The globals that scripts see.

use std::io::Write;

use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaString, LuaTable};

use super::luau;

/// Changes the `coroutine` library: the `coroutines` functions of `luau/scheduler.luau` know of what a coroutine waits for
/// and who waits for it.
///
/// # Errors
/// When the library is read-only, or the VM has no memory left.
pub fn adapt_coroutines(lua: &Lua, coroutines: LuaTable) -> LuaResult<()> {
    let standard: LuaTable = lua.globals().get("coroutine")?;
    coroutines.for_each(|name: String, function: LuaFunction| standard.set(name, function))
}

/// Changes the globals of a VM that is all ours, before it is sandboxed: `print` writes line by line, and `loadstring`,
/// which would raise errors of Rust's, is not there (Lute has none either).
///
/// # Errors
/// When the VM has no memory left.
pub fn adapt_globals(lua: &Lua) -> LuaResult<()> {
    let globals = lua.globals();
    globals.set("loadstring", mlua::Nil)?;
    let write = lua.create_function(|_, line: LuaString| {
        write_line(&line.as_bytes());
        Ok(())
    })?;
    globals.set("print", luau::load::<LuaFunction>(lua, luau::PRINT, write)?)
}

/// Globals for one script file: what it sets is its own, what it does not set comes from the shared ones.
///
/// # Errors
/// When the VM has no memory left.
pub fn fresh(lua: &Lua) -> LuaResult<LuaTable> {
    let environment = lua.create_table()?;
    let meta = lua.create_table()?;
    meta.set("__index", lua.globals())?;
    meta.set_readonly(true);
    environment.set_metatable(Some(meta))?;
    environment.set_safeenv(true);
    Ok(environment)
}

/// A reader that has gone away is no reason for a script to fail: as in C, the line is lost.
fn write_line(line: &[u8]) {
    let mut output = std::io::stdout().lock();
    let _ = output
        .write_all(line)
        .and_then(|()| output.write_all(b"\n"));
}
