//! TLS over a [`Socket`], for both ends of a connection.
//!
//! Two libraries stand behind it:
//!
//! - `openssl`: OpenSSL directly, where it is the platform's TLS: versions 1.2 and 1.3, client certificates, and a trust
//!   store that is read once.
//! - `system`: async-native-tls elsewhere. With OpenSSL behind it, its acceptor speaks TLS 1.2 at most and can't ask for
//!   client certificates, and its connector reads the whole trust store anew for each connection, which held the thread
//!   for 41 ms a connection.
//!
//! TLS 1.2 is the oldest version spoken. ALPN is not used: a client that offers only `h2` still gets HTTP/1.1.
//!
//! ```
#![doc = include_str!("examples/sockets.txt")]
#![doc = include_str!("examples/tls_files.txt")]
#![doc = include_str!("examples/tls_pair.txt")]
//! engine.block_on(poll_fn(|context| connected.poll_write(context, b"hello")))??;
//! let mut buffer = [0; 16];
//! let count = engine.block_on(poll_fn(|context| accepted.poll_read(context, &mut buffer)))??;
//! assert_eq!(&buffer[..count], b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
#[cfg_attr(
    not(all(unix, not(target_vendor = "apple"))),
    path = "tls/openssl_missing.rs"
)]
mod openssl;
mod system;

use std::{
    fs, io,
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
};

pub use self::error::{CertificateProblem, TlsError};
use self::openssl::Credentials;
use super::socket::Socket;

/// The files of a server.
///
/// ```
/// use lute_net::engine::tls::ServerTlsFiles;
///
/// let files = ServerTlsFiles { certfilename: "server.pem".into(), keyfilename: "server.key".into(), ..ServerTlsFiles::default() };
/// assert!(files.cafilename.is_none(), "clients need no certificate");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ServerTlsFiles {
    /// PEM: the server's certificate, then those of the authorities between it and a root.
    pub certfilename: PathBuf,
    /// PEM: the private key of that certificate, as PKCS#8, PKCS#1 or SEC1. May be the same file.
    pub keyfilename: PathBuf,
    /// What the private key is encrypted with, at most 1024 bytes. Ignored when it is not encrypted.
    pub passphrase: Option<Vec<u8>>,
    /// PEM: the authorities of client certificates. When given, clients without a certificate of one of them are refused.
    pub cafilename: Option<PathBuf>,
}

/// How a client checks servers and shows who it is.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::engine::{client::ClientOptions, tls::ClientTlsOptions};
///
/// let tls = ClientTlsOptions { cafilename: Some("company.pem".into()), ..ClientTlsOptions::default() };
/// let options = ClientOptions { tls: Rc::new(tls), ..ClientOptions::default() };
/// assert!(!options.tls.insecure);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientTlsOptions {
    /// PEM: authorities to trust besides the system's.
    pub cafilename: Option<PathBuf>,
    /// PEM: the client's certificate, then those of the authorities between it and a root. Shown to servers that ask.
    pub certfilename: Option<PathBuf>,
    /// PEM: the private key of that certificate; `certfilename` itself when not given.
    pub keyfilename: Option<PathBuf>,
    /// What the private key is encrypted with, at most 1024 bytes. Ignored when it is not encrypted.
    pub passphrase: Option<Vec<u8>>,
    /// Takes any certificate of any host: the connection is encrypted, but nobody knows with whom.
    pub insecure: bool,
}

/// Does the server's part of handshakes.
///
/// ```
#[doc = include_str!("examples/served.txt")]
#[doc = include_str!("examples/tls_files.txt")]
/// let options = ServerOptions { limits: Limits::default(), bodies: Bodies::Whole, tls: Some(ServerTls::load(&files)?) };
/// let server = Server::listen(&engine, &at, options, Rc::new(Hello(engine.clone())))?;
/// let options = Rc::new(ClientOptions { tls: Rc::new(trusting), ..ClientOptions::default() });
/// let url: url::Url = format!("https://localhost:{}/", server.port()).parse()?;
/// let response = engine.block_on(client.send(ClientRequest { options, ..ClientRequest::get(url) }))??;
/// assert_eq!(response.status, 200);
/// # fs::remove_file(&file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ServerTls {
    acceptor: Acceptor,
}

