//! A WebSocket client that sends what it is told, right or wrong.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::support::Server;

pub const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// RFC 6455 §1.3: what the key above is answered with.
pub const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

pub struct RawWebSocket<S = TcpStream> {
    pub stream: S,
}

impl RawWebSocket {
    pub fn open(server: &Server) -> Self {
        Self::over(server.connect())
    }
}

impl<S: Read + Write> RawWebSocket<S> {
    pub fn over(mut stream: S) -> Self {
        stream.write_all(HANDSHAKE.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(
            head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT),
            "{head}"
        );
        Self { stream }
    }

    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.raw(&frame(first, payload));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The first byte and the payload of the next frame.
    pub fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert_eq!(head[1] & 0x80, 0, "a server's frame is not masked");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).unwrap();
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// The code of the close frame that comes next, behind which the connection ends; none without a code.
    pub fn receive_close(&mut self) -> Option<u16> {
        let (first, payload) = self.receive();
        assert_eq!(first, CLOSE, "{payload:?}");
        self.receive_end();
        let code = payload.first_chunk()?;
        Some(u16::from_be_bytes(*code))
    }

    pub fn receive_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }
}

/// A masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
