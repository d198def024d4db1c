//! `server.serve`: each request of a server becomes a call of the script's handler, and what that returns a response.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use mlua::prelude::{Lua, LuaFunction, LuaResult, LuaString, LuaTable, LuaValue};
use mlua::{BString, Either, IntoLuaMulti};

use super::{Script, scheduler::Delivery};
use crate::{
    engine::{
        answer::{AnswerError, AnswerWriter, Shape},
        connection::{Answer, Reply, Request, Service},
        dialer,
        server::Server,
    },
    wire::{Field, FieldStorage, Parsed, parse_request},
};

/// What a client is told when its handler failed; the script's error goes to the error hook.
const FAILED: &str = "the server failed to answer";

/// Whether other processes listen on the ports of this one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Ports {
    /// Only where the script asks for `reuseport`.
    #[default]
    AsConfigured,
    /// On all of them.
    Shared,
}

/// The listening servers of a script, and the exchanges whose handlers wait.
pub struct Servers {
    ports: Ports,
    counter: Cell<u64>,
    listening: RefCell<HashMap<u64, Server>>,
    late: RefCell<HashMap<u64, LateExchange>>,
}

/// An exchange whose handler has yielded.
struct LateExchange {
    shape: Shape,
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Servers {
    /// No servers yet.
    pub fn new(ports: Ports) -> Self {
        Self {
            ports,
            counter: Cell::default(),
            listening: RefCell::default(),
            late: RefCell::default(),
        }
    }

    /// Servers that listen.
    pub fn listening(&self) -> usize {
        self.listening.borrow().len()
    }

    /// Exchanges whose handlers wait.
    pub fn late(&self) -> usize {
        self.late.borrow().len()
    }

    /// Open connections of all servers.
    pub fn connections(&self) -> usize {
        self.listening
            .borrow()
            .values()
            .map(Server::connections)
            .sum()
    }

    /// Stops listening everywhere; what is connected goes on.
    pub fn stop_listening(&self) {
        for server in self.listening.borrow().values() {
            server.stop_listening();
        }
    }

    /// Closes all servers with their connections.
    pub fn clear(&self) {
        let servers = self.listening.take();
        drop(servers);
    }

    fn close(&self, id: u64) -> bool {
        let server = self.listening.borrow_mut().remove(&id);
        server.is_some()
    }

    fn next_number(&self) -> u64 {
        let number = self.counter.get() + 1;
        self.counter.set(number);
        number
    }
}

/// The natives behind `luau/server.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set(
        "address",
        lua.create_function(|_, hostname: LuaString| {
            Ok(known_addresses(&hostname.to_string_lossy()))
        })?,
    )?;
    let weak = Rc::downgrade(script);
    native.set(
        "resolve",
        lua.create_function(move |_, hostname: LuaString| {
            Ok(resolve(&weak, hostname.to_string_lossy()))
        })?,
    )?;
    let weak = Rc::downgrade(script);
    let listen = move |_: &Lua,
                       (addresses, port, reuse_port, dispatch): (
        Vec<String>,
        u16,
        bool,
        LuaFunction,
    )| {
        let Some(script) = weak.upgrade() else {
            return Ok((None, LuaValue::Nil));
        };
        match listen(&script, &addresses, port, reuse_port, dispatch) {
            Ok((id, port)) => Ok((Some(id), LuaValue::Integer(port.into()))),
            Err(problem) => Ok((
                None,
                LuaValue::String(script.lua()?.create_string(problem)?),
            )),
        }
    };
    native.set("listen", lua.create_function(listen)?)?;
    let weak = Rc::downgrade(script);
    native.set(
        "close",
        lua.create_function(move |_, id: u64| {
            Ok(weak
                .upgrade()
                .is_some_and(|script| script.servers.close(id)))
        })?,
    )?;
    let weak = Rc::downgrade(script);
    let answer = move |_: &Lua, (exchange, status, body, headers): HandlerResult| {
        if let Some(script) = weak.upgrade() {
            answer_late(&script, exchange, status, body.as_ref(), headers.as_ref());
        }
        Ok(())
    };
    native.set("answer", lua.create_function(answer)?)?;
    native.set(
        "headers",
        lua.create_function(|lua, head: LuaString| headers(lua, &head.as_bytes()))?,
    )?;
    native.set(
        "query",
        lua.create_function(|lua, head: LuaString| query(lua, &head.as_bytes()))?,
    )?;
    Ok(native)
}

type HandlerResult = (u64, Option<i64>, Option<LuaString>, Option<LuaTable>);

