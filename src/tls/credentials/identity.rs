//! A certificate chain and its private key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::tls::credentials::pem;
use crate::tls::{Certificate, TlsConfigError};

/// The certificates of this side, its own first, and the private key of the first one. For servers,
/// and for clients that authenticate themselves. Cheap to clone. `Debug` does not show the key.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
/// # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
/// use twistor::tls::Identity;
///
/// let identity = Identity::from_pem(chain_pem, key_pem)?;
/// assert_eq!(identity.names(), ["example.org"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias("KeyPair", "PrivateCertificate", "load_cert_chain"))]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    names: Vec<String>,
    ocsp: Option<Vec<u8>>,
}

impl Identity {
    /// Reads chain and key from PEM text. Other sections are skipped, so both can be the same text.
    /// The key is PKCS #8, PKCS #1 or SEC1, and not encrypted.
    ///
    /// # Errors
    /// - [`TlsConfigError::BadPem`], [`TlsConfigError::NoCertificate`], [`TlsConfigError::NoKey`]
    /// - [`TlsConfigError::BadCertificate`]
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Identity, TlsConfigError> {
        Identity::new(pem::certificates(chain.as_ref(), None)?, pem::key(key.as_ref(), None)?)
    }

    /// Reads chain and key from PEM files, which can be the same. Blocks: call it while the program
    /// starts, or on the thread pool.
    ///
    /// # Errors
    /// Those of [`from_pem`](Identity::from_pem), and [`TlsConfigError::File`].
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Identity, TlsConfigError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let certificates = pem::certificates(&pem::file(chain)?, Some(chain))?;
        Identity::new(certificates, pem::key(&pem::file(key)?, Some(key))?)
    }

    /// Uses a chain and a key in DER.
    ///
    /// # Errors
    /// [`TlsConfigError::NoCertificate`], [`TlsConfigError::BadCertificate`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Identity, TlsConfigError> {
        let own = chain.first().ok_or(TlsConfigError::NoCertificate(None))?;
        let own = Certificate::parse(own).map_err(|bad| TlsConfigError::BadCertificate(0, bad.why))?;
        Ok(Identity { chain, key: Arc::new(key), names: own.names, ocsp: None })
    }

    /// Replaces the names that a server chooses this certificate for. Default: the subject
    /// alternative names of the certificate. A name `*.example.org` is for all names with one more
    /// label.
    pub fn with_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Identity {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the OCSP response that a server staples, in DER.
    pub fn with_ocsp(mut self, response: Vec<u8>) -> Identity {
        self.ocsp = Some(response);
        self
    }

    /// The names that a server chooses this certificate for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The certificates, in DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key, in DER.
    pub fn private_key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The certificate of the key, parsed.
    ///
    /// # Errors
    /// [`TlsConfigError::BadCertificate`].
    pub fn certificate(&self) -> Result<Certificate, TlsConfigError> {
        let own = self.chain.first().ok_or(TlsConfigError::NoCertificate(None))?;
        Certificate::parse(own).map_err(|bad| TlsConfigError::BadCertificate(0, bad.why))
    }

    /// Checks that the key belongs to the certificate, and that the provider can use it.
    pub(in crate::tls) fn certified(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, TlsConfigError> {
        let made = CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), provider);
        let mut certified = made.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let subject = self.certificate().map(|own| own.subject).unwrap_or_default();
                TlsConfigError::KeyMismatch(subject)
            }
            other => TlsConfigError::BadKey(other),
        })?;
        certified.ocsp = self.ocsp.clone();
        Ok(Arc::new(certified))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Identity");
        shown.field("names", &self.names).field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}
