//! WebSocket frames (RFC 6455 §5.2): masked ones out, a server's echo of them back.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

use super::answers::{Answers, Expected};
use super::stream::Stream;
use crate::contract::{WEBSOCKET_ACCEPT, WEBSOCKET_HANDSHAKE};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FINAL_BINARY: u8 = 0x82;
const FINAL_PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// The payload of every message: `length` bytes that are not all alike.
pub fn message(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// One masked binary frame, as a client has to send it.
pub fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![FINAL_BINARY];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// Turns a connection that still blocks into a WebSocket.
pub fn handshake(stream: &mut Stream) -> Result<()> {
    stream.write_all(WEBSOCKET_HANDSHAKE.as_bytes())?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream
            .read(&mut buffer)
            .context("no answer to the handshake")?
        {
            0 => bail!("the server closed the connection in the handshake"),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    if !head.starts_with("HTTP/1.1 101 ") || !head.contains(WEBSOCKET_ACCEPT) {
        bail!("the server refused the handshake: {}", head.escape_debug());
    }
    Ok(())
}

/// Unmasked binary frames, each with the expected payload. Pings between them are stepped over.
pub struct Echoes {
    payload: Expected,
    cut_head: Vec<u8>,
    ping_bytes: usize,
}

impl Echoes {
    pub fn new(expected: &[u8]) -> Self {
        Self {
            payload: Expected::new(expected),
            cut_head: Vec::new(),
            ping_bytes: 0,
        }
    }

    fn take_whole(&mut self, mut bytes: &[u8]) -> Result<usize> {
        let mut complete = 0;
        loop {
            let pinged = self.ping_bytes.min(bytes.len());
            self.ping_bytes -= pinged;
            bytes = &bytes[pinged..];
            if self.payload.complete() {
                let Some((head, opcode, length)) = frame_head(bytes) else {
                    self.cut_head.extend_from_slice(bytes);
                    return Ok(complete);
                };
                bytes = &bytes[head..];
                match opcode {
                    FINAL_PING => {
                        self.ping_bytes = length;
                        continue;
                    }
                    FINAL_BINARY if length == self.payload.len() => self.payload.begin(),
                    CLOSE => bail!("the server closed a WebSocket"),
                    _ => bail!(
                        "not an echo: a frame that begins with {opcode:#x} and has {length} bytes"
                    ),
                }
            }
            bytes = self.payload.take(bytes)?;
            if !self.payload.complete() {
                return Ok(complete);
            }
            complete += 1;
        }
    }
}

impl Answers for Echoes {
    fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.cut_head.is_empty() {
            return self.take_whole(bytes);
        }
        let mut joined = std::mem::take(&mut self.cut_head);
        joined.extend_from_slice(bytes);
        self.take_whole(&joined)
    }
}

/// Length of the head, its first byte, and the length of the payload of an unmasked frame.
fn frame_head(bytes: &[u8]) -> Option<(usize, u8, usize)> {
    match *bytes {
        [first, 126, high, low, ..] => {
            Some((4, first, usize::from(u16::from_be_bytes([high, low]))))
        }
        [first, 127, a, b, c, d, e, f, g, h, ..] => Some((
            10,
            first,
            u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize,
        )),
        [_, 126 | 127, ..] => None,
        [first, length, ..] => Some((2, first, usize::from(length))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![FINAL_BINARY, 126];
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn echoes_are_counted_however_the_bytes_are_cut() {
        let payload = message(200);
        let mut bytes = unmasked(&payload);
        bytes.extend_from_slice(&[FINAL_PING, 2, b'h', b'i']);
        bytes.extend_from_slice(&unmasked(&payload));
        for step in 1..=bytes.len() {
            let mut echoes = Echoes::new(&payload);
            let counted: usize = bytes
                .chunks(step)
                .map(|bytes| echoes.take(bytes).unwrap())
                .sum();
            assert_eq!(counted, 2, "cut every {step} bytes");
        }
    }

    #[test]
    fn another_payload_is_an_error() {
        assert!(
            Echoes::new(&message(200))
                .take(&unmasked(&message(201)))
                .is_err()
        );
        assert!(
            Echoes::new(&message(200))
                .take(&unmasked(&[0; 200]))
                .is_err()
        );
    }
}
