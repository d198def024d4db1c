//! Tables of Rust functions for our Luau files.

use std::rc::{Rc, Weak};

use mlua::prelude::{Lua, LuaResult, LuaTable};
use mlua::{FromLuaMulti, IntoLuaMulti};

use super::Script;

/// A table of functions that need the script; once the runtime is gone they do nothing.
pub struct Natives<'l> {
    lua: &'l Lua,
    table: LuaTable,
    script: Weak<Script>,
}

impl<'l> Natives<'l> {
    /// An empty one.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(lua: &'l Lua, script: &Rc<Script>) -> LuaResult<Self> {
        Ok(Self {
            lua,
            table: lua.create_table()?,
            script: Rc::downgrade(script),
        })
    }

    /// The table, for functions that need no script.
    pub fn table(&self) -> &LuaTable {
        &self.table
    }

    /// Adds a function.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn set<A: FromLuaMulti, R: IntoLuaMulti>(
        &self,
        name: &str,
        function: impl Fn(&Rc<Script>, A) -> LuaResult<R> + 'static,
    ) -> LuaResult<()> {
        let script = self.script.clone();
        let function =
            self.lua
                .create_function(move |lua, arguments: A| match script.upgrade() {
                    Some(script) => function(&script, arguments)?.into_lua_multi(lua),
                    None => (mlua::Nil, super::GONE).into_lua_multi(lua),
                })?;
        self.table.set(name, function)
    }

    /// The table.
    pub fn into_table(self) -> LuaTable {
        self.table
    }
}
