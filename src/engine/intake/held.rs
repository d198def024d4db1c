//! How much of its clients' bodies a server holds in memory.

use std::{cell::Cell, rc::Rc};

/// Bytes of bodies that one server holds in memory.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Buffered, Intake, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (limits, buffered) = (Limits { buffered: 4, ..Limits::default() }, Rc::new(Buffered::default()));
/// let input = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
/// let (mut intake, mut storage) = (Intake::default(), FieldStorage::new());
/// let (_, taken) = intake.next(input, &mut storage, &limits, &buffered, Bodies::Whole);
/// assert!(matches!(taken, Taken::Refused(refusal) if refusal.status == 503));
/// ```
#[derive(Default)]
pub struct Buffered {
    pub(super) bytes: Cell<u64>,
}

impl Buffered {
    /// Whether `bytes` more stay within `limit`.
    pub(super) fn has_room(&self, bytes: u64, limit: u64) -> bool {
        self.bytes.get().saturating_add(bytes) <= limit
    }
}

/// A share of [`Buffered`], given back when dropped.
pub(crate) struct Held {
    buffered: Rc<Buffered>,
    bytes: u64,
}

impl Held {
    /// A share for a body that is there already.
    pub(crate) fn of(buffered: &Rc<Buffered>, bytes: u64) -> Self {
        let mut held = Self {
            buffered: buffered.clone(),
            bytes: 0,
        };
        held.grow(bytes, u64::MAX);
        held
    }

    /// Takes `bytes` more, if that stays within `limit`.
    pub(super) fn grow(&mut self, bytes: u64, limit: u64) -> bool {
        let has_room = self.buffered.has_room(bytes, limit);
        if has_room {
            self.buffered.bytes.set(self.buffered.bytes.get() + bytes);
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.buffered
            .bytes
            .set(self.buffered.bytes.get() - self.bytes);
    }
}
