//! What every server of the benchmark is asked and has to answer, whoever it is.

use clap::ValueEnum;

/// The handlers that a server can be started with; `scripts/server.luau` has their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Handler {
    /// `Hello, World!` to everything
    Hello,
    /// The same, put together from a header and a query value
    Read,
    /// The body of the request
    Echo,
    /// 1 MiB
    Large,
    /// `Hello, World!` after a `task.wait(0)`
    Wait,
    /// `Hello, World!` after some 100 µs of arithmetic in Luau
    Work,
}

/// How many headers a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// Only those that the handler needs.
    Few,
    /// The ten that a browser sends.
    Browser,
}

const ECHO_BYTES: usize = 1024;
const LARGE_BYTES: usize = 1024 * 1024;

const BROWSER_HEADERS: &str = "Host: localhost\r\n\
	User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
	Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
	Accept-Language: en-GB,en;q=0.8,de;q=0.5,fr;q=0.3\r\n\
	Accept-Encoding: gzip, deflate, br, zstd\r\n\
	Connection: keep-alive\r\n\
	Cookie: session=5f2d8c1e9b7a4f60; theme=dark; consent=1\r\n\
	Upgrade-Insecure-Requests: 1\r\n\
	Sec-Fetch-Mode: navigate\r\n\
	Cache-Control: max-age=0\r\n";

impl Handler {
    /// The name that scripts and command lines know it by.
    pub fn name(self) -> &'static str {
        match self {
            Handler::Hello => "hello",
            Handler::Read => "read",
            Handler::Echo => "echo",
            Handler::Large => "large",
            Handler::Wait => "wait",
            Handler::Work => "work",
        }
    }

    /// The bytes of one request for this handler.
    pub fn request(self, headers: Headers) -> Vec<u8> {
        let headers = match headers {
            Headers::Few => "Host: localhost\r\n",
            Headers::Browser => BROWSER_HEADERS,
        };
        match self {
			Handler::Read => format!("GET /greet?name=World&times=1 HTTP/1.1\r\n{headers}X-Greeting: Hello\r\nAccept: */*\r\n\r\n"),
			Handler::Echo => {
				let body = "x".repeat(ECHO_BYTES);
				format!("POST /echo HTTP/1.1\r\n{headers}Content-Length: {ECHO_BYTES}\r\n\r\n{body}")
			}
			_ => format!("GET / HTTP/1.1\r\n{headers}\r\n"),
		}
		.into_bytes()
    }

    /// The body of the only right answer to it.
    pub fn answer(self) -> Vec<u8> {
        match self {
            Handler::Echo => vec![b'x'; ECHO_BYTES],
            Handler::Large => vec![b'x'; LARGE_BYTES],
            _ => b"Hello, World!".to_vec(),
        }
    }
}

/// The handshake that the load generator sends: RFC 6455 §1.3's own example key, so that the right accept value is known.
pub const WEBSOCKET_HANDSHAKE: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
	Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer's `Sec-WebSocket-Accept` to [`WEBSOCKET_HANDSHAKE`].
pub const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
