//! A non-blocking stream socket in the reactor: TCP or Unix.
//!
//! ```
#![doc = include_str!("examples/sockets.txt")]
//! use futures_lite::AsyncWriteExt;
//!
//! let mut left = left;
//! engine.block_on(left.write_all(b"hello"))??;
//! engine.block_on(right.readable())??;
//! assert_eq!(right.try_read(&mut [0; 16])?, Some(5));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncRead, AsyncWrite};
use socket2::{SockAddr, Socket as RawSocket};

use super::{
    quota::Permit,
    reactor::{Direction, Reactor, Watched},
};

/// A connected (or connecting) socket.
///
/// ```
#[doc = include_str!("examples/sockets.txt")]
/// use futures_lite::AsyncReadExt;
///
/// let mut right = right;
/// drop(left);
/// assert_eq!(engine.block_on(right.read(&mut [0; 16]))??, 0, "the end");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Socket {
    watched: Watched<RawSocket>,
    _permit: Option<Permit>,
}

impl Socket {
    /// Takes a non-blocking stream socket.
    ///
    /// ```
    #[doc = include_str!("examples/engine.txt")]
    /// use std::net::{TcpListener, TcpStream};
    /// use lute_net::engine::socket::Socket;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// let socket = Socket::new(engine.reactor(), stream.into())?;
    /// assert_eq!(socket.peer()?.as_socket(), Some(listener.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the reactor refuses it.
    pub fn new(reactor: &Rc<Reactor>, socket: RawSocket) -> io::Result<Self> {
        Ok(Self {
            watched: reactor.watch(socket)?,
            _permit: None,
        })
    }

    /// Counts as a connection for as long as it is open.
    pub(crate) fn holding(self, permit: Permit) -> Self {
        Self {
            _permit: Some(permit),
            ..self
        }
    }

    /// The other end's address.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// assert_ne!(left.peer()?.as_socket(), right.peer()?.as_socket());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn peer(&self) -> io::Result<SockAddr> {
        self.raw().peer_addr()
    }

    /// The socket itself.
    pub(crate) fn raw(&self) -> &RawSocket {
        self.watched.get()
    }

    /// As [`Watched::poll_ready`].
    pub(crate) fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.watched.poll_ready(direction, context)
    }

    /// As [`Watched::poll_hung_up`].
    pub(crate) fn poll_hung_up(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_hung_up(context)
    }

    /// How many bytes could be read now without taking them, at most one: `None` when that is not known yet, `Some(0)` at
    /// the end.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) fn peek(&self) -> io::Result<Option<usize>> {
        unless_blocked(self.raw().peek(&mut [MaybeUninit::uninit()]))
    }

    /// The error of a connection attempt that has ended, if it failed.
    ///
    /// # Errors
    /// When the system can't tell.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.raw().take_error()
    }

    /// Ends the sending side.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// left.finish()?;
    /// engine.block_on(right.readable())??;
    /// assert_eq!(right.try_read(&mut [0; 16])?, Some(0), "the end");
    /// assert_eq!(right.try_write(b"still")?, Some(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn finish(&self) -> io::Result<()> {
        self.raw().shutdown(Shutdown::Write)
    }

    /// Waits until a read can get on.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// assert_eq!(right.try_read(&mut [0; 16])?, None, "nothing yet");
    /// left.try_write(b"hi")?;
    /// engine.block_on(right.readable())??;
    /// assert_eq!(right.try_read(&mut [0; 16])?, Some(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the reactor fails; errors of the connection come from the read itself.
    pub async fn readable(&self) -> io::Result<()> {
        self.watched.ready(Direction::Read).await
    }

    /// Waits until a write can get on.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// engine.block_on(left.writable())??;
    /// assert_eq!(left.try_write(b"hi")?, Some(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::readable`].
    pub async fn writable(&self) -> io::Result<()> {
        self.watched.ready(Direction::Write).await
    }

    /// Reads what is there: `None` when that is nothing yet, `Some(0)` at the end.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// assert_eq!(left.try_read(&mut [0; 16])?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the connection (reset by the peer …).
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(self.raw().read(buffer))
    }

    /// Writes what fits: `None` when that is nothing now.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// while left.try_write(&[0; 64 * 1024])?.is_some() {}
    /// assert_eq!(left.try_write(b"more")?, None, "nobody reads");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the connection (reset by the peer, broken pipe …).
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        unless_blocked(self.raw().write(bytes))
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(count) = self.try_read(buffer)? {
                return Poll::Ready(Ok(count));
            }
            ready!(self.watched.poll_ready(Direction::Read, context))?;
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(count) = self.try_write(bytes)? {
                return Poll::Ready(Ok(count));
            }
            ready!(self.watched.poll_ready(Direction::Write, context))?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}
