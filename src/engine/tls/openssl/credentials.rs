//! Certificates and private keys in PEM files.

use std::path::{Path, PathBuf};

use memchr::memmem;
use openssl::{
    error::ErrorStack,
    pkey::{PKey, Private},
    ssl::SslContextBuilder,
    x509::X509,
};

use super::{super::read_file, TlsError, library, reason};

/// A certificate, its issuers and its private key.
pub(in crate::engine::tls) struct Credentials {
    file: PathBuf,
    pem: Vec<u8>,
    certificate: X509,
    issuers: Vec<X509>,
    key: PKey<Private>,
}

impl Credentials {
    pub(in crate::engine::tls) fn load(
        certfilename: &Path,
        keyfilename: &Path,
        passphrase: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        let pem = read_file(certfilename)?;
        let mut chain = certificates(certfilename, &pem)?.into_iter();
        let Some(certificate) = chain.next() else {
            return Err(TlsError::NoCertificate(certfilename.to_owned()));
        };
        let issuers: Vec<_> = chain.collect();
        let key = private_key(keyfilename, &read_file(keyfilename)?, passphrase)?;
        if !belongs(&key, &certificate) {
            if issuers.iter().any(|certificate| belongs(&key, certificate)) {
                return Err(TlsError::CertificateOrder(certfilename.to_owned()));
            }
            return Err(TlsError::KeyMismatch {
                key: keyfilename.to_owned(),
                certificate: certfilename.to_owned(),
            });
        }
        Ok(Self {
            file: certfilename.to_owned(),
            pem,
            certificate,
            issuers,
            key,
        })
    }

    /// As async-native-tls takes it.
    pub(in crate::engine::tls) fn identity(&self) -> Result<async_native_tls::Identity, TlsError> {
        let key = self.key.private_key_to_pem_pkcs8().map_err(library)?;
        async_native_tls::Identity::from_pkcs8(&self.pem, &key)
            .map_err(|error| TlsError::Library(error.to_string()))
    }

    pub(super) fn use_in(&self, context: &mut SslContextBuilder) -> Result<(), TlsError> {
        let refused = |error: ErrorStack| TlsError::BadCertificate {
            file: self.file.clone(),
            cause: reason(&error),
        };
        context
            .set_certificate(&self.certificate)
            .map_err(refused)?;
        for issuer in &self.issuers {
            context
                .add_extra_chain_cert(issuer.clone())
                .map_err(refused)?;
        }
        context.set_private_key(&self.key).map_err(refused)
    }
}

/// The certificates in a file's text; an error when there are none.
pub(super) fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    let certificates = X509::stack_from_pem(pem).map_err(|error| TlsError::BadCertificate {
        file: file.to_owned(),
        cause: reason(&error),
    })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(file.to_owned()));
    }
    Ok(certificates)
}

fn private_key(
    file: &Path,
    pem: &[u8],
    passphrase: Option<&[u8]>,
) -> Result<PKey<Private>, TlsError> {
    if memmem::find(pem, b"PRIVATE KEY-----").is_none() {
        return Err(TlsError::NoPrivateKey(file.to_owned()));
    }
    let mut encrypted = false;
    // Without a callback OpenSSL would ask at the terminal.
    let key = PKey::private_key_from_pem_callback(pem, |buffer| {
        encrypted = true;
        let passphrase = passphrase.unwrap_or_default();
        if let Some(buffer) = buffer.get_mut(..passphrase.len()) {
            buffer.copy_from_slice(passphrase);
        }
        Ok(passphrase.len())
    });
    key.map_err(|error| {
        let file = file.to_owned();
        match (encrypted, passphrase) {
            (true, None) => TlsError::PassphraseNeeded(file),
            (true, Some(_)) => TlsError::WrongPassphrase(file),
            (false, _) => TlsError::BadPrivateKey {
                file,
                cause: reason(&error),
            },
        }
    })
}

fn belongs(key: &PKey<Private>, certificate: &X509) -> bool {
    certificate
        .public_key()
        .is_ok_and(|public| public.public_eq(key))
}