enum Acceptor {
    System(system::Acceptor),
    OpenSsl(openssl::Acceptor),
}

impl ServerTls {
    /// Reads `files`. Blocks: for the start of a server only.
    ///
    /// ```
    /// use lute_net::engine::tls::{ServerTls, ServerTlsFiles};
    ///
    /// let files = ServerTlsFiles { certfilename: "/no/such.pem".into(), ..ServerTlsFiles::default() };
    /// let error = ServerTls::load(&files).err().unwrap();
    /// assert!(error.to_string().starts_with("cannot read /no/such.pem"), "{error}");
    /// ```
    ///
    /// # Errors
    /// Those that name a file: it can't be read, holds no certificate or key, its passphrase is missing or wrong, the key
    /// is of another certificate.
    pub fn load(files: &ServerTlsFiles) -> Result<Self, TlsError> {
        let credentials = Credentials::load(
            &files.certfilename,
            &files.keyfilename,
            files.passphrase.as_deref(),
        )?;
        let cafilename = files.cafilename.as_deref();
        let acceptor = if openssl::AVAILABLE || cafilename.is_some() {
            Acceptor::OpenSsl(openssl::Acceptor::new(&credentials, cafilename)?)
        } else {
            Acceptor::System(system::Acceptor::new(&credentials)?)
        };
        Ok(Self { acceptor })
    }

    /// Does the handshake with a client. It takes as long as the client lets it: bound it with a timeout.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    /// let server = ServerTls::load(&files)?;
    /// left.finish()?;
    /// drop(right); // a client that leaves
    /// assert!(engine.block_on(server.accept(left))?.is_err());
    /// # fs::remove_file(&file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of a handshake, which name "the client".
    pub async fn accept(&self, socket: Socket) -> Result<TlsStream, TlsError> {
        let session = match &self.acceptor {
            Acceptor::System(acceptor) => Session::System(acceptor.accept(socket).await?),
            Acceptor::OpenSsl(acceptor) => Session::OpenSsl(acceptor.accept(socket).await?),
        };
        Ok(TlsStream::new(session, End::Server))
    }
}

/// Does the client's part of handshakes, with any number of servers.
///
/// ```
#[doc = include_str!("examples/sockets.txt")]
#[doc = include_str!("examples/tls_files.txt")]
#[doc = include_str!("examples/tls_pair.txt")]
/// assert!(connected.socket().peer().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientTls {
    connector: Connector,
}

enum Connector {
    System(system::Connector),
    OpenSsl(openssl::Connector),
}

impl ClientTls {
    /// Reads the files of `options` and the system's trust store. Blocks, for about 25 ms with OpenSSL: make it once per
    /// options, off the thread (`smol::unblock`).
    ///
    /// ```
    /// use lute_net::engine::tls::{ClientTls, ClientTlsOptions, TlsError};
    ///
    /// let options = ClientTlsOptions { keyfilename: Some("me.key".into()), ..ClientTlsOptions::default() };
    /// let error = ClientTls::new(&options).err();
    /// assert!(matches!(error, Some(TlsError::KeyWithoutCertificate(file)) if file == "me.key".as_ref() as &std::path::Path));
    /// ```
    ///
    /// # Errors
    /// As [`ServerTls::load`]; and when `certfilename` is missing although `keyfilename` is there.
    pub fn new(options: &ClientTlsOptions) -> Result<Self, TlsError> {
        let connector = if openssl::AVAILABLE {
            Connector::OpenSsl(openssl::Connector::new(options)?)
        } else {
            Connector::System(system::Connector::new(options)?)
        };
        Ok(Self { connector })
    }

