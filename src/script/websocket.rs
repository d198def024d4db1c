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

pub use self::outgoing::{Current, Outlet};
use super::{Script, memory::beyond_the_limit, modules::WebSocketFunctions, raw_vm};
use crate::engine::{
    numbered::Numbered,
    websocket::{Ending, Incoming, Role, WebSocket, WebSocketService, frames, topics::Topics},
};

/// The open WebSockets of a script, by number.
#[derive(Default)]
pub struct Sockets {
    open: RefCell<Numbered<Rc<OpenSocket>>>,
    current: Rc<Current>,
}

struct OpenSocket {
    socket: Rc<WebSocket>,
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
    }

    /// From now on `socket` can be used; the topics are those that it can subscribe to.
    pub fn add(&self, socket: &Rc<WebSocket>, topics: &Rc<Topics>) {
        let mut open = self.open.borrow_mut();
        open.entry(socket.number()).or_insert_with(|| {
            Rc::new(OpenSocket {
                socket: socket.clone(),
                topics: topics.clone(),
                arrivals: Cell::new(0),
                receivers: Event::new(),
            })
        });
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
        self.call(|script, functions| {
            script.sockets.add(socket, &self.topics);
            functions
                .opened
                .call::<()>((socket.number(), socket.remote().to_string()))
        });
    }

    fn received(&self, number: u64, messages: &mut dyn Incoming) {
        let mut kept = 0;
        let delivered = self.call(|script, functions| {
            let current = &script.sockets.current;
            let _until_handed_on = current.set(script.sockets.get(number));
            let (interrupt, deliver) = (&script.interrupt, &functions.deliver);
            let (count, delivered) = raw_vm::deliver(deliver, number, messages, interrupt, current);
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
        let tell = |functions: &WebSocketFunctions, dropped: bool| {
            let (reason, problem) = (ending.reason.as_str(), ending.problem.as_deref());
            functions
                .closed
                .call::<()>((number, ending.code, reason, problem, dropped))
        };
        self.call(|script, functions| {
            let open = script.sockets.open.borrow_mut().remove(&number);
            let called = tell(functions, ending.dropped).or_else(|_| {
                // Those who wait for it must not wait for ever; the callbacks are queued.
                beyond_the_limit(&script.lua()?, || tell(functions, true))
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
