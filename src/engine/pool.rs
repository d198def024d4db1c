//! Client connections that wait for their next request.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
};

use super::socket::Socket;

/// Idle connections kept for one origin.
const PER_ORIGIN: usize = 64;

/// Idle connections by origin (`host:port`).
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<String, VecDeque<Socket>>>,
}

impl Pool {
    /// The connection to `origin` that was used last, if the server has not closed it.
    pub fn take(&self, origin: &str) -> Option<Socket> {
        let mut idle = self.idle.borrow_mut();
        let sockets = idle.get_mut(origin)?;
        while let Some(socket) = sockets.pop_back() {
            if is_quiet(&socket) {
                return Some(socket);
            }
        }
        idle.remove(origin);
        None
    }

    /// Keeps a connection whose last response was read to its end.
    pub fn keep(&self, origin: &str, socket: Socket) {
        let mut idle = self.idle.borrow_mut();
        let sockets = match idle.get_mut(origin) {
            Some(sockets) => sockets,
            None => idle.entry(origin.to_owned()).or_default(),
        };
        if sockets.len() == PER_ORIGIN {
            sockets.pop_front();
        }
        sockets.push_back(socket);
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        self.idle.take();
    }
}

/// Nothing has come since the last response: neither an end nor bytes that nobody asked for.
fn is_quiet(socket: &Socket) -> bool {
    matches!(socket.peek(), Ok(None))
}
