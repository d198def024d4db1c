//! What a host decides for its scripts, kept for every VM that a runtime makes.

use std::{fmt, rc::Rc, time::Duration};

use super::{host_modules::HostModules, serve::Ports};

/// Called with each error that no script caught.
pub type ErrorHook = Rc<dyn Fn(&ScriptError)>;

/// An error that no script caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// What was raised, as a string.
    pub message: String,
    /// Where, one line a frame; empty where there is none.
    pub traceback: String,
}

impl fmt::Display for ScriptError {
    /// The message, and below it the traceback, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.traceback
            .lines()
            .try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

/// What a host decides for its scripts.
#[derive(Clone)]
pub struct Settings {
    /// Who is told of errors that no script caught.
    pub on_error: ErrorHook,
    /// Whether other processes listen on the ports of this one.
    pub ports: Ports,
    /// The host's own modules.
    pub modules: HostModules,
    /// How long a script may run between two waits.
    pub longest_turn: Option<Duration>,
}

impl Default for Settings {
    /// Errors go to stderr.
    fn default() -> Self {
        Self {
            on_error: Rc::new(|error| eprintln!("{error}")),
            ports: Ports::default(),
            modules: HostModules::default(),
            longest_turn: None,
        }
    }
}
