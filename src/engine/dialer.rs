//! Finds a host's addresses and connects to one of them.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    rc::Rc,
};

use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::{Engine, socket::Socket};

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

/// Connects to the first of `addresses` that accepts.
///
/// # Errors
/// The last address's, or `AddrNotAvailable` when there is none.
pub async fn connect(engine: &Rc<Engine>, addresses: &[SocketAddr]) -> io::Result<Socket> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match connect_one(engine, *address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn connect_one(engine: &Rc<Engine>, address: SocketAddr) -> io::Result<Socket> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let done = match socket.connect(&SockAddr::from(address)) {
        Ok(()) => true,
        Err(error) if is_in_progress(&error) => false,
        Err(error) => return Err(error),
    };
    let socket = Socket::new(engine.reactor(), socket)?;
    if !done {
        socket.writable().await?;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
    }
    Ok(socket)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}
