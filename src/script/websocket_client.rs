//! `client.websocket`: what the script passed becomes a handshake, and the connection a WebSocket.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Duration,
};

use mlua::IntoLuaMulti;
use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaString, LuaTable, LuaValue};
use smol::Task;
use url::Position;

use super::{
    Script,
    natives::Natives,
    raw_vm, request_options,
    scheduler::Delivery,
    websocket::{LuauWebSockets, Outlet},
};
use crate::engine::{
    client::{ClientOptions, ClientTimeouts},
    dialer::basic_credentials,
    limits::WebSocketLimits,
    numbered::Numbered,
    service::Remote,
    websocket::{
        Pump, PumpOptions, Role, Upgrade,
        opening::{self, Opened, Opening},
    },
};

/// Bytes that may wait unsent before `send` waits too.
const SEND_AHEAD: usize = 1024 * 1024;

/// For the whole handshake, unless the script says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The WebSockets that a script has opened, by number.
#[derive(Default)]
pub struct Clients {
    /// Those whose script does not know them yet.
    opened: RefCell<Numbered<Begun>>,
    running: RefCell<Numbered<Task<()>>>,
}

struct Begun {
    opened: Opened,
    limits: WebSocketLimits,
}

impl Clients {
    /// Those that are open, or end now.
    pub fn count(&self) -> usize {
        self.running.borrow().len()
    }

    /// Drops all.
    pub fn clear(&self) {
        drop(self.opened.take());
        // Outside of the borrow: what is dropped may come back here.
        drop(self.running.take());
    }

    fn end(&self, number: u64) {
        // It ends itself: dropping its own task would cut that short.
        if let Some(task) = self.running.borrow_mut().remove(&number) {
            task.detach();
        }
    }
}

/// The natives behind `luau/client_websocket.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    let defaults = Rc::new(ClientOptions {
        timeouts: ClientTimeouts {
            total: TIMEOUT,
            ..ClientTimeouts::default()
        },
        ..ClientOptions::default()
    });
    natives.set("connect", move |script, arguments: Arguments| {
        let prepared = prepare(script, arguments, &defaults);
        Ok(match prepared {
            Ok((opening, limits)) => (Some(connect(script, opening, limits)), None),
            Err(problem) => (None, Some(problem)),
        })
    })?;
    natives.set("begin", |script, number: LuaValue| {
        let number = match number {
            LuaValue::Integer(number) => u64::try_from(number).ok(),
            LuaValue::Number(number) => Some(number as u64),
            _ => None,
        };
        Ok(number.is_some_and(|number| begin(script, number)))
    })?;
    natives.set("sender", |script, rest: LuaFunction| {
        raw_vm::sender(&script.lua()?, Outlet::new(script, SEND_AHEAD), rest)
    })?;
    natives.set("crowded", |script, number: u64| {
        let socket = script.sockets.socket(number);
        Ok(socket.is_some_and(|socket| socket.is_open() && socket.unsent() > SEND_AHEAD))
    })?;
    natives.set("room", |script, number: u64| {
        let socket = script.sockets.socket(number);
        Ok(script.scheduler.start(async move {
            if let Some(socket) = socket {
                socket.shrunk(SEND_AHEAD).await;
            }
            Ok(Box::new(|lua: &Lua| ().into_lua_multi(lua)) as Delivery)
        }))
    })?;
    Ok(natives.into_table())
}

/// URL, fields, options, protocols, the largest message, seconds between two pings.
type Arguments = (
    LuaString,
    Vec<LuaString>,
    Option<LuaTable>,
    Vec<String>,
    Option<f64>,
    Option<f64>,
);

/// Checks everything before any I/O.
fn prepare(
    script: &Script,
    (url, fields, options, protocols, largest, interval): Arguments,
    defaults: &Rc<ClientOptions>,
) -> Result<(Opening, WebSocketLimits), String> {
    let url = request_options::parse_url(&url.to_string_lossy(), &["ws", "wss"])?;
    let checked = request_options::checked_list(&fields)?;
    let (url, options) = request_options::with_options(url.into(), options.as_ref(), defaults)?;
    let mut own: Vec<(Vec<u8>, Vec<u8>)> = checked
        .own
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    if let Some(credentials) = basic_credentials(&url).filter(|_| !checked.own.has("authorization"))
    {
        own.push((b"Authorization".to_vec(), credentials.into_bytes()));
    }
    let destination = script
        .client
        .destination(&url, &options)
        .map_err(|error| format!("websocket connect failed: {error}"))?;
    let opening = Opening {
        destination,
        host: url[Position::BeforeHost..Position::AfterPort].to_owned(),
        target: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        fields: own,
        protocols,
        timeout: options.timeouts.total,
    };
    let interval = interval.map_or(Duration::MAX, |seconds| {
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    });
    let limits = WebSocketLimits {
        message: largest.map_or(WebSocketLimits::default().message, |largest| {
            largest as usize
        }),
        // `send` waits before that is much.
        queue: usize::MAX,
        ping: interval,
        idle: interval.saturating_mul(2),
        write: Duration::MAX,
        ..WebSocketLimits::default()
    };
    Ok((opening, limits))
}

/// Delivers the WebSocket's number and its protocol.
fn connect(script: &Rc<Script>, opening: Opening, limits: WebSocketLimits) -> u64 {
    let (dialer, weak) = (script.client.dialer().clone(), Rc::downgrade(script));
    script.scheduler.start(async move {
        let opened = opening::open(&dialer, &opening).await;
        let opened = opened.map_err(|error| format!("websocket connect failed: {error}"))?;
        let delivery = move |lua: &Lua| {
            let Some(script) = weak.upgrade() else {
                return ().into_lua_multi(lua);
            };
            let number = script.next_number();
            let protocol = opened.protocol.clone();
            let begun = Begun { opened, limits };
            script.clients.opened.borrow_mut().insert(number, begun);
            (number, protocol).into_lua_multi(lua)
        };
        Ok(Box::new(delivery) as Delivery)
    })
}

/// Lets an opened WebSocket run; false when there is none of this number.
fn begin(script: &Rc<Script>, number: u64) -> bool {
    let Some(Begun { opened, limits }) = script.clients.opened.borrow_mut().remove(&number) else {
        return false;
    };
    let remote = opened.transport.socket().peer().ok();
    let remote = remote.and_then(|address| address.as_socket());
    let options = PumpOptions {
        transport: opened.transport,
        role: Role::Client,
        remote: remote.map_or(Remote::Local, Remote::Internet),
        input: opened.input,
        counters: None,
    };
    let service = Rc::new(LuauWebSockets::new(Rc::downgrade(script)));
    let topics = service.topics().clone();
    let upgrade = Upgrade::new(number, Rc::new(limits), service);
    let Some(pump) = Pump::new(&script.engine, upgrade, options) else {
        return false;
    };
    // The script may send before it is told that the WebSocket is open.
    script.sockets.add(pump.socket(), &topics);
    let weak: Weak<Script> = Rc::downgrade(script);
    let task = script.engine.spawn(async move {
        pump.run().await;
        if let Some(script) = weak.upgrade() {
            script.clients.end(number);
        }
    });
    script.clients.running.borrow_mut().insert(number, task);
    true
}