/// The addresses of a host name that needs no resolver.
fn known_addresses(hostname: &str) -> Option<Vec<String>> {
    if hostname.eq_ignore_ascii_case("localhost") {
        return Some(vec!["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    dialer::literal(hostname).map(|address| vec![address.to_string()])
}

fn resolve(script: &Weak<Script>, hostname: String) -> Option<u64> {
    let script = script.upgrade()?;
    let resolving = async move {
        match dialer::resolve(&hostname, 0).await {
            Ok(found) => {
                let addresses: Vec<String> = found
                    .iter()
                    .map(|address| address.ip().to_string())
                    .collect();
                Ok(Box::new(move |lua: &Lua| addresses.into_lua_multi(lua)) as Delivery)
            }
            Err(error) => Err(format!("failed to listen on {hostname}: {error}")),
        }
    };
    Some(script.scheduler.start(resolving))
}

fn listen(
    script: &Rc<Script>,
    addresses: &[String],
    port: u16,
    reuse_port: bool,
    dispatch: LuaFunction,
) -> Result<(u64, u16), String> {
    let shared = script.servers.ports == Ports::Shared;
    if shared && port == 0 {
        return Err("port 0 cannot be shared by workers: name a port".to_owned());
    }
    let reuse_port = reuse_port || shared;
    let addresses: Vec<SocketAddr> = addresses
        .iter()
        .filter_map(|address| address.parse().ok())
        .map(|address| SocketAddr::new(address, port))
        .collect();
    let service = Rc::new(LuauService {
        script: Rc::downgrade(script),
        dispatch,
    });
    let server = Server::listen(&script.engine, &addresses, reuse_port, service).map_err(|error| match error.kind() {
		io::ErrorKind::AddrInUse => {
			format!("failed to listen on port {port}, is it already in use? consider the reuseport option")
		}
		_ => format!("failed to listen on port {port}: {error}"),
	})?;
    let port = server.address().port();
    let id = script.servers.next_number();
    script.servers.listening.borrow_mut().insert(id, server);
    Ok((id, port))
}

/// A script's handler as the engine sees it.
struct LuauService {
    script: Weak<Script>,
    /// Makes the request's table, calls the handler in a coroutine, takes its answer apart; see `luau/server.luau`.
    dispatch: LuaFunction,
}

impl Service for LuauService {
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
        let Some(script) = self.script.upgrade() else {
            return Reply::Written { persistent: false };
        };
        let exchange = script.servers.next_number();
        let returned = self.call(exchange, request);
        match returned {
            Ok((LuaValue::Boolean(false), ..)) => {
                let late = LateExchange {
                    shape: request.shape,
                    answer: None,
                    waker: None,
                };
                script.servers.late.borrow_mut().insert(exchange, late);
                Reply::Later(exchange)
            }
            Ok((status, body, headers)) => {
                let persistent = write_answer(
                    &script,
                    request.shape,
                    status.as_i64(),
                    body.as_ref(),
                    headers.as_ref(),
                    out,
                );
                Reply::Written { persistent }
            }
            Err(error) => {
                script.report_failure(&error);
                Reply::Written {
                    persistent: write_answer(&script, request.shape, None, None, None, out),
                }
            }
        }
    }

    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer> {
        let lost = Answer {
            bytes: Vec::new(),
            persistent: false,
        };
        let Some(script) = self.script.upgrade() else {
            return Poll::Ready(lost);
        };
        let mut exchanges = script.servers.late.borrow_mut();
        let Some(late) = exchanges.get_mut(&exchange) else {
            return Poll::Ready(lost);
        };
        let Some(answer) = late.answer.take() else {
            late.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        exchanges.remove(&exchange);
        Poll::Ready(answer)
    }

    fn gone(&self, exchange: u64) {
        let Some(script) = self.script.upgrade() else {
            return;
        };
        let late = script.servers.late.borrow_mut().remove(&exchange);
        if late.is_some() {
            script.exchange_gone(exchange);
        }
    }
}

impl LuauService {
    fn call(&self, exchange: u64, request: &Request<'_>) -> LuaResult<HandlerAnswer> {
        let (method, path, query) = (
            request.head.method(),
            request.head.path(),
            request.head.query(),
        );
        let body = (!request.body.is_empty()).then(|| text(request.body));
        self.dispatch
            .call((exchange, method, path, query, body, text(request.raw_head)))
    }
}

/// What the dispatcher returns: status (nil for a failure, false for later), body, headers.
type HandlerAnswer = (LuaValue, Option<LuaString>, Option<LuaTable>);

/// Bytes on their way to Luau. mlua pushes `&str` directly and other bytes over a handle, so short text goes as text:
/// heads and most small bodies.
fn text(bytes: &[u8]) -> Either<&str, BString> {
    const SHORT: usize = 4096;
    let short = (bytes.len() <= SHORT)
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten();
    short.map_or_else(|| Either::Right(BString::from(bytes)), Either::Left)
}

fn answer_late(
    script: &Script,
    exchange: u64,
    status: Option<i64>,
    body: Option<&LuaString>,
    headers: Option<&LuaTable>,
) {
    let Some(shape) = script
        .servers
        .late
        .borrow()
        .get(&exchange)
        .map(|late| late.shape)
    else {
        return;
    };
    let mut bytes = Vec::new();
    let persistent = write_answer(script, shape, status, body, headers, &mut bytes);
    if let Some(late) = script.servers.late.borrow_mut().get_mut(&exchange) {
        late.answer = Some(Answer { bytes, persistent });
        if let Some(waker) = late.waker.take() {
            waker.wake();
        }
    }
}

/// Encodes a handler's answer, or a 500 in its place when there is none or it can't be sent. Whether the connection goes on.
fn write_answer(
    script: &Script,
    shape: Shape,
    status: Option<i64>,
    body: Option<&LuaString>,
    headers: Option<&LuaTable>,
    out: &mut Vec<u8>,
) -> bool {
    let date = script.engine.clock().date();
    if let Some(status) = status {
        match try_write(shape, status, body, headers, &date, out) {
            Ok(persistent) => return persistent,
            Err(problem) => {
                script.report(&format!("cannot send the handler's answer: {problem}"), "")
            }
        }
    }
    let written = AnswerWriter::begin(out, shape, 500).and_then(|mut writer| {
        writer.field(b"Content-Type", b"text/plain")?;
        writer.finish(&date, FAILED.as_bytes())
    });
    written.unwrap_or(false)
}

fn try_write(
    shape: Shape,
    status: i64,
    body: Option<&LuaString>,
    headers: Option<&LuaTable>,
    date: &str,
    out: &mut Vec<u8>,
) -> Result<bool, String> {
    let mut writer = AnswerWriter::begin(out, shape, status).map_err(shown)?;
    if let Some(headers) = headers {
        for pair in headers.pairs::<LuaValue, LuaValue>() {
            let (name, value) = pair.map_err(|error| error.to_string())?;
            let LuaValue::String(name) = name else {
                return Err(writer.give_up(format!(
                    "header names must be strings, not {}",
                    name.type_name()
                )));
            };
            write_values(&mut writer, &name, value)?;
        }
    }
    match body {
        Some(body) => writer.finish(date, &body.as_bytes()),
        None => writer.finish(date, b""),
    }
    .map_err(shown)
}

/// A header's string, or each of its list of strings.
fn write_values(
    writer: &mut AnswerWriter<'_>,
    name: &LuaString,
    value: LuaValue,
) -> Result<(), String> {
    match value {
        LuaValue::String(value) => writer
            .field(&name.as_bytes(), &value.as_bytes())
            .map_err(shown),
        LuaValue::Table(values) => {
            for value in values.sequence_values::<LuaValue>() {
                match value {
                    Ok(LuaValue::String(value)) => writer
                        .field(&name.as_bytes(), &value.as_bytes())
                        .map_err(shown)?,
                    _ => {
                        return Err(writer.give_up(format!(
                            "the list for header '{}' must hold strings",
                            name.display()
                        )));
                    }
                }
            }
            Ok(())
        }
        other => Err(writer.give_up(format!(
            "header '{}' must be a string or a list, not {}",
            name.display(),
            other.type_name()
        ))),
    }
}

fn shown(error: AnswerError) -> String {
    error.to_string()
}

/// A request's headers, names in lower case; repeated ones are joined with `, `, Cookie with `; ` (RFC 6265bis).
fn headers(lua: &Lua, raw_head: &[u8]) -> LuaResult<LuaTable> {
    let mut storage = FieldStorage::new();
    let Ok(Parsed::Complete(head)) = parse_request(raw_head, &mut storage, usize::MAX) else {
        return lua.create_table();
    };
    // One copy in lower case; a name is at the same place in it as in the head.
    let lower = raw_head.to_ascii_lowercase();
    let name_of = |field: &Field<'_>| {
        let start = field.name.as_ptr() as usize - raw_head.as_ptr() as usize;
        &lower[start..start + field.name.len()]
    };
    let mut fields: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::with_capacity(head.fields().len());
    for field in head.fields() {
        let name = name_of(field);
        match fields.iter_mut().find(|(known, _)| *known == name) {
            None => fields.push((name, Cow::Borrowed(field.value))),
            Some((_, value)) => {
                let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
                let joined = value.to_mut();
                joined.extend_from_slice(separator);
                joined.extend_from_slice(field.value);
            }
        }
    }
    lua.create_table_from(fields.iter().map(|(name, value)| (text(name), text(value))))
}

/// A query, percent- and plus-decoded once; the first of repeated keys.
fn query(lua: &Lua, query: &[u8]) -> LuaResult<LuaTable> {
    let pairs: Vec<_> = query_pairs(query).collect();
    // In reverse, so that the first of repeated keys is the one that stays.
    lua.create_table_from(
        pairs
            .iter()
            .rev()
            .map(|(key, value)| (text(key), text(value))),
    )
}

fn query_pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let equals = pair
                .iter()
                .position(|&byte| byte == b'=')
                .unwrap_or(pair.len());
            (
                decoded(&pair[..equals]),
                decoded(pair.get(equals + 1..).unwrap_or_default()),
            )
        })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'+', b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}
