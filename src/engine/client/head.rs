//! The heads of requests, as they are sent.

use url::Position;

use super::{ClientRequest, Expectation, RequestBody};
use crate::{
    engine::dialer::{Destination, Route},
    wire::encode,
};

/// Fields that belong to the connection and the framing: the client writes them itself (RFC 9110 §7.6.1).
const OWN_FIELDS: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

const USER_AGENT: &str = concat!("lute-net/", env!("CARGO_PKG_VERSION"));

/// The codings that are undone, best first.
const CODINGS: &str = "gzip, deflate, br, zstd";

/// Whether a field is left out of requests, since the client writes it itself.
///
/// ```
/// use lute_net::engine::client::is_own_field;
///
/// assert!(is_own_field(b"content-length") && !is_own_field(b"Content-Type"));
/// ```
pub fn is_own_field(name: &[u8]) -> bool {
    OWN_FIELDS
        .iter()
        .any(|own| own.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a compressed response is asked for.
pub fn asks_for_coding(request: &ClientRequest) -> bool {
    // A part of a compressed body can't be undone alone.
    let own = || request.fields.has("accept-encoding") || request.fields.has("range");
    request.options.decompress && !own()
}

/// Writes the head of `request`, whose `body` goes to `destination`.
pub fn encode(
    out: &mut Vec<u8>,
    request: &ClientRequest,
    destination: &Destination,
    body: &RequestBody,
    expectation: Expectation,
) {
    let (url, fields) = (&request.url, &request.fields);
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    if let Route::Forward(proxy) = &destination.route {
        // RFC 9112 §3.2.2
        let absolute = format!("{}://{host}{target}", url.scheme());
        encode::request_line(out, &request.method, &absolute);
        if let Some(credentials) = proxy.credentials() {
            encode::field(out, "Proxy-Authorization", credentials);
        }
    } else {
        encode::request_line(out, &request.method, target);
    }
    let defaults = [
        ("Host", host),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
    ];
    for (name, value) in defaults {
        if !fields.has(name) {
            encode::field(out, name, value);
        }
    }
    if asks_for_coding(request) {
        encode::field(out, "Accept-Encoding", CODINGS);
    }
    if let Some(credentials) = request.credentials() {
        encode::field(out, "Authorization", credentials);
    }
    for (name, value) in fields.iter() {
        encode::field(out, name, value);
    }
    encode_framing(out, &request.method, body);
    if matches!(expectation, Expectation::Continue(_)) {
        encode::field(out, "Expect", "100-continue");
    }
    if request.closes {
        encode::field(out, "Connection", "close");
    }
    encode::end_of_head(out);
}

fn encode_framing(out: &mut Vec<u8>, method: &str, body: &RequestBody) {
    match body {
        RequestBody::Bytes(bytes) => encode::content_length(out, bytes.len() as u64),
        // RFC 9110 §8.6: a method that anticipates a body says so even when it is empty.
        RequestBody::Empty if matches!(method, "POST" | "PUT" | "PATCH") => {
            encode::content_length(out, 0);
        }
        RequestBody::Empty => {}
        RequestBody::Streamed {
            length: Some(length),
            ..
        } => encode::content_length(out, *length),
        RequestBody::Streamed { length: None, .. } => {
            encode::field(out, "Transfer-Encoding", "chunked");
        }
    }
}
