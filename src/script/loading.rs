//! Starts scripts: files, and sources that are none.

use std::path::Path;

use mlua::prelude::{Lua, LuaFunction, LuaThread, LuaVariadic};
use mlua::thread::ThreadStatus;

use super::{GONE, Script, plain_message, require};

impl Script {
    /// Starts a script file with `arguments` as its `...`; it runs up to its first wait.
    ///
    /// # Errors
    /// A text for the user when the file can't be read or is no Luau. Errors of the running script go to the hook.
    pub fn start_file(&self, path: &Path, arguments: &[String]) -> Result<(), String> {
        let lua = self.lua().map_err(|error| plain_message(&error))?;
        let name = require::chunk_name(path);
        let chunk = require::compile(&lua, path, &name)?;
        self.start(&lua, chunk, arguments)
    }

    /// As [`Self::start_file`], for a source that is no file; `name` stands in its errors.
    ///
    /// # Errors
    /// As [`Self::start_file`].
    pub fn start_source(
        &self,
        name: &str,
        source: &str,
        arguments: &[String],
    ) -> Result<(), String> {
        let lua = self.lua().map_err(|error| plain_message(&error))?;
        let chunk = require::compile_text(&lua, source.as_bytes(), &format!("@{name}"))?;
        self.start(&lua, chunk, arguments)
    }

    /// Whether a script has not come to its end yet: it may register more test cases.
    pub fn is_loading(&self) -> bool {
        let mut loading = self.loading.borrow_mut();
        loading.retain(is_unfinished);
        !loading.is_empty()
    }

    fn start(&self, lua: &Lua, chunk: LuaFunction, arguments: &[String]) -> Result<(), String> {
        let thread = lua
            .create_thread(chunk)
            .map_err(|error| plain_message(&error))?;
        let Some(luau) = self.luau.get() else {
            return Err(GONE.to_owned());
        };
        let arguments: LuaVariadic<String> = arguments.iter().cloned().collect();
        let mut loading = self.loading.borrow_mut();
        loading.retain(is_unfinished);
        loading.push(thread.clone());
        drop(loading);
        let _turn = self.interrupt.turn();
        luau.drive
            .call((thread, arguments))
            .map_err(|error| plain_message(&error))
    }
}

fn is_unfinished(thread: &LuaThread) -> bool {
    thread.status() == ThreadStatus::Resumable
}
