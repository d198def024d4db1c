//! `server.serve`: what the script configured becomes a listening server, and the natives behind `luau/server.luau`.

mod config;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use mlua::IntoLuaMulti;
use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaString, LuaTable, LuaValue};

use super::{
    Script,
    handler::{Exchanges, HandlerAnswer, LuauService},
    natives::Natives,
    raw_vm,
    scheduler::Delivery,
    servers::Ports,
};
use crate::engine::{
    dialer,
    intake::Bodies,
    listener::ListenAt,
    server::{Server, ServerOptions},
    timers::deadline_after,
    tls::ServerTls,
};

/// The natives behind `luau/server.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let bind = Natives::new(lua, script)?;
    let native = bind.table();
    native.set(
        "address",
        lua.create_function(|_, hostname: LuaString| {
            Ok(known_addresses(&hostname.to_string_lossy()))
        })?,
    )?;
    native.set(
        "requestIndex",
        lua.create_function(|lua, (rest, headers_meta): (LuaFunction, LuaTable)| {
            raw_vm::request_index(lua, rest, headers_meta)
        })?,
    )?;
    native.set("queries", raw_vm::query_list(lua)?)?;
    bind.set("resolve", |script, (hostname, port): (LuaString, u16)| {
        Ok(resolve(script, hostname.to_string_lossy(), port))
    })?;
    bind.set(
        "listen",
        |script, (config, parts, place): (LuaTable, LuaTable, i32)| {
            let service = LuauService::new(Rc::downgrade(script), parts, place);
            Ok(match listen(script, &config, service)? {
                Ok((number, port)) => (Some(number), LuaValue::Integer(port.into())),
                Err(problem) => (
                    None,
                    LuaValue::String(script.lua()?.create_string(problem)?),
                ),
            })
        },
    )?;
    bind.set("close", |script, number: u64| {
        Ok(script.servers.close(number).is_some())
    })?;
    bind.set("stop", |script, (number, seconds): (u64, Option<f64>)| {
        Ok(stop(script, number, seconds))
    })?;
    bind.set("stats", |script, number: u64| stats(script, number))?;
    bind.set(
        "answer",
        |script,
         (number, status, body, headers, request): (
            u64,
            Option<i64>,
            LuaValue,
            Option<LuaTable>,
            Option<LuaTable>,
        )| {
            let answer = HandlerAnswer {
                status,
                body,
                headers,
                request,
            };
            script.exchanges.answer(script, number, answer);
            Ok(())
        },
    )?;
    bind.set(
        "answered",
        |script,
         (status, body, headers, request): (
            Option<i64>,
            LuaValue,
            Option<LuaTable>,
            Option<LuaTable>,
        )| {
            script.exchanges.answered(HandlerAnswer {
                status,
                body,
                headers,
                request,
            });
            Ok(())
        },
    )?;
    bind.set("closed", |script, number: u64| {
        Ok(script.exchanges.has_client_ended(number))
    })?;
    bind.set("read", |script, number: u64| {
        let reading = Exchanges::read_body(Rc::downgrade(script), number);
        Ok(script.scheduler.start(async move {
            reading
                .await
                .map_err(|problem| format!("cannot read the request's body: {problem}"))
        }))
    })?;
    Ok(bind.into_table())
}

