//! Root certificates.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::net::files::blocking as files;
use crate::tls::TlsConfigError;

/// The root certificates that the peer's certificate must be issued by.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// Those of the system, which are read when the configuration is made. `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` replace them. This blocks for some milliseconds.
    #[default]
    System,
    /// Those of the system and these.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// Only these.
    Only(Vec<CertificateDer<'static>>),
    /// No roots: only pinned keys are trusted. Names and dates are not checked.
    PinnedKeys,
}

impl Roots {
    /// Loads the roots. `None` if only pinned keys are trusted.
    pub(in crate::tls) fn load(&self) -> Result<Option<RootCertStore>, TlsConfigError> {
        let mut store = RootCertStore::empty();
        let (system, given): (bool, &[CertificateDer<'_>]) = match self {
            Roots::System => (true, &[]),
            Roots::SystemAnd(given) => (true, given.as_slice()),
            Roots::Only(given) => (false, given.as_slice()),
            Roots::PinnedKeys => return Ok(None),
        };
        let mut why = "the list of roots is empty".to_owned();
        if system {
            let (certificates, error) = files::system_roots();
            // Some systems have roots that webpki cannot use. They are skipped.
            store.add_parsable_certificates(certificates);
            why = error.unwrap_or_else(|| "the system has none".to_owned());
        }
        for (position, root) in given.iter().enumerate() {
            let added = store.add(root.clone());
            added.map_err(|error| TlsConfigError::BadCertificate(position, error.to_string()))?;
        }
        match store.is_empty() {
            true => Err(TlsConfigError::NoRoots(why)),
            false => Ok(Some(store)),
        }
    }
}
