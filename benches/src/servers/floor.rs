//! The floor: fixed bytes for every request, which is found by its end or by its length, and never looked into.

use std::net::TcpListener;

use anyhow::Result;
use memchr::memmem;

use super::connections::{self, Connections};
use crate::contract::{Handler, Headers};

const HEAD_END: &[u8] = b"\r\n\r\n";

/// So many answers lie ready in a row, for pipelined requests.
const ANSWERS_IN_A_ROW: usize = 64;
const ROW_BYTES: usize = 1024 * 1024;

/// Answers every request as `handler` would.
pub fn serve(listener: TcpListener, handler: Handler) -> Result<()> {
    let body = handler.answer();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ndate: Sun, 22 Nov 2026 10:00:00 GMT\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), &body].concat();
    let row = answer.repeat(ANSWERS_IN_A_ROW.min(ROW_BYTES / answer.len()).max(1));
    let counting = match handler {
        Handler::Echo => Counting::Length(handler.request(Headers::Few).len()),
        _ => Counting::HeadEnds,
    };
    connections::serve(
        listener,
        Floor {
            row,
            answer_bytes: answer.len(),
            counting,
        },
    )
}

/// How requests are counted.
enum Counting {
    /// Requests without a body.
    HeadEnds,
    /// Requests of so many bytes each.
    Length(usize),
}

struct Floor {
    row: Vec<u8>,
    answer_bytes: usize,
    counting: Counting,
}

#[derive(Default)]
struct Memory {
    /// The last bytes of what was read, where the end of a head may have been cut.
    last: [u8; 3],
    /// Bytes of a request that is not complete.
    begun: usize,
    /// Bytes of answers that are still to be written; the last one ends at the end of an answer.
    owed: usize,
}

impl connections::Floor for Floor {
    type Memory = Memory;

    fn received(&mut self, connections: &mut Connections<Memory>, key: usize, bytes: &[u8]) {
        let memory = &mut connections.open[key].memory;
        let requests = match self.counting {
            Counting::HeadEnds => memory.head_ends(bytes),
            Counting::Length(length) => {
                memory.begun += bytes.len();
                let complete = memory.begun / length;
                memory.begun %= length;
                complete
            }
        };
        let waited = memory.owed > 0;
        memory.owed += requests * self.answer_bytes;
        if !waited {
            self.writable(connections, key);
        }
    }

    fn writable(&mut self, connections: &mut Connections<Memory>, key: usize) {
        while let Some(connection) = connections.open.get(key)
            && connection.memory.owed > 0
        {
            let owed = connection.memory.owed;
            let begin = (self.answer_bytes - owed % self.answer_bytes) % self.answer_bytes;
            let piece = &self.row[begin..self.row.len().min(begin + owed)];
            let written = connections.write(key, piece);
            if let Some(connection) = connections.open.get_mut(key) {
                connection.memory.owed -= written;
            }
            if written < piece.len() {
                return;
            }
        }
    }
}

impl Memory {
    fn head_ends(&mut self, bytes: &[u8]) -> usize {
        let kept = self.last.len();
        // A match in the last three bytes and the next three is one that was cut.
        let mut seam = [0; 6];
        let next = bytes.len().min(kept);
        seam[..kept].copy_from_slice(&self.last);
        seam[kept..kept + next].copy_from_slice(&bytes[..next]);
        let cut = memmem::find_iter(&seam[..kept + next], HEAD_END).count();

        self.last.rotate_left(next);
        self.last[kept - next..].copy_from_slice(&bytes[bytes.len() - next..]);
        cut + memmem::find_iter(bytes, HEAD_END).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_however_the_bytes_are_cut() {
        let bytes = Handler::Hello.request(Headers::Browser).repeat(3);
        for step in 1..=bytes.len() {
            let mut memory = Memory::default();
            let counted: usize = bytes
                .chunks(step)
                .map(|bytes| memory.head_ends(bytes))
                .sum();
            assert_eq!(counted, 3, "cut every {step} bytes");
        }
    }
}
