//! Reads the values of a server's config, which `luau/configuration.luau` has checked.

use std::{path::PathBuf, rc::Rc, time::Duration};

use mlua::prelude::{LuaResult, LuaString, LuaTable};

use crate::{
    engine::{
        limits::{Limits, Timeouts, WebSocketLimits},
        tls::ServerTlsFiles,
    },
    script::{
        Script, servers::ServerWebSockets, settings::Limits as HostLimits,
        websocket::LuauWebSockets,
    },
};

/// The files of a config's `tls` table.
pub fn tls_files(tls: &LuaTable) -> LuaResult<ServerTlsFiles> {
    Ok(ServerTlsFiles {
        certfilename: PathBuf::from(tls.get::<String>("certfilename")?),
        keyfilename: PathBuf::from(tls.get::<String>("keyfilename")?),
        passphrase: tls
            .get::<Option<LuaString>>("passphrase")?
            .map(|text| text.as_bytes().to_vec()),
        cafilename: tls.get::<Option<String>>("cafilename")?.map(PathBuf::from),
    })
}

/// The limits of a config table.
pub fn limits(config: &LuaTable, granted: &HostLimits) -> LuaResult<Limits> {
    let default = Limits::default();
    let number = |name: &str, default: u64| -> LuaResult<u64> {
        Ok(config
            .get::<Option<f64>>(name)?
            .map_or(default, |value| value as u64))
    };
    Ok(Limits {
        head: number("maxheadersize", default.head as u64)? as usize,
        body: number("maxbodysize", default.body)?.min(granted.body.unwrap_or(u64::MAX)),
        buffered: number("maxbuffered", default.buffered)?,
        connections: number("maxconnections", default.connections as u64)? as usize,
        timeouts: timeouts(config.get("timeout")?, default.timeouts)?,
    })
}

fn timeouts(config: Option<LuaTable>, default: Timeouts) -> LuaResult<Timeouts> {
    let Some(config) = config else {
        return Ok(default);
    };
    let seconds = |name: &str, default: Duration| -> LuaResult<Duration> {
        let value: Option<f64> = config.get(name)?;
        Ok(value.map_or(default, |value| {
            Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
        }))
    };
    Ok(Timeouts {
        handshake: seconds("handshake", default.handshake)?,
        header: seconds("header", default.header)?,
        body: seconds("body", default.body)?,
        idle: seconds("idle", default.idle)?,
        write: seconds("write", default.write)?,
    })
}

/// The WebSockets of a config's `websocket` table.
pub fn websockets(
    script: &Rc<Script>,
    config: &LuaTable,
    write: Duration,
) -> LuaResult<Rc<ServerWebSockets>> {
    let default = WebSocketLimits::default();
    let number = |name: &str, default: usize| -> LuaResult<usize> {
        let value: Option<f64> = config.get(name)?;
        Ok(value.map_or(default, |value| value as usize))
    };
    let idle = config
        .get::<Option<f64>>("idletimeout")?
        .map_or(default.idle, |seconds| {
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        });
    let limits = WebSocketLimits {
        message: number("maxmessagesize", default.message)?,
        queue: number("sendqueue", default.queue)?,
        idle,
        ping: idle / 2,
        write,
        ..default
    };
    Ok(Rc::new(ServerWebSockets {
        service: Rc::new(LuauWebSockets::new(Rc::downgrade(script))),
        origins: config.get("origins")?,
        limits: Rc::new(limits),
    }))
}
