//! The handshake that turns HTTP into a WebSocket (RFC 6455 §4).
//!
//! ```
#![doc = include_str!("../examples/handshake.txt")]
//! // of a request with `Upgrade: websocket` and `Sec-WebSocket-Protocol: chat, news`
//! let mut out = Vec::new();
//! handshake.accept(&mut out, Some("chat"), std::iter::empty())?;
//! assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use async_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    engine::service::Request,
    wire::{BodyFraming, Field, Version, encode, list_elements, syntax, values_of},
};

/// The version of the protocol that is spoken here.
pub(crate) const VERSION: &str = "13";

/// A client's side of a valid handshake.
///
/// ```
#[doc = include_str!("../examples/handshake.txt")]
/// assert_eq!(handshake, handshake.clone());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHandshake {
    accept: String,
    protocols: Vec<String>,
    origin: Option<String>,
    host: String,
    secure: bool,
}

impl ClientHandshake {
    /// Reads the handshake out of a request (RFC 6455 §4.2.1); none when it is not a valid one.
    ///
    /// ```
    #[doc = include_str!("../examples/handshake.txt")]
    /// let plain = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    /// assert!(read(plain).is_none() && read(valid).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(request: &Request<'_>) -> Option<Self> {
        let head = request.head;
        let get = head.method() == "GET" && head.version() == Version::Http11;
        let bodiless = matches!(head.framing(), BodyFraming::Empty | BodyFraming::Length(0));
        if !get || !head.upgrade() || !bodiless {
            return None;
        }
        let fields = head.fields();
        let websocket = values_of(fields, "Upgrade")
            .flat_map(list_elements)
            .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        if !websocket || only(fields, "Sec-WebSocket-Version")? != VERSION.as_bytes() {
            return None;
        }
        let key = only(fields, "Sec-WebSocket-Key").filter(|key| is_key(key))?;
        let mut protocols = Vec::new();
        for protocol in values_of(fields, "Sec-WebSocket-Protocol").flat_map(list_elements) {
            if !syntax::is_token(protocol) {
                return None;
            }
            protocols.push(String::from_utf8_lossy(protocol).into_owned());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Self {
            accept: derive_accept_key(key),
            protocols,
            origin: values_of(fields, "Origin").next().map(text),
            host: text(head.host()),
            secure: request.secure,
        })
    }

    /// The subprotocols that the client offers, the one it likes best first.
    ///
    /// ```
    #[doc = include_str!("../examples/handshake.txt")]
    /// // of a request with `Sec-WebSocket-Protocol: chat, news`
    /// assert_eq!(handshake.protocols(), ["chat", "news"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Whether the page that opens the WebSocket, if a page does, is one of `origins` (`https://example.com`), or of the host
    /// that it opens it to where they hold `self`. A page that did not come over TLS is not of the host where
    /// the WebSocket does: whoever is on its way can have written it. Without TLS either is, since a proxy may speak it.
    /// Browsers send cookies with the handshake whatever page asks for it.
    ///
    /// ```
    #[doc = include_str!("../examples/handshake.txt")]
    /// // of a request with `Host: a.example` and `Origin: https://b.example`
    /// assert!(!handshake.comes_from(&["self".into()]));
    /// assert!(handshake.comes_from(&["https://b.example".into()]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn comes_from(&self, origins: &[String]) -> bool {
        let Some(origin) = &self.origin else {
            return true;
        };
        let own = origin.split_once("://").is_some_and(|(scheme, host)| {
            let trusted = !self.secure || scheme.eq_ignore_ascii_case("https");
            trusted && host.eq_ignore_ascii_case(&self.host)
        });
        origins
            .iter()
            .any(|one| one.eq_ignore_ascii_case(origin) || (own && one == "self"))
    }

    /// Adds the response that accepts it (RFC 6455 §4.2.2), with `fields` of the server's own.
    ///
    /// ```
    #[doc = include_str!("../examples/handshake.txt")]
    /// // of the request in RFC 6455 §1.3
    /// let mut out = Vec::new();
    /// handshake.accept(&mut out, None, [(&b"Set-Cookie"[..], &b"a=1"[..])].into_iter())?;
    /// let text = String::from_utf8(out)?;
    /// assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=1\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A text when a field can't be sent, or belongs to the handshake.
    pub fn accept<'f>(
        &self,
        out: &mut Vec<u8>,
        protocol: Option<&str>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<(), String> {
        encode::status_line(out, 101);
        encode::field(out, "Upgrade", "websocket");
        encode::field(out, "Connection", "Upgrade");
        encode::field(out, "Sec-WebSocket-Accept", &self.accept);
        if let Some(protocol) = protocol {
            encode::field(out, "Sec-WebSocket-Protocol", protocol);
        }
        for (name, value) in fields {
            if !syntax::is_token(name) || is_own(name) {
                let name = String::from_utf8_lossy(name);
                return Err(format!("invalid response header name '{name}'"));
            }
            if !syntax::is_field_value(value) {
                let name = String::from_utf8_lossy(name);
                return Err(format!("invalid response header value for '{name}'"));
            }
            encode::field(out, name, value);
        }
        encode::end_of_head(out);
        Ok(())
    }
}

/// Fields that only the handshake itself may set.
pub(super) fn is_own(name: &[u8]) -> bool {
    const OWN: [&str; 4] = [
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.to_ascii_lowercase();
    name.starts_with(b"sec-websocket-") || OWN.iter().any(|own| own.as_bytes() == name)
}

/// The value of a field that must not be repeated.
pub(super) fn only<'b>(fields: &[Field<'b>], name: &'static str) -> Option<&'b [u8]> {
    let mut values = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name));
    let value = values.next()?.value;
    values.next().is_none().then_some(value)
}

/// 16 bytes in base64 (RFC 6455 §4.1): 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let Some(characters) = key.strip_suffix(b"==") else {
        return false;
    };
    characters.len() == 22
        && characters
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
