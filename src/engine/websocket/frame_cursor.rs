//! Where frames begin and end in a stream of bytes (RFC 6455 §5.2): the reader is given no byte of the next frame before
//! it has this one, so that between two messages it holds nothing and can serve another WebSocket.

/// The place in a stream of frames.
#[derive(Default)]
pub(super) struct FrameCursor {
    /// The bytes of a head that is cut.
    head: [u8; LONGEST_HEAD],
    head_length: usize,
    payload_left: u64,
    fragmented: bool,
    longest: u64,
}

const LONGEST_HEAD: usize = 14;

impl FrameCursor {
    /// How many bytes at the front of `input`, `limit` at the most, belong to the frame that is read; the cursor then
    /// stands behind them.
    pub(super) fn advance(&mut self, input: &[u8], limit: usize) -> usize {
        let input = &input[..input.len().min(limit)];
        let mut used = 0;
        while self.payload_left == 0 {
            let Some(&byte) = input.get(used) else {
                return used;
            };
            used += 1;
            self.head[self.head_length] = byte;
            self.head_length += 1;
            if self.head_length == head_length(&self.head[..self.head_length]) {
                self.begin_payload();
                if self.payload_left == 0 {
                    return used;
                }
            }
        }
        let rest = (input.len() - used) as u64;
        let taken = rest.min(self.payload_left);
        self.payload_left -= taken;
        used + taken as usize
    }

    /// Whether no message, and no frame, has begun that is not over.
    pub(super) fn is_between_messages(&self) -> bool {
        self.is_between_frames() && !self.fragmented
    }

    /// Whether no frame has begun that is not over.
    pub(super) fn is_between_frames(&self) -> bool {
        self.head_length == 0 && self.payload_left == 0
    }

    /// The payload of the longest frame so far.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }

    fn begin_payload(&mut self) {
        let head = &self.head;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
            127 => u64::from_be_bytes([
                head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9],
            ]),
            length => u64::from(length),
        };
        let (is_final, is_control) = (head[0] & 0x80 != 0, head[0] & 0x08 != 0);
        if !is_control {
            self.fragmented = !is_final;
        }
        self.head_length = 0;
        self.payload_left = length;
        self.longest = self.longest.max(length);
    }
}

/// The length of the head that begins with `head`, at least as far as that can be told from it.
fn head_length(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else {
        return 2;
    };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::websocket::{Role, frames};

    /// Advances over `stream` cut into pieces of `step`; where it stopped.
    fn stops(stream: &[u8], step: usize) -> Vec<usize> {
        let mut cursor = FrameCursor::default();
        let (mut stops, mut place) = (Vec::new(), 0);
        for piece in stream.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let used = cursor.advance(rest, usize::MAX);
                assert!(used > 0);
                rest = &rest[used..];
                place += used;
                if cursor.is_between_messages() {
                    stops.push(place);
                }
            }
        }
        stops
    }

    #[test]
    fn it_stops_behind_every_message_however_the_stream_is_cut() {
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        for length in [0, 1, 125, 126, 65535, 65536] {
            for role in [Role::Client, Role::Server] {
                frames::frame(&mut stream, role, frames::Kind::Binary, &vec![7; length]);
                ends.push(stream.len());
            }
        }
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            assert_eq!(stops(&stream, step), ends, "cut every {step} bytes");
        }
    }

    #[test]
    fn a_message_in_fragments_is_over_with_the_last_whatever_stands_between() {
        let mut stream = b"\x01\x01a".to_vec();
        frames::frame(&mut stream, Role::Server, frames::Kind::Ping, b"p");
        stream.extend_from_slice(b"\x00\x00\x80\x01b");
        assert_eq!(stops(&stream, 1), [stream.len()]);
        assert_eq!(stops(&stream, 100), [stream.len()]);
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let mut cursor = FrameCursor::default();
        assert_eq!(cursor.advance(b"\x82\x05hello", 4), 4);
        assert!(!cursor.is_between_messages());
        assert_eq!(cursor.advance(b"llo\x82", 4), 3);
        assert!(cursor.is_between_messages());
        assert_eq!(cursor.longest(), 5);
    }
}
