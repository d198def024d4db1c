//! `polling`, for systems without epoll.
#![allow(unsafe_code)]

#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::{io, num::NonZeroUsize, time::Duration};

use polling::PollMode;

use super::{BorrowedSource, Event, Interest, raw};

/// The system's poller.
pub struct Poller(polling::Poller);

/// Room for events.
pub struct Events(polling::Events);

impl Events {
    /// Room for so many at once.
    pub fn with_capacity(most: NonZeroUsize) -> Self {
        Self(polling::Events::with_capacity(most))
    }

    /// Those of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.0.iter().map(|event| Event {
            key: event.key,
            readable: event.readable,
            writable: event.writable,
            hung_up: event.is_interrupt() || event.is_err() == Some(true),
        })
    }
}

impl Poller {
    /// A poller without descriptors.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(polling::Poller::new()?))
    }

    /// Adds a descriptor; its events come with `key`, which is not [`usize::MAX`].
    ///
    /// # Errors
    /// When the system refuses (no memory, too many watches).
    pub fn add(
        &self,
        descriptor: BorrowedSource<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        // SAFETY: only the reactor can call this, and its `Watched::drop` deletes a descriptor before it is closed.
        unsafe {
            self.0
                .add_with_mode(raw(&descriptor), event(key, interest), PollMode::Level)
        }
    }

    /// Changes what a descriptor is waited for.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn modify(
        &self,
        descriptor: BorrowedSource<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.0
            .modify_with_mode(descriptor, event(key, interest), PollMode::Level)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// When it is not in.
    pub fn delete(&self, descriptor: BorrowedSource<'_>) -> io::Result<()> {
        self.0.delete(descriptor)
    }

    /// Fills `events` with what there is, and waits until there is something: at most `timeout` (for ever with `None`).
    ///
    /// # Errors
    /// When the system's poller fails.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        self.0.wait(&mut events.0, timeout).map(drop)
    }

    /// Ends a wait, this one or else the next. From any thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn notify(&self) -> io::Result<()> {
        self.0.notify()
    }
}

#[cfg(unix)]
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn event(key: usize, interest: Interest) -> polling::Event {
    polling::Event::new(key, interest.read, interest.write)
}
