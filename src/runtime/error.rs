//! Why a runtime can't do what it was asked.

use std::{fmt, io};

use mlua::prelude::LuaError;

/// Why a runtime can't do what it was asked.
///
/// ```
/// use lute_net::{Error, Runtime};
///
/// let runtime = Runtime::builder().build()?;
/// let problem = runtime.load_source("broken.luau", "local = 1", &[]);
/// assert!(matches!(problem, Err(Error::Script(text)) if text.starts_with("broken.luau:1:")));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The script can't be read, is no Luau, or raised where the host called it: a text for the user, with file and line.
    Script(String),
    /// The VM failed (it has no memory left).
    Vm(LuaError),
    /// The system's poller failed.
    Io(io::Error),
    /// Called from inside the script that it should run.
    Reentered,
    /// A setting makes no sense: a text for the host's programmer.
    Setting(String),
    /// Code of this library or of the host panicked where nobody could catch it: the panic's text. What the runtime did at
    /// that moment is lost; others go on.
    Panicked(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(message) | Self::Setting(message) => f.write_str(message),
            Self::Vm(error) => write!(f, "the Luau VM failed: {error}"),
            Self::Io(error) => write!(f, "the poller failed: {error}"),
            Self::Reentered => f.write_str("a runtime cannot be run from inside its own script"),
            Self::Panicked(text) => write!(f, "a panic in the runtime: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<LuaError> for Error {
    fn from(error: LuaError) -> Self {
        Self::Vm(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
