//! The side that a layer is on, and what all connections of a configuration share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::tls::verify::Sha256;

/// The side of a connection, with its configuration.
#[derive(Clone)]
pub(in crate::tls) enum Role {
    Client { config: Arc<ClientConfig>, shared: Arc<Shared>, name: ServerName<'static>, mid_connection: bool },
    Server { config: Arc<ServerConfig>, shared: Arc<Shared>, mid_connection: bool },
}

/// Limits of connections.
pub(in crate::tls) struct Limits {
    pub(in crate::tls) handshake_timeout: Duration,
    pub(in crate::tls) max_handshake_bytes: usize,
    pub(in crate::tls) allow_truncation: bool,
    /// Whether the dates of the peer's certificate are compared with the clock at a resumption,
    /// which verifies no certificate.
    pub(in crate::tls) checks_dates: bool,
}

/// State of all connections of one configuration.
pub(in crate::tls) struct Shared {
    pub(in crate::tls) limits: Limits,
    pub(in crate::tls) hash: Option<Sha256>,
    /// The chain of the last peer. Most clients connect to few servers: their connections share one
    /// copy of its certificates.
    last_chain: Mutex<Option<Arc<[CertificateDer<'static>]>>>,
}

impl Shared {
    pub(in crate::tls) fn new(limits: Limits, hash: Option<Sha256>) -> Shared {
        Shared { limits, hash, last_chain: Mutex::new(None) }
    }

    /// A chain that connections of the same peer share.
    pub(super) fn shared_chain(&self, chain: &[CertificateDer<'static>]) -> Arc<[CertificateDer<'static>]> {
        let mut last = self.last_chain.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(last) if **last == *chain => Arc::clone(last),
            _ => {
                let new: Arc<[CertificateDer<'static>]> = chain.iter().cloned().collect();
                *last = Some(Arc::clone(&new));
                new
            }
        }
    }
}

impl Role {
    pub(super) fn connection(&self) -> Result<Connection, rustls::Error> {
        match self {
            Role::Client { config, name, .. } => {
                ClientConnection::new(Arc::clone(config), name.clone()).map(Connection::Client)
            }
            Role::Server { config, .. } => ServerConnection::new(Arc::clone(config)).map(Connection::Server),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        match self {
            Role::Client { shared, .. } | Role::Server { shared, .. } => shared,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self, Role::Client { .. })
    }

    pub(super) fn is_mid_connection(&self) -> bool {
        match self {
            Role::Client { mid_connection, .. } | Role::Server { mid_connection, .. } => *mid_connection,
        }
    }
}
