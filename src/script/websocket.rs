//! WebSockets as scripts have them: what comes becomes calls of `luau/websocket.luau`, and the natives behind that file
//! and the two for the sides.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
};

use event_listener::Event;
use mlua::prelude::{Lua, LuaResult, LuaString, LuaTable, LuaValue};
use mlua::{IntoLuaMulti, Value};

use super::{
    Script, memory::beyond_the_limit, modules::WebSocketFunctions, natives::Natives,
    scheduler::Delivery,
};
use crate::engine::websocket::{
    Data, Ending, Receipt, Role, Sent, WebSocket, WebSocketService, frames,
    handshake::ClientHandshake, topics::Topics,
};

/// The open WebSockets of a script, by number.
#[derive(Default)]
pub struct Sockets {
    open: RefCell<HashMap<u64, Rc<OpenSocket>>>,
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
    fn arrived(&self) {
        self.arrivals.set(self.arrivals.get() + 1);
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

    fn message(&self, number: u64, data: Data<'_>) -> Receipt {
        let done = self.call(|script, functions| {
            let done: bool = match data {
                Data::Text(text) => functions.message.call((number, text))?,
                Data::Binary(bytes) => {
                    let buffer = script.lua()?.create_buffer(bytes)?;
                    functions.message.call((number, buffer))?
                }
            };
            if !done && let Some(open) = script.sockets.get(number) {
                open.arrived();
            }
            Ok(done)
        });
        match done {
            Some(false) => Receipt::Held,
            Some(true) => Receipt::Done,
            // The VM has no memory for it: what is lost may not go unnoticed.
            None => {
                let script = self.script.upgrade();
                if let Some(socket) = script.and_then(|script| script.sockets.socket(number)) {
                    socket.close(frames::INTERNAL_ERROR, "");
                }
                Receipt::Done
            }
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

/// The natives behind `luau/websocket.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    natives.set("release", |script, number: u64| {
        if let Some(open) = script.sockets.get(number) {
            open.socket.release();
        }
        Ok(())
    })?;
    natives.set("arrival", |script, number: u64| {
        Ok(script.scheduler.start(arrival(script, number)))
    })?;
    natives.set("send", |script, (number, data): (u64, Value)| {
        Ok(with_data("send", 1, &data, |data| {
            let open = script.sockets.get(number);
            let sent = open.map_or(Sent::Dropped, |open| open.socket.send(data));
            match sent {
                Sent::Taken => data.bytes().len().max(1) as i64,
                Sent::Queued => -1,
                Sent::Dropped => 0,
            }
        }))
    })?;
    natives.set(
        "close",
        |script, (number, code, reason): (u64, Value, Value)| {
            let open = script.sockets.get(number);
            Ok(close(open.as_deref(), &code, &reason).err())
        },
    )?;
    natives.set("ping", |script, (number, data): (u64, Value)| {
        let data = match data {
            LuaValue::Nil => Ok(Vec::new()),
            data => bytes_of(&data),
        };
        let data = data.and_then(|data| {
            let fits = data.len() <= frames::CONTROL_PAYLOAD;
            fits.then_some(data).ok_or_else(|| {
                format!(
                    "invalid argument #1 to 'ping' ({} bytes at the most)",
                    frames::CONTROL_PAYLOAD
                )
            })
        });
        Ok(match data {
            Ok(data) => {
                if let Some(open) = script.sockets.get(number) {
                    open.socket.ping(&data);
                }
                (Some(true), None)
            }
            Err(problem) => (None, Some(problem)),
        })
    })?;
    Ok(natives.into_table())
}

/// Ready with `true` when the next message waits to be taken, or the WebSocket is over.
fn arrival(
    script: &Rc<Script>,
    number: u64,
) -> impl Future<Output = Result<Delivery, String>> + use<> {
    let open = script.sockets.get(number);
    let before = open.as_ref().map_or(0, |open| open.arrivals.get());
    let script = Rc::downgrade(script);
    async move {
        loop {
            let open = script
                .upgrade()
                .and_then(|script| script.sockets.get(number));
            let Some(open) = open.filter(|open| open.arrivals.get() == before) else {
                break;
            };
            let arrived = open.receivers.listen();
            drop(open);
            arrived.await;
        }
        Ok(Box::new(|lua: &Lua| true.into_lua_multi(lua)) as Delivery)
    }
}

/// The natives behind `luau/server_websocket.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn server_natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    natives.set("subscribe", |script, (number, topic): (u64, LuaString)| {
        let open = script.sockets.get(number);
        Ok(open.is_some_and(|open| open.topics.subscribe(&topic.as_bytes(), &open.socket)))
    })?;
    natives.set(
        "unsubscribe",
        |script, (number, topic): (u64, LuaString)| {
            let open = script.sockets.get(number);
            Ok(open.is_some_and(|open| open.topics.unsubscribe(&topic.as_bytes(), &open.socket)))
        },
    )?;
    natives.set(
        "publishfrom",
        |script, (number, topic, data): (u64, LuaString, Value)| {
            Ok(with_data("publish", 2, &data, |data| {
                let open = script.sockets.get(number);
                open.map_or(0, |open| {
                    open.topics.publish(&topic.as_bytes(), data, Some(number))
                })
            }))
        },
    )?;
    natives.set(
        "publish",
        |script, (server, topic, data): (u64, LuaString, Value)| {
            Ok(with_data("publish", 2, &data, |data| {
                let websockets = script.servers.websockets(server);
                websockets.map_or(0, |websockets| {
                    let topics = websockets.service.topics();
                    topics.publish(&topic.as_bytes(), data, None)
                })
            }))
        },
    )?;
    natives.set("upgrade", |script, request: UpgradeRequest| {
        let lua = script.lua()?;
        match upgrade(script, request) {
            Ok(Accepted::Socket(number, protocol)) => (number, protocol).into_lua_multi(&lua),
            Ok(Accepted::NoHandshake) => false.into_lua_multi(&lua),
            Ok(Accepted::ForeignOrigin) => (false, 403).into_lua_multi(&lua),
            Err(problem) => (LuaValue::Nil, problem).into_lua_multi(&lua),
        }
    })?;
    Ok(natives.into_table())
}

