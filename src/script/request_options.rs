//! What a script gave to `client.request` or `client.stream` becomes a request. `luau/request_options.luau` has checked
//! the types.

use std::{cell::RefCell, collections::HashMap, path::PathBuf, rc::Rc, time::Duration};

use mlua::prelude::{LuaResult, LuaString, LuaTable, LuaValue};
use url::Url;

use crate::{
    engine::{
        client::{
            ClientOptions, ClientRequest, ClientTimeouts, Fields, ProxyChoice, Redirects,
            RequestUrl, is_own_field,
        },
        dialer::Proxy,
        tls::ClientTlsOptions,
    },
    wire::{list_elements, syntax},
};

/// A request of parts that are checked already, but for its method.
///
/// # Errors
/// A text for the script.
pub fn request(
    url: RequestUrl,
    method: &[u8],
    fields: CheckedFields,
    options: Rc<ClientOptions>,
) -> Result<ClientRequest, String> {
    if !syntax::is_token(method) {
        let method = String::from_utf8_lossy(method);
        return Err(format!(
            "invalid option 'method' ({method:?} is not a method name)"
        ));
    }
    Ok(ClientRequest {
        url,
        method: String::from_utf8_lossy(method).into_owned(),
        fields: fields.own,
        closes: fields.closes,
        options,
    })
}

/// The headers of a request or a WebSocket, checked.
#[derive(Default)]
pub struct CheckedFields {
    /// Without those that the client writes itself.
    pub own: Fields,
    /// The `Content-Length` that the script set, which only a streamed body needs.
    pub length: Option<u64>,
    /// Whether the script set `Connection: close`.
    pub closes: bool,
}

/// The URL with the query of the option table, and the options that it has besides; without a table `defaults`.
///
/// # Errors
/// A text for the script that names what is wrong.
pub fn with_options(
    url: RequestUrl,
    options: Option<&LuaTable>,
    defaults: &Rc<ClientOptions>,
) -> Result<(RequestUrl, Rc<ClientOptions>), String> {
    let Some(table) = options else {
        return Ok((url, defaults.clone()));
    };
    let url = with_query(url, table).map_err(|error| error.to_string())?;
    Ok((url, Rc::new(options_of(table, defaults)?)))
}

/// URLs that scripts have asked for, so that the same text is not parsed with each request.
#[derive(Default)]
pub struct KnownUrls(RefCell<HashMap<Box<[u8]>, RequestUrl>>);

/// So many are known at the most, and none that is longer than this, in bytes.
const MOST_KNOWN: usize = 64;
const LONGEST_KNOWN: usize = 1024;

impl KnownUrls {
    /// The URL of a request, with `http` or `https`.
    ///
    /// # Errors
    /// As [`parse_url`].
    pub fn get(&self, text: &[u8]) -> Result<RequestUrl, String> {
        let mut known = self.0.borrow_mut();
        if let Some(url) = known.get(text) {
            return Ok(url.clone());
        }
        let parsed = parse_url(&String::from_utf8_lossy(text), &["http", "https"])?;
        let url = RequestUrl::from(parsed);
        if known.len() == MOST_KNOWN {
            known.clear();
        }
        if text.len() <= LONGEST_KNOWN {
            known.insert(text.into(), url.clone());
        }
        Ok(url)
    }
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

/// Checks names and values.
///
/// # Errors
/// A text for the script.
pub fn checked_fields<'f>(
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<CheckedFields, String> {
    let mut checked = CheckedFields::default();
    for (name, value) in fields {
        if !syntax::is_token(name) {
            return Err("invalid request header name".to_owned());
        }
        if !syntax::is_client_field_value(value) {
            return Err("invalid request header value".to_owned());
        }
        if !is_own_field(name) {
            checked.own.push(name, value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value).ok();
            checked.length = length.and_then(|text| text.parse().ok());
        } else if name.eq_ignore_ascii_case(b"connection") {
            let mut options = list_elements(value);
            checked.closes |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    Ok(checked)
}

/// As [`checked_fields`], for names and values in turns.
///
/// # Errors
/// As [`checked_fields`].
pub fn checked_list(list: &[LuaString]) -> Result<CheckedFields, String> {
    let texts: Vec<_> = list.iter().map(LuaString::as_bytes).collect();
    checked_fields(texts.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])))
}

fn with_query(url: RequestUrl, table: &LuaTable) -> LuaResult<RequestUrl> {
    let Some(pairs) = table.raw_get::<Option<Vec<LuaString>>>("query")? else {
        return Ok(url);
    };
    if pairs.is_empty() {
        return Ok(url);
    }
    let mut url = Url::clone(&url);
    let mut query = url.query_pairs_mut();
    for pair in pairs.chunks_exact(2) {
        query.append_pair(&pair[0].to_string_lossy(), &pair[1].to_string_lossy());
    }
    drop(query);
    Ok(url.into())
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
