//! TLS by async-native-tls: the platform's own library, and its trust store.

#[cfg(test)]
mod tests;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_native_tls::{Certificate, Protocol, TlsAcceptor, TlsConnector, TlsStream};
use futures_lite::{AsyncRead, AsyncWrite};

use super::{
    ClientTlsOptions, TlsError,
    error::{CLIENT, Failure},
    openssl::Credentials,
    read_file,
};
use crate::engine::socket::Socket;

/// Accepts clients without looking at who they are.
pub(super) struct Acceptor(TlsAcceptor);

impl Acceptor {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        let acceptor = native_tls::TlsAcceptor::builder(credentials.identity()?)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
            .map_err(|error| TlsError::Library(reason(&error.to_string())))?;
        Ok(Self(acceptor.into()))
    }

    pub(super) async fn accept(&self, socket: Socket) -> Result<Stream, TlsError> {
        let accepted = self.0.accept(socket).await;
        accepted
            .map(Stream)
            .map_err(|error| failure(&error.to_string()).in_handshake(CLIENT))
    }
}

/// Connects by the platform's trust store.
pub(super) struct Connector(TlsConnector);

impl Connector {
    pub(super) fn new(options: &ClientTlsOptions) -> Result<Self, TlsError> {
        let mut connector = TlsConnector::new()
            .min_protocol_version(Some(Protocol::Tlsv12))
            .danger_accept_invalid_certs(options.insecure)
            .danger_accept_invalid_hostnames(options.insecure);
        if let Some(credentials) = options.credentials()? {
            connector = connector.identity(credentials.identity()?);
        }
        if let Some(file) = &options.cafilename {
            let authorities = Certificate::stack_from_pem(&read_file(file)?).map_err(|error| {
                TlsError::BadCertificate {
                    file: file.clone(),
                    cause: reason(&error.to_string()),
                }
            })?;
            if authorities.is_empty() {
                return Err(TlsError::NoCertificate(file.clone()));
            }
            connector = authorities
                .into_iter()
                .fold(connector, TlsConnector::add_root_certificate);
        }
        Ok(Self(connector))
    }

    pub(super) async fn connect(&self, host: &str, socket: Socket) -> Result<Stream, TlsError> {
        let connected = self.0.connect(host, socket).await;
        connected
            .map(Stream)
            .map_err(|error| failure(&error.to_string()).in_handshake(host))
    }
}

/// A connection after its handshake.
pub(super) struct Stream(TlsStream<Socket>);

impl Stream {
    pub(super) fn socket(&self) -> &Socket {
        self.0.get_ref()
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0)
            .poll_read(context, buffer)
            .map_err(stream_error)
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0)
            .poll_write(context, bytes)
            .map_err(stream_error)
    }

    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0)
            .poll_close(context)
            .map_err(stream_error)
    }
}

fn stream_error(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    failure(&error.to_string()).in_stream()
}

/// What the library's text says about the peer.
fn failure(text: &str) -> Failure {
    let reason = reason(text);
    Failure::known(&reason).unwrap_or(Failure::Other(reason))
}

/// What a person can read of OpenSSL's `error:code:library:function:reason:file:line:data`; other texts as they are.
fn reason(text: &str) -> String {
    match text
        .strip_prefix("error:")
        .and_then(|text| text.split(':').nth(3))
    {
        Some(reason) => reason.to_owned(),
        None => text.to_owned(),
    }
}
