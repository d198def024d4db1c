//! What a script gave to `client.request` or `client.stream` becomes a request. `luau/request_options.luau` has checked
//! the types.

use std::{path::PathBuf, rc::Rc, time::Duration};

use mlua::prelude::{LuaResult, LuaString, LuaTable, LuaValue};
use url::Url;

use crate::{
    engine::{
        client::{
            ClientOptions, ClientRequest, ClientTimeouts, Fields, ProxyChoice, Redirects,
            is_own_field,
        },
        dialer::Proxy,
        tls::ClientTlsOptions,
    },
    wire::syntax,
};

/// Checks everything before any I/O. Without `options` the request has `defaults`. With it comes the `Content-Length` that
/// the script set, which only a streamed body needs.
///
/// # Errors
/// A text for the script that names what is wrong.
pub fn request(
    url: &str,
    method: &LuaString,
    fields: &[LuaString],
    options: Option<&LuaTable>,
    defaults: &Rc<ClientOptions>,
) -> Result<(ClientRequest, Option<u64>), String> {
    let parts = parts(url, &["http", "https"], fields, options, defaults)?;
    let method = method.to_string_lossy();
    if !syntax::is_token(method.as_bytes()) {
        return Err(format!(
            "invalid option 'method' ({method:?} is not a method name)"
        ));
    }
    let request = ClientRequest {
        url: parts.url,
        method,
        fields: parts.fields,
        options: parts.options,
    };
    Ok((request, parts.length))
}

/// What requests and WebSockets have in common.
pub struct Parts {
    /// With its query.
    pub url: Url,
    /// Checked, without those that the client writes itself.
    pub fields: Fields,
    /// The `Content-Length` that the script set.
    pub length: Option<u64>,
    /// Everything else.
    pub options: Rc<ClientOptions>,
}

/// As [`request`], for a URL with one of `schemes`.
///
/// # Errors
/// As [`request`].
pub fn parts(
    url: &str,
    schemes: &[&str; 2],
    fields: &[LuaString],
    options: Option<&LuaTable>,
    defaults: &Rc<ClientOptions>,
) -> Result<Parts, String> {
    let mut url = parse_url(url, schemes)?;
    let (fields, length) = checked_fields(fields)?;
    let options = match options {
        None => defaults.clone(),
        Some(table) => {
            add_query(&mut url, table).map_err(|error| error.to_string())?;
            Rc::new(options_of(table, defaults)?)
        }
    };
    Ok(Parts {
        url,
        fields,
        length,
        options,
    })
}

/// A scheme is what stands before `://`; without one, the first of `schemes` is meant. Others are refused by name.
///
/// # Errors
/// A text for the script.
pub fn parse_url(text: &str, schemes: &[&str; 2]) -> Result<Url, String> {
    let full = match text.find("://") {
        // What stands behind a `/` or `?` belongs to the path or the query.
        Some(at) if !text[..at].contains(['/', '?', '#']) => text.to_owned(),
        _ => format!("{}://{text}", schemes[0]),
    };
    let url = Url::parse(&full).map_err(|problem| format!("invalid url '{text}' ({problem})"))?;
    if schemes.contains(&url.scheme()) {
        return Ok(url);
    }
    let [first, second] = schemes;
    Err(format!(
        "unsupported url scheme '{}' ({first} or {second} expected)",
        url.scheme()
    ))
}

/// Names and values without those that the client writes itself, and the `Content-Length`.
fn checked_fields(fields: &[LuaString]) -> Result<(Fields, Option<u64>), String> {
    let mut own = Fields::with_capacity(fields.len() / 2, 0);
    let mut length = None;
    for pair in fields.chunks_exact(2) {
        let (name, value) = (pair[0].as_bytes(), pair[1].as_bytes());
        if !syntax::is_token(&name) {
            return Err("invalid request header name".to_owned());
        }
        if !syntax::is_client_field_value(&value) {
            return Err("invalid request header value".to_owned());
        }
        if !is_own_field(&name) {
            own.push(&name, &value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            length = str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok());
        }
    }
    Ok((own, length))
}

