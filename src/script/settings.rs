//! What a host decides for its scripts, kept for every VM that a runtime makes.

use std::{fmt, rc::Rc, time::Duration};

use super::{host_modules::HostModules, servers::Ports};
use crate::engine::policy::Policy;

/// Called with each error that no script caught.
pub type ErrorHook = Rc<dyn Fn(&ScriptError)>;

/// An error that no script caught.
///
/// ```
/// let builder = lute_net::Runtime::builder().on_error(|error| {
///     assert_eq!(error.message, "app.luau:1: no map");
///     assert!(error.traceback.contains("app.luau:1"));
/// });
/// let runtime = builder.build()?;
/// runtime.load_source("app.luau", "error('no map')", &[])?;
/// # Ok::<(), lute_net::Error>(())
/// ```
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
    /// Where they may connect to and listen.
    pub policy: Rc<Policy>,
    /// What they may use.
    pub limits: Limits,
    /// The host's connections that requests go through.
    #[cfg(feature = "async-h1")]
    pub carriers: super::async_h1::carriers::Carriers,
}

impl Default for Settings {
    /// Errors go to stderr.
    fn default() -> Self {
        Self {
            on_error: Rc::new(|error| eprintln!("{error}")),
            ports: Ports::default(),
            modules: HostModules::default(),
            policy: Rc::default(),
            limits: Limits::default(),
            #[cfg(feature = "async-h1")]
            carriers: super::async_h1::carriers::Carriers::default(),
        }
    }
}

/// What the scripts of a runtime may use, on top of what they set themselves (the servers' `maxconnections`, the client's
/// `maxbodysize` …). None is no limit.
///
/// ```
/// use std::time::Duration;
/// use lute_net::{Limits, Runtime};
///
/// let runtime = Runtime::builder()
///     .limits(Limits {
///         memory: Some(64 << 20),
///         turn: Some(Duration::from_millis(100)),
///         ..Limits::default()
///     })
///     .on_error(|error| assert!(error.message.contains("without waiting")))
///     .build()?;
/// runtime.load_source("loops.luau", "while true do pcall(function() while true do end end) end", &[])?;
/// assert_eq!(runtime.uncaught_errors(), 1);
/// # Ok::<(), lute_net::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the VM. What goes beyond is the error `not enough memory` in the script that asked for it. Garbage counts
    /// until it is collected: give about twice what the scripts hold.
    pub memory: Option<usize>,
    /// Open connections, the servers' and the clients' together. Clients of the servers then wait in the backlog, and
    /// requests of the scripts wait for an end of another connection, until they time out.
    pub connections: Option<usize>,
    /// Requests of the scripts' client that are in flight at once, streamed responses until their end; one more is an error.
    pub requests: Option<usize>,
    /// Bytes of a body: of each request to the servers and of each response to the client.
    pub body: Option<u64>,
    /// How long a script may run between two waits. Then it is stopped, whatever it catches: an error that nobody caught,
    /// and everything else goes on. The check costs about 30 ns for each call and each turn of a loop.
    pub turn: Option<Duration>,
}
