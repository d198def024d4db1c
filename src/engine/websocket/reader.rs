//! Bytes to messages: tungstenite's `WebSocketContext`, fed with one frame at a time, close frames aside.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
};

use async_tungstenite::tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role as TungsteniteRole, WebSocketConfig, WebSocketContext},
};

use super::{Role, close_frame::CloseReader, frame_cursor::FrameCursor, frames::CONTROL_PAYLOAD};

/// The least that is read into the context's own buffer at once. Measured: more costs more for small messages and does
/// not gain for large ones.
const READ_BUFFER: usize = 1024;

/// Pongs that wait because the other end reads nothing. Beyond it only the latest does (RFC 6455 §5.5.3).
const PONGS: usize = 512;

/// A reader that has read a longer frame is not kept: its buffer stays as large.
const KEPT_FRAME: u64 = 64 * 1024;

/// Readers that are kept for the next message, of both roles.
const KEPT_READERS: usize = 8;

/// The readers of one thread that no WebSocket uses now.
#[derive(Default)]
pub(crate) struct Readers {
    servers: RefCell<Kept>,
    clients: RefCell<Kept>,
}

// Boxed: a reader goes back and forth for each message.
type Kept = Vec<Box<Reader>>;

impl Readers {
    pub(super) fn take(&self, role: Role, max_message: usize) -> Box<Reader> {
        let kept = self.of(role).borrow_mut().pop();
        let mut reader = kept.unwrap_or_else(|| Box::new(Reader::new(role)));
        reader.limit(max_message);
        reader
    }

    /// Keeps a reader that is between two messages.
    pub(super) fn put_back(&self, role: Role, reader: Box<Reader>) {
        let mut kept = self.of(role).borrow_mut();
        if reader.cursor.longest() <= KEPT_FRAME && kept.len() < KEPT_READERS {
            kept.push(reader);
        }
    }

    fn of(&self, role: Role) -> &RefCell<Kept> {
        match role {
            Role::Server => &self.servers,
            Role::Client => &self.clients,
        }
    }
}

/// Reads one WebSocket's messages. It answers pings by itself.
pub(super) struct Reader {
    role: Role,
    context: WebSocketContext,
    cursor: FrameCursor,
    close: CloseReader,
    max_message: usize,
    /// A pong waits in the context, since there was no room for it.
    owes: bool,
}

/// Why nothing more can be read: the code for the other end (RFC 6455 §7.4.1), and the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Reader {
    fn new(role: Role) -> Self {
        let context_role = match role {
            Role::Server => TungsteniteRole::Server,
            Role::Client => TungsteniteRole::Client,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(PONGS);
        Self {
            role,
            context: WebSocketContext::new(context_role, Some(config)),
            cursor: FrameCursor::default(),
            close: CloseReader::default(),
            max_message: 0,
            owes: false,
        }
    }

    fn limit(&mut self, max_message: usize) {
        if self.max_message == max_message {
            return;
        }
        self.max_message = max_message;
        self.context.set_config(|config| {
            config.max_message_size = Some(max_message);
            // Control frames are not messages.
            config.max_frame_size = Some(max_message.max(CONTROL_PAYLOAD));
        });
    }

    /// The next message of `input`, which is then shortened by it; none when it is used up. Pongs go to `out`, or wait
    /// where there is none.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        out: Option<&mut Vec<u8>>,
    ) -> Result<Option<Message>, Violation> {
        let mut ends = Ends {
            input,
            cursor: &mut self.cursor,
            close: &self.close,
            out,
        };
        if self.owes {
            self.owes = !answer(&mut self.context, &mut ends);
        }
        let read = self.context.read(&mut ends);
        if matches!(read, Ok(Message::Ping(_))) {
            // By itself it answers with the next call, which may never come.
            self.owes = !answer(&mut self.context, &mut ends);
        }
        match read {
            Ok(message) => Ok(Some(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.read_close(input)
            }
            Err(error) => Err(Violation::of(&error)),
        }
    }

    /// The close frame at the front of `input`, if there is one and all of it has come.
    fn read_close(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        if !self.close.is_next(&self.cursor, input) {
            return Ok(None);
        }
        let count = self.cursor.advance(input, usize::MAX);
        let (frame, rest) = input.split_at(count);
        *input = rest;
        self.close.add(self.role, frame)?;
        if !self.cursor.is_between_frames() {
            return Ok(None);
        }
        let close = self.close.finish(self.role)?;
        Ok(Some(Message::Close(close)))
    }

    /// Whether a pong waits in it for room.
    pub(super) fn owes(&self) -> bool {
        self.owes
    }

    /// Writes the pongs that wait.
    pub(super) fn pay(&mut self, out: &mut Vec<u8>) {
        let mut ends = Ends {
            input: &mut &[][..],
            cursor: &mut self.cursor,
            close: &self.close,
            out: Some(out),
        };
        self.owes = !answer(&mut self.context, &mut ends);
    }

    /// Whether it holds nothing of the WebSocket it has read.
    pub(super) fn is_free(&self) -> bool {
        self.cursor.is_between_messages() && !self.owes
    }
}

impl Violation {
    /// A text is not UTF-8 (RFC 6455 §8.1).
    pub(super) fn broken_text() -> Self {
        Self {
            code: 1007,
            reason: "the text is not UTF-8".to_owned(),
        }
    }

    /// Something else than RFC 6455 says.
    pub(super) fn of_protocol(reason: &str) -> Self {
        Self {
            code: 1002,
            reason: reason.to_owned(),
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self {
                code: 1009,
                reason: "the message is too large".to_owned(),
            },
            Error::Utf8(_) => Self::broken_text(),
            Error::Protocol(problem) => Self::of_protocol(&protocol_text(problem)),
            other => Self::of_protocol(&other.to_string()),
        }
    }
}

fn protocol_text(problem: &ProtocolError) -> String {
    let text = problem.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

/// Writes the pongs that the context has; whether there was room for all.
fn answer(context: &mut WebSocketContext, ends: &mut Ends<'_, '_, '_>) -> bool {
    // The latest may have had no place behind the others.
    context.flush(ends).is_ok() && context.flush(ends).is_ok()
}

/// What the context reads from and writes to.
struct Ends<'r, 'i, 'o> {
    input: &'r mut &'i [u8],
    cursor: &'r mut FrameCursor,
    close: &'r CloseReader,
    out: Option<&'o mut Vec<u8>>,
}

impl Read for Ends<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // That is not the context's to read.
        if self.close.is_next(self.cursor, self.input) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.cursor.advance(self.input, buffer.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (taken, rest) = self.input.split_at(count);
        buffer[..count].copy_from_slice(taken);
        *self.input = rest;
        Ok(count)
    }
}

impl Write for Ends<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Some(out) => {
                out.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
