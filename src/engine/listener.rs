//! Sockets that wait for clients.
//!
//! ```
//! use lute_net::engine::listener::ListenAt;
//!
//! let (v4, v6) = ("0.0.0.0:80".parse()?, "[::]:80".parse()?);
//! let at = ListenAt::Internet { addresses: vec![v6, v4], reuse_port: true };
//! assert!(matches!(at, ListenAt::Internet { reuse_port: true, .. }));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
};

use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::{
    Engine,
    reactor::{Direction, Watched},
    service::Remote,
    socket::Socket,
};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Where to listen.
///
/// ```
/// let at = lute_net::engine::listener::ListenAt::Local("/run/app.sock".into());
/// assert_eq!(format!("{at:?}"), "Local(\"/run/app.sock\")");
/// ```
#[derive(Clone, Debug)]
pub enum ListenAt {
    /// On the first of these that can be had; port 0 picks a free one.
    Internet {
        /// In the order of preference.
        addresses: Vec<SocketAddr>,
        /// Whether other processes may listen there too.
        reuse_port: bool,
    },
    /// On a Unix socket at this path.
    Local(PathBuf),
}

/// A listening socket. A Unix socket's path is removed with it.
pub(crate) struct Listener {
    socket: Watched<RawSocket>,
    path: Option<PathBuf>,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// In use, not allowed, not an address of this machine.
    pub(crate) fn bind(engine: &Rc<Engine>, at: &ListenAt) -> io::Result<Self> {
        let (socket, path) = match at {
            ListenAt::Internet {
                addresses,
                reuse_port,
            } => (first_of(addresses, *reuse_port)?, None),
            ListenAt::Local(path) => (at_path(path)?, Some(path.clone())),
        };
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: engine.reactor().watch(socket)?,
            path,
        })
    }

    /// The port it listens on; 0 for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        let address = self.socket.get().local_addr().ok();
        address
            .and_then(|address| address.as_socket())
            .map_or(0, |address| address.port())
    }

    /// Where it listens: `ip:port`, or `unix:` and the path.
    pub(crate) fn address(&self) -> String {
        let address = self.socket.get().local_addr().ok();
        let internet = address.and_then(|address| address.as_socket());
        match (internet, &self.path) {
            (Some(address), _) => address.to_string(),
            (None, Some(path)) => format!("unix:{}", path.display()),
            (None, None) => String::new(),
        }
    }

    /// Waits until a client may be there.
    ///
    /// # Errors
    /// When the reactor fails.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Direction::Read).await
    }

    /// The next client, if one is there and the engine may have another connection.
    ///
    /// # Errors
    /// No descriptor or memory left, or the client's connection is gone already.
    pub(crate) fn accept(&self, engine: &Rc<Engine>) -> io::Result<Option<(Socket, Remote)>> {
        let Some(permit) = engine.connections().take() else {
            return Ok(None);
        };
        let (socket, address) = match self.socket.get().accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        socket.set_nonblocking(true)?;
        let remote = match address.as_socket() {
            Some(address) => {
                socket.set_tcp_nodelay(true)?;
                Remote::Internet(address)
            }
            None => Remote::Local,
        };
        let socket = Socket::new(engine.reactor(), socket)?.holding(permit);
        Ok(Some((socket, remote)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Somebody may have removed it already, which is what we want.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn first_of(addresses: &[SocketAddr], reuse_port: bool) -> io::Result<RawSocket> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match at_address(*address, reuse_port) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn at_address(address: SocketAddr, reuse_port: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    if reuse_port {
        let problem = "this system lets no processes share a port";
        return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// A path where a socket was left behind by a process that is gone is taken over; anything else there is an error.
fn at_path(path: &Path) -> io::Result<RawSocket> {
    let address = SockAddr::unix(path)?;
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path)? => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    Ok(socket)
}

/// Whether a socket is there on which nobody listens. A file of another kind refuses connections too.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    if !is_socket(path)? {
        return Ok(false);
    }
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // Who listens there may be busy: its full backlog must not hold us up.
    probe.set_nonblocking(true)?;
    Ok(
        matches!(probe.connect(&SockAddr::unix(path)?), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused),
    )
}

#[cfg(unix)]
fn is_socket(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    Ok(std::fs::symlink_metadata(path)?.file_type().is_socket())
}

/// It can't be told from a file, so nothing is taken over.
#[cfg(not(unix))]
fn is_socket(_: &Path) -> io::Result<bool> {
    Ok(false)
}
