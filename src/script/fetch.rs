//! `client.request`: what the script passed becomes a request on the wire, and the response Luau values.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::future::or;
use mlua::IntoLuaMulti;
use mlua::prelude::{Lua, LuaResult, LuaString, LuaTable};
use url::Url;

use super::{Script, scheduler::Delivery};
use crate::{
    engine::{
        client::{self, ClientRequest, ClientResponse},
        timers::deadline_after,
    },
    wire::syntax,
};

/// Fields that belong to the connection and the framing: the client writes them itself (RFC 9110 §7.6.1).
const OWN_FIELDS: [&str; 6] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

const USER_AGENT: &str = concat!("lute-net/", env!("CARGO_PKG_VERSION"));

/// The natives behind `luau/client.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let script = Rc::downgrade(script);
    let request = move |_: &Lua,
                        (url, method, fields, body, seconds): (
        LuaString,
        LuaString,
        Vec<LuaString>,
        LuaString,
        f64,
    )| {
        let Some(script) = script.upgrade() else {
            return Ok((None, Some(super::GONE.to_owned())));
        };
        match prepare(&url, &method, &fields, &body) {
            Ok((url, request)) => Ok((Some(start(&script, url, request, seconds)), None)),
            Err(problem) => Ok((None, Some(problem))),
        }
    };
    native.set("request", lua.create_function(request)?)?;
    Ok(native)
}

/// Checks everything before any I/O.
fn prepare(
    url: &LuaString,
    method: &LuaString,
    fields: &[LuaString],
    body: &LuaString,
) -> Result<(Url, ClientRequest), String> {
    let url = parse_url(&url.to_string_lossy())?;
    let method = method.to_string_lossy();
    if !syntax::is_token(method.as_bytes()) {
        return Err(format!(
            "invalid option 'method' ({method:?} is not a method name)"
        ));
    }
    let mut own = Vec::with_capacity(fields.len() / 2 + 3);
    for pair in fields.chunks_exact(2) {
        let (name, value) = (pair[0].as_bytes(), pair[1].as_bytes());
        if !syntax::is_token(&name) {
            return Err("invalid request header name".to_owned());
        }
        if !syntax::is_client_field_value(&value) {
            return Err("invalid request header value".to_owned());
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        if !OWN_FIELDS.iter().any(|one| one.eq_ignore_ascii_case(&name)) {
            own.push((name, value.to_vec()));
        }
    }
    let request = ClientRequest {
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or(80),
        method,
        target: url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
        fields: with_defaults(own, &url),
        body: body.as_bytes().to_vec(),
    };
    Ok((url, request))
}

/// A scheme is what stands before `://`; without one, `http` is meant.
fn parse_url(text: &str) -> Result<Url, String> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&full).map_err(|problem| format!("invalid url '{text}' ({problem})"))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err("https is not supported yet".to_owned()),
        other => Err(format!(
            "unsupported url scheme '{other}' (http or https expected)"
        )),
    }
}

fn with_defaults(fields: Vec<(String, Vec<u8>)>, url: &Url) -> Vec<(String, Vec<u8>)> {
    let has = |name: &str| fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut all = Vec::with_capacity(fields.len() + 3);
    if !has("host") {
        all.push((
            "Host".to_owned(),
            url[url::Position::BeforeHost..url::Position::AfterPort]
                .as_bytes()
                .to_vec(),
        ));
    }
    if !has("user-agent") {
        all.push(("User-Agent".to_owned(), USER_AGENT.as_bytes().to_vec()));
    }
    if !has("accept") {
        all.push(("Accept".to_owned(), b"*/*".to_vec()));
    }
    all.extend(fields);
    all
}

fn start(script: &Rc<Script>, url: Url, request: ClientRequest, seconds: f64) -> u64 {
    let (dialer, pool) = (script.dialer.clone(), script.pool.clone());
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let timeout = script
        .engine
        .timers()
        .sleep_until(deadline_after(Instant::now(), duration));
    script.scheduler.start(async move {
        let host = format!("{}:{}", request.host, request.port);
        let exchange = async {
            let response = client::request(&dialer, &pool, &request).await;
            response.map_err(|error| error.to_string())
        };
        let timeout = async {
            timeout.await;
            Err(format!("{host} timed out after {seconds} s"))
        };
        match or(exchange, timeout).await {
            Ok(response) => Ok(deliver(response, url.into())),
            Err(problem) => Err(format!("network request failed: {problem}")),
        }
    })
}

/// Status, the fields as a flat list, body and URL.
fn deliver(response: ClientResponse, url: String) -> Delivery {
    Box::new(move |lua| {
        let fields = lua.create_table_with_capacity(response.fields.len() * 2, 0)?;
        for (name, value) in &response.fields {
            fields.raw_push(lua.create_string(name)?)?;
            fields.raw_push(lua.create_string(value)?)?;
        }
        (
            response.status,
            fields,
            lua.create_string(&response.body)?,
            url,
        )
            .into_lua_multi(lua)
    })
}
