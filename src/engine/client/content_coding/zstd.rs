//! `zstd` (RFC 8878, RFC 9659).

use std::io::Read;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Coding, Step};

/// The largest window of this content coding (RFC 9659 §3).
const WINDOW: u64 = 8 * 1024 * 1024;

/// The largest block (RFC 8878 §3.1.1.2.3).
const BLOCK: usize = 128 * 1024;

const WRONG: &str = "it is not what zstd makes";

/// Any number of frames. The decoder is given one whole block at a time, and not before the last one's output was taken.
#[derive(Default)]
pub struct Zstd {
    frame: Option<FrameDecoder>,
    /// The frame has a checksum behind its last block.
    checksum: bool,
    /// Bytes of a skippable frame that are left.
    skip: usize,
    /// A frame has ended, and none has begun.
    between: bool,
}

impl Coding for Zstd {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.skip > 0 {
            let used = self.skip.min(input.len());
            self.skip -= used;
            return Ok(Step::only_used(used));
        }
        let Some(frame) = &mut self.frame else {
            return self.begin(input);
        };
        let made = frame.read(output).map_err(|_| WRONG)?;
        if made > 0 {
            return Ok(Step { used: 0, made });
        }
        if frame.is_finished() {
            self.frame = None;
            self.between = true;
            return self.begin(input);
        }
        let Some(length) = block_length(input, self.checksum)? else {
            return Ok(Step::only_used(0));
        };
        let mut block = &input[..length];
        frame
            .decode_blocks(&mut block, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| WRONG)?;
        Ok(Step::only_used(length - block.len()))
    }

    fn may_end(&self) -> bool {
        let finished = self.frame.as_ref().map(FrameDecoder::is_finished);
        self.skip == 0 && finished.unwrap_or(self.between)
    }
}

impl Zstd {
    /// Reads a frame's header, once it is whole.
    fn begin(&mut self, input: &[u8]) -> Result<Step, &'static str> {
        let Some((magic, rest)) = input.split_first_chunk::<4>() else {
            return Ok(Step::only_used(0));
        };
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18] = magic {
            let Some(size) = rest.first_chunk::<4>() else {
                return Ok(Step::only_used(0));
            };
            self.skip = u32::from_le_bytes(*size) as usize;
            self.between = true;
            return Ok(Step::only_used(8));
        }
        let Some(descriptor) = rest.first() else {
            return Ok(Step::only_used(0));
        };
        let length = header_length(*descriptor);
        let Some(mut header) = input.get(..length) else {
            return Ok(Step::only_used(0));
        };
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        frame.init(&mut header).map_err(|_| WRONG)?;
        self.checksum = descriptor & 0b100 != 0;
        self.frame = Some(frame);
        self.between = false;
        Ok(Step::only_used(length))
    }
}

/// Magic, descriptor and what the descriptor says (RFC 8878 §3.1.1.1).
fn header_length(descriptor: u8) -> usize {
    let single_segment = descriptor & 0b10_0000 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let content_size = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    4 + 1 + usize::from(!single_segment) + dictionary + content_size
}

/// The bytes of the next block (RFC 8878 §3.1.1.2), and of the checksum behind the last one, once all are there.
fn block_length(input: &[u8], checksum: bool) -> Result<Option<usize>, &'static str> {
    let Some(&[first, second, third]) = input.first_chunk::<3>() else {
        return Ok(None);
    };
    let header = u32::from_le_bytes([first, second, third, 0]);
    let size = (header >> 3) as usize;
    if size > BLOCK {
        return Err(WRONG);
    }
    let is_last = header & 1 != 0;
    let is_repeated_byte = header >> 1 & 0b11 == 1;
    let content = if is_repeated_byte { 1 } else { size };
    let length = 3 + content + if is_last && checksum { 4 } else { 0 };
    Ok(Some(length).filter(|length| *length <= input.len()))
}
