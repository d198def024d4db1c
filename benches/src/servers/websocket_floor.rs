//! The floor for WebSockets: hand-written frames, unmasked a word at a time; the handshake is answered with fixed bytes.

use std::net::TcpListener;

use anyhow::Result;

use super::connections::{self, Connections, Floor};
use crate::contract::WEBSOCKET_ACCEPT;

/// Sends every message back.
pub fn echo(listener: TcpListener) -> Result<()> {
    connections::serve(
        listener,
        WebSocketFloor {
            receivers: Receivers::Sender,
            frames: Vec::new(),
        },
    )
}

/// Sends every message to all other connections.
pub fn publish(listener: TcpListener) -> Result<()> {
    connections::serve(
        listener,
        WebSocketFloor {
            receivers: Receivers::Others,
            frames: Vec::new(),
        },
    )
}

enum Receivers {
    Sender,
    Others,
}

struct WebSocketFloor {
    receivers: Receivers,
    /// The frames that go out for what was read.
    frames: Vec<u8>,
}

#[derive(Default)]
struct Memory {
    upgraded: bool,
    /// The beginning of a frame, or of the handshake, that was cut.
    cut: Vec<u8>,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

impl Floor for WebSocketFloor {
    type Memory = Memory;

    fn received(&mut self, connections: &mut Connections<Memory>, key: usize, bytes: &[u8]) {
        let memory = &mut connections.open[key].memory;
        if !memory.upgraded {
            return shake_hands(connections, key, bytes);
        }
        self.frames.clear();
        if memory.cut.is_empty() {
            let used = answer_frames(bytes, &mut self.frames);
            memory.cut.extend_from_slice(&bytes[used..]);
        } else {
            memory.cut.extend_from_slice(bytes);
            let used = answer_frames(&memory.cut, &mut self.frames);
            memory.cut.drain(..used);
        }
        match self.receivers {
            Receivers::Sender => send(connections, key, &self.frames),
            Receivers::Others => {
                for other in 0..connections.open.capacity() {
                    if other != key && connections.open.contains(other) {
                        send(connections, other, &self.frames);
                    }
                }
            }
        }
    }

    fn writable(&mut self, connections: &mut Connections<Memory>, key: usize) {
        if let Some(connection) = connections.open.get_mut(key) {
            let unsent = std::mem::take(&mut connection.memory.unsent);
            send(connections, key, &unsent);
        }
    }
}

fn shake_hands(connections: &mut Connections<Memory>, key: usize, bytes: &[u8]) {
    let memory = &mut connections.open[key].memory;
    memory.cut.extend_from_slice(bytes);
    if memory.cut.ends_with(b"\r\n\r\n") {
        memory.cut.clear();
        memory.upgraded = true;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
        );
        send(connections, key, answer.as_bytes());
    }
}

/// Writes `bytes`, behind what waits already.
fn send(connections: &mut Connections<Memory>, key: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let waits = connections
        .open
        .get(key)
        .is_some_and(|connection| !connection.memory.unsent.is_empty());
    let written = if waits {
        0
    } else {
        connections.write(key, bytes)
    };
    if let Some(connection) = connections.open.get_mut(key) {
        connection
            .memory
            .unsent
            .extend_from_slice(&bytes[written..]);
    }
}

/// Turns the whole frames in `bytes` into unmasked ones; returns how many bytes they were.
fn answer_frames(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while let Some((head, length)) = masked_head(&bytes[used..]) {
        let end = used + head + length;
        if bytes.len() < end {
            break;
        }
        out.push(bytes[used]);
        // The length without the mask bit, as it came (RFC 6455 §5.2).
        out.push(bytes[used + 1] & 0x7f);
        out.extend_from_slice(&bytes[used + 2..used + head - 4]);
        let mask = [
            bytes[used + head - 4],
            bytes[used + head - 3],
            bytes[used + head - 2],
            bytes[used + head - 1],
        ];
        let payload = out.len();
        out.extend_from_slice(&bytes[used + head..end]);
        unmask(&mut out[payload..], mask);
        used = end;
    }
    used
}

/// Length of the head with its mask, and of the payload.
fn masked_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length) = match *bytes {
        [_, 0xfe, high, low, ..] => (8, usize::from(u16::from_be_bytes([high, low]))),
        [_, 0xff, a, b, c, d, e, f, g, h, ..] => {
            (14, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize)
        }
        [_, 0xfe | 0xff, ..] => return None,
        [_, length, ..] => (6, usize::from(length & 0x7f)),
        _ => return None,
    };
    (bytes.len() >= head).then_some((head, length))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
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
    use crate::load::answers::Answers;
    use crate::load::frames::{Echoes, masked, message};

    #[test]
    fn a_masked_frame_comes_back_unmasked() {
        for length in [0, 1, 7, 64, 125, 126, 65535, 65536] {
            let payload = message(length);
            let mut out = Vec::new();
            let frame = masked(&payload);
            assert_eq!(answer_frames(&frame, &mut out), frame.len());
            if length > 0 {
                assert_eq!(
                    Echoes::new(&payload).take(&out).unwrap(),
                    1,
                    "{length} bytes"
                );
            }
        }
    }
}
