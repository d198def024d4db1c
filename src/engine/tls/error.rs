//! What can go wrong with TLS, in words that name the file or the peer.

use std::{fmt, io, path::PathBuf};

/// Why TLS can't be set up, or why a handshake failed. `peer` is the server's host name, or "the client".
///
/// ```
/// use lute_net::engine::tls::{ServerTls, ServerTlsFiles, TlsError};
///
/// let files = ServerTlsFiles { certfilename: "Cargo.toml".into(), keyfilename: "Cargo.toml".into(), ..ServerTlsFiles::default() };
/// let error = ServerTls::load(&files).err().unwrap();
/// assert!(matches!(error, TlsError::NoCertificate(_)));
/// assert_eq!(error.to_string(), "no certificate in Cargo.toml (PEM is expected)");
/// ```
#[derive(Debug)]
pub enum TlsError {
    /// A file can't be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// A file without a PEM certificate.
    NoCertificate(PathBuf),
    /// A certificate that can't be decoded, or that the TLS library won't use.
    BadCertificate {
        /// The file it is in.
        file: PathBuf,
        /// The library's reason.
        cause: String,
    },
    /// A file without a PEM private key.
    NoPrivateKey(PathBuf),
    /// A private key that can't be decoded.
    BadPrivateKey {
        /// The file it is in.
        file: PathBuf,
        /// The library's reason.
        cause: String,
    },
    /// The private key in this file is encrypted, and no passphrase was given.
    PassphraseNeeded(PathBuf),
    /// The passphrase is not that of the private key in this file.
    WrongPassphrase(PathBuf),
    /// The private key is of another certificate.
    KeyMismatch {
        /// The private key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The private key is of a certificate that is in the file, but not the first in it.
    CertificateOrder(PathBuf),
    /// A client's private key without a certificate.
    KeyWithoutCertificate(PathBuf),
    /// What this platform's TLS library can't do.
    Unsupported(&'static str),
    /// A host name that no certificate can be checked for.
    BadHost(String),
    /// The peer's certificate is not good.
    Certificate {
        /// Whose.
        peer: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// A server wanted a certificate, the client sent none.
    NoClientCertificate,
    /// The peer ended the handshake.
    Refused {
        /// Who.
        peer: String,
        /// Its alert, as RFC 8446 §6 names it.
        alert: String,
    },
    /// The peer ended a connection after its handshake: the alert, as RFC 8446 §6 names it.
    Alert(String),
    /// What came is no TLS.
    NotTls {
        /// From whom.
        peer: String,
    },
    /// The connection ended during the handshake.
    Closed {
        /// By whom.
        peer: String,
    },
    /// Anything else in a handshake: no version or cipher in common, a lost connection.
    Handshake {
        /// With whom.
        peer: String,
        /// The library's or the system's reason.
        cause: String,
    },
    /// The TLS library failed: its reason.
    Library(String),
}

/// What is wrong with a peer's certificate.
///
/// ```
/// use lute_net::engine::tls::{CertificateProblem, TlsError};
///
/// let error = TlsError::Certificate { peer: "a.example".into(), problem: CertificateProblem::Expired };
/// assert!(error.to_string().contains("a.example"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It, or one of its issuers, has expired.
    Expired,
    /// It is not valid yet: it is too new, or the clock is wrong.
    NotYetValid,
    /// It is for other hosts.
    WrongHost,
    /// Nobody who is trusted has issued it.
    UnknownIssuer,
    /// It is its own issuer, and not trusted.
    SelfSigned,
    /// Something else, in the library's words.
    Other(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, cause } => {
                write!(f, "cannot read {}: {cause}", file.display())
            }
            Self::NoCertificate(file) => {
                write!(f, "no certificate in {} (PEM is expected)", file.display())
            }
            Self::BadCertificate { file, cause } => {
                write!(
                    f,
                    "cannot use the certificate in {}: {cause}",
                    file.display()
                )
            }
            Self::NoPrivateKey(file) => {
                write!(f, "no private key in {} (PEM is expected)", file.display())
            }
            Self::BadPrivateKey { file, cause } => {
                write!(
                    f,
                    "cannot use the private key in {}: {cause}",
                    file.display()
                )
            }
            Self::PassphraseNeeded(file) => write!(
                f,
                "the private key in {} is encrypted and needs a passphrase",
                file.display()
            ),
            Self::WrongPassphrase(file) => write!(
                f,
                "wrong passphrase for the private key in {}",
                file.display()
            ),
            Self::KeyMismatch { key, certificate } => write!(
                f,
                "the private key in {} does not belong to the certificate in {}",
                key.display(),
                certificate.display()
            ),
            Self::CertificateOrder(file) => write!(
                f,
                "the certificate of the private key must be the first in {}",
                file.display()
            ),
            Self::KeyWithoutCertificate(file) => write!(
                f,
                "the private key in {} needs a certificate (certfilename)",
                file.display()
            ),
            Self::Unsupported(what) => {
                write!(f, "{what} is not supported by this platform's TLS")
            }
            Self::BadHost(host) => write!(f, "'{}' is not a host name", host.escape_debug()),
            Self::Certificate { peer, problem } => {
                write!(f, "the certificate of {peer} {problem}")
            }
            Self::NoClientCertificate => f.write_str("the client sent no certificate"),
            Self::Refused { peer, alert } => {
                write!(f, "{peer} refused the TLS handshake: {alert}")
            }
            Self::Alert(alert) => write!(f, "the TLS connection was refused: {alert}"),
            Self::NotTls { peer } => write!(f, "{peer} does not speak TLS on this port"),
            Self::Closed { peer } => {
                write!(f, "{peer} closed the connection in the TLS handshake")
            }
            Self::Handshake { peer, cause } => {
                write!(f, "the TLS handshake with {peer} failed: {cause}")
            }
            Self::Library(cause) => write!(f, "the TLS library failed: {cause}"),
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired"),
            Self::NotYetValid => f.write_str("is not valid yet"),
            Self::WrongHost => f.write_str("is for another host"),
            Self::UnknownIssuer => f.write_str("was issued by an unknown authority"),
            Self::SelfSigned => f.write_str("is self-signed"),
            Self::Other(reason) => write!(f, "is not trusted: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// What errors call the other end of a server's connection.
pub(super) const CLIENT: &str = "the client";

/// What a TLS library says about the peer.
pub(super) enum Failure {
    BadCertificate,
    NoCertificate,
    Alert(String),
    NotTls,
    EarlyEnd,
    Other(String),
}

impl Failure {
    /// By OpenSSL's reasons.
    pub(super) fn known(reason: &str) -> Option<Self> {
        match reason {
            "certificate verify failed" => Some(Self::BadCertificate),
            "peer did not return a certificate" => Some(Self::NoCertificate),
            "unexpected eof while reading" | "unexpected EOF" => Some(Self::EarlyEnd),
            "wrong version number"
            | "http request"
            | "https proxy request"
            | "packet length too long" => Some(Self::NotTls),
            // "tlsv1 alert unknown ca", "ssl/tls alert handshake failure".
            _ => reason
                .split_once("alert ")
                .map(|(_, alert)| Self::Alert(alert.to_owned())),
        }
    }

    pub(super) fn in_handshake(self, peer: &str) -> TlsError {
        let peer = peer.to_owned();
        match self {
            Self::BadCertificate => TlsError::Certificate {
                peer,
                problem: CertificateProblem::Other("it cannot be verified".to_owned()),
            },
            Self::NoCertificate => TlsError::NoClientCertificate,
            Self::Alert(alert) => TlsError::Refused { peer, alert },
            Self::NotTls => TlsError::NotTls { peer },
            Self::EarlyEnd => TlsError::Closed { peer },
            Self::Other(cause) => TlsError::Handshake { peer, cause },
        }
    }

    pub(super) fn in_stream(self) -> io::Error {
        match self {
            Self::EarlyEnd => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended without the end of TLS",
            ),
            Self::Alert(alert) => io::Error::other(TlsError::Alert(alert)),
            Self::Other(cause) => io::Error::other(TlsError::Library(cause)),
            Self::BadCertificate | Self::NoCertificate | Self::NotTls => {
                io::Error::new(io::ErrorKind::InvalidData, "what came is no TLS record")
            }
        }
    }
}
