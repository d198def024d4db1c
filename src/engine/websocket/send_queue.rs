//! Bytes that are not sent yet, in order. An empty one owns no memory.

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct SendQueue {
    bytes: Vec<u8>,
    sent: usize,
}

impl SendQueue {
    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that are left.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Where more are added.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The first `count` are sent.
    pub(super) fn take(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            return;
        }
        // Moving the rest to the front only now and then keeps a long queue linear.
        if self.sent > self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Uses `buffer` for what is added next, if there is nothing; whether it does.
    pub(super) fn borrow_buffer(&mut self, buffer: impl FnOnce() -> Vec<u8>) -> bool {
        let empty = self.is_empty();
        if empty {
            self.bytes = buffer();
        }
        empty
    }

    /// Gives the buffer back; what is left is kept in one of its own.
    pub(super) fn return_buffer(&mut self) -> Vec<u8> {
        let own = self.unsent().to_vec();
        self.sent = 0;
        std::mem::replace(&mut self.bytes, own)
    }

    /// Frees what an empty one holds.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Drops what is left.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let mut queue = SendQueue::default();
        let mut sent = Vec::new();
        for round in 0..100_u8 {
            queue.end().extend_from_slice(&[round; 7]);
            let count = 5.min(queue.len());
            sent.extend_from_slice(&queue.unsent()[..count]);
            queue.take(count);
        }
        sent.extend_from_slice(queue.unsent());
        let expected: Vec<u8> = (0..100).flat_map(|round| [round; 7]).collect();
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_lent_buffer_goes_back_and_what_is_left_stays() {
        let mut queue = SendQueue::default();
        assert!(queue.borrow_buffer(|| Vec::with_capacity(100)));
        queue.end().extend_from_slice(b"abcdef");
        queue.take(2);
        assert_eq!(queue.return_buffer().capacity(), 100);
        assert_eq!(queue.unsent(), b"cdef");
        assert!(!queue.borrow_buffer(Vec::new));
    }
}
