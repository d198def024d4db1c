//! What ends the wait of a reactor from elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
    thread::{self, ThreadId},
};

use crate::engine::poller::Poller;

/// Wakes whoever runs the reactor; see [`Reactor::wakeup`](super::Reactor::wakeup). It begins as woken.
pub(crate) struct Wakeup {
    woken: AtomicBool,
    thread: ThreadId,
    poller: Arc<Poller>,
}

impl Wakeup {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self {
            woken: AtomicBool::new(true),
            thread: thread::current().id(),
            poller,
        }
    }

    /// Whether it was called since this was last asked.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Whether it was called and not taken yet.
    pub(crate) fn is_set(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let set = self.woken.swap(true, Ordering::SeqCst);
        // The reactor's own thread looks before it waits.
        if !set && thread::current().id() != self.thread {
            // It fails only when the poller is gone, and then nobody waits.
            let _ = self.poller.notify();
        }
    }
}

/// Ends the poller's wait, only while there is one: a wake from the runtime's own thread costs no system call.
pub(super) struct Alarm {
    poller: Arc<Poller>,
    armed: AtomicBool,
}

impl Alarm {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self {
            poller,
            armed: AtomicBool::new(false),
        }
    }

    /// From here on a wake ends the wait.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Nobody waits.
    pub(super) fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.armed.swap(false, Ordering::SeqCst) {
            // It fails only when the poller is gone, and then nobody waits.
            let _ = self.poller.notify();
        }
    }
}
