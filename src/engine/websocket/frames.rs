//! Messages to bytes: one frame each (RFC 6455 §5.2).

use super::{Data, Role};

/// Bytes of the payload of a control frame at the most (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD: usize = 125;

/// Bytes of a close frame's text at the most.
pub const CLOSE_REASON: usize = CONTROL_PAYLOAD - 2;

/// The close code of an end that goes away: a server that stops, a program that ends (RFC 6455 §7.4.1).
pub const GOING_AWAY: u16 = 1001;

/// The close code of an end that can't go on (RFC 6455 §7.4.1).
pub const INTERNAL_ERROR: u16 = 1011;

/// In the first byte: no other frame of the message follows.
pub(super) const FINAL: u8 = 0x80;

/// In the second byte: the payload is masked.
pub(super) const MASKED: u8 = 0x80;

/// In place of a length: it is in the two bytes that follow.
pub(super) const SHORT_LENGTH: u8 = 126;

/// In place of a length: it is in the eight bytes that follow.
const LONG_LENGTH: u8 = 127;

/// What a frame is: its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A text message.
    Text = 0x1,
    /// A binary message.
    Binary = 0x2,
    /// The last one.
    Close = 0x8,
    /// A ping.
    Ping = 0x9,
}

impl Kind {
    /// The kind of frame for a message.
    pub fn of(data: Data<'_>) -> Self {
        match data {
            Data::Text(_) => Self::Text,
            Data::Binary(_) => Self::Binary,
        }
    }
}

/// Adds a frame with `payload` to `out`.
pub fn frame(out: &mut Vec<u8>, role: Role, kind: Kind, payload: &[u8]) {
    let first = FINAL | kind as u8;
    // RFC 6455 §5.3: a client's mask is unpredictable, and a new one for each frame.
    let (masked, mask) = match role {
        Role::Server => (0, None),
        Role::Client => (MASKED, Some(rand::random::<[u8; 4]>())),
    };
    out.reserve(longest(payload.len()));
    match payload.len() {
        length @ 0..=125 => out.extend_from_slice(&[first, masked | length as u8]),
        length @ 126..=0xffff => {
            let [high, low] = (length as u16).to_be_bytes();
            out.extend_from_slice(&[first, masked | SHORT_LENGTH, high, low]);
        }
        length => {
            out.extend_from_slice(&[first, masked | LONG_LENGTH]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let Some(mask) = mask else {
        return out.extend_from_slice(payload);
    };
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// Adds a close frame; `reason` holds [`CLOSE_REASON`] bytes at the most. One without a code has no payload.
pub fn close(out: &mut Vec<u8>, role: Role, code: Option<u16>, reason: &str) {
    let mut payload = Vec::with_capacity(CONTROL_PAYLOAD);
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    frame(out, role, Kind::Close, &payload);
}

/// The bytes of a frame with a payload of `length`, at the most.
pub fn longest(length: usize) -> usize {
    length.saturating_add(14)
}

/// Whether a program may send this code (RFC 6455 §7.4 and IANA's registry).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The beginning of `text` that fits a close frame.
pub fn fitting(text: &str) -> &str {
    let mut end = text.len().min(CLOSE_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Masks `payload`, or undoes that (RFC 6455 §5.3).
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_frame_is_masked_and_its_mask_undoes_it() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).collect();
            let mut out = Vec::new();
            frame(&mut out, Role::Client, Kind::Binary, &payload);
            assert_eq!(out[..2], [0x82, 0x80 | length]);
            let mask = &out[2..6];
            let plain: Vec<u8> = out[6..]
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            assert_eq!(plain, payload);
        }
    }

    #[test]
    fn a_length_has_as_many_bytes_as_it_needs() {
        for (length, head) in [
            (125, &[0x82, 125][..]),
            (126, &[0x82, 126, 0, 126]),
            (0xffff, &[0x82, 126, 0xff, 0xff]),
            (0x1_0000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            frame(&mut out, Role::Server, Kind::Binary, &vec![7; length]);
            assert_eq!(out[..head.len()], *head);
            assert_eq!(out[head.len()..], vec![7; length]);
        }
    }

    #[test]
    fn a_servers_frame_is_not_masked() {
        let mut out = Vec::new();
        frame(&mut out, Role::Server, Kind::Text, b"hi");
        close(&mut out, Role::Server, Some(1000), "bye");
        close(&mut out, Role::Server, None, "");
        assert_eq!(out, b"\x81\x02hi\x88\x05\x03\xe8bye\x88\x00");
    }

    #[test]
    fn a_reason_is_cut_between_two_characters() {
        let text = "ä".repeat(100);
        assert_eq!(fitting(&text).len(), 122);
        assert_eq!(fitting("short"), "short");
    }

    #[test]
    fn only_codes_of_the_registry_and_of_programs_may_be_sent() {
        let sendable: Vec<u16> = (0..=u16::MAX).filter(|&code| may_be_sent(code)).collect();
        let registry = (1000..=1003).chain(1007..=1014);
        let expected: Vec<u16> = registry.chain(3000..=4999).collect();
        assert_eq!(sendable, expected);
    }
}
