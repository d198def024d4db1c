//! What `tracing` is told of a client's exchanges: an event `answered` or `failed` (target [`TARGET`], level debug) with
//! `method`, `host`, `path`, `seconds` until the response's head, and `status` or `error`.

use std::time::Instant;

use tracing::{Level, debug, enabled};

use super::{ClientError, ClientRequest};

/// The `tracing` target of a client's requests.
///
/// ```
/// assert_eq!(lute_net::engine::client::TARGET, "lute_net::client");
/// ```
pub const TARGET: &str = "lute_net::client";

/// An exchange that somebody wants to know of.
pub(crate) struct Told(Instant);

impl Told {
    /// Nothing when nobody listens.
    pub(crate) fn begin() -> Option<Self> {
        enabled!(target: TARGET, Level::DEBUG).then(|| Self(Instant::now()))
    }

    /// The exchange's head came, or will not.
    pub(crate) fn end(self, request: &ClientRequest, status: Result<u16, &ClientError>) {
        let seconds = self.0.elapsed().as_secs_f64();
        let (method, url) = (request.method.as_str(), &request.url);
        let (host, path) = (url.host_str().unwrap_or_default(), url.path());
        match status {
            Ok(status) => {
                debug!(target: TARGET, method, host, path, status, seconds, "answered");
            }
            Err(error) => {
                debug!(target: TARGET, method, host, path, %error, seconds, "failed");
            }
        }
    }
}
