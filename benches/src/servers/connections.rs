//! What both floors share: accepting and reading with level-triggered epoll, and telling who can be written to.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

const LISTENER: EventData = EventData::new_u64(u64::MAX);
const READ_BUFFER: usize = 64 * 1024;

/// What a floor does with its connections.
pub trait Floor {
    /// What it remembers of each connection.
    type Memory: Default;

    /// `bytes` came on connection `key`.
    fn received(&mut self, connections: &mut Connections<Self::Memory>, key: usize, bytes: &[u8]);

    /// Connection `key` takes bytes again.
    fn writable(&mut self, connections: &mut Connections<Self::Memory>, key: usize);
}

pub struct Connections<M> {
    epoll: OwnedFd,
    pub open: Slab<Connection<M>>,
}

pub struct Connection<M> {
    pub socket: TcpStream,
    pub memory: M,
    wants_to_write: bool,
}

/// Serves `listener` for ever.
pub fn serve<F: Floor>(listener: TcpListener, mut floor: F) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
    epoll::add(&epoll, &listener, LISTENER, EventFlags::IN).context("epoll")?;
    let mut connections = Connections {
        epoll,
        open: Slab::new(),
    };
    let mut events: Vec<Event> = Vec::with_capacity(256);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        events.clear();
        match epoll::wait(
            &connections.epoll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &events {
            if event.data.u64() == LISTENER.u64() {
                connections.accept(&listener)?;
                continue;
            }
            let key = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) {
                floor.writable(&mut connections, key);
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                connections.read(&mut floor, key, &mut buffer);
            }
        }
    }
}

impl<M: Default> Connections<M> {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let entry = self.open.vacant_entry();
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(entry.key() as u64),
                EventFlags::IN,
            )
            .context("epoll")?;
            entry.insert(Connection {
                socket,
                memory: M::default(),
                wants_to_write: false,
            });
        }
        Ok(())
    }

    fn read<F: Floor<Memory = M>>(&mut self, floor: &mut F, key: usize, buffer: &mut [u8]) {
        let Some(connection) = self.open.get_mut(key) else {
            return;
        };
        match connection.socket.read(buffer) {
            Ok(0) => drop(self.open.remove(key)),
            Ok(count) => floor.received(self, key, &buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => drop(self.open.remove(key)),
        }
    }

    /// Writes what the socket takes of `bytes` and returns how much it was; a lost connection takes nothing.
    pub fn write(&mut self, key: usize, bytes: &[u8]) -> usize {
        let Some(connection) = self.open.get_mut(key) else {
            return 0;
        };
        let mut written = 0;
        while written < bytes.len() {
            match connection.socket.write(&bytes[written..]) {
                Ok(count) => written += count,
                // The lost connection is removed when its end is read.
                Err(_) => break,
            }
        }
        let wants_to_write = written < bytes.len();
        if wants_to_write != connection.wants_to_write {
            connection.wants_to_write = wants_to_write;
            let flags = if wants_to_write {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            let data = EventData::new_u64(key as u64);
            if epoll::modify(&self.epoll, &connection.socket, data, flags).is_err() {
                self.open.remove(key);
            }
        }
        written
    }
}
