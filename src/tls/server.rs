//! The configuration of TLS servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::{KeyLog, NoKeyLog, ServerConfig};

use crate::endpoint::ServerEndpoint;
use crate::stream::IntoEndpoint;
use crate::tls::clock::ConnectionClock;
use crate::tls::credentials::{Resolver, chosen};
use crate::tls::layer::{Limits, Role, Shared};
use crate::tls::verify::{ClientVerifier, Sha256};
use crate::tls::{Identity, Roots, TlsConfigError, TlsFactory, TlsLayer, TlsServerEndpoint, TlsVersion};

/// Options of TLS servers.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
/// # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
/// use twistor::tls::{Identity, ServerTls, TlsAcceptor};
///
/// let options = ServerTls {
///     identities: vec![Identity::from_pem(chain_pem, key_pem)?],
///     alpn: vec![b"http/1.1".to_vec()],
///     ..ServerTls::default()
/// };
/// let acceptor = TlsAcceptor::new(options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias("CertificateOptions", "SSLContext"))]
pub struct ServerTls {
    /// Certificates and their keys, at least one. A client that asks for a name gets the first
    /// certificate for that name whose key it supports. All other clients get the first one.
    pub identities: Vec<Identity>,
    /// Whether clients that ask for a name without a certificate are refused. Default: `false`.
    pub refuses_unknown_names: bool,
    /// Whether clients need a certificate. Default: no.
    pub client_certificates: ClientCertificates,
    /// Certificate revocation lists of clients. A certificate whose issuer has no list here is not
    /// checked for revocation. Default: empty.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// Application protocols to accept (ALPN), the preferred one first. A client that offers others
    /// only is refused, one that offers none is not. Default: empty, ALPN is not used.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version to accept. Default: TLS 1.2.
    pub min_version: TlsVersion,
    /// Maximum number of sessions that are kept for resumption. 0 turns resumption off, unless
    /// there is a ticketer. Default: 256.
    pub max_sessions: usize,
    /// Encrypts sessions into tickets, so that the clients keep them. Providers have one, such as
    /// `rustls::crypto::ring::Ticketer`. Default: none, sessions are kept here.
    pub ticketer: Option<Arc<dyn ProducesTickets>>,
    /// Time limit for the handshake. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Maximum number of bytes that a client may send before the handshake is completed. Default:
    /// 128 KiB.
    pub max_handshake_bytes: usize,
    /// Whether an end without `close_notify` is taken for the regular end of the input. An attacker
    /// can then cut the data off unnoticed. Default: `false`.
    pub allow_truncation: bool,
    /// Receives the secrets of all sessions. See [`ClientTls::key_log`]. Default: none.
    ///
    /// [`ClientTls::key_log`]: crate::tls::ClientTls::key_log
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// The crypto provider. Default: [`default_provider`](crate::tls::default_provider).
    pub provider: Option<Arc<CryptoProvider>>,
}

impl Default for ServerTls {
    fn default() -> ServerTls {
        ServerTls {
            identities: Vec::new(),
            refuses_unknown_names: false,
            client_certificates: ClientCertificates::None,
            revocation_lists: Vec::new(),
            alpn: Vec::new(),
            min_version: TlsVersion::Tls12,
            max_sessions: 256,
            ticketer: None,
            handshake_timeout: Duration::from_secs(10),
            max_handshake_bytes: 128 * 1024,
            allow_truncation: false,
            key_log: None,
            provider: None,
        }
    }
}

/// Whether clients authenticate themselves by a certificate, and the roots that must have issued
/// it.
#[derive(Clone, Debug, Default)]
#[doc(alias("verify_mode", "CERT_REQUIRED", "requireCertificate"))]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    #[default]
    None,
    /// Clients may have a certificate. One that they send must be valid.
    Optional(Roots),
    /// Clients must have a valid certificate.
    Required(Roots),
}

/// A configuration of TLS servers, made from [`ServerTls`]. Cheap to clone; clones share the
/// certificates and the cache of sessions. One value serves all reactors and threads.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
/// # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
/// use twistor::tls::{Identity, ServerTls, TlsAcceptor};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, transport: &mut twistor::Transport<'_>, data: &[u8]) {
/// #         transport.write(data);
/// #     }
/// # }
///
/// let mut reactor = twistor::Reactor::new()?;
/// let identity = Identity::from_pem(chain_pem, key_pem)?;
/// let acceptor = TlsAcceptor::new(ServerTls::from(identity))?;
/// reactor.listen_tcp("127.0.0.1:0", acceptor.factory(|| Echo))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias("TLSMemoryBIOFactory", "SSLContext"))]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    shared: Arc<Shared>,
}

