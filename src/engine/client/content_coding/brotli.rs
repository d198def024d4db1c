//! `br` (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Coding, Step};

/// One stream. Its window is 16 MiB at the most: the larger ones that brotli has besides are not for HTTP.
pub struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    total: usize,
    ended: bool,
}

impl Brotli {
    /// Before the first byte.
    pub fn new() -> Self {
        let allocator = StandardAlloc::default;
        Self {
            state: Box::new(BrotliState::new_strict(
                allocator(),
                allocator(),
                allocator(),
            )),
            total: 0,
            ended: false,
        }
    }
}

impl Coding for Brotli {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.ended {
            return Ok(Step::only_used(input.len()));
        }
        let (mut left, mut used) = (input.len(), 0);
        let (mut room, mut made) = (output.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut used,
            input,
            &mut room,
            &mut made,
            output,
            &mut self.total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err("it is not what brotli makes"),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { used, made })
    }

    fn may_end(&self) -> bool {
        self.ended
    }
}
