//! Stands in for `openssl.rs` where the platform's TLS is another library: what only OpenSSL can do is an error, and
//! private keys must be unencrypted PKCS#8.

use std::{
    convert::Infallible,
    io,
    path::Path,
    task::{Context, Poll},
};

use memchr::memmem;

use super::{ClientTlsOptions, TlsError, read_file};
use crate::engine::socket::Socket;

pub(super) const AVAILABLE: bool = false;

pub(super) struct Credentials {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Credentials {
    pub(super) fn load(
        certfilename: &Path,
        keyfilename: &Path,
        _passphrase: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        let certificates = read_file(certfilename)?;
        if memmem::find(&certificates, b"-----BEGIN CERTIFICATE-----").is_none() {
            return Err(TlsError::NoCertificate(certfilename.to_owned()));
        }
        let key = read_file(keyfilename)?;
        if memmem::find(&key, b"PRIVATE KEY-----").is_none() {
            return Err(TlsError::NoPrivateKey(keyfilename.to_owned()));
        }
        let Some(start) = memmem::find(&key, b"-----BEGIN PRIVATE KEY-----") else {
            return Err(TlsError::BadPrivateKey {
                file: keyfilename.to_owned(),
                cause: "on this platform it must be unencrypted PKCS#8 \
                        (openssl pkcs8 -topk8 -nocrypt converts it)"
                    .to_owned(),
            });
        };
        Ok(Self {
            certificates,
            key: key[start..].to_vec(),
        })
    }

    pub(super) fn identity(&self) -> Result<async_native_tls::Identity, TlsError> {
        async_native_tls::Identity::from_pkcs8(&self.certificates, &self.key)
            .map_err(|error| TlsError::Library(error.to_string()))
    }
}

pub(super) struct Acceptor(Infallible);

impl Acceptor {
    pub(super) fn new(_: &Credentials, _: Option<&Path>) -> Result<Self, TlsError> {
        Err(TlsError::Unsupported("asking for client certificates"))
    }

    pub(super) async fn accept(&self, _: Socket) -> Result<Stream, TlsError> {
        match self.0 {}
    }
}

pub(super) struct Connector(Infallible);

impl Connector {
    pub(super) fn new(_: &ClientTlsOptions) -> Result<Self, TlsError> {
        Err(TlsError::Unsupported("OpenSSL"))
    }

    pub(super) async fn connect(&self, _: &str, _: Socket) -> Result<Stream, TlsError> {
        match self.0 {}
    }
}

pub(super) struct Stream(Infallible);

impl Stream {
    pub(super) fn socket(&self) -> &Socket {
        match self.0 {}
    }

    pub(super) fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    pub(super) fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    pub(super) fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
