//! One read buffer and one write buffer for all sockets of a thread.
//!
//! A connection copies bytes into a buffer of its own only when a message is cut in two or a write would block, so an
//! idle connection owns none. The buffers are moved out while they are in use: whoever finds them gone (a handler that
//! sends on another connection while its own is being served) gets new ones.

use std::cell::RefCell;

/// Bytes read at once.
pub const READ_SIZE: usize = 64 * 1024;

/// A write buffer that grew beyond this for one large answer is not kept.
const KEPT_WRITE_CAPACITY: usize = 256 * 1024;

/// The shared buffers of one thread.
#[derive(Default)]
pub struct Buffers {
    read: RefCell<Vec<u8>>,
    write: RefCell<Vec<u8>>,
}

impl Buffers {
    /// The read buffer, [`READ_SIZE`] bytes long.
    pub fn take_read(&self) -> Vec<u8> {
        let mut buffer = self.read.take();
        buffer.resize(READ_SIZE, 0);
        buffer
    }

    /// Puts the read buffer back for the next one.
    pub fn return_read(&self, buffer: Vec<u8>) {
        self.read.replace(buffer);
    }

    /// The write buffer, empty.
    pub fn take_write(&self) -> Vec<u8> {
        self.write.take()
    }

    /// Puts the write buffer back for the next one; its content is dropped.
    pub fn return_write(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_WRITE_CAPACITY {
            buffer.clear();
            self.write.replace(buffer);
        }
    }
}
