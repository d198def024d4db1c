//! WebSockets as scripts have them: what comes becomes calls of `luau/websocket.luau`.
//!
//! - [`methods`]: behind that file; [`server`]: behind `luau/server_websocket.luau`; [`outgoing`]: what scripts send

pub mod methods;
mod outgoing;
pub mod server;

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use event_listener::Event;
use mlua::prelude::LuaResult;
use slab::Slab;

pub use self::outgoing::{Current, Outlet};
use super::{Script, memory::beyond_the_limit, modules::WebSocketFunctions, raw_vm::Source};
use crate::engine::{
    numbered::Numbered,
    websocket::{Ending, Incoming, Role, WebSocket, WebSocketService, frames, topics::Topics},
};

/// The open WebSockets of a script, by number.
#[derive(Default)]
pub struct Sockets {
    open: RefCell<Numbered<Rc<OpenSocket>>>,
    places: RefCell<Slab<()>>,
    current: Rc<Current>,
}

pub(super) struct OpenSocket {
    socket: Rc<WebSocket>,
    /// Where Luau has its table and its callback, which are looked for with each read: small, and used again.
    place: usize,
    topics: Rc<Topics>,
    /// Messages that waited for a script to take them, so far.
    arrivals: Cell<u64>,
    receivers: Event,
}

impl Sockets {
    /// Those that are open.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.open.take();
        self.places.take();
    }

    /// From now on `socket` can be used; the topics are those that it can subscribe to.
    pub(super) fn add(&self, socket: &Rc<WebSocket>, topics: &Rc<Topics>) -> Rc<OpenSocket> {
        let mut open = self.open.borrow_mut();
        let open = open.entry(socket.number()).or_insert_with(|| {
            Rc::new(OpenSocket {
                socket: socket.clone(),
                place: self.places.borrow_mut().insert(()),
                topics: topics.clone(),
                arrivals: Cell::new(0),
                receivers: Event::new(),
            })
        });
        open.clone()
    }

    fn remove(&self, number: u64) -> Option<Rc<OpenSocket>> {
        let open = self.open.borrow_mut().remove(&number)?;
        self.places.borrow_mut().try_remove(open.place);
        Some(open)
    }

    /// The open one of this number.
    pub fn socket(&self, number: u64) -> Option<Rc<WebSocket>> {
        let open = self.open.borrow();
        open.get(&number).map(|open| open.socket.clone())
    }

    /// Tells the servers of all that were opened by the script that it goes away.
    pub fn end_clients(&self) {
        for open in self.open.borrow().values() {
            if open.socket.role() == Role::Client {
                open.socket.close(frames::GOING_AWAY, "");
            }
        }
    }

    fn get(&self, number: u64) -> Option<Rc<OpenSocket>> {
        self.open.borrow().get(&number).cloned()
    }
}

impl OpenSocket {
    fn arrived(&self, count: u64) {
        self.arrivals.set(self.arrivals.get() + count);
        self.wake_receivers();
    }

    fn wake_receivers(&self) {
        self.receivers.notify(usize::MAX);
    }
}

/// Calls a script's callbacks.
pub struct LuauWebSockets {
    script: Weak<Script>,
    topics: Rc<Topics>,
}

impl LuauWebSockets {
    /// For the WebSockets of one server, or of clients.
    pub fn new(script: Weak<Script>) -> Self {
        Self {
            script,
            topics: Rc::default(),
        }
    }

    /// The server's topics.
    pub fn topics(&self) -> &Rc<Topics> {
        &self.topics
    }

    fn call<R>(
        &self,
        call: impl FnOnce(&Script, &WebSocketFunctions) -> LuaResult<R>,
    ) -> Option<R> {
        let script = self.script.upgrade()?;
        script.call_websockets(|functions| call(&script, functions))
    }
}

impl WebSocketService for LuauWebSockets {
    fn opened(&self, socket: &Rc<WebSocket>) {
        let told = self.call(|script, functions| {
            let open = script.sockets.add(socket, &self.topics);
            let (number, remote) = (socket.number(), socket.remote().to_string());
            functions.opened.call::<()>((number, open.place, remote))
        });
        if told.is_none() {
            socket.close(frames::INTERNAL_ERROR, "");
        }
    }

    fn received(&self, number: u64, messages: &mut dyn Incoming) {
        let mut kept = 0;
        let delivered = self.call(|script, functions| {
            let Some(open) = script.sockets.get(number) else {
                return Ok(());
            };
            let current = &script.sockets.current;
            let from = Source {
                number,
                place: open.place,
                interrupt: &script.interrupt,
                current,
            };
            let _until_handed_on = current.set(open);
            let receiver = &functions.receiver;
            let (count, delivered) = receiver.deliver(&script.lua()?, &from, messages);
            kept = count;
            delivered
        });
        if kept == 0 && delivered.is_some() {
            return;
        }
        let script = self.script.upgrade();
        let Some(open) = script.and_then(|script| script.sockets.get(number)) else {
            return;
        };
        open.arrived(kept);
        // The VM has no memory for it: what is lost may not go unnoticed.
        if delivered.is_none() {
            open.socket.close(frames::INTERNAL_ERROR, "");
        }
    }

    fn drained(&self, number: u64) {
        self.call(|_, functions| functions.drained.call::<()>(number));
    }

    fn closed(&self, number: u64, ending: &Ending) {
        self.call(|script, functions| {
            let open = script.sockets.remove(number);
            let place = open.as_ref().map(|open| open.place);
            let tell = |dropped: bool| {
                let (reason, problem) = (ending.reason.as_str(), ending.problem.as_deref());
                let told = (number, place, ending.code, reason, problem, dropped);
                functions.closed.call::<()>(told)
            };
            let called = tell(ending.dropped).or_else(|_| {
                // Those who wait for it must not wait for ever; the callbacks are queued.
                beyond_the_limit(&script.lua()?, || tell(true))
            });
            if let Some(open) = open {
                open.wake_receivers();
            }
            called
        });
    }

    fn abandoned(&self, number: u64) {
        self.call(|_, functions| functions.abandoned.call::<()>(number));
    }
}
