//! Why there is no connection, in words that can stand behind `network request failed: ` as well as behind
//! `websocket connect failed: `.

use std::{fmt, io, time::Duration};

use crate::engine::tls::TlsError;

/// Why a [`Dialer`](super::Dialer) has no connection. `to` is `host:port`, `the proxy host:port` or a Unix socket's path.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let nowhere = Destination { route: Route::Local("/no/such.sock".into()), ..Destination::new("a", 80) };
/// let dialed = engine.block_on(client.dialer().dial(&nowhere, std::time::Duration::from_secs(20)))?;
/// assert!(matches!(dialed, Err(DialError::Connect { to, .. }) if to == "/no/such.sock"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum DialError {
    /// The name has no address, or nobody could tell.
    NotFound {
        /// The name.
        host: String,
        /// The resolver's reason.
        error: io::Error,
    },
    /// Nobody listens there.
    Refused {
        /// Where.
        to: String,
    },
    /// The connection was not made for another reason: no way to the host, no such Unix socket.
    Connect {
        /// Where.
        to: String,
        /// The system's reason.
        error: io::Error,
    },
    /// It took too long.
    TimedOut {
        /// Where.
        to: String,
        /// The time it had.
        after: Duration,
    },
    /// The handshake failed, or its certificates can't be loaded.
    Tls(TlsError),
    /// The proxy does not connect to the destination.
    ProxyRefused {
        /// `the proxy host:port`.
        proxy: String,
        /// The destination.
        to: String,
        /// What the proxy answered.
        status: u16,
    },
    /// The proxy does not speak as a proxy does.
    ProxyBroken {
        /// `the proxy host:port`.
        proxy: String,
        /// What is wrong.
        cause: String,
    },
    /// The [`Gate`](super::Gate) forbids it: its reason.
    Denied(String),
}

impl DialError {
    pub(super) fn connect(to: String, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { to },
            _ => Self::Connect { to, error },
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { host, error } => {
                write!(f, "{host} not found ({})", system_text(error))
            }
            Self::Refused { to } => write!(f, "{to} refused the connection"),
            Self::Connect { to, error } => {
                write!(f, "cannot connect to {to}: {}", system_text(error))
            }
            Self::TimedOut { to, after } => write!(
                f,
                "connecting to {to} timed out after {} s",
                after.as_secs_f64()
            ),
            Self::Tls(error) => error.fmt(f),
            Self::ProxyRefused {
                proxy,
                to,
                status: 407,
            } => write!(
                f,
                "{proxy} wants credentials to connect to {to}: status 407"
            ),
            Self::ProxyRefused { proxy, to, status } => {
                write!(f, "{proxy} did not connect to {to}: status {status}")
            }
            Self::ProxyBroken { proxy, cause } => write!(f, "{proxy} {cause}"),
            Self::Denied(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotFound { error, .. } | Self::Connect { error, .. } => Some(error),
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

/// The system's text without Rust's `(os error N)`.
pub(crate) fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}
