//! Errors on their way out of the VM: texts for people, and who is told of them.

use mlua::prelude::{LuaError, LuaValue};

use super::{Script, contained::contained, luau, settings::ScriptError};

impl Script {
    /// Reports an error that no script caught.
    pub fn report(&self, message: &str, traceback: &str) {
        self.errors.set(self.errors.get() + 1);
        let error = ScriptError {
            message: message.to_owned(),
            traceback: script_frames(traceback),
        };
        if let Err(text) = contained(|| (self.settings.on_error)(&error)) {
            eprintln!("{error}\nthe error hook panicked: {text}");
        }
    }

    /// Reports an error of the VM's own: somebody may wait now for what it was about to do.
    pub(super) fn report_failure(&self, error: &LuaError) {
        self.report(&plain_message(error), "");
        self.scheduler.unsettle();
    }
}

/// A traceback without our own frames.
pub fn script_frames(traceback: &str) -> String {
    let frames = traceback
        .lines()
        .filter(|frame| !frame.contains(luau::CHUNK_PREFIX));
    frames.collect::<Vec<_>>().join("\n")
}

/// A raised value's text.
pub fn describe(problem: &LuaValue) -> String {
    match problem {
        LuaValue::Error(error) => plain_message(error),
        other => other.to_string().unwrap_or_else(|_| {
            format!("(an error whose __tostring fails: {})", other.type_name())
        }),
    }
}

/// An error's text without Rust's words and without a traceback.
pub fn plain_message(error: &LuaError) -> String {
    match error {
        LuaError::RuntimeError(message)
        | LuaError::SyntaxError { message, .. }
        | LuaError::MemoryError(message) => message
            .split("\nstack traceback:")
            .next()
            .unwrap_or_default()
            .to_owned(),
        LuaError::CallbackError { cause, .. } => plain_message(cause),
        other => other.to_string(),
    }
}
