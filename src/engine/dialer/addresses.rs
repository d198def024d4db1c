//! Finds a host's addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
};

/// The addresses of `host`, on smol's blocking pool unless `host` is an address itself. IPv6 literals may stand in
/// brackets.
///
/// # Errors
/// The resolver's: no such host, no answer.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    smol::unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())).await
}

/// `host` as an address, when it is written as one.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}