fn add_query(url: &mut Url, table: &LuaTable) -> LuaResult<()> {
    let Some(pairs) = table.raw_get::<Option<Vec<LuaString>>>("query")? else {
        return Ok(());
    };
    if pairs.is_empty() {
        return Ok(());
    }
    let mut query = url.query_pairs_mut();
    for pair in pairs.chunks_exact(2) {
        query.append_pair(&pair[0].to_string_lossy(), &pair[1].to_string_lossy());
    }
    Ok(())
}

fn options_of(table: &LuaTable, defaults: &ClientOptions) -> Result<ClientOptions, String> {
    let vm = |error: mlua::Error| error.to_string();
    let number = |name: &str| table.raw_get::<Option<f64>>(name).map_err(vm);
    let text = |name: &str| table.raw_get::<Option<LuaString>>(name).map_err(vm);
    let time = |name: &str, default: Duration| {
        let seconds = number(name)?;
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Ok::<_, String>(seconds.map_or(default, time))
    };
    let timeouts = ClientTimeouts {
        total: time("total", defaults.timeouts.total)?,
        connect: time("connect", defaults.timeouts.connect)?,
        read: time("read", defaults.timeouts.read)?,
    };
    // A limit beyond all numbers is none.
    let limit = number("maxredirects")?.map_or(20, |most| most as u32);
    let redirects = match text("redirect")?
        .map(|text| text.to_string_lossy())
        .as_deref()
    {
        Some("manual") => Redirects::Manual,
        Some("error") => Redirects::Refuse,
        _ => Redirects::Follow(limit),
    };
    let max_body_size = number("maxbodysize")?.map_or(defaults.max_body_size, |most| most as u64);
    let decompress: Option<bool> = table.raw_get("decompress").map_err(vm)?;
    let tls: Option<LuaTable> = table.raw_get("tls").map_err(vm)?;
    Ok(ClientOptions {
        timeouts,
        redirects,
        decompress: decompress.unwrap_or(defaults.decompress),
        max_body_size,
        tls: match tls {
            Some(tls) => Rc::new(tls_options(&tls).map_err(vm)?),
            None => defaults.tls.clone(),
        },
        proxy: proxy_choice(&table.raw_get("proxy").map_err(vm)?)?,
        socket_path: text("socketpath")?.map(|path| path_of(&path)),
    })
}

fn proxy_choice(value: &LuaValue) -> Result<ProxyChoice, String> {
    match value {
        LuaValue::Boolean(false) => Ok(ProxyChoice::Direct),
        LuaValue::String(url) => Proxy::parse(&url.to_string_lossy())
            .map(|proxy| ProxyChoice::Through(Rc::new(proxy)))
            .map_err(|problem| format!("invalid option 'proxy' ({problem})")),
        _ => Ok(ProxyChoice::Environment),
    }
}

/// The `tls` option.
///
/// # Errors
/// When the VM has no memory left.
pub fn tls_options(table: &LuaTable) -> LuaResult<ClientTlsOptions> {
    let path = |name: &str| {
        let text: Option<LuaString> = table.raw_get(name)?;
        Ok::<_, mlua::Error>(text.map(|text| path_of(&text)))
    };
    let passphrase: Option<LuaString> = table.raw_get("passphrase")?;
    Ok(ClientTlsOptions {
        cafilename: path("cafilename")?,
        certfilename: path("certfilename")?,
        keyfilename: path("keyfilename")?,
        passphrase: passphrase.map(|text| text.as_bytes().to_vec()),
        insecure: table.raw_get::<Option<bool>>("insecure")?.unwrap_or(false),
    })
}

fn path_of(text: &LuaString) -> PathBuf {
    PathBuf::from(text.to_string_lossy())
}
