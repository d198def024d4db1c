//! The rules of RFC 9112 (HTTP/1.1) for servers, each with the bytes that follow or break it. A test is named after its
//! section and rule; `docs/conformance.md` lists them.

mod body;
mod chunked;
mod connection;
mod fields;
mod message;
mod request_line;

use std::io::Write;

use crate::support::{Server, read_response};

/// A server that answers with what it understood: method, target, `Host` and body.
pub fn server() -> Server {
    Server::with_handler(
        "return `{request.method} {request.url} {request.headers.host or '-'} [{request.body}]`",
    )
}

/// What would be served if the bytes before it were taken for a whole message.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// `request` gets this status and nothing else, what follows it is not served, and the connection ends.
pub fn refused(server: &Server, request: impl AsRef<[u8]>, status: u16) {
    let mut bytes = request.as_ref().to_vec();
    let shown = String::from_utf8_lossy(&bytes)
        .chars()
        .take(100)
        .collect::<String>();
    bytes.extend_from_slice(SMUGGLED.as_bytes());
    let answer = server.exchange(&bytes);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{shown:?}: {answer}"
    );
    assert!(
        answer.contains("\r\nConnection: close\r\n"),
        "{shown:?}: {answer}"
    );
    assert_eq!(
        answer.matches("\r\nDate: ").count(),
        1,
        "{shown:?}: {answer}"
    );
}

/// The body of the answer to `request`, whose connection then serves another one.
pub fn served(server: &Server, request: impl AsRef<[u8]>) -> String {
    let shown = String::from_utf8_lossy(request.as_ref()).into_owned();
    let mut stream = server.connect();
    stream.write_all(request.as_ref()).unwrap();
    let (head, body) = read_response(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{shown:?}: {head}{body}");
    stream
        .write_all(b"GET /after HTTP/1.1\r\nHost: b\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "GET /after b []", "{shown:?}");
    body
}

/// As [`served`], for a request after which the connection ends.
pub fn served_last(server: &Server, request: impl AsRef<[u8]>) -> String {
    let shown = String::from_utf8_lossy(request.as_ref()).into_owned();
    let answer = server.exchange(request.as_ref());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{shown:?}: {answer}");
    assert!(
        head.ends_with("\r\nConnection: close"),
        "{shown:?}: {answer}"
    );
    body.to_owned()
}
