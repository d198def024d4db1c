//! What is asked for, and what comes back.

use std::{cell::RefCell, fmt, ops::Deref, rc::Rc};

use url::Url;

use super::{ClientOptions, Fields, ProxyChoice, ResponseBody, redirect::without_credentials};
use crate::engine::{
    dialer::{Destination, basic_credentials},
    tls::ClientTlsOptions,
};

/// A request.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let mut fields = Fields::default();
/// fields.push(b"Accept", b"text/html");
/// let request = ClientRequest { method: "OPTIONS".into(), fields, ..ClientRequest::get(url) };
/// assert_eq!(engine.block_on(client.send(request))??.status, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientRequest {
    /// With the scheme `http` or `https` and a host.
    pub url: RequestUrl,
    /// A token.
    pub method: String,
    /// Checked already: names are tokens, values have no control bytes. What the client writes itself is not among them:
    /// see [`is_own_field`](super::is_own_field).
    pub fields: Fields,
    /// Whether the connection is the request's alone: `Connection: close` (RFC 9112 §9.6).
    pub closes: bool,
    /// Everything else.
    pub options: Rc<ClientOptions>,
}

impl ClientRequest {
    /// A GET with the default options.
    ///
    /// ```
    /// use lute_net::engine::client::ClientRequest;
    ///
    /// let request = ClientRequest::get("http://example.org/a".parse()?);
    /// assert_eq!((request.method.as_str(), request.url.path()), ("GET", "/a"));
    /// # Ok::<(), url::ParseError>(())
    /// ```
    pub fn get(url: Url) -> Self {
        Self {
            url: url.into(),
            method: "GET".to_owned(),
            fields: Fields::default(),
            closes: false,
            options: Rc::default(),
        }
    }

    /// The value of an `Authorization` field for the user of the URL (RFC 7617), unless there is such a field already.
    ///
    /// ```
    /// use lute_net::engine::client::ClientRequest;
    ///
    /// let request = ClientRequest::get("http://me:secret@example.org/".parse()?);
    /// assert!(request.credentials().is_some());
    /// # Ok::<(), url::ParseError>(())
    /// ```
    pub fn credentials(&self) -> Option<String> {
        basic_credentials(&self.url).filter(|_| !self.fields.has("authorization"))
    }
}

/// A response whose head has come.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let response = engine.block_on(client.send(ClientRequest::get(url)))??;
/// assert_eq!((response.status, response.fields.get("content-length")), (200, Some(&b"5"[..])));
/// assert_eq!(response.url.path(), "/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Response {
    /// 200–999.
    pub status: u16,
    /// Names as the server wrote them; without `Content-Encoding` and `Content-Length` when a coding was undone.
    pub fields: Fields,
    /// Where it came from, after redirects; without credentials.
    pub url: RequestUrl,
    /// What follows.
    pub body: ResponseBody,
}

/// A URL that is asked for, maybe often: it remembers the way that was found for it, and a clone is another handle of it.
///
/// ```
/// use lute_net::engine::client::RequestUrl;
/// use url::Url;
///
/// let url = RequestUrl::from(Url::parse("http://example.org/a")?);
/// assert_eq!((url.path(), url.to_string().as_str()), ("/a", "http://example.org/a"));
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Clone)]
pub struct RequestUrl(Rc<Known>);

struct Known {
    url: Url,
    way: RefCell<Option<Way>>,
}

/// The way that requests with the usual options take.
#[derive(Clone)]
struct Way {
    tls: Rc<ClientTlsOptions>,
    destination: Rc<Destination>,
}

impl RequestUrl {
    /// The destination that was kept for requests with options like these.
    pub(super) fn known_way(&self, options: &ClientOptions) -> Option<Rc<Destination>> {
        let way = self.0.way.borrow();
        let way = way.as_ref().filter(|_| is_usual(options))?;
        Rc::ptr_eq(&way.tls, &options.tls).then(|| way.destination.clone())
    }

    /// Keeps the destination of a request with these options, unless they are special.
    pub(super) fn keep_way(&self, options: &ClientOptions, destination: &Rc<Destination>) {
        if is_usual(options) {
            let (tls, destination) = (options.tls.clone(), destination.clone());
            self.0.way.replace(Some(Way { tls, destination }));
        }
    }

    /// The URL as it may be shown.
    ///
    /// ```
    /// use lute_net::engine::client::RequestUrl;
    /// use url::Url;
    ///
    /// let url = RequestUrl::from(Url::parse("http://me:secret@example.org/")?);
    /// assert_eq!(url.without_credentials().to_string(), "http://example.org/");
    /// # Ok::<(), url::ParseError>(())
    /// ```
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        if self.0.url.username().is_empty() && self.0.url.password().is_none() {
            return self.clone();
        }
        without_credentials(self.0.url.clone()).into()
    }
}

/// What the environment says, which does not change, decides alone.
fn is_usual(options: &ClientOptions) -> bool {
    options.socket_path.is_none() && matches!(options.proxy, ProxyChoice::Environment)
}

impl From<Url> for RequestUrl {
    fn from(url: Url) -> Self {
        let way = RefCell::default();
        Self(Rc::new(Known { url, way }))
    }
}

impl Deref for RequestUrl {
    type Target = Url;

    fn deref(&self) -> &Url {
        &self.0.url
    }
}

impl fmt::Display for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.url.fmt(f)
    }
}

impl fmt::Debug for RequestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.url.fmt(f)
    }
}
