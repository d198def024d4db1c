//! Requests that are not served, and what their clients are told.

use crate::{
    engine::limits::Limits,
    wire::{MOST_EMPTY_LINES, encode},
};

/// A request that is answered with an error, and the connection ended.
///
/// ```
/// use lute_net::engine::intake::Refusal;
///
/// let refusal = Refusal { status: 413, reason: "the body is larger than 4 bytes".into() };
/// assert!(refusal.status >= 400 && refusal.reason.contains("larger"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 4xx or 5xx.
    pub status: u16,
    /// Why, for a person.
    pub reason: String,
}

impl Refusal {
    /// The bodies of all clients together take too much memory.
    pub(super) fn too_much_in_memory() -> Self {
        Self {
            status: 503,
            reason: "the server holds too many request bodies".to_owned(),
        }
    }

    /// The body is larger than `limits` allow.
    pub(super) fn too_large(limits: &Limits) -> Self {
        Self {
            status: 413,
            reason: format!("the body is larger than {} bytes", limits.body),
        }
    }

    /// Adds the whole response; the connection ends with it. `date` is an IMF-fixdate.
    pub(crate) fn write(&self, body: RefusalBody, date: &str, out: &mut Vec<u8>) {
        match body {
            RefusalBody::Reason => encode::error_response(out, self.status, date, &self.reason),
            RefusalBody::Empty => {
                encode::error_head(out, self.status, date, &self.reason);
            }
        }
    }
}

/// What a refusal has for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalBody {
    /// The reason.
    Reason,
    /// Nothing: it answers a HEAD (RFC 9110 §9.3.2).
    Empty,
}

impl RefusalBody {
    /// That of the answer to a request that begins like this.
    pub(crate) fn to(request: &[u8]) -> Self {
        // Behind the empty lines that are skipped and no others: what stands there may be refused before a method has come.
        let mut request = request;
        for _ in 0..MOST_EMPTY_LINES {
            request = request.strip_prefix(b"\r\n").unwrap_or(request);
        }
        if request.starts_with(b"HEAD ") {
            Self::Empty
        } else {
            Self::Reason
        }
    }
}
