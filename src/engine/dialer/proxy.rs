//! Which proxy stands between a program and a host.

mod exceptions;

use std::{env, fmt, rc::Rc};

use percent_encoding::percent_decode_str;
use url::Url;

use self::exceptions::Exceptions;

/// A proxy, from a URL as `http://user:password@host:port`; a scheme may be left out. No `Debug`: it may hold a password.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::engine::{client::{ClientOptions, ProxyChoice}, dialer::Proxy};
///
/// let proxy = Rc::new(Proxy::parse("proxy.example:3128")?);
/// let options = ClientOptions { proxy: ProxyChoice::Through(proxy.clone()), ..ClientOptions::default() };
/// assert!(matches!(options.proxy, ProxyChoice::Through(one) if one == proxy));
/// # Ok::<(), lute_net::engine::dialer::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    host: String,
    port: u16,
    /// The value of `Proxy-Authorization`.
    credentials: Option<String>,
}

/// What is wrong with a proxy's URL.
///
/// ```
/// use lute_net::engine::dialer::{Proxy, ProxyError};
///
/// assert_eq!(Proxy::parse("socks5://a").err(), Some(ProxyError::Scheme("socks5".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// No URL: what the parser says.
    Invalid(String),
    /// A scheme that is not spoken here.
    Scheme(String),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => write!(f, "invalid proxy url ({problem})"),
            Self::Scheme(scheme) => {
                write!(f, "unsupported proxy scheme '{scheme}' (http expected)")
            }
        }
    }
}

impl std::error::Error for ProxyError {}

impl Proxy {
    /// Reads a proxy's URL. The port is 80 when it names none.
    ///
    /// # Errors
    /// [`ProxyError`]; the text has no part of the URL in it, since that may hold a password.
    ///
    /// ```
    /// use lute_net::engine::dialer::Proxy;
    ///
    /// let proxy = Proxy::parse("http://me:secret@proxy.example:3128")?;
    /// assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
    /// assert_eq!(proxy.credentials(), Some("Basic bWU6c2VjcmV0"));
    /// assert!(Proxy::parse("socks5://proxy.example").is_err());
    /// # Ok::<(), lute_net::engine::dialer::ProxyError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|error| ProxyError::Invalid(error.to_string()))?;
        if url.scheme() != "http" {
            return Err(ProxyError::Scheme(url.scheme().to_owned()));
        }
        let Some(host) = url.host_str() else {
            return Err(ProxyError::Invalid("it has no host".to_owned()));
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            credentials: basic_credentials(&url),
        })
    }

    /// Host name or address; IPv6 in brackets.
    ///
    /// ```
    /// let proxy = lute_net::engine::dialer::Proxy::parse("http://[::1]:3128")?;
    /// assert_eq!(proxy.host(), "[::1]");
    /// # Ok::<(), lute_net::engine::dialer::ProxyError>(())
    /// ```
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    ///
    /// ```
    /// assert_eq!(lute_net::engine::dialer::Proxy::parse("proxy.example")?.port(), 80);
    /// # Ok::<(), lute_net::engine::dialer::ProxyError>(())
    /// ```
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Proxy-Authorization`, if its URL has credentials.
    ///
    /// ```
    /// use lute_net::engine::dialer::Proxy;
    ///
    /// assert_eq!(Proxy::parse("http://me:secret@a")?.credentials(), Some("Basic bWU6c2VjcmV0"));
    /// assert_eq!(Proxy::parse("http://a")?.credentials(), None);
    /// # Ok::<(), lute_net::engine::dialer::ProxyError>(())
    /// ```
    pub fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }

    /// What errors call it.
    pub(super) fn name(&self) -> String {
        format!("the proxy {}:{}", self.host, self.port)
    }
}

/// The value of `Authorization` or `Proxy-Authorization` for the credentials in `url` (RFC 7617), if there are any.
pub(crate) fn basic_credentials(url: &Url) -> Option<String> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password.unwrap_or_default()));
    let encoded = data_encoding::BASE64.encode(&plain);
    Some(format!("Basic {encoded}"))
}

/// Which proxy is for which host, as curl reads it from the environment.
#[derive(Clone, Default)]
pub(crate) struct ProxySettings {
    http: Setting,
    https: Setting,
    exceptions: Exceptions,
}

type Setting = Option<Result<Rc<Proxy>, ProxyError>>;

impl ProxySettings {
    /// `http_proxy`, `https_proxy`, `all_proxy` for what has none of its own, and `no_proxy`; in lower or upper case, the
    /// lower first. `HTTP_PROXY` is not read in a CGI program (one with `REQUEST_METHOD`), where a client's `Proxy` header
    /// would set it (CVE-2016-5385, "httpoxy").
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let any_case = |name: &str| {
            let lower = variable(name).filter(|text| !text.is_empty());
            let upper = || variable(&name.to_ascii_uppercase()).filter(|text| !text.is_empty());
            lower.or_else(upper)
        };
        let http = if variable("REQUEST_METHOD").is_some() {
            variable("http_proxy").filter(|text| !text.is_empty())
        } else {
            any_case("http_proxy")
        };
        let all = any_case("all_proxy");
        let setting = |own: Option<String>| {
            let text = own.or_else(|| all.clone())?;
            Some(Proxy::parse(&text).map(Rc::new))
        };
        Self {
            http: setting(http),
            https: setting(any_case("https_proxy")),
            exceptions: Exceptions::parse(&any_case("no_proxy").unwrap_or_default()),
        }
    }

    /// The proxy for a URL with this scheme, host and port, if it goes through one. `https` and `wss` have one proxy, all
    /// other schemes the other.
    ///
    /// # Errors
    /// When the proxy's own URL is wrong.
    pub fn proxy_for(
        &self,
        scheme: &str,
        host: &str,
        port: u16,
    ) -> Result<Option<Rc<Proxy>>, ProxyError> {
        let setting = match scheme {
            "https" | "wss" => &self.https,
            _ => &self.http,
        };
        match setting {
            Some(proxy) if !self.exceptions.has(host, port) => proxy.clone().map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
