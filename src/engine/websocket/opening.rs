//! A client's handshake (RFC 6455 §4.1): asks a server for a WebSocket, and checks that it is one.
//!
//! ```
#![doc = include_str!("../examples/opening.txt")]
//! let opened = engine.block_on(open(&dialer, &opening))??;
//! assert_eq!(opened.protocol.as_deref(), Some("chat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, future::poll_fn, io, time::Duration};

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use data_encoding::BASE64;
use futures_lite::{AsyncWriteExt, future::or};
use std::time::Instant;

use super::handshake::{VERSION, is_own, only};
use crate::{
    engine::{
        dialer::{Destination, DialError, Dialer},
        timers::deadline_after,
        transport::Transport,
    },
    wire::{
        FieldStorage, HeadProgress, MOST_INTERIM, Parsed, ResponseError, ResponseHead, encode,
        list_elements, parse_response, values_of,
    },
};

/// Bytes of the head of the server's answer at the most.
const HEAD: usize = 64 * 1024;

/// The WebSocket that is asked for.
///
/// ```
/// use std::time::Duration;
/// use lute_net::engine::{dialer::Destination, websocket::opening::Opening};
///
/// let opening = Opening {
///     destination: Destination::new("a.example", 80),
///     host: "a.example".into(),
///     target: "/chat".into(),
///     fields: Vec::new(),
///     protocols: vec!["chat".into()],
///     timeout: Duration::from_secs(30),
/// };
/// assert_eq!(opening.destination.name(), "a.example:80");
/// ```
pub struct Opening {
    /// Where.
    pub destination: Destination,
    /// The `Host` field.
    pub host: String,
    /// The path with its query.
    pub target: String,
    /// Fields of the program's own, checked already; those that belong to the handshake are left out.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The subprotocols that are offered, the best first: tokens, none twice.
    pub protocols: Vec<String>,
    /// For all of it, from the lookup to the server's answer.
    pub timeout: Duration,
}

/// A WebSocket that the server has agreed to.
///
/// ```
#[doc = include_str!("../examples/opening.txt")]
/// let opened: Opened = engine.block_on(open(&dialer, &opening))??;
/// assert!(opened.input.is_empty() && !opened.transport.is_secure());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Opened {
    /// What it goes through.
    pub transport: Transport,
    /// What came behind the server's answer.
    pub input: Vec<u8>,
    /// The subprotocol that the server has chosen, if it did.
    pub protocol: Option<String>,
}