impl TlsAcceptor {
    /// Makes the configuration.
    ///
    /// # Errors
    /// - [`TlsConfigError::NoIdentity`], [`TlsConfigError::BadKey`],
    ///   [`TlsConfigError::KeyMismatch`]
    /// - [`TlsConfigError::NoRoots`], [`TlsConfigError::BadCertificate`],
    ///   [`TlsConfigError::BadRevocationList`]
    /// - [`TlsConfigError::NoProvider`], [`TlsConfigError::Provider`]
    pub fn new(options: ServerTls) -> Result<TlsAcceptor, TlsConfigError> {
        let provider = chosen(options.provider)?;
        let hash = Sha256::of_provider(&provider);
        let (roots, optional) = match &options.client_certificates {
            ClientCertificates::None => (None, false),
            ClientCertificates::Optional(roots) => (Some(roots.load()?), true),
            ClientCertificates::Required(roots) => (Some(roots.load()?), false),
        };
        let verifier = match roots {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(None) => {
                return Err(TlsConfigError::NoRoots("the keys of clients cannot be pinned".into()));
            }
            Some(Some(roots)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let lists = verifier.with_crls(options.revocation_lists).allow_unknown_revocation_status();
                let builder = if optional { lists.allow_unauthenticated() } else { lists };
                let bad_list =
                    |error: VerifierBuilderError| TlsConfigError::BadRevocationList(error.to_string());
                Arc::new(ClientVerifier(builder.build().map_err(bad_list)?))
            }
        };
        let resolver = Resolver::new(&options.identities, options.refuses_unknown_names, &provider)?;
        let resolver = Arc::new(resolver);
        let mut config = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(ConnectionClock))
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(|error| TlsConfigError::Provider(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::<Resolver>::clone(&resolver));
        config.alpn_protocols = options.alpn;
        config.session_storage = match options.max_sessions {
            0 => Arc::new(NoServerSessionStorage {}),
            sessions => ServerSessionMemoryCache::new(sessions),
        };
        if options.max_sessions == 0 && options.ticketer.is_none() {
            config.send_tls13_tickets = 0;
        }
        if let Some(ticketer) = options.ticketer {
            config.ticketer = ticketer;
        }
        config.key_log = options.key_log.unwrap_or_else(|| Arc::new(NoKeyLog));
        let limits = Limits {
            handshake_timeout: options.handshake_timeout,
            max_handshake_bytes: options.max_handshake_bytes,
            allow_truncation: options.allow_truncation,
            checks_dates: true,
        };
        Ok(TlsAcceptor { config: Arc::new(config), resolver, shared: Arc::new(Shared::new(limits, hash)) })
    }

    /// Makes the layer of one connection, for [`Transport::start_tls`](crate::Transport::start_tls)
    /// or a factory's [`layers`](crate::Factory::layers).
    pub fn layer(&self) -> TlsLayer {
        TlsLayer::new(self.role())
    }

    /// Wraps a factory: its connections start with TLS. Its protocols are built when the handshake
    /// is completed.
    pub fn factory<F>(&self, factory: F) -> TlsFactory<F> {
        TlsFactory::new(factory, self.role())
    }

    /// Wraps an endpoint: its connections start with TLS. For
    /// [`start_server`](crate::stream::start_server), services and everything else that takes an
    /// endpoint. (asyncio: `start_server(ssl=)`.)
    ///
    /// # Errors
    /// [`TlsConfigError::BadEndpoint`].
    pub fn endpoint(
        &self,
        endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    ) -> Result<TlsServerEndpoint, TlsConfigError> {
        Ok(TlsServerEndpoint::new(endpoint.into_endpoint()?, self.role()))
    }

    /// Replaces the certificates, of all clones, for later handshakes. Open connections and
    /// sessions go on.
    ///
    /// # Errors
    /// Those of [`new`](TlsAcceptor::new) for `identities`. The old certificates stay.
    pub fn replace_identities(&self, identities: &[Identity]) -> Result<(), TlsConfigError> {
        self.resolver.replace(identities, self.config.crypto_provider())
    }

    fn role(&self) -> Role {
        Role::Server {
            config: Arc::clone(&self.config),
            shared: Arc::clone(&self.shared),
            mid_connection: false,
        }
    }
}

/// The options with one certificate.
impl From<Identity> for ServerTls {
    fn from(identity: Identity) -> ServerTls {
        ServerTls { identities: vec![identity], ..ServerTls::default() }
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}
