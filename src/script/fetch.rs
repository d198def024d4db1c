//! `client.request` and `client.stream`: starts requests, and hands their responses to Luau.

use std::{rc::Rc, time::Duration};

use mlua::IntoLuaMulti;
use mlua::prelude::{Lua, LuaResult, LuaString, LuaTable, LuaValue};

use super::{
    Script,
    download::{self, Download},
    natives::Natives,
    raw_vm::{PlainRequest, Received, Responses, request_starter},
    request_options::{self, KnownUrls},
    scheduler::{Delivery, Handover},
};
use crate::engine::{
    client::{
        ClientError, ClientOptions, ClientRequest, ClientTimeouts, Fields, RequestBody, RequestUrl,
        Response,
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
pub type Started = (Option<u64>, Option<String>);

/// The natives behind `luau/client.luau` and `luau/response.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>, responses: &Responses) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    let (urls, defaults) = (Rc::<KnownUrls>::default(), Rc::<ClientOptions>::default());

    let (weak, known, usual) = (Rc::downgrade(script), urls.clone(), defaults.clone());
    let made = responses.clone();
    let start = move |plain: PlainRequest<'_>| {
        let script = weak.upgrade()?;
        let prepared = prepare_plain(&script, plain, &known, &usual).ok()?;
        Some(request_whole(&script, prepared, made.clone()))
    };
    natives.table().set("start", request_starter(lua, start)?)?;

    let (known, made) = (urls.clone(), responses.clone());
    natives.set("request", move |script, arguments: Arguments| {
        let prepared = prepare(script, arguments, &known, &defaults);
        Ok(prepared.map_or_else(refused, |prepared| {
            begun(request_whole(script, prepared, made.clone()))
        }))
    })?;

    let (defaults, made) = (Rc::new(stream_defaults()), responses.clone());
    natives.set("stream", move |script, arguments: Arguments| {
        let prepared = prepare(script, arguments, &urls, &defaults);
        Ok(prepared.map_or_else(refused, |prepared| {
            begun(request_head(script, prepared, made.clone()))
        }))
    })?;
    download::add_natives(&natives, lua)?;
    Ok(natives.into_table())
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

/// The number of a wait.
pub fn begun(wait: u64) -> Started {
    (Some(wait), None)
}

/// Why there is none.
pub fn refused(problem: String) -> Started {
    (None, Some(problem))
}

/// A request that may be sent.
pub struct Prepared {
    /// What is sent.
    pub request: ClientRequest,
    /// With it.
    pub body: RequestBody,
    /// For as long as it is under way.
    pub permit: Permit,
}

fn prepare(
    script: &Script,
    (url, method, fields, body, options): Arguments,
    urls: &KnownUrls,
    defaults: &Rc<ClientOptions>,
) -> Result<Prepared, String> {
    // First, so that it is dropped when something else is wrong.
    let source = match &body {
        LuaValue::Number(number) => script.sources.take(*number as u64),
        LuaValue::Integer(number) => script.sources.take(*number as u64),
        _ => None,
    };
    let url = urls.get(&url.as_bytes())?;
    let checked = request_options::checked_list(&fields)?;
    let length = checked.length;
    let (url, options) = request_options::with_options(url, options.as_ref(), defaults)?;
    let request = request_options::request(url, &method.as_bytes(), checked, options)?;
    let body = match (source, body) {
        (Some(source), _) => RequestBody::Streamed { source, length },
        (None, LuaValue::String(text)) => RequestBody::bytes(text.as_bytes().to_vec()),
        _ => RequestBody::Empty,
    };
    permitted(script, request, body)
}

/// As [`prepare`], without options and with a body that is a string.
fn prepare_plain(
    script: &Script,
    plain: PlainRequest<'_>,
    urls: &KnownUrls,
    defaults: &Rc<ClientOptions>,
) -> Result<Prepared, String> {
    let url = urls.get(plain.url)?;
    let checked = request_options::checked_fields(plain.fields)?;
    let request = request_options::request(url, plain.method, checked, defaults.clone())?;
    permitted(script, request, RequestBody::bytes(plain.body.to_vec()))
}

fn permitted(
    script: &Script,
    mut request: ClientRequest,
    body: RequestBody,
) -> Result<Prepared, String> {
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

/// Delivers the response.
fn request_whole(script: &Script, prepared: Prepared, responses: Responses) -> u64 {
    #[cfg(feature = "async-h1")]
    if !script.settings.carriers.is_empty() {
        return super::async_h1::carrying::request_whole(script, prepared, responses);
    }
    let permit = prepared.permit;
    let mut sending = script.client.send_body(prepared.request, prepared.body);
    script.scheduler.start_direct(async move {
        let _permit = permit;
        let mut response = (&mut sending).await.map_err(failed)?;
        let body = response.body.read_to_end().await.map_err(failed)?;
        let Response {
            status,
            fields,
            url,
            ..
        } = response;
        Ok(handover(responses, status, fields, url, body))
    })
}

/// Delivers the response without its body, and the handle by which that is read.
fn request_head(script: &Rc<Script>, prepared: Prepared, responses: Responses) -> u64 {
    #[cfg(feature = "async-h1")]
    if !script.settings.carriers.is_empty() {
        return super::async_h1::carrying::request_head(script, prepared, responses);
    }
    let permit = prepared.permit;
    let mut sending = script.client.send_body(prepared.request, prepared.body);
    let reader = Rc::downgrade(script);
    script.scheduler.start(async move {
        let Response {
            status,
            fields,
            url,
            body,
        } = (&mut sending).await.map_err(failed)?;
        let download = Download::new(reader, Box::new(body), permit);
        Ok(head_delivery(responses, status, fields, url, download))
    })
}

/// Hands a whole response over to the coroutine that waits for it.
pub fn handover(
    responses: Responses,
    status: u16,
    fields: Fields,
    url: RequestUrl,
    body: Vec<u8>,
) -> Handover {
    Box::new(move |_, wait| {
        let received = Received {
            status,
            fields: &fields,
            body: Some(&body),
            url: url.as_str(),
        };
        responses.deliver(wait, received)
    })
}

/// Delivers a response without its body, and the handle of that.
pub fn head_delivery(
    responses: Responses,
    status: u16,
    fields: Fields,
    url: RequestUrl,
    download: Download,
) -> Delivery {
    Box::new(move |lua| {
        let received = Received {
            status,
            fields: &fields,
            body: None,
            url: url.as_str(),
        };
        let response = responses.make(received)?;
        (response, lua.create_userdata(download)?).into_lua_multi(lua)
    })
}

/// The error of a request as scripts see it.
pub fn failed(error: ClientError) -> String {
    format!("network request failed: {error}")
}
