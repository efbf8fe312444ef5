//! PEM text, from memory and from files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::net::files::blocking as files;
use crate::tls::TlsConfigError;

/// Reads the certificates in PEM text, such as a bundle of roots.
///
/// # Errors
/// [`TlsConfigError::BadPem`], and [`TlsConfigError::NoCertificate`] if there is none.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    certificates(pem, None)
}

/// Reads the certificates in a PEM file. Blocks: call it while the program starts, or on the thread
/// pool.
///
/// # Errors
/// Those of [`certificates_from_pem`], and [`TlsConfigError::File`].
pub fn certificates_from_file(
    path: impl AsRef<Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let path = path.as_ref();
    certificates(&file(path)?, Some(path))
}

/// Reads the certificate revocation lists in PEM text.
///
/// # Errors
/// [`TlsConfigError::BadPem`], and [`TlsConfigError::BadRevocationList`] if there is none.
pub fn revocation_lists_from_pem(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(&error, None))?;
    match lists.is_empty() {
        true => Err(TlsConfigError::BadRevocationList("the PEM text has no X509 CRL".into())),
        false => Ok(lists),
    }
}

pub(super) fn certificates(
    pem: &[u8],
    path: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| bad(&error, path))?;
    match all.is_empty() {
        true => Err(TlsConfigError::NoCertificate(path.map(PathBuf::from))),
        false => Ok(all),
    }
}

pub(super) fn key(pem: &[u8], path: Option<&Path>) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err(TlsConfigError::NoKey(path.map(PathBuf::from)))
        }
        Err(error) => Err(bad(&error, path)),
    }
}

pub(super) fn file(path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    files::read_credentials(path).map_err(|source| TlsConfigError::File { path: path.to_owned(), source })
}

/// The error without the text that it is about, which can be a part of a key.
fn bad(error: &rustls::pki_types::pem::Error, path: Option<&Path>) -> TlsConfigError {
    use rustls::pki_types::pem::Error as Pem;
    let why = match error {
        Pem::MissingSectionEnd { .. } => "a section has no END line",
        Pem::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        Pem::Base64Decode(_) => "a section is not base64",
        Pem::NoItemsFound => "it has no such section",
        _ => "it cannot be read",
    };
    TlsConfigError::BadPem { path: path.map(PathBuf::from), why: why.to_owned() }
}
