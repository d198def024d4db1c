//! TLS by OpenSSL directly.

mod credentials;

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    path::Path,
    pin::pin,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use openssl::{
    error::ErrorStack,
    ssl::{
        self, ErrorCode, Ssl, SslAcceptor, SslConnector, SslContextBuilder, SslMethod,
        SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
    },
    x509::{X509, X509VerifyResult, verify::X509VerifyFlags},
};

pub(super) use self::credentials::Credentials;
use self::credentials::certificates;
use super::{
    CertificateProblem, ClientTlsOptions, TlsError,
    error::{CLIENT, Failure},
    read_file,
};
use crate::engine::socket::Socket;

/// Whether this module does TLS on this platform.
pub(super) const AVAILABLE: bool = true;

/// Bytes read after a refused handshake, so that closing the socket does not reset it before the alert was read.
const LINGER: usize = 64 * 1024;

/// Bytes without data among them that are read after the handshake: a record has up to 16 KiB, and a few tickets may come
/// before it. OpenSSL handles what is no data within one call: measured, 8 MB of key updates took 6.5 s.
const WITHOUT_DATA: usize = 32 * 1024;

/// Accepts clients that show a certificate of one of its authorities.
pub(super) struct Acceptor(SslAcceptor);

impl Acceptor {
    /// With `cafilename`, clients must show a certificate of one of its authorities.
    pub(super) fn new(
        credentials: &Credentials,
        cafilename: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let mut acceptor =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(library)?;
        credentials.use_in(&mut acceptor)?;
        if let Some(authorities) = cafilename {
            trust(&mut acceptor, authorities, |acceptor, authority| {
                acceptor.add_client_ca(authority)
            })?;
            acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        // Clients resume by tickets, which cost no memory here; OpenSSL wants the context's name in them when it verifies.
        acceptor.set_session_cache_mode(SslSessionCacheMode::OFF);
        acceptor
            .set_session_id_context(b"lute-net")
            .map_err(library)?;
        acceptor.set_read_ahead(true);
        Ok(Self(acceptor.build()))
    }

    pub(super) async fn accept(&self, socket: Socket) -> Result<Stream, TlsError> {
        let ssl = Ssl::new(self.0.context()).map_err(library)?;
        let mut stream = Stream::new(ssl, socket)?;
        match stream.handshake(CLIENT, SslStream::accept).await {
            Ok(()) => Ok(stream),
            Err(error) => {
                stream.linger().await;
                Err(error)
            }
        }
    }
}

/// Connects by the platform's trust store, which it holds in memory.
pub(super) struct Connector {
    connector: SslConnector,
    insecure: bool,
}

impl Connector {
    pub(super) fn new(options: &ClientTlsOptions) -> Result<Self, TlsError> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).map_err(library)?;
        connector
            .set_min_proto_version(Some(SslVersion::TLS1_2))
            .map_err(library)?;
        if let Some(file) = &options.cafilename {
            trust(&mut connector, file, |_, _| Ok(()))?;
        }
        if let Some(credentials) = options.credentials()? {
            credentials.use_in(&mut connector)?;
        }
        connector.set_read_ahead(true);
        Ok(Self {
            connector: connector.build(),
            insecure: options.insecure,
        })
    }

    pub(super) async fn connect(&self, host: &str, socket: Socket) -> Result<Stream, TlsError> {
        let mut configuration = self.connector.configure().map_err(library)?;
        if self.insecure {
            configuration.set_verify(SslVerifyMode::NONE);
            configuration.set_verify_hostname(false);
        }
        let ssl = configuration
            .into_ssl(host)
            .map_err(|_| TlsError::BadHost(host.to_owned()))?;
        let mut stream = Stream::new(ssl, socket)?;
        stream.handshake(host, SslStream::connect).await?;
        Ok(stream)
    }
}

/// Trusts the certificates in `file`, be they roots or not, and gives each to `also`.
fn trust(
    context: &mut SslContextBuilder,
    file: &Path,
    mut also: impl FnMut(&mut SslContextBuilder, &X509) -> Result<(), ErrorStack>,
) -> Result<(), TlsError> {
    for authority in certificates(file, &read_file(file)?)? {
        also(context, &authority)
            .and_then(|()| context.cert_store_mut().add_cert(authority))
            .map_err(|error| TlsError::BadCertificate {
                file: file.to_owned(),
                cause: reason(&error),
            })?;
    }
    context
        .verify_param_mut()
        .set_flags(X509VerifyFlags::PARTIAL_CHAIN)
        .map_err(library)
}

/// A connection.
pub(super) struct Stream(SslStream<Unblocked>);

impl Stream {
    fn new(ssl: Ssl, socket: Socket) -> Result<Self, TlsError> {
        let socket = Unblocked {
            socket,
            without_data: None,
        };
        SslStream::new(ssl, socket).map(Self).map_err(library)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.0.get_ref().socket
    }

