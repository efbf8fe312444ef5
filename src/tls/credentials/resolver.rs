//! The choice of a server's certificate by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::verify::note;
use crate::tls::{Identity, TlsConfigError};

/// The certificates of a server, which can be replaced while it runs.
pub(in crate::tls) struct Resolver {
    certificates: RwLock<Arc<Certificates>>,
    refuses_unknown_names: bool,
}

struct Certificates {
    /// Names in lower case. Several certificates of one name have keys of different kinds.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// In the order in which they were given.
    all: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub(in crate::tls) fn new(
        identities: &[Identity],
        refuses_unknown_names: bool,
        provider: &CryptoProvider,
    ) -> Result<Resolver, TlsConfigError> {
        let certificates = RwLock::new(Arc::new(Certificates::new(identities, provider)?));
        Ok(Resolver { certificates, refuses_unknown_names })
    }

    /// Replaces all certificates, for later handshakes. On an error the old ones stay.
    pub(in crate::tls) fn replace(
        &self,
        identities: &[Identity],
        provider: &CryptoProvider,
    ) -> Result<(), TlsConfigError> {
        let new = Arc::new(Certificates::new(identities, provider)?);
        *self.certificates.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates();
        let named = client_hello.server_name().map(|name| (name, certificates.named(name)));
        let candidates = match named {
            Some((_, Some(named))) => named,
            Some((name, None)) if self.refuses_unknown_names => {
                note(|findings| findings.unknown_name = Some(name.to_owned()));
                return None;
            }
            Some((_, None)) | None => &certificates.all,
        };
        let schemes = client_hello.signature_schemes();
        let usable = candidates.iter().find(|certified| certified.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).cloned()
    }
}

impl Certificates {
    fn new(identities: &[Identity], provider: &CryptoProvider) -> Result<Certificates, TlsConfigError> {
        if identities.is_empty() {
            return Err(TlsConfigError::NoIdentity);
        }
        let mut by_name = HashMap::<String, Vec<Arc<CertifiedKey>>>::new();
        let mut all = Vec::new();
        for identity in identities {
            let certified = identity.certified(provider)?;
            for name in identity.names() {
                by_name.entry(name.to_ascii_lowercase()).or_default().push(Arc::clone(&certified));
            }
            all.push(certified);
        }
        Ok(Certificates { by_name, all })
    }

    /// The certificates for a name: for the name itself, or with `*` in place of its first label.
    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        exact.or_else(|| self.by_name.get(&format!("*.{}", name.split_once('.')?.1)))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("certificates", &self.certificates().all.len())
            .finish_non_exhaustive()
    }
}
