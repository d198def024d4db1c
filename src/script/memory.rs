//! The VM's memory and its limit.

use std::cell::Cell;

use mlua::prelude::{Lua, LuaResult};

/// Calls `bookkeeping` with as much memory as it takes: for what must not fail when scripts have used up theirs. None of their
/// code may run in it.
///
/// # Errors
/// Those of `bookkeeping`.
pub fn beyond_the_limit<R>(lua: &Lua, bookkeeping: impl FnOnce() -> LuaResult<R>) -> LuaResult<R> {
    let limit = lua.set_memory_limit(0)?;
    let done = bookkeeping();
    lua.set_memory_limit(limit)?;
    done
}

/// Collects the garbage, for which the VM may need some memory itself.
///
/// # Errors
/// When the VM fails.
pub fn collect(lua: &Lua) -> LuaResult<()> {
    beyond_the_limit(lua, || lua.gc_collect())
}

/// Collects the garbage of a VM that has a limit. The VM does that when its memory has doubled, which may be beyond it.
#[derive(Default)]
pub struct Collector {
    /// Bytes that the VM held after its garbage was collected last.
    held: Cell<usize>,
}

impl Collector {
    /// Collects when half of what was left below `limit` is used.
    ///
    /// # Errors
    /// When the VM fails.
    pub fn collect_in_time(&self, lua: &Lua, limit: usize) -> LuaResult<()> {
        let held = self.held.get();
        let room = limit.saturating_sub(held) / 2;
        // When next to nothing is left, not at every turn.
        if lua.used_memory() < held + room.max(limit / 64) {
            return Ok(());
        }
        collect(lua)?;
        self.held.set(lua.used_memory());
        Ok(())
    }
}
