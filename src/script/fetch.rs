//! `client.request` and `client.stream`: starts requests, and hands their responses to Luau.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mlua::prelude::{Lua, LuaNil, LuaResult, LuaString, LuaTable, LuaUserData, LuaValue};
use mlua::{AnyUserData, IntoLuaMulti};

use super::{GONE, Script, request_options, scheduler::Delivery};
use crate::engine::{
    client::{
        ClientError, ClientOptions, ClientRequest, ClientTimeouts, Fields, RequestBody, Response,
        ResponseBody,
    },
    quota::Permit,
};

/// What `luau/client.luau` passes: URL, method, fields, body (a string, or the number of a body source) and options.
type Arguments = (
    LuaString,
    LuaString,
    Vec<LuaString>,
    LuaValue,
    Option<LuaTable>,
);

/// A wait, or what is wrong.
type Started = (Option<u64>, Option<String>);

/// The natives behind `luau/client.luau` and `luau/response.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let (weak, defaults) = (Rc::downgrade(script), Rc::default());
    let request = move |_: &Lua, arguments: Arguments| {
        let Some(script) = weak.upgrade() else {
            return gone();
        };
        let started = prepare(&script, arguments, &defaults);
        Ok(started.map_or_else(refused, |prepared| begun(request_whole(&script, prepared))))
    };
    native.set("request", lua.create_function(request)?)?;

    let (weak, defaults) = (Rc::downgrade(script), Rc::new(stream_defaults()));
    let stream = move |_: &Lua, arguments: Arguments| {
        let Some(script) = weak.upgrade() else {
            return gone();
        };
        let started = prepare(&script, arguments, &defaults);
        Ok(started.map_or_else(refused, |prepared| begun(request_head(&script, prepared))))
    };
    native.set("stream", lua.create_function(stream)?)?;

    let weak = Rc::downgrade(script);
    let read = move |_: &Lua, handle: AnyUserData| {
        let Some(script) = weak.upgrade() else {
            return gone();
        };
        let download = handle.borrow::<Download>()?.0.clone();
        Ok(read_piece(&script, &download))
    };
    native.set("read", lua.create_function(read)?)?;

    let close_download = |_: &Lua, handle: AnyUserData| {
        let download = handle.borrow::<Download>()?.0.clone();
        close(&download);
        Ok(())
    };
    native.set("close", lua.create_function(close_download)?)?;
    Ok(native)
}

/// A stream may go on for ever and be of any size: only the script knows.
fn stream_defaults() -> ClientOptions {
    ClientOptions {
        timeouts: ClientTimeouts {
            total: Duration::MAX,
            ..ClientTimeouts::default()
        },
        max_body_size: u64::MAX,
        ..ClientOptions::default()
    }
}

fn begun(wait: u64) -> Started {
    (Some(wait), None)
}

fn refused(problem: String) -> Started {
    (None, Some(problem))
}

fn gone() -> LuaResult<Started> {
    Ok(refused(GONE.to_owned()))
}

/// A request that may be sent.
struct Prepared {
    request: ClientRequest,
    body: RequestBody,
    permit: Permit,
}

fn prepare(
    script: &Script,
    (url, method, fields, body, options): Arguments,
    defaults: &Rc<ClientOptions>,
) -> Result<Prepared, String> {
    // First, so that it is dropped when something else is wrong.
    let source = match &body {
        LuaValue::Number(number) => script.sources.take(*number as u64),
        LuaValue::Integer(number) => script.sources.take(*number as u64),
        _ => None,
    };
    let url = url.to_string_lossy();
    let (mut request, length) =
        request_options::request(&url, &method, &fields, options.as_ref(), defaults)?;
    let body = match (source, body) {
        (Some(source), _) => RequestBody::Streamed { source, length },
        (None, LuaValue::String(text)) if !text.as_bytes().is_empty() => {
            RequestBody::bytes(text.as_bytes().to_vec())
        }
        _ => RequestBody::none(),
    };
    if let Some(limit) = script.settings.limits.body
        && request.options.max_body_size > limit
    {
        Rc::make_mut(&mut request.options).max_body_size = limit;
    }
    let permit = script.requests.take().ok_or_else(|| {
        let limit = script.requests.limit();
        format!("too many requests at once ({limit} are allowed)")
    })?;
    Ok(Prepared {
        request,
        body,
        permit,
    })
}

/// Delivers status, fields, body and URL.
fn request_whole(script: &Script, prepared: Prepared) -> u64 {
    #[cfg(feature = "async-h1")]
    if let Some(open) = script.settings.carriers.find(&prepared.request.url) {
        return request_carried(script, open, prepared);
    }
    let Prepared {
        request,
        body,
        permit,
    } = prepared;
    let client = script.client.clone();
    script.scheduler.start(async move {
        let _permit = permit;
        let response = async {
            let mut response = client.send_body(request, body).await?;
            let body = response.body.read_to_end().await?;
            Ok((response, body))
        };
        let (response, body) = response.await.map_err(failed)?;
        let delivery = move |lua: &Lua| {
            let fields = fields_table(lua, &response.fields)?;
            let body = lua.create_string(&body)?;
            (response.status, fields, body, response.url.as_str()).into_lua_multi(lua)
        };
        Ok(Box::new(delivery) as Delivery)
    })
}

