//! What a connection's bytes go through: a plain socket or TLS.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{reactor::Direction, socket::Socket};

/// One end of a connection.
pub enum Transport {
    /// Bytes as they are.
    Plain(Socket),
}

impl Transport {
    /// The socket below.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
        }
    }

    /// Whether the bytes are encrypted.
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Plain(_) => false,
        }
    }

    /// Reads what comes next; 0 bytes are the end.
    ///
    /// A plain socket is read only after its event, so that a request costs one read and no failed one.
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
        }
    }

    /// Writes some of `bytes`.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => {
                futures_lite::AsyncWrite::poll_write(Pin::new(socket), context, bytes)
            }
        }
    }

    /// Tells the other end that nothing more comes, and keeps reading possible.
    pub fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => futures_lite::AsyncWrite::poll_close(Pin::new(socket), context),
        }
    }

    /// Waits until the other end has closed or reset its side, or has sent something: see [`Presence`].
    pub fn poll_presence(&self, context: &mut Context<'_>) -> Poll<Presence> {
        let socket = self.socket();
        if ready!(socket.poll_ready(Direction::Read, context)).is_err() {
            return Poll::Ready(Presence::Lost);
        }
        Poll::Ready(match socket.peek() {
            Ok(Some(0)) => Presence::Ended,
            Ok(_) => Presence::Sends,
            Err(_) => Presence::Lost,
        })
    }
}

/// What a client does while its answer is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It sends the next request, or more of this one.
    Sends,
    /// It sends nothing more, but may still read.
    Ended,
    /// The connection is gone.
    Lost,
}
