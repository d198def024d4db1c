//! Messages to bytes: one frame each (RFC 6455 §5.2).

use async_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data as DataKind, OpCode},
};

use super::{Data, Role};

/// Bytes of the payload of a control frame at the most (RFC 6455 §5.5).
pub const CONTROL_PAYLOAD: usize = 125;

/// Bytes of a close frame's text at the most.
pub const CLOSE_REASON: usize = CONTROL_PAYLOAD - 2;

/// The close code of an end that goes away: a server that stops, a program that ends (RFC 6455 §7.4.1).
pub const GOING_AWAY: u16 = 1001;

/// The close code of an end that can't go on (RFC 6455 §7.4.1).
pub const INTERNAL_ERROR: u16 = 1011;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// The last one.
    Close,
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
    let opcode = match kind {
        Kind::Text => OpCode::Data(DataKind::Text),
        Kind::Binary => OpCode::Data(DataKind::Binary),
        Kind::Ping => OpCode::Control(Control::Ping),
        Kind::Close => OpCode::Control(Control::Close),
    };
    let mask = match role {
        Role::Server => None,
        // RFC 6455 §5.3: unpredictable, and a new one for each frame.
        Role::Client => Some(rand::random()),
    };
    let header = FrameHeader {
        opcode,
        mask,
        ..FrameHeader::default()
    };
    out.reserve(longest(payload.len()));
    // Writing to a vector does not fail.
    let _ = header.format(payload.len() as u64, out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
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
