//! The chunked transfer coding (RFC 9112 §7.1).

use super::body::{BodyEvent, split_at_most};
use super::error::{BodyError, LineError};
use super::field_line::{FieldLines, Folding, Step};
use super::syntax::is_field_content;

/// u64 has room for no more hexadecimal digits.
const MOST_SIZE_DIGITS: u8 = 16;
/// Most bytes between the size of a chunk and its line end.
const MOST_EXTENSION_BYTES_IN_LINE: u16 = 4 * 1024;
/// Extension bytes a body may have in all, before any data is counted. On top comes one for each 16
/// bytes of data in earlier chunks, so that signed uploads pass at any length (the 82 bytes that AWS
/// clients put on each chunk of 8 KiB or more are 1 %) and one-byte chunks with long extensions do
/// not: they are a way to make a server work without reaching its body limit.
const EXTENSION_BYTES_FREE: u32 = 16 * 1024;
const DATA_BYTES_PER_EXTENSION_BYTE: u64 = 16;
const MOST_TRAILER_BYTES: u16 = 8 * 1024;
const MOST_TRAILER_LINES: u8 = 32;

#[derive(Clone, Debug)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// Of the chunk's data; while its size is read, the size so far.
    remaining: u64,
    /// Extension bytes that the rest of the body may have.
    extension_allowance: u32,
    /// Extension bytes of the present line, or bytes of trailers.
    line_bytes: u16,
    trailer_lines: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size {
        digits: u8,
    },
    /// Whitespace after the size, which only an extension may follow (RFC 9112 §7.1.1).
    BadWhitespace,
    Extension,
    SizeLineEnd,
    Data,
    AfterData,
    AfterDataCr,
    Trailers(FieldLines),
    Finished,
}

impl ChunkedDecoder {
    pub(super) fn new() -> Self {
        ChunkedDecoder {
            state: State::Size { digits: 0 },
            remaining: 0,
            extension_allowance: EXTENSION_BYTES_FREE,
            line_bytes: 0,
            trailer_lines: 0,
        }
    }

    /// As [`BodyDecoder::decode`](super::BodyDecoder::decode).
    pub(super) fn decode<'b>(
        &mut self,
        input: &'b [u8],
    ) -> Result<(usize, BodyEvent<'b>), BodyError> {
        let mut rest = input;
        while let Some((byte, after)) = rest.split_first() {
            if self.state == State::Data {
                let (piece, left) = split_at_most(rest, self.remaining);
                self.remaining = left;
                if left == 0 {
                    self.state = State::AfterData;
                }
                let used = input.len() - rest.len() + piece.len();
                return Ok((used, BodyEvent::Piece(piece)));
            }
            self.state = self.step(*byte)?;
            rest = after;
            if self.state == State::Finished {
                return Ok((input.len() - rest.len(), BodyEvent::End));
            }
        }
        Ok((input.len(), BodyEvent::NeedMore))
    }

    /// What the peer left out when it closed here.
    pub(super) fn missing(&self) -> BodyError {
        match self.state {
            State::Data => BodyError::Missing(self.remaining),
            _ => BodyError::MissingLastChunk,
        }
    }

    /// Takes a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                self.size_digit(digits, byte)
            }
            (State::Size { digits: 0 }, _) => Err(BodyError::InvalidChunkSize),
            (State::Size { .. } | State::Extension, b'\r') => Ok(State::SizeLineEnd),
            (State::Size { .. } | State::Extension, b'\n') => Err(LineError::BareLf.into()),
            (State::Size { .. } | State::BadWhitespace, b' ' | b'\t') => {
                self.extension_byte(State::BadWhitespace)
            }
            (State::Size { .. } | State::BadWhitespace, b';') => {
                self.extension_byte(State::Extension)
            }
            (State::Size { .. }, _) => Err(BodyError::InvalidChunkSize),
            (State::BadWhitespace, _) => Err(BodyError::WhitespaceAfterChunkSize),
            (State::Extension, _) if is_field_content(byte) => {
                self.extension_byte(State::Extension)
            }
            (State::Extension, _) => Err(BodyError::InvalidChunkExtension),
            (State::SizeLineEnd, b'\n') => Ok(self.end_size_line()),
            (State::SizeLineEnd, _) => Err(LineError::BareCr.into()),
            (State::AfterData, b'\r') => Ok(State::AfterDataCr),
            (State::AfterDataCr, b'\n') => Ok(State::Size { digits: 0 }),
            (State::AfterData | State::AfterDataCr, _) => Err(BodyError::ChunkNotEnded),
            (State::Trailers(lines), _) => self.trailer_byte(lines, byte),
            (State::Data | State::Finished, _) => Ok(self.state),
        }
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<State, BodyError> {
        if digits == MOST_SIZE_DIGITS {
            return Err(BodyError::ChunkSizeTooLong);
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(BodyError::InvalidChunkSize),
        };
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn extension_byte(&mut self, next: State) -> Result<State, BodyError> {
        if self.line_bytes == MOST_EXTENSION_BYTES_IN_LINE || self.extension_allowance == 0 {
            return Err(BodyError::ChunkExtensionsTooLong);
        }
        self.line_bytes += 1;
        self.extension_allowance -= 1;
        Ok(next)
    }

    /// The chunk's data has to come before its share of the allowance can be used.
    fn end_size_line(&mut self) -> State {
        self.line_bytes = 0;
        if self.remaining == 0 {
            return State::Trailers(FieldLines::FirstLine);
        }
        let share = self.remaining / DATA_BYTES_PER_EXTENSION_BYTE;
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        self.extension_allowance = self.extension_allowance.saturating_add(share);
        State::Data
    }

    /// Trailers are checked as the fields of a head are, and dropped (RFC 9112 §7.1.2): whatever
    /// they are called, nothing of them can change the message.
    fn trailer_byte(&mut self, mut lines: FieldLines, byte: u8) -> Result<State, BodyError> {
        if self.line_bytes == MOST_TRAILER_BYTES {
            return Err(BodyError::TrailersTooLarge);
        }
        self.line_bytes += 1;
        match lines.step(byte, Folding::Refused)? {
            Step::SectionEnded => return Ok(State::Finished),
            Step::LineEnded if self.trailer_lines == MOST_TRAILER_LINES => {
                return Err(BodyError::TrailersTooLarge);
            }
            Step::LineEnded => self.trailer_lines += 1,
            Step::Inside => {}
        }
        Ok(State::Trailers(lines))
    }
}
