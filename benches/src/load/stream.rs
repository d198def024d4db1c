//! One connection to the server under test, plain or through TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use native_tls::{Certificate, TlsConnector, TlsStream};

/// A server that is silent for so long while it is being set up has broken.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where connections go.
pub struct Target {
    port: u16,
    tls: Option<TlsConnector>,
}

impl Target {
    pub fn plain(port: u16) -> Self {
        Self { port, tls: None }
    }

    /// Trusts the certificate in `pem`, which has to be for `localhost`.
    pub fn tls(port: u16, pem: &[u8]) -> Result<Self> {
        let certificate = Certificate::from_pem(pem).context("the server's certificate")?;
        let connector = TlsConnector::builder()
            .add_root_certificate(certificate)
            .build()?;
        Ok(Self {
            port,
            tls: Some(connector),
        })
    }

    /// A connection that blocks, until [`Stream::stop_blocking`].
    pub fn connect(&self) -> Result<Stream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).context("cannot connect")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SETUP_TIMEOUT))?;
        let Some(connector) = &self.tls else {
            return Ok(Stream::Plain(socket));
        };
        let stream = connector
            .connect("localhost", socket)
            .map_err(|error| anyhow!("TLS handshake: {error}"))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn stop_blocking(&self) -> io::Result<()> {
        self.socket().set_nonblocking(true)
    }

    /// Whether bytes can wait above the socket, where epoll does not see them.
    pub fn buffers(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}
