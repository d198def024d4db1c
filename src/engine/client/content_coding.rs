//! Undoes the `Content-Encoding` of a response (RFC 9110 §8.4) piece by piece: whatever comes in, a call gives out at most
//! 64 KiB, so a bomb is never in memory.
//!
//! ```
//! use lute_net::engine::client::{ContentDecoder, Fields};
//!
//! let mut fields = Fields::default();
//! fields.push(b"Content-Encoding", b"deflate");
//! let mut decoder = ContentDecoder::of_response(&fields).expect("a known coding");
//! decoder.feed(b"\x4b\x04\x00".to_vec());
//! let mut out = Vec::new();
//! while decoder.decode(&mut out)? {}
//! decoder.end()?;
//! assert_eq!(out, b"a");
//! # Ok::<(), &'static str>(())
//! ```

mod brotli;
mod flate;
mod zstd;

use self::{
    brotli::Brotli,
    flate::{Deflate, Gzip},
    zstd::Zstd,
};
use super::Fields;
use crate::wire::list_elements;

/// Bytes given out at once.
const PIECE: usize = 64 * 1024;

/// Codings on top of each other, at the most.
const MOST_LAYERS: usize = 4;

/// One coding.
trait Coding {
    /// Decodes some of `input` to `output`, which is never empty. When neither moves, it wants more input.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str>;

    /// Whether the input may end here.
    fn may_end(&self) -> bool;
}

/// What a call of [`Coding::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    used: usize,
    made: usize,
}

impl Step {
    fn only_used(used: usize) -> Self {
        Self { used, made: 0 }
    }
}

/// Decodes a body, given in any pieces.
///
/// ```
/// use lute_net::engine::client::{ContentDecoder, Fields};
///
/// let mut fields = Fields::default();
/// fields.push(b"Content-Encoding", b"deflate");
/// assert!(ContentDecoder::of_response(&fields).is_some());
/// ```
pub struct ContentDecoder {
    /// In the order in which they are undone.
    layers: Vec<Layer>,
    began: bool,
}

struct Layer {
    coding: Box<dyn Coding>,
    input: Vec<u8>,
    used: usize,
}

impl ContentDecoder {
    /// A decoder for what `Content-Encoding` says; none when it says nothing, or something that is not known here.
    ///
    /// ```
    /// use lute_net::engine::client::{ContentDecoder, Fields};
    ///
    /// let mut fields = Fields::default();
    /// fields.push(b"Content-Encoding", b"compress");
    /// assert!(ContentDecoder::of_response(&fields).is_none(), "not known here");
    /// ```
    pub fn of_response(fields: &Fields) -> Option<Self> {
        let values = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding"));
        let names = values.flat_map(|(_, value)| list_elements(value));
        let names: Vec<_> = names
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
            .collect();
        if names.is_empty() || names.len() > MOST_LAYERS {
            return None;
        }
        let layers = names.iter().rev().map(|name| {
            Some(Layer {
                coding: coding(&name.to_ascii_lowercase())?,
                input: Vec::new(),
                used: 0,
            })
        });
        Some(Self {
            layers: layers.collect::<Option<_>>()?,
            began: false,
        })
    }

    /// Gives it the next bytes. To be called when [`Self::decode`] has nothing left.
    ///
    /// ```
    /// use lute_net::engine::client::{ContentDecoder, Fields};
    ///
    /// let mut fields = Fields::default();
    /// fields.push(b"Content-Encoding", b"gzip");
    /// let mut decoder = ContentDecoder::of_response(&fields).unwrap();
    /// decoder.feed(b"no gzip at all".to_vec());
    /// assert!(decoder.decode(&mut Vec::new()).is_err());
    /// ```
    pub fn feed(&mut self, encoded: Vec<u8>) {
        self.began |= !encoded.is_empty();
        if let Some(layer) = self.layers.first_mut() {
            layer.feed(encoded);
        }
    }

    /// Adds some decoded bytes to `out`, 64 KiB at the most; false when it wants more input first.
    ///
    /// ```
    /// use lute_net::engine::client::{ContentDecoder, Fields};
    ///
    /// let mut fields = Fields::default();
    /// fields.push(b"Content-Encoding", b"deflate");
    /// let mut decoder = ContentDecoder::of_response(&fields).unwrap();
    /// // `ok` in a stored block of zlib's format
    /// decoder.feed(vec![0x78, 0x01, 1, 2, 0, 0xfd, 0xff, b'o', b'k', 0x01, 0x4b, 0x00, 0xdb]);
    /// let mut out = Vec::new();
    /// while decoder.decode(&mut out)? {}
    /// assert_eq!(out, b"ok");
    /// # Ok::<(), &str>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the encoded bytes.
    pub fn decode(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        let start = out.len();
        out.resize(start + PIECE, 0);
        let made = pull(&mut self.layers, &mut out[start..]);
        out.truncate(start + made.unwrap_or(0));
        Ok(made? > 0)
    }

    /// The body has ended. No body at all is no error.
    ///
    /// ```
    /// use lute_net::engine::client::{ContentDecoder, Fields};
    ///
    /// let mut fields = Fields::default();
    /// fields.push(b"Content-Encoding", b"gzip");
    /// let mut decoder = ContentDecoder::of_response(&fields).unwrap();
    /// assert_eq!(decoder.end(), Ok(()));
    /// decoder.feed(vec![0x1f]);
    /// assert!(decoder.end().is_err(), "it is cut short");
    /// ```
    ///
    /// # Errors
    /// When it is cut short.
    pub fn end(&self) -> Result<(), &'static str> {
        if self.began && !self.layers.iter().all(|layer| layer.coding.may_end()) {
            return Err("it is cut short");
        }
        Ok(())
    }
}

/// Decodes to `output` with the last layer, which takes what the one before it gives out; how many bytes that were.
fn pull(layers: &mut [Layer], output: &mut [u8]) -> Result<usize, &'static str> {
    let Some((last, before)) = layers.split_last_mut() else {
        return Ok(0);
    };
    loop {
        let step = last.coding.decode(&last.input[last.used..], output)?;
        last.used += step.used;
        if step.made > 0 {
            return Ok(step.made);
        }
        if step.used > 0 {
            continue;
        }
        let mut piece = vec![0; if before.is_empty() { 0 } else { PIECE }];
        let made = pull(before, &mut piece)?;
        if made == 0 {
            return Ok(0);
        }
        piece.truncate(made);
        last.feed(piece);
    }
}

impl Layer {
    fn feed(&mut self, bytes: Vec<u8>) {
        self.input.drain(..self.used);
        self.used = 0;
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input.extend_from_slice(&bytes);
        }
    }
}

fn coding(name: &[u8]) -> Option<Box<dyn Coding>> {
    Some(match name {
        b"gzip" | b"x-gzip" => Box::new(Gzip::default()),
        b"deflate" => Box::new(Deflate::default()),
        b"br" => Box::new(Brotli::new()),
        b"zstd" => Box::new(Zstd::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
