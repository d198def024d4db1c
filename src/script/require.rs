//! `require` for scripts: files, `init.luau`, `@self` and `.luaurc` aliases by Luau's require-by-string rules.
//!
//! mlua's [`FsRequirer`] finds the files. Here: names with their extension, so that an error says which file; a module's
//! own globals; and errors as plain strings, also for a file with a syntax error.

use std::{
    cell::RefCell,
    env, fs,
    io::Result as IoResult,
    path::{Path, PathBuf},
    rc::Rc,
};

use mlua::luau::{FsRequirer, NavigateError, Require};
use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaTable};

use super::{environment, luau, plain_message};

/// The `require` function for scripts. `closed` is told of a coroutine that was closed while it waited; `builtin` knows
/// the modules that are no files.
///
/// # Errors
/// When the VM has no memory left.
pub fn function(lua: &Lua, closed: LuaFunction, builtin: LuaFunction) -> LuaResult<LuaFunction> {
    let script = Rc::<RefCell<String>>::default();
    let found = script.clone();
    let locate = lua.create_function(move |lua, ()| {
        *found.borrow_mut() = calling_script(lua);
        Ok(())
    })?;
    let parts: LuaTable = luau::load(lua, luau::REQUIRE, (closed, locate, builtin))?;
    let requirer = FileRequirer {
        files: FsRequirer::new(),
        script,
        loader: parts.get("loader")?,
    };
    parts
        .get::<LuaFunction>("wrap")?
        .call(lua.create_require_function(requirer)?)
}

/// The chunk name of the script that called `require`, above `locate` and `require` themselves.
fn calling_script(lua: &Lua) -> String {
    let source_at = |level| {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            (source.what != "C").then(|| {
                source
                    .source
                    .map(|name| name.into_owned())
                    .unwrap_or_default()
            })
        })
    };
    (2..)
        .map_while(source_at)
        .flatten()
        .next()
        .unwrap_or_default()
}

/// Finds modules for scripts.
struct FileRequirer {
    files: FsRequirer,
    /// The chunk name of the script that requires: mlua itself would find our wrapper in its place.
    script: Rc<RefCell<String>>,
    /// Makes the function that runs a module's chunk; see `luau/require.luau`.
    loader: LuaFunction,
}

impl Require for FileRequirer {
    fn is_require_allowed(&self, _: &str) -> bool {
        self.files.is_require_allowed(&self.script.borrow())
    }

    fn reset(&mut self, _: &str) -> Result<(), NavigateError> {
        let script = self.script.borrow();
        // `dir/init.luau` is the module `dir`.
        let module = script
            .strip_suffix("/init.luau")
            .or_else(|| script.strip_suffix("/init.lua"));
        self.files.reset(module.unwrap_or(&script))
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
            Ok(chunk) => self.loader.call((shown, chunk)),
            Err(problem) => self.loader.call((shown, false, problem)),
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
