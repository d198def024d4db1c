//! Why there is no response, in words that can stand behind `network request failed: `.

use std::{fmt, io, time::Duration};

use crate::{
    engine::dialer::{DialError, ProxyError, system_text},
    wire::{BodyError, ResponseError},
};

/// Why a request has no response. Each begins with the origin (`host:port`, or a Unix socket's path) where there is one.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// use lute_net::engine::client::ClientError;
///
/// let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?; // and nobody listens there
/// let request = ClientRequest::get(format!("http://{free}/").parse()?);
/// let error = engine.block_on(client.send(request))?.err().unwrap();
/// assert!(matches!(error, ClientError::Dial(DialError::Refused { .. })), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum ClientError {
    /// There is no connection.
    Dial(DialError),
    /// The proxy's URL, in the environment or the options, is wrong.
    Proxy(ProxyError),
    /// The connection failed on the way.
    Io(String, io::Error),
    /// The server closed the connection before its response was complete.
    Closed(String),
    /// The response's head breaks HTTP's rules.
    Head(String, ResponseError),
    /// More 1xx responses than any server has reason to send.
    Interim(String),
    /// 101, which was not asked for.
    Switched(String),
    /// The response's body breaks HTTP's rules.
    Body(String, BodyError),
    /// The response's body is not what its `Content-Encoding` says.
    Coding(String, &'static str),
    /// The response's body is larger than the limit, in bytes.
    TooLarge(String, u64),
    /// The whole took too long.
    TimedOut(String, Duration),
    /// The server neither sent nor took anything for so long.
    Stalled(String, Duration),
    /// The request's body can't be made: why.
    Source(String),
    /// The request's body is longer than its `Content-Length`, or shorter.
    SourceLength(&'static str),
    /// More redirects than the limit.
    TooManyRedirects(String, u32),
    /// A redirect that the options forbid: from where, to where.
    Redirected(String, String),
    /// A redirect that can't be followed: from where, the `Location`, why not.
    BadRedirect(String, String, &'static str),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Proxy(error) => error.fmt(f),
            Self::Io(origin, error) => {
                write!(
                    f,
                    "the connection to {origin} failed: {}",
                    system_text(error)
                )
            }
            Self::Closed(origin) => write!(
                f,
                "{origin} closed the connection before its response was complete"
            ),
            Self::Head(origin, error) => write!(f, "{origin} sent an invalid response: {error}"),
            Self::Interim(origin) => write!(f, "{origin} sent too many interim responses"),
            Self::Switched(origin) => {
                write!(
                    f,
                    "{origin} switched to another protocol without being asked"
                )
            }
            Self::Body(origin, error) => {
                write!(f, "{origin} sent an invalid response body: {error}")
            }
            Self::Coding(origin, problem) => {
                write!(
                    f,
                    "{origin} sent a response body that cannot be decompressed: {problem}"
                )
            }
            Self::TooLarge(origin, limit) => {
                write!(f, "the response of {origin} is larger than {limit} bytes")
            }
            Self::TimedOut(origin, after) => {
                write!(f, "{origin} timed out after {} s", after.as_secs_f64())
            }
            Self::Stalled(origin, after) => write!(
                f,
                "{origin} timed out after {} s without a byte",
                after.as_secs_f64()
            ),
            Self::Source(problem) => write!(f, "the request's body failed: {problem}"),
            Self::SourceLength(problem) => write!(f, "the request's body is {problem}"),
            Self::TooManyRedirects(origin, limit) => {
                write!(f, "{origin} redirects once more after {limit} redirects")
            }
            Self::Redirected(origin, location) => write!(f, "{origin} redirects to {location}"),
            Self::BadRedirect(origin, location, problem) => {
                write!(f, "{origin} redirects to {location}, but {problem}")
            }
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dial(error) => Some(error),
            Self::Proxy(error) => Some(error),
            Self::Io(_, error) => Some(error),
            _ => None,
        }
    }
}
