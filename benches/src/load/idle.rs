//! Connections that are open and do nothing.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

use super::answers::Answers;
use super::frames;
use super::stream::{Stream, Target};

/// Open as long as this value lives.
pub struct IdleConnections {
    _streams: Vec<Stream>,
}

impl IdleConnections {
    /// Opens `count` connections, one after the other, and does one request on each.
    pub fn http<A: Answers>(
        target: &Target,
        count: usize,
        request: &[u8],
        mut responses: A,
    ) -> Result<Self> {
        let mut buffer = vec![0; 16 * 1024];
        let open = |index| -> Result<Stream> {
            let mut stream = target.connect()?;
            stream.write_all(request)?;
            while {
                let count = stream.read(&mut buffer).context("no answer")?;
                if count == 0 {
                    bail!("the server closed connection {index}");
                }
                responses.take(&buffer[..count])? == 0
            } {}
            Ok(stream)
        };
        Self::open(count, open)
    }

    /// Opens `count` WebSockets, one after the other.
    pub fn websocket(target: &Target, count: usize) -> Result<Self> {
        Self::open(count, |_| {
            let mut stream = target.connect()?;
            frames::handshake(&mut stream)?;
            Ok(stream)
        })
    }

    fn open(count: usize, mut open: impl FnMut(usize) -> Result<Stream>) -> Result<Self> {
        let mut streams = Vec::with_capacity(count);
        for index in 0..count {
            streams
                .push(open(index).with_context(|| format!("idle connection {index} of {count}"))?);
        }
        Ok(Self { _streams: streams })
    }
}
