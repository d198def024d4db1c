//! What a connection's bytes go through: a plain socket or TLS.
//!
//! ```
#![doc = include_str!("examples/sockets.txt")]
//! use std::future::poll_fn;
//! use lute_net::engine::transport::Transport;
//!
//! let (mut left, mut right) = (Transport::Plain(left), Transport::Plain(right));
//! let mut buffer = [0; 16];
//! engine.block_on(poll_fn(|context| left.poll_write(context, b"hello")))??;
//! let count = engine.block_on(poll_fn(|context| right.poll_read(context, &mut buffer)))??;
//! assert_eq!(&buffer[..count], b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_lite::{AsyncRead, AsyncWrite};

use super::{reactor::Direction, socket::Socket, tls::TlsStream};

/// One end of a connection.
///
/// ```
#[doc = include_str!("examples/served.txt")]
/// let destination = Destination::new("127.0.0.1", server.port());
/// let dialed = engine.block_on(client.dialer().dial(&destination, std::time::Duration::from_secs(20)))??;
/// assert!(matches!(dialed, lute_net::engine::transport::Transport::Plain(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub enum Transport {
    /// Bytes as they are.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream>),
}

impl Transport {
    /// The socket below.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// let transport = lute_net::engine::transport::Transport::Plain(left);
    /// assert_eq!(transport.socket().peer()?.as_socket().map(|peer| peer.ip().is_loopback()), Some(true));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        }
    }

    /// Whether the bytes are encrypted.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// assert!(!lute_net::engine::transport::Transport::Plain(left).is_secure());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads what comes next; 0 bytes are the end.
    ///
    /// A plain socket is read only after its event, so that a request costs one read and no failed one.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// let mut transport = lute_net::engine::transport::Transport::Plain(right);
    /// drop(left);
    /// let read = engine.block_on(std::future::poll_fn(|context| transport.poll_read(context, &mut [0; 16])))?;
    /// assert_eq!(read?, 0, "the end");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => loop {
                ready!(socket.poll_ready(Direction::Read, context))?;
                if let Some(count) = socket.try_read(buffer)? {
                    return Poll::Ready(Ok(count));
                }
            },
            Self::Tls(stream) => stream.poll_read(context, buffer),
        }
    }

    /// As [`Self::poll_read`], whether or not there was an event.
    pub(crate) fn poll_read_now(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => AsyncRead::poll_read(Pin::new(socket), context, buffer),
            Self::Tls(stream) => stream.poll_read(context, buffer),
        }
    }

    /// Writes some of `bytes`, at least one unless there is none. After `Pending` it must be called with the same bytes, or
    /// more. [`AsyncWriteExt::write_all`](futures_lite::AsyncWriteExt::write_all) writes all.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// let mut transport = lute_net::engine::transport::Transport::Plain(left);
    /// let written = engine.block_on(std::future::poll_fn(|context| transport.poll_write(context, b"hello")))?;
    /// assert_eq!(written?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match self {
            Self::Plain(socket) => AsyncWrite::poll_write(Pin::new(socket), context, bytes),
            Self::Tls(stream) => stream.poll_write(context, bytes),
        });
        Poll::Ready(written.and_then(|count| some_of(bytes, count)))
    }

    /// Tells the other end that nothing more comes, and keeps reading possible.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    /// let mut transport = lute_net::engine::transport::Transport::Plain(left);
    /// engine.block_on(std::future::poll_fn(|context| transport.poll_finish(context)))??;
    /// engine.block_on(right.readable())??;
    /// assert_eq!(right.try_read(&mut [0; 16])?, Some(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Poll::Ready(socket.finish()),
            Self::Tls(stream) => {
                ready!(stream.poll_shutdown(context))?;
                Poll::Ready(stream.socket().finish())
            }
        }
    }

    /// Waits until the other end has closed or reset its side, or has sent something: see [`Presence`].
    pub(crate) fn poll_presence(&mut self, context: &mut Context<'_>) -> Poll<Presence> {
        let peeked = match self {
            Self::Plain(socket) => match ready!(socket.poll_ready(Direction::Read, context)) {
                Ok(()) => socket.peek().map(|count| count != Some(0)),
                Err(error) => Err(error),
            },
            Self::Tls(stream) => ready!(stream.poll_peek(context)),
        };
        Poll::Ready(match peeked {
            Ok(true) => Presence::Sends,
            Ok(false) => Presence::Ended,
            Err(_) => Presence::Lost,
        })
    }

    /// Waits until the connection is gone, whatever there is to read before that.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // An error of the reactor leaves nothing to wait for either.
        self.socket().poll_hung_up(context).map(drop)
    }

    /// Whether nothing has come since the last read: neither an end nor bytes that nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(socket) => matches!(socket.peek(), Ok(None)),
            Self::Tls(stream) => stream
                .poll_peek(&mut Context::from_waker(Waker::noop()))
                .is_pending(),
        }
    }

    /// Waits until anything comes on a connection from which nothing is expected: an end, or bytes.
    pub(crate) fn poll_disturbed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // An error of the reactor is an end too.
            let ready = ready!(self.socket().poll_ready(Direction::Read, context));
            if ready.is_err() || !self.is_quiet() {
                return Poll::Ready(());
            }
        }
    }

    /// Whether bytes wait to be read.
    pub(crate) fn has_unread(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(socket) => matches!(socket.peek(), Ok(Some(count)) if count > 0),
            Self::Tls(stream) => matches!(stream.poll_peek(context), Poll::Ready(Ok(true))),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_finish(context)
    }
}

/// Those of `bytes` that were written; none is an error, or whoever writes the rest would try it without end.
fn some_of(bytes: &[u8], written: usize) -> io::Result<usize> {
    if written == 0 && !bytes.is_empty() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(written)
}

/// What a client does while its answer is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It sends the next request, or more of this one.
    Sends,
    /// It sends nothing more, but may still read.
    Ended,
    /// The connection is gone.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_nothing_is_an_error_where_there_was_something() {
        assert_eq!(some_of(b"", 0).unwrap(), 0);
        assert_eq!(some_of(b"hello", 2).unwrap(), 2);
        let kind = some_of(b"hello", 0).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::WriteZero);
    }
}
