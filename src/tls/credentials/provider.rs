//! The crypto provider.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::tls::TlsConfigError;

/// The crypto provider of configurations that name none: that of the process
/// ([`CryptoProvider::install_default`]) if the program has installed one, else that on *ring* with
/// the feature `tls`, else that on AWS-LC with `tls-aws-lc-rs`. `None` without any of them.
pub fn default_provider() -> Option<Arc<CryptoProvider>> {
    CryptoProvider::get_default().cloned().or_else(built_in)
}

#[cfg(feature = "tls")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "tls-aws-lc-rs", not(feature = "tls")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

/// The provider of a configuration.
pub(in crate::tls) fn chosen(
    given: Option<Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, TlsConfigError> {
    given.or_else(default_provider).ok_or(TlsConfigError::NoProvider)
}