    async fn handshake(
        &mut self,
        peer: &str,
        mut step: impl FnMut(&mut SslStream<Unblocked>) -> Result<(), ssl::Error>,
    ) -> Result<(), TlsError> {
        match poll_fn(|context| self.poll_with(context, &mut step)).await {
            Ok(Ok(())) => {
                self.0.get_mut().without_data = Some(0);
                Ok(())
            }
            Ok(Err(error)) => Err(self.handshake_error(peer, &error)),
            Err(error) => Err(TlsError::Handshake {
                peer: peer.to_owned(),
                cause: error.to_string(),
            }),
        }
    }

    fn handshake_error(&self, peer: &str, error: &ssl::Error) -> TlsError {
        match failure(error) {
            Failure::BadCertificate => TlsError::Certificate {
                peer: peer.to_owned(),
                problem: problem(self.0.ssl().verify_result()),
            },
            failure => failure.in_handshake(peer),
        }
    }

    /// Reads until the client has closed, too: what it sent on would otherwise reset the connection and take the alert with
    /// it. The handshake's timeout bounds it.
    async fn linger(&mut self) {
        let socket = &mut self.0.get_mut().socket;
        if socket.close().await.is_err() {
            return;
        }
        let mut buffer = vec![0; 4096];
        let mut total = 0;
        while total < LINGER {
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => total += count,
            }
        }
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_with(context, |stream| stream.ssl_read(buffer)))? {
            Ok(count) => {
                self.0.get_mut().without_data = Some(0);
                Poll::Ready(Ok(count))
            }
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(stream_error(error))),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.poll_with(context, |stream| stream.ssl_write(bytes)))?;
        Poll::Ready(written.map_err(stream_error))
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_with(context, SslStream::shutdown))? {
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(stream_error(error))),
        }
    }

    /// Tries `operation` until it ends, waiting for the socket as OpenSSL says. The outer error is the reactor's.
    fn poll_with<T>(
        &mut self,
        context: &mut Context<'_>,
        mut operation: impl FnMut(&mut SslStream<Unblocked>) -> Result<T, ssl::Error>,
    ) -> Poll<io::Result<Result<T, ssl::Error>>> {
        loop {
            let error = match operation(&mut self.0) {
                Ok(done) => return Poll::Ready(Ok(Ok(done))),
                Err(error) => error,
            };
            match error.code() {
                // Without a cause it is to be tried again at once.
                ErrorCode::WANT_READ | ErrorCode::WANT_WRITE if error.io_error().is_none() => {}
                ErrorCode::WANT_READ => ready!(pin!(self.socket().readable()).poll(context))?,
                ErrorCode::WANT_WRITE => ready!(pin!(self.socket().writable()).poll(context))?,
                _ => return Poll::Ready(Ok(Err(error))),
            }
        }
    }
}

/// A socket whose reads and writes fail with `WouldBlock` when they would block.
struct Unblocked {
    socket: Socket,
    /// Bytes read since the last that were data; none while the handshake goes on.
    without_data: Option<usize>,
}

impl Read for Unblocked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.without_data.is_some_and(|bytes| bytes > WITHOUT_DATA) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the other end sends messages of TLS without end, and no data",
            ));
        }
        let count = self.socket.try_read(buffer)?;
        let count = count.ok_or(io::ErrorKind::WouldBlock)?;
        if let Some(bytes) = &mut self.without_data {
            *bytes += count;
        }
        Ok(count)
    }
}

impl Write for Unblocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket
            .try_write(bytes)?
            .ok_or(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an error of OpenSSL says about the peer.
fn failure(error: &ssl::Error) -> Failure {
    let Some(stack) = error.ssl_error() else {
        return match error.io_error() {
            Some(error) => Failure::Other(error.to_string()),
            None => Failure::EarlyEnd,
        };
    };
    let mut reasons = stack.errors().iter().filter_map(|error| error.reason());
    reasons
        .find_map(Failure::known)
        .unwrap_or_else(|| Failure::Other(reason(stack)))
}

/// By the numbers of OpenSSL's `X509_V_ERR_…`, which the crate does not name.
fn problem(result: X509VerifyResult) -> CertificateProblem {
    match result.as_raw() {
        // CERT_NOT_YET_VALID
        9 => CertificateProblem::NotYetValid,
        // CERT_HAS_EXPIRED
        10 => CertificateProblem::Expired,
        // DEPTH_ZERO_SELF_SIGNED_CERT
        18 => CertificateProblem::SelfSigned,
        // UNABLE_TO_GET_ISSUER_CERT, SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        // UNABLE_TO_VERIFY_LEAF_SIGNATURE
        2 | 19 | 20 | 21 => CertificateProblem::UnknownIssuer,
        // HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
        62 | 64 => CertificateProblem::WrongHost,
        _ => CertificateProblem::Other(result.error_string().to_owned()),
    }
}

fn stream_error(error: ssl::Error) -> io::Error {
    match error.into_io_error() {
        Ok(error) => error,
        Err(error) => failure(&error).in_stream(),
    }
}

fn library(error: ErrorStack) -> TlsError {
    TlsError::Library(reason(&error))
}

/// The first reason in words.
fn reason(error: &ErrorStack) -> String {
    match error.errors().iter().find_map(|error| error.reason()) {
        Some(reason) => reason.to_owned(),
        None => error.to_string(),
    }
}
