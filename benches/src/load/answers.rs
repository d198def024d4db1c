//! What a connection of the load generator does with the bytes that it gets.

use anyhow::{Result, bail};

/// Finds and checks the answers in a stream of bytes, however it is cut.
pub trait Answers {
    /// The number of answers that `bytes` complete.
    fn take(&mut self, bytes: &[u8]) -> Result<usize>;
}

/// The rest of a body or payload whose content is known.
pub struct Expected {
    content: Vec<u8>,
    /// How much of it has come; all of it between two answers.
    seen: usize,
}

impl Expected {
    pub fn new(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            seen: content.len(),
        }
    }

    pub fn len(&self) -> usize {
        self.content.len()
    }

    /// Content follows.
    pub fn begin(&mut self) {
        self.seen = 0;
    }

    pub fn complete(&self) -> bool {
        self.seen == self.content.len()
    }

    /// Compares what `bytes` begin with, and returns what is behind it.
    pub fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let missing = &self.content[self.seen..];
        let (ours, rest) = bytes.split_at(missing.len().min(bytes.len()));
        if ours != &missing[..ours.len()] {
            bail!("wrong content in an answer");
        }
        self.seen += ours.len();
        Ok(rest)
    }
}
