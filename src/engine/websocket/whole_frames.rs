//! Messages that lie whole in what was read, each in one frame: nearly all of them. They are unmasked where they lie and handed
//! on from there. What is not so simple is left to tungstenite's context, which has to copy what it reads.

use std::str;

use super::{
    Data, Role,
    frames::{FINAL, Kind, MASKED, SHORT_LENGTH, apply_mask},
};

const FINAL_TEXT: u8 = FINAL | Kind::Text as u8;
const FINAL_BINARY: u8 = FINAL | Kind::Binary as u8;

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front<'i> {
    /// A message, and what is behind it.
    Message(Data<'i>, &'i mut [u8]),
    /// A text that is not UTF-8.
    BrokenText,
    /// Anything else, as it was: control frames, fragments, frames that are cut, not masked as they must be, or longer than they
    /// may be or than [`u16::MAX`].
    Other(&'i mut [u8]),
}

impl<'i> Front<'i> {
    /// Looks at what came to this end of a connection; a message may have `longest` bytes.
    pub(super) fn of(role: Role, longest: usize, input: &'i mut [u8]) -> Self {
        let Some(head) = Head::read(role, input).filter(|head| head.length <= longest) else {
            return Self::Other(input);
        };
        let end = head.size + head.length;
        if input.len() < end {
            return Self::Other(input);
        }
        let (frame, rest) = input.split_at_mut(end);
        let (start, payload) = frame.split_at_mut(head.size);
        if let (Role::Server, Some(mask)) = (role, start.last_chunk()) {
            apply_mask(payload, *mask);
        }
        if !head.is_text {
            return Self::Message(Data::Binary(payload), rest);
        }
        match str::from_utf8(payload) {
            Ok(text) => Self::Message(Data::Text(text), rest),
            Err(_) => Self::BrokenText,
        }
    }
}

/// The head of a frame that is a message (RFC 6455 §5.2).
struct Head {
    is_text: bool,
    /// Of the head itself, with the mask.
    size: usize,
    /// Of the payload.
    length: usize,
}

impl Head {
    fn read(role: Role, input: &[u8]) -> Option<Self> {
        let [kind @ (FINAL_TEXT | FINAL_BINARY), length, long @ ..] = input else {
            return None;
        };
        let (masked, mask) = match role {
            Role::Server => (MASKED, 4),
            Role::Client => (0, 0),
        };
        let (size, length) = match (length ^ masked, long) {
            (SHORT_LENGTH, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            (length, _) if length < SHORT_LENGTH => (2, usize::from(length)),
            _ => return None,
        };
        Some(Self {
            is_text: *kind == FINAL_TEXT,
            size: size + mask,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::websocket::frames::{self, Kind};

    const OTHER_END: [(Role, Role); 2] =
        [(Role::Server, Role::Client), (Role::Client, Role::Server)];

    fn framed(role: Role, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames::frame(&mut bytes, role, kind, payload);
        bytes
    }

    #[test]
    fn a_whole_message_is_unmasked_where_it_lies_and_the_rest_is_left() {
        for (role, other) in OTHER_END {
            for length in [0, 1, 7, 125, 126, 1000, 65535] {
                let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
                let mut bytes = framed(other, Kind::Binary, &payload);
                bytes.extend_from_slice(b"next");
                let mut next = *b"next";
                assert_eq!(
                    Front::of(role, length, &mut bytes),
                    Front::Message(Data::Binary(&payload), &mut next),
                    "{length} bytes to a {role:?}"
                );
            }
            let mut text = framed(other, Kind::Text, "héllo".as_bytes());
            let front = Front::of(role, 100, &mut text);
            assert_eq!(front, Front::Message(Data::Text("héllo"), &mut []));
        }
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_told_apart() {
        for (role, other) in OTHER_END {
            let mut text = framed(other, Kind::Text, b"h\xe9llo");
            assert_eq!(Front::of(role, 100, &mut text), Front::BrokenText);
        }
    }

    #[test]
    fn what_is_not_a_whole_valid_message_stays_as_it_was() {
        for (role, other) in OTHER_END {
            let message = framed(other, Kind::Binary, &[7; 200]);
            let mut strange: Vec<Vec<u8>> = (0..message.len())
                .map(|length| message[..length].to_vec())
                .collect();
            strange.push(framed(other, Kind::Binary, &[7; 201]));
            strange.push(framed(other, Kind::Binary, &[7; 65536]));
            strange.push(framed(other, Kind::Ping, b"ping"));
            strange.push(framed(other, Kind::Close, b""));
            strange.push(framed(role, Kind::Binary, b"the wrong way"));
            for first in [0x01, 0x02, 0x80, 0xc2, 0xa2, 0x92, 0x83] {
                let mut bytes = framed(other, Kind::Binary, b"x");
                bytes[0] = first;
                strange.push(bytes);
            }
            for bytes in strange {
                let (mut input, mut same) = (bytes.clone(), bytes.clone());
                assert_eq!(
                    Front::of(role, 200, &mut input),
                    Front::Other(&mut same),
                    "{bytes:x?} to a {role:?}"
                );
            }
        }
    }
}
