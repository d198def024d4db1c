//! What a request may be told besides its URL, method, fields and body.

use std::{path::PathBuf, rc::Rc, time::Duration};

use crate::engine::{dialer::Proxy, tls::ClientTlsOptions};

/// How a request is sent and what its response may be.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let options = ClientOptions { max_body_size: 3, ..ClientOptions::default() };
/// let request = ClientRequest { options: Rc::new(options), ..ClientRequest::get(url) };
/// let read = engine.block_on(async { client.send(request).await?.body.read_to_end().await })?;
/// assert!(matches!(read, Err(ClientError::TooLarge(_, 3))), "it has 5 bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    /// What may take how long.
    pub timeouts: ClientTimeouts,
    /// What comes of a redirect.
    pub redirects: Redirects,
    /// Whether to ask for a compressed body and undo its coding; not when the request's fields have an `Accept-Encoding`
    /// or a `Range` of their own.
    pub decompress: bool,
    /// The largest body, in bytes, also of the decompressed one.
    pub max_body_size: u64,
    /// How to check servers.
    pub tls: Rc<ClientTlsOptions>,
    /// The way to hosts.
    pub proxy: ProxyChoice,
    /// A Unix socket to send the request to, whatever host the URL names.
    pub socket_path: Option<PathBuf>,
}

/// Times of a client's request.
///
/// ```
/// use std::time::Duration;
/// use lute_net::engine::client::{ClientOptions, ClientTimeouts};
///
/// let timeouts = ClientTimeouts { total: Duration::from_secs(5), ..ClientTimeouts::default() };
/// let options = ClientOptions { timeouts, ..ClientOptions::default() };
/// assert_eq!(options.timeouts.connect, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// The whole, from the first lookup to the last byte, redirects too; `Duration::MAX` for no limit.
    pub total: Duration,
    /// Lookup, TCP, proxy and TLS of one connection.
    pub connect: Duration,
    /// While neither end can get on because of the server: no byte comes, and none is taken.
    pub read: Duration,
}

impl Default for ClientTimeouts {
    /// 300, 30 and 60 s.
    fn default() -> Self {
        Self {
            total: Duration::from_secs(300),
            connect: Duration::from_secs(30),
            read: Duration::from_secs(60),
        }
    }
}

/// What comes of a redirect (RFC 9110 §15.4).
///
/// ```
/// use lute_net::engine::client::{ClientOptions, Redirects};
///
/// let options = ClientOptions { redirects: Redirects::Manual, ..ClientOptions::default() };
/// assert_ne!(options.redirects, ClientOptions::default().redirects);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// They are followed, so many at the most.
    Follow(u32),
    /// The redirect is the response.
    Manual,
    /// They are an error.
    Refuse,
}

/// Which proxy a request goes through.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let options = ClientOptions { proxy: ProxyChoice::Direct, ..ClientOptions::default() };
/// let request = ClientRequest { options: Rc::new(options), ..ClientRequest::get(url) };
/// assert_eq!(engine.block_on(client.send(request))??.status, 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub enum ProxyChoice {
    /// As the environment says.
    #[default]
    Environment,
    /// None.
    Direct,
    /// This one.
    Through(Rc<Proxy>),
}

impl Default for ClientOptions {
    /// 20 redirects are followed, bodies of 64 MiB at the most are decompressed.
    fn default() -> Self {
        Self {
            timeouts: ClientTimeouts::default(),
            redirects: Redirects::Follow(20),
            decompress: true,
            max_body_size: 64 * 1024 * 1024,
            tls: Rc::default(),
            proxy: ProxyChoice::default(),
            socket_path: None,
        }
    }
}
