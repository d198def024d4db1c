//! What the methods of all WebSockets do, and what is behind `luau/websocket.luau`.

use std::rc::Rc;

use mlua::prelude::{Lua, LuaResult, LuaTable, LuaValue};
use mlua::{IntoLuaMulti, Value};

use super::{
    OpenSocket,
    outgoing::{kind_of, with_data},
};
use crate::{
    engine::websocket::frames,
    script::{Script, natives::Natives, scheduler::Delivery},
};

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
            script.sockets.send(number, data)
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
