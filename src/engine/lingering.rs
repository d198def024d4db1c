//! The last moments of a connection: what the other end still sends is read and dropped, so that the system's reset does
//! not take away what was sent to it last.

use std::{
    io,
    task::{Context, Poll},
};

use super::{buffers::Buffers, deadlines::Deadline, transport::Transport};

/// Tells the other end that nothing more comes, unless the deadline has passed.
///
/// # Errors
/// Those of the connection.
pub(super) fn poll_end_sending(
    transport: &mut Transport,
    deadline: &Deadline,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if deadline.poll_expired(context) {
        return Poll::Ready(Ok(()));
    }
    transport.poll_finish(context)
}

/// Reads once and drops it; whether that was the last, because the other end has ended its side or the deadline has passed.
///
/// # Errors
/// Those of the connection.
pub(super) fn poll_drop_input(
    transport: &mut Transport,
    deadline: &Deadline,
    buffers: &Buffers,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    if deadline.poll_expired(context) {
        return Poll::Ready(Ok(true));
    }
    let mut buffer = buffers.take_read();
    let read = transport.poll_read(context, &mut buffer);
    buffers.return_read(buffer);
    read.map_ok(|count| count == 0)
}
