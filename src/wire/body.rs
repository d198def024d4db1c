//! Finds the body in the bytes that follow a head (RFC 9112 §6, §7).

use super::chunked::ChunkedDecoder;
use super::error::BodyError;
use super::framing::BodyFraming;

/// Reads one body, in whatever slices it comes. 32 bytes, and no buffer.
///
/// ```
/// use lute_net::wire::{BodyDecoder, BodyEvent, BodyFraming};
///
/// let mut body = BodyDecoder::new(BodyFraming::Chunked);
/// assert_eq!(body.decode(b"5\r\nhel")?, (6, BodyEvent::Piece(b"hel")));
/// assert_eq!(body.decode(b"lo\r\n0\r\n")?, (2, BodyEvent::Piece(b"lo")));
/// assert_eq!(body.decode(b"\r\n0\r\n")?, (5, BodyEvent::NeedMore));
/// assert_eq!(body.decode(b"\r\nGET /next")?, (2, BodyEvent::End));
/// # Ok::<(), lute_net::wire::BodyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// This many bytes are still to come, more than none.
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Finished,
    Failed(BodyError),
}

/// What [`BodyDecoder::decode`] found.
///
/// ```
/// use lute_net::wire::{BodyDecoder, BodyEvent, BodyFraming};
///
/// let mut body = BodyDecoder::new(BodyFraming::Length(5));
/// assert_eq!(body.decode(b"hel"), Ok((3, BodyEvent::Piece(b"hel"))));
/// assert_eq!(body.decode(b""), Ok((0, BodyEvent::NeedMore)));
/// assert_eq!(body.decode(b"loGET /"), Ok((2, BodyEvent::Piece(b"lo"))));
/// assert_eq!(body.decode(b"GET /"), Ok((0, BodyEvent::End)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyEvent<'b> {
    /// Bytes of the body, at least one: the last ones of the input that were used.
    Piece(&'b [u8]),
    /// The input is used up, and the body goes on.
    NeedMore,
    /// The body is over; what was not used belongs to the next message.
    End,
}

impl BodyDecoder {
    /// A decoder at the first byte after the head.
    ///
    /// ```
    /// use lute_net::wire::{BodyDecoder, BodyFraming};
    ///
    /// assert!(BodyDecoder::new(BodyFraming::Empty).is_finished());
    /// assert!(!BodyDecoder::new(BodyFraming::Length(5)).is_finished());
    /// ```
    pub fn new(framing: BodyFraming) -> Self {
        let state = match framing {
            BodyFraming::Empty | BodyFraming::Length(0) => State::Finished,
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(ChunkedDecoder::new()),
            BodyFraming::UntilClose => State::UntilClose,
        };
        BodyDecoder { state }
    }

    /// Takes from the front of `input`: how many bytes it used, and what it found. A `Piece` is
    /// never empty, and at the end of the bytes used.
    ///
    /// ```
    /// use lute_net::wire::{BodyDecoder, BodyError, BodyEvent, BodyFraming};
    ///
    /// let mut body = BodyDecoder::new(BodyFraming::Chunked);
    /// assert_eq!(body.decode(b"3\r\nabc"), Ok((6, BodyEvent::Piece(b"abc"))));
    /// assert_eq!(body.decode(b"!"), Err(BodyError::ChunkNotEnded));
    /// ```
    ///
    /// # Errors
    ///
    /// What the chunked coding can break; the same again at each later call.
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b [u8]) -> Result<(usize, BodyEvent<'b>), BodyError> {
        match &mut self.state {
            State::Finished => Ok((0, BodyEvent::End)),
            State::Failed(error) => Err(*error),
            _ if input.is_empty() => Ok((0, BodyEvent::NeedMore)),
            State::UntilClose => Ok((input.len(), BodyEvent::Piece(input))),
            State::Length(remaining) => {
                let (piece, left) = split_at_most(input, *remaining);
                *remaining = left;
                if left == 0 {
                    self.state = State::Finished;
                }
                Ok((piece.len(), BodyEvent::Piece(piece)))
            }
            State::Chunked(chunked) => {
                let decoded = chunked.decode(input);
                match decoded {
                    Ok((_, BodyEvent::End)) => self.state = State::Finished,
                    Err(error) => self.state = State::Failed(error),
                    Ok(_) => {}
                }
                decoded
            }
        }
    }

    /// Whether all of the body has been taken. True from the start when there is none.
    ///
    /// ```
    /// use lute_net::wire::{BodyDecoder, BodyFraming};
    ///
    /// let mut body = BodyDecoder::new(BodyFraming::Length(2));
    /// body.decode(b"ok")?;
    /// assert!(body.is_finished());
    /// # Ok::<(), lute_net::wire::BodyError>(())
    /// ```
    #[inline]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// How many bytes of the body are still to come, where that is known: with a `Content-Length`,
    /// and 0 at the end of any body.
    ///
    /// ```
    /// use lute_net::wire::{BodyDecoder, BodyFraming};
    ///
    /// let mut body = BodyDecoder::new(BodyFraming::Length(5));
    /// body.decode(b"he")?;
    /// assert_eq!(body.remaining(), Some(3));
    /// assert_eq!(BodyDecoder::new(BodyFraming::Chunked).remaining(), None);
    /// # Ok::<(), lute_net::wire::BodyError>(())
    /// ```
    #[inline]
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(remaining) => Some(remaining),
            State::Finished => Some(0),
            _ => None,
        }
    }

    /// The peer closed. That ends a body that goes on until then.
    ///
    /// ```
    /// use lute_net::wire::{BodyDecoder, BodyError, BodyFraming};
    ///
    /// assert_eq!(BodyDecoder::new(BodyFraming::UntilClose).end_of_input(), Ok(()));
    /// assert_eq!(BodyDecoder::new(BodyFraming::Length(5)).end_of_input(), Err(BodyError::Missing(5)));
    /// ```
    ///
    /// # Errors
    ///
    /// For a body that is not complete, with what is missing of it (RFC 9112 §8).
    pub fn end_of_input(&mut self) -> Result<(), BodyError> {
        let error = match &self.state {
            State::Finished => return Ok(()),
            State::UntilClose => {
                self.state = State::Finished;
                return Ok(());
            }
            State::Length(remaining) => BodyError::Missing(*remaining),
            State::Chunked(chunked) => chunked.missing(),
            State::Failed(error) => *error,
        };
        self.state = State::Failed(error);
        Err(error)
    }
}

/// The first bytes of `input`, `most` at most, and how many of `most` that leaves.
#[inline]
pub(super) fn split_at_most(input: &[u8], most: u64) -> (&[u8], u64) {
    let piece = usize::try_from(most)
        .ok()
        .and_then(|most| input.get(..most))
        .unwrap_or(input);
    (piece, most.saturating_sub(piece.len() as u64))
}

#[cfg(test)]
mod tests;
