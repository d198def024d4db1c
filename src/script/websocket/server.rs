//! What is behind `luau/server_websocket.luau`: upgrades and topics.

use std::rc::Rc;

use mlua::IntoLuaMulti;
use mlua::Value;
use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaString, LuaTable, LuaValue};

use super::outgoing::{Outlet, with_data};
use crate::{
    engine::websocket::handshake::ClientHandshake,
    script::{Script, natives::Natives, raw_vm},
};

/// The natives behind `luau/server_websocket.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    natives.set("sender", |script, rest: LuaFunction| {
        raw_vm::sender(&script.lua()?, Outlet::new(script, usize::MAX), rest)
    })?;
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
