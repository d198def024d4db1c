//! A body that comes in pieces through a channel: `http_types::Body` wants `Send`, and what makes the pieces is not.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncBufRead, AsyncRead, Stream};
use smol::channel::{Receiver, Sender, bounded};

/// Where pieces go in. An error is the last one.
pub type PieceSender = Sender<io::Result<Vec<u8>>>;

/// A channel that holds one piece.
pub fn channel() -> (PieceSender, ChannelBody) {
    let (sender, receiver) = bounded(1);
    let body = ChannelBody {
        receiver: Box::pin(receiver),
        piece: Vec::new(),
        read: 0,
    };
    (sender, body)
}

/// Where they come out.
pub struct ChannelBody {
    receiver: Pin<Box<Receiver<io::Result<Vec<u8>>>>>,
    piece: Vec<u8>,
    read: usize,
}

impl AsyncBufRead for ChannelBody {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.read >= this.piece.len() {
            match ready!(this.receiver.as_mut().poll_next(context)) {
                Some(Ok(piece)) => (this.piece, this.read) = (piece, 0),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(&[])),
            }
        }
        Poll::Ready(Ok(&this.piece[this.read..]))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.read = self.piece.len().min(self.read + count);
    }
}

impl AsyncRead for ChannelBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let piece = ready!(self.as_mut().poll_fill_buf(context))?;
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}