/// As [`request_whole`], through a connection of the host's.
#[cfg(feature = "async-h1")]
fn request_carried(
    script: &Script,
    open: super::async_h1::carriers::Opener,
    prepared: Prepared,
) -> u64 {
    let Prepared {
        request,
        body,
        permit,
    } = prepared;
    let url = request.url.clone();
    let sent = super::async_h1::carriers::send(script, open, request, body);
    script.scheduler.start(async move {
        let _permit = permit;
        let carried = sent.await;
        let carried = carried.map_err(|problem| format!("network request failed: {problem}"))?;
        let delivery = move |lua: &Lua| {
            let fields = fields_table(lua, &carried.fields)?;
            let body = lua.create_string(&carried.body)?;
            (carried.status, fields, body, url.as_str()).into_lua_multi(lua)
        };
        Ok(Box::new(delivery) as Delivery)
    })
}

/// Delivers status, fields, URL and the handle by which the body is read.
fn request_head(script: &Script, prepared: Prepared) -> u64 {
    let Prepared {
        request,
        body,
        permit,
    } = prepared;
    let client = script.client.clone();
    script.scheduler.start(async move {
        let sent = client.send_body(request, body).await;
        let Response {
            status,
            fields,
            url,
            body,
        } = sent.map_err(failed)?;
        let download = Download(Rc::new(RefCell::new(Open {
            body: Some(body),
            reader: None,
            closed: false,
            permit: Some(permit),
        })));
        let delivery = move |lua: &Lua| {
            let fields = fields_table(lua, &fields)?;
            let handle = lua.create_userdata(download)?;
            (status, fields, url.as_str(), handle).into_lua_multi(lua)
        };
        Ok(Box::new(delivery) as Delivery)
    })
}

fn failed(error: ClientError) -> String {
    format!("network request failed: {error}")
}

/// Names and values in turns.
fn fields_table(lua: &Lua, fields: &Fields) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(fields.len() * 2, 0)?;
    for (name, value) in fields.iter() {
        table.raw_push(lua.create_string(name)?)?;
        table.raw_push(lua.create_string(value)?)?;
    }
    Ok(table)
}

/// The body of a streamed response, as Luau holds it: collected, it closes the connection.
struct Download(Rc<RefCell<Open>>);

impl LuaUserData for Download {}

struct Open {
    /// None once it is closed, and while it is polled: then Luau may run and come here again.
    body: Option<ResponseBody>,
    /// Who waits for the next piece.
    reader: Option<Waker>,
    closed: bool,
    /// Until the body has come to its end.
    permit: Option<Permit>,
}

/// Closes the connection and ends a read. What is dropped may run Luau, so nothing is borrowed meanwhile.
fn close(download: &RefCell<Open>) {
    let mut open = download.borrow_mut();
    open.closed = true;
    open.permit = None;
    let (body, reader) = (open.body.take(), open.reader.take());
    drop(open);
    drop(body);
    reader.into_iter().for_each(Waker::wake);
}

/// Starts to read the next piece. A coroutine that is closed meanwhile closes the response.
fn read_piece(script: &Script, download: &Rc<RefCell<Open>>) -> Started {
    {
        let mut open = download.borrow_mut();
        if open.reader.is_some() {
            return refused("another coroutine reads this response already".to_owned());
        }
        if open.body.as_ref().is_none_or(ResponseBody::is_ended) {
            return (None, None);
        }
        open.reader = Some(Waker::noop().clone());
    }
    let reading = Reading(download.clone());
    begun(script.scheduler.start(async move {
        let piece = poll_fn(|context| poll_piece(&reading.0, context)).await;
        let piece = piece.map_err(failed)?;
        let delivery = move |lua: &Lua| match piece {
            Some(piece) => lua.create_string(&piece)?.into_lua_multi(lua),
            None => LuaNil.into_lua_multi(lua),
        };
        Ok(Box::new(delivery) as Delivery)
    }))
}

fn poll_piece(
    download: &RefCell<Open>,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Vec<u8>>, ClientError>> {
    let mut open = download.borrow_mut();
    let Some(mut body) = open.body.take() else {
        return Poll::Ready(Ok(None));
    };
    open.reader = Some(context.waker().clone());
    drop(open);
    let polled = body.poll_next(context);
    let mut open = download.borrow_mut();
    if open.closed {
        drop(open);
        return Poll::Ready(Ok(None));
    }
    if body.is_ended() {
        open.permit = None;
    }
    open.body = Some(body);
    if polled.is_ready() {
        open.reader = None;
    }
    polled
}

/// A read under way. When it is dropped while somebody still waits for the piece, nobody will.
struct Reading(Rc<RefCell<Open>>);

impl Drop for Reading {
    fn drop(&mut self) {
        if self.0.borrow().reader.is_some() {
            close(&self.0);
        }
    }
}
