//! What one read has brought: the messages in it, for whoever receives them one after the other.

use std::mem;

use async_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{
    Data, Incoming,
    handle::{State, WebSocket},
    reader::{Reader, Violation},
    whole_frames::Front,
};

/// Frames taken in before others get their turn.
pub(super) const FRAMES_PER_TURN: usize = 256;

/// Bytes that have come over a WebSocket, on their way to messages.
pub(super) struct Arrivals<'p> {
    socket: &'p WebSocket,
    /// While a message is cut in two, or a pong is owed.
    reader: Option<Box<Reader>>,
    input: &'p mut [u8],
    /// The one that a reader has read last.
    message: Option<Message>,
    frames_left: usize,
    end: Option<End>,
}

/// What is left when no more messages are taken.
pub(super) struct Remains<'p> {
    pub(super) reader: Option<Box<Reader>>,
    pub(super) input: &'p [u8],
    pub(super) end: Option<End>,
}

/// Why there is nothing after the last message.
pub(super) enum End {
    /// The other end's close frame came.
    Closed(Option<CloseFrame>),
    /// What the other end sent is not valid.
    Violated(Violation),
}

impl<'p> Arrivals<'p> {
    /// Goes on with `input` where `reader`, if there is one, stands.
    pub(super) fn new(
        socket: &'p WebSocket,
        reader: Option<Box<Reader>>,
        input: &'p mut [u8],
    ) -> Self {
        Self {
            socket,
            reader,
            input,
            message: None,
            frames_left: FRAMES_PER_TURN,
            end: None,
        }
    }

    /// What was not taken; messages that could have been are dropped.
    pub(super) fn finish(mut self) -> Remains<'p> {
        while self.next().is_some() {}
        Remains {
            reader: self.reader,
            input: self.input,
            end: self.end,
        }
    }

    /// Whether another frame may be taken in.
    fn goes_on(&mut self) -> bool {
        if self.frames_left < FRAMES_PER_TURN && self.socket.engine().is_time_up() {
            self.frames_left = 0;
        }
        let used_up = self.reader.is_none() && self.input.is_empty();
        if used_up || self.frames_left == 0 || self.end.is_some() || self.socket.is_full() {
            return false;
        }
        self.frames_left -= 1;
        true
    }

    /// Reads on with tungstenite; none when there is nothing to hand on.
    fn read(&mut self) -> Option<Message> {
        let (role, longest) = (self.socket.role(), self.socket.limits.message);
        let readers = self.socket.engine().websocket_readers();
        let reader = self.reader.take();
        let mut reader = reader.unwrap_or_else(|| readers.take(role, longest));
        let mut unread = &*self.input;
        let read = {
            let mut output = self.socket.output.borrow_mut();
            // Nothing may follow our close frame, and pongs that nobody reads are not collected.
            let out = if output.blocked || self.socket.state() != State::Open {
                None
            } else {
                Some(output.queue.end())
            };
            reader.next(&mut unread, out)
        };
        let used = self.input.len() - unread.len();
        self.input = &mut mem::take(&mut self.input)[used..];
        let message = match read {
            // All of the input is used.
            Ok(None) => {
                self.frames_left = 0;
                None
            }
            Ok(Some(Message::Close(frame))) => {
                self.end = Some(End::Closed(frame));
                None
            }
            Ok(Some(message @ (Message::Text(_) | Message::Binary(_)))) => Some(message),
            // Pings are answered by the reader; that something came is all a pong says.
            Ok(Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
            Err(violation) => {
                self.end = Some(End::Violated(violation));
                None
            }
        };
        if !reader.is_free() {
            self.reader = Some(reader);
        } else if self.end.is_none() {
            readers.put_back(role, reader);
        }
        message
    }
}

impl Incoming for Arrivals<'_> {
    fn next(&mut self) -> Option<Data<'_>> {
        // As browsers do: once our close frame is sent, messages are no longer wanted.
        let message = loop {
            if !self.goes_on() {
                return None;
            }
            if self.reader.is_none() {
                let longest = self.socket.limits.message;
                match Front::of(self.socket.role(), longest, mem::take(&mut self.input)) {
                    Front::Message(data, rest) => {
                        self.input = rest;
                        if self.socket.is_open() {
                            return Some(data);
                        }
                        continue;
                    }
                    Front::BrokenText => {
                        self.end = Some(End::Violated(Violation::broken_text()));
                        continue;
                    }
                    Front::Other(input) => self.input = input,
                }
            }
            if let Some(message) = self.read().filter(|_| self.socket.is_open()) {
                break message;
            }
        };
        match self.message.insert(message) {
            Message::Text(text) => Some(Data::Text(text)),
            Message::Binary(bytes) => Some(Data::Binary(bytes)),
            _ => None,
        }
    }

    fn hold(&mut self) {
        self.socket.hold();
    }
}
