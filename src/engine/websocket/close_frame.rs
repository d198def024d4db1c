//! The other end's close frame (RFC 6455 §5.5.1). It is not left to tungstenite, which takes 1014, a code of the registry since
//! (IANA: Bad Gateway), for a violation, and answers codes that are one as if the other end had said 1002.

use std::{mem, str};

use async_tungstenite::tungstenite::protocol::CloseFrame;

use super::{
    Role,
    frame_cursor::FrameCursor,
    frames::{self, CONTROL_PAYLOAD, FINAL, Kind, MASKED, apply_mask},
    reader::Violation,
};

/// The first byte of one. With a reserved bit, or as a fragment, it is tungstenite's to refuse.
const FIRST: u8 = FINAL | Kind::Close as u8;

/// One that comes, in as many pieces as it likes.
#[derive(Default)]
pub(super) struct CloseReader {
    frame: Vec<u8>,
}

impl CloseReader {
    /// Whether it is one that `input`, of which the cursor knows the frames, goes on with.
    pub(super) fn is_next(&self, cursor: &FrameCursor, input: &[u8]) -> bool {
        !self.frame.is_empty() || cursor.is_between_frames() && input.first() == Some(&FIRST)
    }

    /// Takes more of its bytes.
    pub(super) fn add(&mut self, role: Role, bytes: &[u8]) -> Result<(), Violation> {
        self.frame.extend_from_slice(bytes);
        let Some(second) = self.frame.get(1) else {
            return Ok(());
        };
        if usize::from(second & !MASKED) > CONTROL_PAYLOAD {
            return Err(Violation::of_protocol("a close frame is too long"));
        }
        match (role, second & MASKED != 0) {
            (Role::Server, false) => Err(Violation::of_protocol("a close frame is not masked")),
            (Role::Client, true) => Err(Violation::of_protocol("a close frame is masked")),
            _ => Ok(()),
        }
    }

    /// What it says, now that all of it is there.
    pub(super) fn finish(&mut self, role: Role) -> Result<Option<CloseFrame>, Violation> {
        let mut frame = mem::take(&mut self.frame);
        let (head, payload) = frame.split_at_mut(match role {
            Role::Server => 6,
            Role::Client => 2,
        });
        if let (Role::Server, Some(mask)) = (role, head.last_chunk()) {
            apply_mask(payload, *mask);
        }
        let [high, low, reason @ ..] = &*payload else {
            return match payload.len() {
                0 => Ok(None),
                _ => Err(Violation::of_protocol("a close frame has half a code")),
            };
        };
        let code = u16::from_be_bytes([*high, *low]);
        let reason = str::from_utf8(reason).map_err(|_| Violation::broken_text())?;
        if !frames::may_be_sent(code) {
            return Err(Violation::of_protocol(&format!(
                "a close frame has the invalid code {code}"
            )));
        }
        Ok(Some(CloseFrame {
            code: code.into(),
            reason: reason.into(),
        }))
    }
}
