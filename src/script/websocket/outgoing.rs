//! What scripts send: their values as messages, and what they are told of it.

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    ptr,
    rc::{Rc, Weak},
};

use mlua::Value;
use mlua::prelude::LuaValue;

use super::{OpenSocket, Sockets};
use crate::{
    engine::websocket::{Data, Sent},
    script::Script,
};

impl Sockets {
    /// Sends a message through the WebSocket of this number. What `send` returns for that: the bytes that were taken, 1 for
    /// none; -1 when they had to be queued; 0 when they were dropped, or there is no such WebSocket.
    pub(super) fn send(&self, number: u64, data: Data<'_>) -> i64 {
        match self.get(number) {
            Some(open) => open.send(data),
            None => 0,
        }
    }
}

impl OpenSocket {
    fn send(&self, data: Data<'_>) -> i64 {
        match self.socket.send(data) {
            Sent::Taken => data.bytes().len().max(1) as i64,
            Sent::Queued => -1,
            Sent::Dropped => 0,
        }
    }
}

/// The WebSocket whose messages are being handed to its script: nearly always the one that is sent through then.
#[derive(Default)]
pub struct Current {
    /// Where the VM has its table, while that can't be collected.
    table: Cell<*const c_void>,
    open: RefCell<Option<Rc<OpenSocket>>>,
}

impl Current {
    /// For as long as what is returned lives it is `open`; then it is what it was.
    pub(super) fn set(self: &Rc<Self>, open: Rc<OpenSocket>) -> impl Drop + use<> {
        let open = self.open.replace(Some(open));
        let table = self.table.replace(ptr::null());
        Before {
            current: self.clone(),
            table,
            open,
        }
    }

    /// The VM has the table of the WebSocket that is current there, until that changes.
    pub fn lies_at(&self, table: *const c_void) {
        self.table.set(table);
    }

    fn is(&self, table: *const c_void) -> bool {
        !table.is_null() && self.table.get() == table
    }
}

/// What was current before.
struct Before {
    current: Rc<Current>,
    table: *const c_void,
    open: Option<Rc<OpenSocket>>,
}

impl Drop for Before {
    fn drop(&mut self) {
        self.current.table.set(self.table);
        self.current.open.replace(self.open.take());
    }
}

/// Sends the messages of scripts that can go out at once.
pub struct Outlet {
    script: Weak<Script>,
    current: Rc<Current>,
    /// Bytes that may wait unsent.
    ahead: usize,
}

impl Outlet {
    /// It sends through the WebSockets of `script`, as long as no more than `ahead` bytes wait there.
    pub fn new(script: &Rc<Script>, ahead: usize) -> Self {
        Self {
            script: Rc::downgrade(script),
            current: script.sockets.current.clone(),
            ahead,
        }
    }

    /// Whether the VM has the table of the current WebSocket there; [`Self::send_to_current`] sends through it then.
    pub fn is_current(&self, table: *const c_void) -> bool {
        self.current.is(table)
    }

    /// As [`Self::send`], without looking for the WebSocket.
    pub fn send_to_current(&self, data: Data<'_>) -> Option<i64> {
        let open = self.current.open.borrow();
        self.send_to(open.as_ref()?, data)
    }

    /// As [`Sockets::send`]; nothing when more waits already, or the runtime is gone. The VM is not used.
    pub fn send(&self, number: u64, data: Data<'_>) -> Option<i64> {
        let script = self.script.upgrade()?;
        let Some(open) = script.sockets.get(number) else {
            return Some(0);
        };
        self.send_to(&open, data)
    }

    fn send_to(&self, open: &OpenSocket, data: Data<'_>) -> Option<i64> {
        let has_room = self.ahead == usize::MAX || open.socket.unsent() <= self.ahead;
        has_room.then(|| open.send(data))
    }
}

/// Gives `use_data` the message that a script passed: what came of it, or an error's text.
pub(super) fn with_data<R>(
    function: &str,
    position: usize,
    data: &Value,
    use_data: impl FnOnce(Data<'_>) -> R,
) -> (Option<R>, Option<String>) {
    let problem = match data {
        LuaValue::String(text) => match std::str::from_utf8(&text.as_bytes()) {
            Ok(text) => return (Some(use_data(Data::Text(text))), None),
            Err(_) => "a string must be UTF-8: send other bytes as a buffer".to_owned(),
        },
        LuaValue::Buffer(buffer) => {
            return (Some(use_data(Data::Binary(&buffer.to_vec()))), None);
        }
        other => format!("string or buffer expected, got {}", kind_of(other)),
    };
    let problem = format!("invalid argument #{position} to '{function}' ({problem})");
    (None, Some(problem))
}

/// What Luau calls the kind of a value; mlua tells integers apart.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        LuaValue::Integer(_) => "number",
        other => other.type_name(),
    }
}
