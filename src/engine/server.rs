//! Listens, accepts, and owns its connections: dropping the server closes them all.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
};

use slab::Slab;
use smol::Task;
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::{
    Engine,
    connection::{self, Service},
    reactor::{Direction, Watched},
    socket::Socket,
    timers::deadline_after,
};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Connections accepted before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long accepting rests when the system has no descriptor left for a connection.
const REST: std::time::Duration = std::time::Duration::from_millis(50);

/// A listening server.
pub struct Server {
    address: SocketAddr,
    accepting: RefCell<Option<Task<()>>>,
    connections: Rc<Connections>,
}

/// The tasks of a server's connections.
#[derive(Default)]
struct Connections {
    tasks: RefCell<Slab<Option<Task<()>>>>,
    closed: Cell<bool>,
}

impl Server {
    /// Listens on the first of `addresses` that can be had; port 0 picks a free one.
    ///
    /// # Errors
    /// The last address's: in use, not allowed, not an address of this machine.
    pub fn listen<S: Service>(
        engine: &Rc<Engine>,
        addresses: &[SocketAddr],
        reuse_port: bool,
        service: Rc<S>,
    ) -> io::Result<Self> {
        let mut failure = io::ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            match bind(*address, reuse_port) {
                Ok(listener) => return Self::accept_from(engine, listener, service),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where it listens, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.tasks.borrow().len()
    }

    /// Stops listening; what is connected goes on.
    pub fn stop_listening(&self) {
        self.accepting.borrow_mut().take();
    }

    /// Stops listening and drops every connection.
    pub fn close(&self) {
        self.stop_listening();
        self.connections.close();
    }

    fn accept_from<S: Service>(
        engine: &Rc<Engine>,
        listener: TcpListener,
        service: Rc<S>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let listener = engine.reactor().watch(listener)?;
        let connections = Rc::<Connections>::default();
        let accepting = engine.spawn(accept(
            engine.clone(),
            listener,
            service,
            connections.clone(),
        ));
        Ok(Self {
            address,
            accepting: RefCell::new(Some(accepting)),
            connections,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl Connections {
    fn close(&self) {
        self.closed.set(true);
        // The tasks are dropped outside the borrow: each takes itself out of the list as it ends.
        let tasks = self.tasks.take();
        drop(tasks);
    }

    fn start<S: Service>(
        self: &Rc<Self>,
        engine: &Rc<Engine>,
        socket: Socket,
        peer: SocketAddr,
        service: Rc<S>,
    ) {
        let key = self.tasks.borrow_mut().insert(None);
        let connections = Rc::downgrade(self);
        let serving = connection::serve(engine.clone(), socket, peer, service);
        let task = engine.spawn(async move {
            serving.await;
            let own = connections
                .upgrade()
                .and_then(|connections| connections.tasks.borrow_mut().try_remove(key));
            if let Some(Some(task)) = own {
                task.detach();
            }
        });
        self.tasks.borrow_mut()[key] = Some(task);
    }
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if reuse_port {
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept<S: Service>(
    engine: Rc<Engine>,
    listener: Watched<TcpListener>,
    service: Rc<S>,
    connections: Rc<Connections>,
) {
    while listener.ready(Direction::Read).await.is_ok() {
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.get().accept() {
                Ok((stream, peer)) => {
                    // A client that is gone already, or a reactor that is full: this connection ends, the next is tried.
                    let _ = prepare(&engine, stream)
                        .map(|socket| connections.start(&engine, socket, peer, service.clone()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_about_one_connection(&error) => {}
                Err(_) => {
                    // Out of descriptors or memory: the backlog waits, and so do we.
                    let deadline = deadline_after(std::time::Instant::now(), REST);
                    engine.timers().sleep_until(deadline).await;
                }
            }
        }
    }
}

fn prepare(engine: &Engine, stream: std::net::TcpStream) -> io::Result<Socket> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Socket::new(engine.reactor(), stream)
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}