    /// Does the handshake with `host`: a name, or an address with or without brackets. It takes as long as the server lets
    /// it: bound it with a timeout.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    /// use futures_lite::future::zip;
    ///
    /// let (server, client) = (ServerTls::load(&files)?, ClientTls::new(&trusting)?);
    /// let (_, connected) = engine.block_on(zip(server.accept(left), client.connect("other.example", right)))?;
    /// let wrong = CertificateProblem::WrongHost;
    /// assert!(matches!(connected, Err(TlsError::Certificate { problem, .. }) if problem == wrong));
    /// # fs::remove_file(&file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of a handshake, which name the host. With TLS 1.3 a server may refuse the client's certificate only after
    /// this has returned: the first read tells.
    pub async fn connect(&self, host: &str, socket: Socket) -> Result<TlsStream, TlsError> {
        let host = checkable_host(host)?;
        let session = match &self.connector {
            Connector::System(connector) => Session::System(connector.connect(host, socket).await?),
            Connector::OpenSsl(connector) => {
                Session::OpenSsl(connector.connect(host, socket).await?)
            }
        };
        Ok(TlsStream::new(session, End::Client))
    }
}

/// `host` as certificates name it: without the brackets of an IPv6 literal and the dot of the DNS root.
fn checkable_host(host: &str) -> Result<&str, TlsError> {
    let name = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    // OpenSSL takes an empty name as "check no name".
    if name.is_empty() || name.contains('\0') {
        return Err(TlsError::BadHost(host.to_owned()));
    }
    Ok(name)
}

impl ClientTlsOptions {
    /// The client's certificate and key, if there are any.
    fn credentials(&self) -> Result<Option<Credentials>, TlsError> {
        let Some(certificate) = &self.certfilename else {
            return match &self.keyfilename {
                Some(key) => Err(TlsError::KeyWithoutCertificate(key.clone())),
                None => Ok(None),
            };
        };
        let key = self.keyfilename.as_ref().unwrap_or(certificate);
        Credentials::load(certificate, key, self.passphrase.as_deref()).map(Some)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|cause| TlsError::Unreadable {
        file: path.to_owned(),
        cause,
    })
}

/// One end of a connection after its handshake.
///
/// While nothing is under way it owns no read or write buffer.
///
/// ```
#[doc = include_str!("examples/sockets.txt")]
#[doc = include_str!("examples/tls_files.txt")]
#[doc = include_str!("examples/tls_pair.txt")]
/// let both: [&TlsStream; 2] = [&accepted, &connected];
/// assert!(both.iter().all(|stream| stream.socket().peer().is_ok()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TlsStream {
    session: Session,
    end: End,
    /// A byte that [`Self::poll_peek`] has read.
    peeked: Option<u8>,
    /// The other end sends nothing more.
    ended: bool,
    /// A record is only half written, and its bytes must be offered again.
    write_unfinished: bool,
}

enum Session {
    System(system::Stream),
    OpenSsl(openssl::Stream),
}

/// Which end of the connection we are.
#[derive(PartialEq, Eq)]
enum End {
    Client,
    Server,
}

impl TlsStream {
    fn new(session: Session, end: End) -> Self {
        Self {
            session,
            end,
            peeked: None,
            ended: false,
            write_unfinished: false,
        }
    }

