//! `CONNECT`: a connection through a proxy (RFC 9110 §9.3.6).

use futures_lite::AsyncWriteExt;

use super::{Destination, DialError, Proxy, error::system_text};
use crate::{
    engine::socket::Socket,
    wire::{FieldStorage, HeadProgress, MOST_INTERIM, Parsed, encode, parse_response},
};

/// The largest answer to `CONNECT`, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Has `proxy`, at the other end of `socket`, connect to `destination`; afterwards the bytes on `socket` are those of the
/// destination.
///
/// # Errors
/// When the proxy refuses, answers nonsense or goes away. How long it takes is the caller's to bound.
pub async fn open(
    socket: &mut Socket,
    proxy: &Proxy,
    destination: &Destination,
) -> Result<(), DialError> {
    let broken = |cause: String| DialError::ProxyBroken {
        proxy: proxy.name(),
        cause,
    };
    let lost = |error| broken(format!("lost the connection: {}", system_text(&error)));
    let authority = format!("{}:{}", destination.host, destination.port);
    let request = request(proxy, &authority);
    socket.write_all(&request).await.map_err(lost)?;

    let (mut progress, mut interim) = (HeadProgress::default(), 0);
    let mut input = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        socket.readable().await.map_err(lost)?;
        match socket.try_read(&mut buffer).map_err(lost)? {
            None => continue,
            Some(0) => return Err(broken("closed the connection".to_owned())),
            Some(count) => input.extend_from_slice(&buffer[..count]),
        }
        while progress.worth_parsing(&input) || input.len() >= MAX_HEAD {
            let Some((status, length)) = answer(&input).map_err(broken)? else {
                break;
            };
            match status {
                100..=199 if interim == MOST_INTERIM => {
                    return Err(broken("sent too many interim responses".to_owned()));
                }
                100..=199 => {
                    interim += 1;
                    progress = HeadProgress::default();
                    drop(input.drain(..length));
                }
                // The destination speaks second in TLS, HTTP and WebSocket.
                200..=299 if length == input.len() => return Ok(()),
                200..=299 => return Err(broken("sent bytes before it was asked".to_owned())),
                status => {
                    return Err(DialError::ProxyRefused {
                        proxy: proxy.name(),
                        to: authority,
                        status,
                    });
                }
            }
        }
    }
}

fn request(proxy: &Proxy, authority: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode::request_line(&mut out, "CONNECT", authority);
    encode::field(&mut out, "Host", authority);
    if let Some(credentials) = proxy.credentials() {
        encode::field(&mut out, "Proxy-Authorization", credentials);
    }
    encode::end_of_head(&mut out);
    out
}

/// Status and length of the answer's head, once it is whole.
fn answer(input: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let mut storage = FieldStorage::new();
    match parse_response(input, &mut storage, MAX_HEAD) {
        Ok(Parsed::Complete(head)) => Ok(Some((head.status(), head.length()))),
        Ok(Parsed::Partial) => Ok(None),
        Err(error) => Err(format!("sent an invalid response: {error}")),
    }
}
