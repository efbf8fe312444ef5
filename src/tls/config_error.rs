//! Errors of configuring TLS.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::endpoint::ParseError;
use crate::escape::Escaped;

/// Error of a configuration of TLS: of certificates, keys, names and options.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file could not be read.
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The text is not PEM.
    BadPem {
        /// The path of the file, if it came from one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        why: String,
    },
    /// The PEM text contains no certificate.
    NoCertificate(Option<PathBuf>),
    /// The PEM text contains no private key.
    NoKey(Option<PathBuf>),
    /// The certificate cannot be parsed. The number is its position, from 0.
    BadCertificate(usize, String),
    /// The private key cannot be parsed, or is of an unsupported kind.
    BadKey(rustls::Error),
    /// The private key does not belong to the certificate. The text is the certificate's subject.
    KeyMismatch(String),
    /// A server has no certificate.
    NoIdentity,
    /// There are no root certificates to verify peers with. The text says why.
    NoRoots(String),
    /// A certificate revocation list is invalid.
    BadRevocationList(String),
    /// The text is neither a DNS name nor an IP address.
    BadServerName(String),
    /// The text is not a valid endpoint.
    BadEndpoint(ParseError),
    /// There is no crypto provider. It is an option, or comes with the feature `tls` or
    /// `tls-aws-lc-rs`.
    NoProvider,
    /// The crypto provider lacks something that is needed.
    Provider(String),
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |path: &Option<PathBuf>| match path {
            Some(path) => Escaped(path.display()).to_string(),
            None => "the PEM text".to_owned(),
        };
        match self {
            TlsConfigError::File { path, source } => {
                write!(f, "cannot read {}: {}", Escaped(path.display()), Escaped(source))
            }
            TlsConfigError::BadPem { path, why } => {
                write!(f, "{} is not valid PEM: {}", place(path), Escaped(why))
            }
            TlsConfigError::NoCertificate(path) => {
                write!(f, "{} contains no certificate (BEGIN CERTIFICATE)", place(path))
            }
            TlsConfigError::NoKey(path) => {
                write!(f, "{} contains no private key (BEGIN PRIVATE KEY)", place(path))
            }
            TlsConfigError::BadCertificate(position, why) => {
                write!(f, "certificate {position} cannot be parsed: {}", Escaped(why))
            }
            TlsConfigError::BadKey(error) => write!(f, "the private key cannot be used: {}", Escaped(error)),
            TlsConfigError::KeyMismatch(subject) => {
                write!(f, "the private key does not belong to the certificate of {}", Escaped(subject))
            }
            TlsConfigError::NoIdentity => f.write_str("a TLS server needs a certificate and its key"),
            TlsConfigError::NoRoots(why) => write!(f, "no root certificates: {}", Escaped(why)),
            TlsConfigError::BadRevocationList(why) => {
                write!(f, "the revocation list is invalid: {}", Escaped(why))
            }
            TlsConfigError::BadServerName(name) => {
                write!(f, "\"{}\" is neither a DNS name nor an IP address", Escaped(name))
            }
            TlsConfigError::BadEndpoint(error) => error.fmt(f),
            TlsConfigError::NoProvider => f.write_str(
                "no crypto provider: give one as an option, or build with the feature tls or tls-aws-lc-rs",
            ),
            TlsConfigError::Provider(why) => {
                write!(f, "the crypto provider cannot be used: {}", Escaped(why))
            }
        }
    }
}

impl Error for TlsConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // The text contains the error already.
            TlsConfigError::File { source, .. } => source.source(),
            TlsConfigError::BadEndpoint(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ParseError> for TlsConfigError {
    fn from(error: ParseError) -> TlsConfigError {
        TlsConfigError::BadEndpoint(error)
    }
}
