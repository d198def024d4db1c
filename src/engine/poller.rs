//! The system's poller in level mode, as the reactor needs it: on Linux epoll, whose wait is one system call, elsewhere
//! the `polling` crate (there one costs five on Linux, which is half of what a lone connection's request costs).

#[cfg(target_os = "linux")]
#[path = "poller/epoll.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "poller/portable.rs"]
mod system;

pub use self::system::{Events, Poller};

#[cfg(unix)]
pub use std::os::fd::{AsFd as AsSource, BorrowedFd as BorrowedSource, RawFd as RawSource};
#[cfg(windows)]
pub use std::os::windows::io::{
    AsSocket as AsSource, BorrowedSocket as BorrowedSource, RawSocket as RawSource,
};

/// The number that the system knows a socket by.
pub fn raw(source: &impl AsSource) -> RawSource {
    #[cfg(unix)]
    return std::os::fd::AsRawFd::as_raw_fd(&source.as_fd());
    #[cfg(windows)]
    return std::os::windows::io::AsRawSocket::as_raw_socket(&source.as_socket());
}

/// The key that a poller keeps for itself.
#[cfg(target_os = "linux")]
pub const OWN_KEY: usize = usize::MAX;

/// Which way a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until bytes, an end or an error can be read.
    pub read: bool,
    /// Until bytes can be written.
    pub write: bool,
}

/// What has come for a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the descriptor was added with.
    pub key: usize,
    /// A read can get on.
    pub readable: bool,
    /// A write can get on.
    pub writable: bool,
    /// Both sides have ended, or the connection has failed: this comes whatever the interest, as long as the descriptor is
    /// in the poller.
    pub hung_up: bool,
}

#[cfg(test)]
mod tests;
