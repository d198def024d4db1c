//! Connects to one of several addresses, without waiting long for one that does not answer (RFC 8305).

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    path::Path,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use crate::engine::{Engine, socket::Socket};

/// How long an attempt is alone before the next address is tried beside it (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long to wait for a Unix listener whose backlog is full.
const BACKLOG_DELAY: Duration = Duration::from_millis(5);

type Attempt<'e> = Pin<Box<dyn Future<Output = io::Result<Socket>> + 'e>>;

/// Connects to the first of `addresses` that accepts. Their families take turns, beginning with the first one's (RFC 8305
/// §4); the next attempt begins when one has failed or after 250 ms. All others are dropped when one has succeeded.
///
/// # Errors
/// The one that tells most when all fail; `AddrNotAvailable` when there are no addresses.
pub async fn connect(engine: &Rc<Engine>, addresses: &[SocketAddr]) -> io::Result<Socket> {
    let mut waiting = in_turns(addresses).into_iter();
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(Box::pin(connect_one(engine, address)));
        } else if attempts.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        let more = !waiting.as_slice().is_empty();
        let deadline = Instant::now() + ATTEMPT_DELAY;
        let mut delay = pin!(engine.timers().sleep_until(deadline));
        let ended = poll_fn(|context| {
            for index in 0..attempts.len() {
                if let Poll::Ready(result) = attempts[index].as_mut().poll(context) {
                    drop(attempts.swap_remove(index));
                    return Poll::Ready(Some(result));
                }
            }
            if more {
                return delay.as_mut().poll(context).map(|()| None);
            }
            Poll::Pending
        });
        match ended.await {
            None => {}
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => failure = Some(more_telling(failure, error)),
        }
    }
}

/// Connects to the Unix socket at `path`, as soon as its listener has room.
///
/// # Errors
/// No such socket, nobody listens, not allowed.
pub async fn connect_local(engine: &Rc<Engine>, path: &Path) -> io::Result<Socket> {
    loop {
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => return Socket::new(engine.reactor(), socket),
            // Unix sockets connect at once or, when the backlog is full, not at all: no event tells of room in it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + BACKLOG_DELAY;
        engine.timers().sleep_until(deadline).await;
    }
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

/// The addresses, one of each family after the other as long as there are both.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_family = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of_family = |v6| {
        addresses
            .iter()
            .filter(move |address| address.is_ipv6() == v6)
    };
    let (mut first, mut second) = (of_family(first_family), of_family(!first_family));
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns
}

/// A host that refuses says more than a network that this machine has no way to.
fn more_telling(before: Option<io::Error>, now: io::Error) -> io::Error {
    match before {
        Some(before) if no_way(&now) || !no_way(&before) => before,
        _ => now,
    }
}

fn no_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable
    )
}

#[cfg(test)]
mod tests;