/// Why there is no WebSocket, in words that can stand behind `websocket connect failed: `.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// use lute_net::engine::websocket::opening::*;
///
/// let destination = Destination::new("127.0.0.1", server.port());
/// let (host, target, timeout) = ("a.example".into(), "/".into(), std::time::Duration::from_secs(20));
/// let opening = Opening { destination, host, target, fields: Vec::new(), protocols: Vec::new(), timeout };
/// let error = engine.block_on(open(client.dialer(), &opening))?.err().unwrap();
/// assert!(error.to_string().ends_with("answered 200 OK"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum OpenError {
    /// There is no connection.
    Dial(DialError),
    /// The server (`host:port`) has answered something else than 101.
    Refused {
        /// Which.
        to: String,
        /// What it answered.
        status: u16,
    },
    /// It has agreed, but not as RFC 6455 says.
    Handshake {
        /// Which.
        to: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// It has sent no HTTP response.
    Head {
        /// Which.
        to: String,
        /// What is wrong.
        error: ResponseError,
    },
    /// The connection broke.
    Lost {
        /// To which.
        to: String,
        /// How.
        error: io::Error,
    },
    /// The server did not answer.
    TimedOut {
        /// Which.
        to: String,
        /// The time it had.
        after: Duration,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Refused { to, status } => {
                let reason = encode::reason(*status);
                let space = if reason.is_empty() { "" } else { " " };
                write!(f, "{to} answered {status}{space}{reason}")
            }
            Self::Handshake { to, problem } => write!(f, "{to} did not shake hands: {problem}"),
            Self::Head { to, error } => write!(f, "{to} sent no HTTP response: {error}"),
            Self::Lost { to, error } => write!(f, "{to} closed the connection: {error}"),
            Self::TimedOut { to, after } => {
                write!(f, "{to} timed out after {} s", after.as_secs_f64())
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Connects and shakes hands.
///
/// ```
#[doc = include_str!("../examples/opening.txt")]
/// let opened = engine.block_on(open(&dialer, &opening))?;
/// assert!(opened.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenError`].
pub async fn open(dialer: &Dialer, opening: &Opening) -> Result<Opened, OpenError> {
    let deadline = deadline_after(Instant::now(), opening.timeout);
    let late = dialer.engine().timers().sleep_until(deadline);
    let opened = async {
        let dialed = dialer.dial(&opening.destination, opening.timeout).await;
        let transport = dialed.map_err(OpenError::Dial)?;
        shake_hands(dialer, opening, transport).await
    };
    or(opened, async {
        late.await;
        Err(OpenError::TimedOut {
            to: opening.destination.name(),
            after: opening.timeout,
        })
    })
    .await
}

async fn shake_hands(
    dialer: &Dialer,
    opening: &Opening,
    mut transport: Transport,
) -> Result<Opened, OpenError> {
    let key = BASE64.encode(&rand::random::<[u8; 16]>());
    let to = || opening.destination.name();
    let lost = |error| OpenError::Lost { to: to(), error };
    let request = opening.request(&key);
    transport.write_all(&request).await.map_err(lost)?;
    let mut input = Vec::new();
    let (mut progress, mut interim) = (HeadProgress::default(), 0);
    loop {
        while progress.worth_parsing(&input) || input.len() >= HEAD {
            let mut storage = FieldStorage::new();
            let parsed = parse_response(&input, &mut storage, HEAD);
            let parsed = parsed.map_err(|error| OpenError::Head { to: to(), error })?;
            let Parsed::Complete(head) = parsed else {
                break;
            };
            let used = head.length();
            if !head.interim() {
                let protocol = opening.check(&head, &key)?;
                input.drain(..used);
                return Ok(Opened {
                    transport,
                    input,
                    protocol,
                });
            }
            interim += 1;
            if interim > MOST_INTERIM {
                return Err(OpenError::Handshake {
                    to: to(),
                    problem: "it sent too many interim responses",
                });
            }
            input.drain(..used);
            progress = HeadProgress::default();
        }
        let engine = dialer.engine();
        let mut buffer = engine.buffers().take_read();
        let read = poll_fn(|context| transport.poll_read(context, &mut buffer)).await;
        if let Ok(count) = read {
            input.extend_from_slice(&buffer[..count]);
        }
        engine.buffers().return_read(buffer);
        if read.map_err(lost)? == 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

impl Opening {
    fn request(&self, key: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode::request_line(&mut out, "GET", &self.target);
        encode::field(&mut out, "Host", &self.host);
        encode::field(&mut out, "Upgrade", "websocket");
        encode::field(&mut out, "Connection", "Upgrade");
        encode::field(&mut out, "Sec-WebSocket-Key", key);
        encode::field(&mut out, "Sec-WebSocket-Version", VERSION);
        if !self.protocols.is_empty() {
            encode::field(
                &mut out,
                "Sec-WebSocket-Protocol",
                self.protocols.join(", "),
            );
        }
        for (name, value) in &self.fields {
            if !is_own(name) && !name.eq_ignore_ascii_case(b"host") {
                encode::field(&mut out, name, value);
            }
        }
        encode::end_of_head(&mut out);
        out
    }

    /// The protocol that the server has chosen, if its answer is one to this handshake.
    fn check(&self, head: &ResponseHead<'_, '_>, key: &str) -> Result<Option<String>, OpenError> {
        let to = || self.destination.name();
        if head.status() != 101 {
            return Err(OpenError::Refused {
                to: to(),
                status: head.status(),
            });
        }
        let wrong = |problem| OpenError::Handshake { to: to(), problem };
        let names = |field: &'static str, expected: &'static str| {
            values_of(head.fields(), field)
                .flat_map(list_elements)
                .any(|element| element.eq_ignore_ascii_case(expected.as_bytes()))
        };
        if !names("Upgrade", "websocket") {
            return Err(wrong("there is no 'Upgrade: websocket'"));
        }
        if !names("Connection", "Upgrade") {
            return Err(wrong("there is no 'Connection: Upgrade'"));
        }
        let accept = only(head.fields(), "Sec-WebSocket-Accept");
        if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(wrong("its Sec-WebSocket-Accept is not that of the key"));
        }
        let mut extensions = values_of(head.fields(), "Sec-WebSocket-Extensions");
        if extensions.any(|extensions| !extensions.is_empty()) {
            return Err(wrong("it wants an extension that was not offered"));
        }
        let mut chosen = values_of(head.fields(), "Sec-WebSocket-Protocol");
        let Some(protocol) = chosen.next() else {
            return Ok(None);
        };
        let offered = self
            .protocols
            .iter()
            .find(|offered| offered.as_bytes() == protocol)
            .filter(|_| chosen.next().is_none());
        offered
            .cloned()
            .map(Some)
            .ok_or_else(|| wrong("it speaks a subprotocol that was not offered"))
    }
}
