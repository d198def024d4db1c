//! Between `http_types` and HTTP as our `wire` has it. What one of them can't hold is an error, never a panic: http_types'
//! own `append_header` unwraps.

use std::{net::SocketAddr, str::FromStr};

use http_types::{
    Body, Method, Request as HttpRequest, Response as HttpResponse, StatusCode, Url,
    headers::{HeaderName, HeaderValue},
};

use crate::{
    engine::{client::Fields, service::Remote},
    wire::{FieldStorage, Parsed, encode, parse_response, syntax},
};

/// Fields about the connection and the framing of a message (RFC 9110 §7.6.1): they do not go over a border.
const OWN_FIELDS: [&str; 7] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Status and fields.
pub struct Head {
    /// 200–999.
    pub status: u16,
    /// In the order in which they came.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// A request's head as a client would have sent it; none when a field can't be sent.
pub fn request_head(request: &HttpRequest, body: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    let url = request.url();
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let target = if target.starts_with('/') { target } else { "/" };
    encode::request_line(&mut out, request.method().as_ref(), target);
    if request.header("host").is_none() {
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        encode::field(&mut out, "Host", host.as_bytes());
    }
    for (name, values) in request.iter() {
        if OWN_FIELDS.contains(&name.as_str()) {
            continue;
        }
        for value in values {
            if !syntax::is_client_field_value(value.as_str().as_bytes()) {
                return None;
            }
            encode::field(&mut out, name.as_str(), value.as_str());
        }
    }
    if body > 0 {
        encode::content_length(&mut out, body as u64);
    }
    encode::end_of_head(&mut out);
    Some(out)
}

/// Who sent a request.
pub fn remote(request: &HttpRequest) -> Remote {
    let peer = request
        .peer_addr()
        .and_then(|peer| SocketAddr::from_str(peer).ok());
    peer.map_or(Remote::Local, Remote::Internet)
}

/// The head of an answer of ours, and its length.
///
/// # Errors
/// When there is none: the runtime has ended.
pub fn response_head(answer: &[u8], method: &str) -> Result<(Head, usize), String> {
    let mut storage = FieldStorage::new();
    let head = match parse_response(answer, &mut storage, answer.len()) {
        Ok(Parsed::Complete(head)) => head,
        Ok(Parsed::Partial) => return Err("the runtime has ended".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    // The answer to HEAD tells the length of a body that is not there.
    let is_own = |name: &str| {
        let name = name.to_ascii_lowercase();
        OWN_FIELDS.contains(&name.as_str()) && !(method == "HEAD" && name == "content-length")
    };
    let fields = head.fields().iter().filter(|field| !is_own(field.name));
    let fields = fields
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect();
    let length = head.length();
    Ok((
        Head {
            status: head.status(),
            fields,
        },
        length,
    ))
}

/// A response of http_types'.
///
/// # Errors
/// A status that it does not know, or a field outside of ASCII.
pub fn response(head: Head, body: Body) -> Result<HttpResponse, String> {
    let status = StatusCode::try_from(head.status)
        .map_err(|_| format!("http_types knows no status {}", head.status))?;
    let mut response = HttpResponse::new(status);
    let has_type = head
        .fields
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    response.set_body(body);
    if !has_type || status == StatusCode::NoContent {
        response.remove_header("content-type");
    }
    let mut known: Vec<HeaderName> = Vec::with_capacity(head.fields.len());
    for (name, value) in head.fields {
        let (name, value) = header(&name, value)?;
        if known.contains(&name) {
            response.append_header(name, value);
        } else {
            known.push(name.clone());
            response.insert_header(name, value);
        }
    }
    Ok(response)
}

/// A request of http_types'.
///
/// # Errors
/// A method that it does not know, or a field outside of ASCII.
pub fn request(
    url: &Url,
    method: &str,
    fields: &Fields,
    body: Body,
) -> Result<HttpRequest, String> {
    let known =
        Method::from_str(method).map_err(|_| format!("http_types knows no method {method}"))?;
    let mut request = HttpRequest::new(known, url.clone());
    request.set_body(body);
    request.remove_header("content-type");
    for (name, value) in fields.iter() {
        let (name, value) = header(&String::from_utf8_lossy(name), value.to_vec())?;
        request.append_header(name, value);
    }
    Ok(request)
}

/// The fields of a response of http_types'.
pub fn fields(response: &HttpResponse) -> Fields {
    let mut fields = Fields::default();
    for (name, values) in response.iter() {
        for value in values {
            fields.push(name.as_str().as_bytes(), value.as_str().as_bytes());
        }
    }
    fields
}

fn header(name: &str, value: Vec<u8>) -> Result<(HeaderName, HeaderValue), String> {
    let problem = |_| format!("http_types holds no bytes over 0x7f: header '{name}'");
    let value = HeaderValue::from_bytes(value).map_err(problem)?;
    let name = HeaderName::from_str(name).map_err(problem)?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, name: &str, value: &[u8]) -> Head {
        Head {
            status,
            fields: vec![(name.to_owned(), value.to_vec())],
        }
    }

    #[test]
    fn what_http_types_can_not_hold_is_an_error() {
        let no_status = response(head(299, "a", b"b"), Body::empty()).unwrap_err();
        assert!(no_status.contains("299"));
        let no_ascii = response(head(200, "X-Name", b"caf\xe9"), Body::empty()).unwrap_err();
        assert!(no_ascii.contains("X-Name"));
        let url = Url::parse("http://example.com/").unwrap();
        let brew = request(&url, "BREW", &Fields::default(), Body::empty()).unwrap_err();
        assert!(brew.contains("BREW"));
        let mut latin = Fields::default();
        latin.push(b"a", b"caf\xe9");
        assert!(request(&url, "GET", &latin, Body::empty()).is_err());
    }

    #[test]
    fn repeated_fields_stay_repeated() {
        let fields = vec![
            ("Set-Cookie".to_owned(), b"a=1".to_vec()),
            ("set-cookie".to_owned(), b"b=2".to_vec()),
        ];
        let made = response(
            Head {
                status: 200,
                fields,
            },
            Body::empty(),
        )
        .unwrap();
        let cookies: Vec<&str> = made
            .header("set-cookie")
            .unwrap()
            .iter()
            .map(HeaderValue::as_str)
            .collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(super::fields(&made).len(), 2);
    }

    #[test]
    fn any_request_of_http_types_becomes_a_head_or_is_refused() {
        for (method, url) in [
            (Method::Get, "http://example.com/a?b=c#d"),
            (Method::Connect, "data:text/plain,hello"),
            (Method::Options, "unix:/run/app"),
            (Method::Post, "http://example.com/%ff"),
        ] {
            let mut made = HttpRequest::new(method, Url::parse(url).unwrap());
            made.insert_header("x-plain", "a");
            let text = request_head(&made, 3).unwrap();
            let mut storage = FieldStorage::new();
            let parsed = crate::wire::parse_request(&text, &mut storage, text.len());
            let whole = matches!(parsed, Ok(Parsed::Complete(head)) if head.length() == text.len());
            assert!(parsed.is_err() || whole, "{url}");
            // A value with a line end in it must not become two fields.
            made.insert_header("x-strange", "a\r\nb: c");
            assert!(request_head(&made, 3).is_none());
        }
    }
}
