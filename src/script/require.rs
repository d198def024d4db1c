//! `require` for scripts: files, `init.luau`, `@self` and `.luaurc` aliases by Luau's require-by-string rules.
//!
//! mlua's [`FsRequirer`] finds the files. Here: names with their extension, so that an error says which file; a module's
//! own globals; and errors as plain strings, also for a file with a syntax error.

use std::{
    env, fs,
    io::Result as IoResult,
    path::{Path, PathBuf},
};

use mlua::luau::{FsRequirer, NavigateError, Require};
use mlua::prelude::{Lua, LuaFunction, LuaResult};

use super::{environment, plain_message};

/// Finds modules for scripts.
pub struct FileRequirer {
    files: FsRequirer,
    /// `luau/require.luau`: makes the function that runs a module's chunk.
    run: LuaFunction,
}

impl FileRequirer {
    /// A requirer that runs what it finds with `run`.
    pub fn new(run: LuaFunction) -> Self {
        Self {
            files: FsRequirer::new(),
            run,
        }
    }
}

impl Require for FileRequirer {
    fn is_require_allowed(&self, chunk_name: &str) -> bool {
        self.files.is_require_allowed(chunk_name)
    }

    fn reset(&mut self, chunk_name: &str) -> Result<(), NavigateError> {
        // `dir/init.luau` is the module `dir`.
        let module = chunk_name
            .strip_suffix("/init.luau")
            .or_else(|| chunk_name.strip_suffix("/init.lua"));
        self.files.reset(module.unwrap_or(chunk_name))
    }

    fn jump_to_alias(&mut self, path: &str) -> Result<(), NavigateError> {
        self.files.jump_to_alias(path)
    }

    fn to_parent(&mut self) -> Result<(), NavigateError> {
        self.files.to_parent()
    }

    fn to_child(&mut self, name: &str) -> Result<(), NavigateError> {
        self.files.to_child(name)
    }

    fn has_module(&self) -> bool {
        self.files.has_module()
    }

    fn cache_key(&self) -> String {
        self.files.cache_key()
    }

    fn has_config(&self) -> bool {
        self.files.has_config()
    }

    fn config(&self) -> IoResult<Vec<u8>> {
        self.files.config()
    }

    fn loader(&self, lua: &Lua) -> LuaResult<LuaFunction> {
        let path = PathBuf::from(self.files.cache_key());
        let name = chunk_name(&path);
        let shown = name.trim_start_matches('@');
        match compile(lua, &path, &name) {
            Ok(chunk) => self.run.call((shown, chunk)),
            Err(problem) => self.run.call((shown, false, problem)),
        }
    }
}

/// The chunk of a script file with globals of its own; the error names file and line.
///
/// # Errors
/// A text for the user: the file can't be read, or is no Luau.
pub fn compile(lua: &Lua, path: &Path, name: &str) -> Result<LuaFunction, String> {
    let text =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    compile_text(lua, &text, name)
}

/// As [`compile`], for a source that is no file.
///
/// # Errors
/// A text for the user: it is no Luau.
pub fn compile_text(lua: &Lua, text: &[u8], name: &str) -> Result<LuaFunction, String> {
    // A `#!` line is for the system that starts the script.
    let text = if text.starts_with(b"#!") {
        [b"--", text].concat()
    } else {
        text.to_vec()
    };
    let environment = environment::fresh(lua).map_err(|error| plain_message(&error))?;
    let chunk = lua
        .load(text)
        .set_name(name)
        .set_mode(mlua::chunk::ChunkMode::Text)
        .set_environment(environment);
    chunk.into_function().map_err(|error| plain_message(&error))
}

/// `@` and the path, as errors show it: relative to the working directory where that is shorter.
pub fn chunk_name(path: &Path) -> String {
    let relative = env::current_dir()
        .ok()
        .and_then(|current| path.strip_prefix(current).ok().map(Path::to_owned));
    format!("@{}", relative.as_deref().unwrap_or(path).display())
}