/// Server, exchange, the protocol that the script wants, and its headers as a flat list.
type UpgradeRequest = (u64, u64, Option<LuaString>, Vec<LuaString>);

/// What became of a handshake.
enum Accepted {
    /// It is a WebSocket, with the protocol that was agreed.
    Socket(u64, Option<String>),
    /// The request is not a valid one, or is answered already.
    NoHandshake,
    /// The page that asks is none of those that may.
    ForeignOrigin,
}

fn upgrade(
    script: &Rc<Script>,
    (server, exchange, protocol, fields): UpgradeRequest,
) -> Result<Accepted, String> {
    let Some(websockets) = script.servers.websockets(server) else {
        return Ok(Accepted::NoHandshake);
    };
    let Some(handshake) = script.exchanges.handshake(exchange) else {
        return Ok(Accepted::NoHandshake);
    };
    let origins = websockets.origins.as_deref();
    if origins.is_some_and(|origins| !handshake.comes_from(origins)) {
        return Ok(Accepted::ForeignOrigin);
    }
    let wanted = protocol.map(|protocol| protocol.to_string_lossy());
    let protocol = agreed(&handshake, wanted.as_deref());
    let fields: Vec<Vec<u8>> = fields.iter().map(|text| text.as_bytes().to_vec()).collect();
    let pairs = fields
        .chunks_exact(2)
        .map(|pair| (pair[0].as_slice(), pair[1].as_slice()));
    let mut bytes = Vec::new();
    handshake.accept(&mut bytes, protocol.as_deref(), pairs)?;
    let number = script.next_number();
    let upgrade = Box::new(websockets.upgrade(number));
    script.exchanges.upgrade(exchange, bytes, upgrade);
    Ok(Accepted::Socket(number, protocol))
}

/// The protocol that both sides speak: the wanted one if the client offers it, the client's first when none is wanted.
fn agreed(handshake: &ClientHandshake, wanted: Option<&str>) -> Option<String> {
    let mut offered = handshake.protocols().iter();
    let agreed = match wanted {
        Some(wanted) => offered.find(|protocol| *protocol == wanted),
        None => offered.next(),
    };
    agreed.cloned()
}

/// Closes a WebSocket with the code and the reason that a script gave, 1000 and none by default.
fn close(open: Option<&OpenSocket>, code: &Value, reason: &Value) -> Result<(), String> {
    let code = match code {
        LuaValue::Nil => 1000,
        code => {
            let number = match code {
                LuaValue::Integer(number) => *number as f64,
                LuaValue::Number(number) => *number,
                other => {
                    let kind = kind_of(other);
                    return Err(format!(
                        "invalid argument #1 to 'close' (number expected, got {kind})"
                    ));
                }
            };
            let valid = (0.0..=65535.0).contains(&number) && number.fract() == 0.0;
            let sendable = valid && frames::may_be_sent(number as u16);
            if !sendable {
                return Err(format!("invalid websocket close code {number}"));
            }
            number as u16
        }
    };
    let reason = match reason {
        LuaValue::Nil => String::new(),
        LuaValue::String(reason) => {
            let reason = reason.to_str().map_err(|_| {
                "invalid argument #2 to 'close' (the string must be UTF-8)".to_owned()
            })?;
            reason.to_owned()
        }
        other => {
            let kind = kind_of(other);
            return Err(format!(
                "invalid argument #2 to 'close' (string expected, got {kind})"
            ));
        }
    };
    if reason.len() > frames::CLOSE_REASON {
        return Err(format!(
            "invalid argument #2 to 'close' ({} bytes at the most)",
            frames::CLOSE_REASON
        ));
    }
    if let Some(open) = open {
        open.socket.close(code, &reason);
    }
    Ok(())
}

/// Gives `use_data` the message that a script passed: what came of it, or an error's text.
fn with_data<R>(
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
fn kind_of(value: &Value) -> &'static str {
    match value {
        LuaValue::Integer(_) => "number",
        other => other.type_name(),
    }
}

fn bytes_of(data: &Value) -> Result<Vec<u8>, String> {
    match data {
        LuaValue::String(text) => Ok(text.as_bytes().to_vec()),
        LuaValue::Buffer(buffer) => Ok(buffer.to_vec()),
        other => {
            let kind = kind_of(other);
            Err(format!(
                "invalid argument #1 to 'ping' (string or buffer expected, got {kind})"
            ))
        }
    }
}