/// The addresses of a host name that needs no resolver.
fn known_addresses(hostname: &str) -> Option<Vec<String>> {
    if hostname.eq_ignore_ascii_case("localhost") {
        return Some(vec!["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    dialer::literal(hostname).map(|address| vec![address.to_string()])
}

fn resolve(script: &Script, hostname: String, port: u16) -> u64 {
    let permission = script.settings.policy.listen_name(&hostname, port);
    let client = script.client.clone();
    script.scheduler.start(async move {
        permission?;
        match client.dialer().lookups().resolve(&hostname, 0).await {
            Ok(found) => {
                let addresses: Vec<String> = found
                    .iter()
                    .map(|address| address.ip().to_string())
                    .collect();
                Ok(Box::new(move |lua: &Lua| addresses.into_lua_multi(lua)) as Delivery)
            }
            Err(error) => Err(format!("failed to listen on {hostname}: {error}")),
        }
    })
}

fn listen(
    script: &Rc<Script>,
    config: &LuaTable,
    service: LuauService,
) -> LuaResult<Result<(u64, u16), String>> {
    let port: u16 = config.get("port")?;
    let shared = script.servers.ports() == Ports::Shared;
    if shared && port == 0 {
        return Ok(Err(
            "port 0 cannot be shared by workers: name a port".to_owned()
        ));
    }
    let at = match config.get::<Option<String>>("socketpath")? {
        Some(path) => ListenAt::Local(PathBuf::from(path)),
        None => {
            let addresses: Vec<String> = config.get("addresses")?;
            let addresses = addresses
                .iter()
                .filter_map(|address| address.parse::<IpAddr>().ok());
            let addresses = addresses
                .map(|address| SocketAddr::new(address, port))
                .collect();
            ListenAt::Internet {
                addresses,
                reuse_port: shared || config.get("reuseport")?,
            }
        }
    };
    let at = match script.settings.policy.listen_at(at) {
        Ok(at) => at,
        Err(problem) => return Ok(Err(problem)),
    };
    let bodies = if config.get("streambody")? {
        Bodies::Streamed
    } else {
        Bodies::Whole
    };
    let tls = match config
        .get::<Option<LuaTable>>("tls")?
        .map(|tls| config::tls_files(&tls))
        .transpose()?
    {
        None => None,
        Some(files) => match ServerTls::load(&files) {
            Ok(tls) => Some(tls),
            Err(problem) => return Ok(Err(problem.to_string())),
        },
    };
    let options = ServerOptions {
        limits: config::limits(config, &script.settings.limits)?,
        bodies,
        tls,
    };
    let websockets = config
        .get::<Option<LuaTable>>("websocket")?
        .map(|config| config::websockets(script, &config, options.limits.timeouts.write))
        .transpose()?;
    let server = match Server::listen(&script.engine, &at, options, Rc::new(service)) {
        Ok(server) => Rc::new(server),
        Err(error) => return Ok(Err(listen_problem(&at, port, &error))),
    };
    let port = server.port();
    let number = script.next_number();
    script.servers.add(number, server, websockets);
    Ok(Ok((number, port)))
}

fn listen_problem(at: &ListenAt, port: u16, error: &io::Error) -> String {
    match (at, error.kind()) {
        (ListenAt::Local(path), io::ErrorKind::AddrInUse) => {
            format!(
                "failed to listen on {}, another process listens there",
                path.display()
            )
        }
        (ListenAt::Local(path), _) => format!("failed to listen on {}: {error}", path.display()),
        (_, io::ErrorKind::AddrInUse) => {
            format!(
                "failed to listen on port {port}, is it already in use? consider the reuseport option"
            )
        }
        _ => format!("failed to listen on port {port}: {error}"),
    }
}

/// Starts to drain a server; the operation's value is how many connections had to be dropped.
fn stop(script: &Rc<Script>, number: u64, seconds: Option<f64>) -> Option<u64> {
    let server = script.servers.get(number)?;
    server.drain();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
    let deadline = deadline_after(Instant::now(), duration.unwrap_or(Duration::MAX));
    let (timers, weak) = (script.engine.timers().clone(), Rc::downgrade(script));
    Some(script.scheduler.start(async move {
        or(server.emptied(), timers.sleep_until(deadline)).await;
        let script = weak.upgrade();
        let dropped = script
            .and_then(|script| script.servers.close(number))
            .unwrap_or(0);
        Ok(Box::new(move |lua: &Lua| dropped.into_lua_multi(lua)) as Delivery)
    }))
}

fn stats(script: &Script, number: u64) -> LuaResult<LuaTable> {
    let stats = script.lua()?.create_table()?;
    let server = script.servers.get(number);
    let of = |value: fn(&Server) -> u64| server.as_ref().map_or(0, |server| value(server));
    stats.set("connections", of(|server| server.connections() as u64))?;
    stats.set("websockets", of(|server| server.websockets() as u64))?;
    stats.set(
        "inflight",
        of(|server| server.counters().requests_in_flight()),
    )?;
    stats.set("requests", of(|server| server.counters().requests()))?;
    stats.set("received", of(|server| server.counters().bytes_received()))?;
    stats.set("sent", of(|server| server.counters().bytes_sent()))?;
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{engine::Engine, script::settings::Settings};

    #[test]
    fn the_lookup_of_a_servers_name_takes_its_turn() {
        let engine = Engine::new(Rc::default()).unwrap();
        let settings = Settings {
            on_error: Rc::new(|_| {}),
            ..Settings::default()
        };
        let (_lua, script) = Script::in_new_vm(engine.clone(), settings).unwrap();
        let others = script.client.dialer().lookups().hold_all();
        let source = r#"
local handler = function() return "" end
require("@lute/net/server").serve({ hostname = "no-such-host.invalid", port = 0, handler = handler })"#;
        script.start_source("serve.luau", source, &[]).unwrap();
        let failed_within = |time| {
            let until = Instant::now() + time;
            while script.errors() == 0 && Instant::now() < until {
                engine.poll_sockets().unwrap();
                engine.run_tasks(None);
                script.round(None).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
            script.errors() == 1
        };
        assert!(!failed_within(Duration::from_millis(300)));
        drop(others);
        assert!(failed_within(Duration::from_secs(20)));
    }
}