    /// The socket below: for the peer's address, and to end the TCP connection. Its bytes are TLS records, and some may
    /// have been taken already, so wait with [`Self::poll_peek`], not on the socket.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    #[doc = include_str!("examples/tls_pair.txt")]
    /// assert_eq!(connected.socket().peer()?.as_socket(), Some(listener.local_addr()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn socket(&self) -> &Socket {
        match &self.session {
            Session::System(stream) => stream.socket(),
            Session::OpenSsl(stream) => stream.socket(),
        }
    }

    /// Reads what comes next, at most one record (16 KiB); 0 bytes are the end. `buffer` must not be empty.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    #[doc = include_str!("examples/tls_pair.txt")]
    /// engine.block_on(poll_fn(|context| accepted.poll_shutdown(context)))??;
    /// assert_eq!(engine.block_on(poll_fn(|context| connected.poll_read(context, &mut [0; 16])))??, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the connection; `Other` with a [`TlsError`] in it for an alert (a server that refuses the client's
    /// certificate) and broken records. When TCP ends without the TLS end (`close_notify`), a client gets `UnexpectedEof`:
    /// what it has may be cut short, so only a message that tells its own length is whole. A server reads it as an end.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some((first, rest)) = buffer.split_first_mut() else {
            return Poll::Ready(Ok(0));
        };
        let Some(peeked) = self.peeked.take() else {
            return self.poll_session_read(context, buffer);
        };
        *first = peeked;
        if rest.is_empty() {
            return Poll::Ready(Ok(1));
        }
        // An end or an error comes again with the next read.
        match self.poll_session_read(context, rest) {
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(1 + count)),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Ok(1)),
        }
    }

    /// Waits until there is something to read: `true` for bytes, which stay to be read, `false` for the end.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    #[doc = include_str!("examples/tls_pair.txt")]
    /// engine.block_on(poll_fn(|context| connected.poll_write(context, b"hi")))??;
    /// assert!(engine.block_on(poll_fn(|context| accepted.poll_peek(context)))??);
    /// assert_eq!(engine.block_on(poll_fn(|context| accepted.poll_read(context, &mut [0; 1])))??, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::poll_read`].
    pub fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.peeked.is_none() {
            let mut byte = [0];
            if ready!(self.poll_session_read(context, &mut byte))? == 0 {
                return Poll::Ready(Ok(false));
            }
            self.peeked = Some(byte[0]);
        }
        Poll::Ready(Ok(true))
    }

    fn poll_session_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let read = ready!(match &mut self.session {
            Session::System(stream) => stream.poll_read(context, buffer),
            Session::OpenSsl(stream) => stream.poll_read(context, buffer),
        });
        let read = match read {
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && self.end == End::Server =>
            {
                Ok(0)
            }
            read => read,
        };
        self.ended = matches!(read, Ok(0));
        Poll::Ready(read)
    }

    /// Writes some of `bytes`, at most one record (16 KiB). After `Pending` a record is half written: the next call must
    /// offer the same bytes again, or those and more.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    #[doc = include_str!("examples/tls_pair.txt")]
    /// assert_eq!(engine.block_on(poll_fn(|context| connected.poll_write(context, b"hello")))??, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = match &mut self.session {
            Session::System(stream) => stream.poll_write(context, bytes),
            Session::OpenSsl(stream) => stream.poll_write(context, bytes),
        };
        self.write_unfinished = written.is_pending();
        written
    }

    /// Tells the other end that nothing more comes (`close_notify`), without waiting for its answer: `Pending` only while
    /// the socket takes no bytes. Reading remains possible, and the TCP connection stays open.
    ///
    /// ```
    #[doc = include_str!("examples/sockets.txt")]
    #[doc = include_str!("examples/tls_files.txt")]
    #[doc = include_str!("examples/tls_pair.txt")]
    /// engine.block_on(poll_fn(|context| connected.poll_shutdown(context)))??;
    /// assert!(!engine.block_on(poll_fn(|context| accepted.poll_peek(context)))??, "the end");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the connection; `InvalidInput` after a write that was given up while it was pending: such a stream can only
    /// be dropped, which the other end sees as cut short.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_unfinished {
            // OpenSSL would wait for the rest of the record for ever.
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a TLS record is half written",
            )));
        }
        match &mut self.session {
            Session::System(stream) => stream.poll_shutdown(context),
            Session::OpenSsl(stream) => stream.poll_shutdown(context),
        }
    }
}
