//! The servers of a script while they listen or drain.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::websocket::LuauWebSockets;
use crate::engine::{
    counters::Counted, limits::WebSocketLimits, numbered::Numbered, server::Server,
    websocket::Upgrade,
};

/// Whether other processes listen on the ports of this one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Ports {
    /// Only where the script asks for `reuseport`.
    #[default]
    AsConfigured,
    /// On all of them.
    Shared,
}

/// The servers of a script, by number.
pub struct Servers {
    ports: Ports,
    /// Whether times and statuses of answers are counted.
    measured: Cell<bool>,
    open: RefCell<Numbered<OpenServer>>,
    /// What the closed ones have counted.
    past: Cell<Counted>,
}

struct OpenServer {
    server: Rc<Server>,
    websockets: Option<Rc<ServerWebSockets>>,
}

/// The WebSockets of a server that has some.
pub struct ServerWebSockets {
    /// Calls the script's callbacks.
    pub service: Rc<LuauWebSockets>,
    /// The origins whose pages may open one; all without.
    pub origins: Option<Vec<String>>,
    /// What each may take.
    pub limits: Rc<WebSocketLimits>,
}

impl ServerWebSockets {
    /// Makes a connection a WebSocket that goes by `number`.
    pub fn upgrade(&self, number: u64) -> Upgrade {
        Upgrade::new(number, self.limits.clone(), self.service.clone())
    }
}

impl Servers {
    /// No servers yet.
    pub fn new(ports: Ports) -> Self {
        Self {
            ports,
            measured: Cell::new(false),
            open: RefCell::default(),
            past: Cell::default(),
        }
    }

    /// Servers that listen or drain.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Open connections of all servers.
    pub fn connections(&self) -> usize {
        self.open
            .borrow()
            .values()
            .map(|open| open.server.connections())
            .sum()
    }

    /// What all servers have done so far, also those that are closed.
    pub fn counted(&self) -> Counted {
        let open = self.open.borrow();
        let counted = open.values().map(|open| open.server.counters().now());
        counted.fold(self.past.get(), |all, one| all + one)
    }

    /// Stops listening everywhere and lets what runs finish.
    pub fn drain(&self) {
        let servers: Vec<_> = self
            .open
            .borrow()
            .values()
            .map(|open| open.server.clone())
            .collect();
        servers.iter().for_each(|server| server.drain());
    }

    /// Closes all servers with their connections.
    pub fn clear(&self) {
        let servers = self.open.take();
        for open in servers.values() {
            open.server.close();
        }
    }

    /// Counts the times and statuses of answers, of all servers, from now on.
    pub fn measure(&self) {
        self.measured.set(true);
        let open = self.open.borrow();
        open.values()
            .for_each(|open| open.server.measures().turn_on());
    }

    /// The server of this number, while it listens or drains.
    pub fn get(&self, number: u64) -> Option<Rc<Server>> {
        let open = self.open.borrow();
        open.get(&number).map(|open| open.server.clone())
    }

    /// The WebSockets of an open server, if it has some.
    pub fn websockets(&self, number: u64) -> Option<Rc<ServerWebSockets>> {
        self.open.borrow().get(&number)?.websockets.clone()
    }

    /// Has a server go by `number`.
    pub fn add(&self, number: u64, server: Rc<Server>, websockets: Option<Rc<ServerWebSockets>>) {
        if self.measured.get() {
            server.measures().turn_on();
        }
        let open = OpenServer { server, websockets };
        self.open.borrow_mut().insert(number, open);
    }

    /// Whether other processes listen on the ports of this one.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Closes a server; how many connections it had, or none when it was closed before.
    pub fn close(&self, number: u64) -> Option<usize> {
        let server = self.open.borrow_mut().remove(&number)?.server;
        let counted = Counted {
            requests_in_flight: 0,
            ..server.counters().now()
        };
        self.past.set(self.past.get() + counted);
        Some(server.close())
    }
}
