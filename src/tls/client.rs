//! The configuration of TLS clients.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateRevocationListDer, ServerName};
use rustls::{ClientConfig, KeyLog, NoKeyLog};

use crate::endpoint::ClientEndpoint;
use crate::stream::IntoEndpoint;
use crate::tls::clock::ConnectionClock;
use crate::tls::credentials::chosen;
use crate::tls::layer::{Limits, Role, Shared};
use crate::tls::verify::{ServerVerifier, Sha256};
use crate::tls::{Identity, Roots, TlsClientEndpoint, TlsConfigError, TlsFactory, TlsLayer, TlsVersion};

/// Options of TLS clients.
///
/// ```
/// use twistor::tls::{ClientTls, Roots, TlsConnector, TlsVersion};
///
/// # let roots = Vec::new();
/// let options = ClientTls {
///     roots: Roots::SystemAnd(roots),
///     alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
///     min_version: TlsVersion::Tls13,
///     ..ClientTls::default()
/// };
/// # let connector: Option<TlsConnector> = None;
/// ```
#[derive(Clone)]
#[doc(alias("CertificateOptions", "optionsForClientTLS", "SSLContext", "create_default_context"))]
pub struct ClientTls {
    /// Roots that must have issued the server's certificate. Default: those of the system.
    pub roots: Roots,
    /// SHA-256 hashes of public keys (SPKI). If there are any, the server's own key must be one of
    /// them, in addition to the other checks. See [`Certificate::key_hash`]. Default: empty.
    ///
    /// [`Certificate::key_hash`]: crate::tls::Certificate::key_hash
    pub pinned_keys: Vec<[u8; 32]>,
    /// What follows from a problem of the server's certificate. Default: the connection is refused.
    pub verification: Verification,
    /// Certificate revocation lists. A certificate whose issuer has no list here is not checked for
    /// revocation. Default: empty.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// The client certificate for servers that ask for one. Default: none.
    pub identity: Option<Identity>,
    /// Application protocols to offer (ALPN), the preferred one first. Default: empty, ALPN is not
    /// used.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version to accept. Default: TLS 1.2.
    pub min_version: TlsVersion,
    /// Maximum number of servers whose sessions are kept for resumption. 0 turns resumption off.
    /// Default: 256.
    pub max_sessions: usize,
    /// Whether the server's name is sent in plain text (SNI), so that the server can choose its
    /// certificate. Default: `true`.
    pub sends_server_name: bool,
    /// Time limit for the handshake. For a connector, its timeout applies as well. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Maximum number of bytes that the server may send before the handshake is completed. Default:
    /// 128 KiB.
    pub max_handshake_bytes: usize,
    /// Whether an end without `close_notify` is taken for the regular end of the input. An attacker
    /// can then cut the data off unnoticed. Some HTTP servers need it. Default: `false`.
    pub allow_truncation: bool,
    /// Receives the secrets of all sessions, with which recorded traffic can be decrypted. For
    /// debugging only; `Arc::new(rustls::KeyLogFile::new())` appends them to the file in
    /// `SSLKEYLOGFILE`. Default: none.
    pub key_log: Option<Arc<dyn KeyLog>>,
    /// The crypto provider. Default: [`default_provider`](crate::tls::default_provider).
    pub provider: Option<Arc<CryptoProvider>>,
}

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls {
            roots: Roots::System,
            pinned_keys: Vec::new(),
            verification: Verification::Enforced,
            revocation_lists: Vec::new(),
            identity: None,
            alpn: Vec::new(),
            min_version: TlsVersion::Tls12,
            max_sessions: 256,
            sends_server_name: true,
            handshake_timeout: Duration::from_secs(10),
            max_handshake_bytes: 128 * 1024,
            allow_truncation: false,
            key_log: None,
            provider: None,
        }
    }
}

/// What follows from a problem of the server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// The connection is refused, and an alert tells the peer why.
    #[default]
    Enforced,
    /// The problem is only reported in [`TlsInfo::problem`](crate::tls::TlsInfo::problem). **The
    /// server may be anybody.** For probes that look at certificates. Sessions are not resumed.
    Reported,
}

/// A configuration of TLS clients, made from [`ClientTls`]. Cheap to clone; clones share the cache
/// of sessions. One value serves all reactors and threads: dates are compared with the clock of the
/// reactor of each connection.
///
/// ```no_run
/// use twistor::tls::{ClientTls, TlsConnector};
/// # struct Get;
/// # impl twistor::Protocol for Get {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let mut reactor = twistor::Reactor::new()?;
/// let connector = TlsConnector::new(ClientTls::default())?;
/// reactor.connect_tcp("example.org:443", connector.factory(|| Get, "example.org")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias("wrapClientTLS", "SSLContext"))]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    shared: Arc<Shared>,
}

impl TlsConnector {
    /// Makes the configuration. Blocks for some milliseconds if the system's roots are used.
    ///
    /// # Errors
    /// - [`TlsConfigError::NoRoots`], also if only pinned keys are trusted and there are none
    /// - [`TlsConfigError::BadCertificate`], [`TlsConfigError::BadRevocationList`]
    /// - [`TlsConfigError::BadKey`], [`TlsConfigError::KeyMismatch`]
    /// - [`TlsConfigError::NoProvider`], [`TlsConfigError::Provider`]
    pub fn new(options: ClientTls) -> Result<TlsConnector, TlsConfigError> {
        let provider = chosen(options.provider)?;
        let bad_provider = |error: rustls::Error| TlsConfigError::Provider(error.to_string());
        let hash = Sha256::of_provider(&provider);
        let chain = match options.roots.load()? {
            Some(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let lists = verifier.with_crls(options.revocation_lists).allow_unknown_revocation_status();
                let bad_list = |error: rustls::server::VerifierBuilderError| {
                    TlsConfigError::BadRevocationList(error.to_string())
                };
                Some(lists.build().map_err(bad_list)?)
            }
            None if options.pinned_keys.is_empty() => {
                return Err(TlsConfigError::NoRoots(
                    "only pinned keys are trusted, and there are none".into(),
                ));
            }
            None => None,
        };
        if hash.is_none() && !options.pinned_keys.is_empty() {
            let why = "it has no cipher suite with SHA-256, which pinned keys need";
            return Err(TlsConfigError::Provider(why.into()));
        }
        let enforced = options.verification == Verification::Enforced;
        let checks_dates = enforced && chain.is_some();
        let algorithms = provider.signature_verification_algorithms;
        let verifier = ServerVerifier { chain, pins: options.pinned_keys, enforced, hash, algorithms };
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(ConnectionClock))
            .with_protocol_versions(options.min_version.and_newer())
            .map_err(bad_provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &options.identity {
            Some(identity) => {
                let certified = identity.certified(&provider)?;
                builder.with_client_cert_resolver(Arc::new(OneCertificate(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn;
        config.enable_sni = options.sends_server_name;
        config.resumption = match options.max_sessions {
            0 => Resumption::disabled(),
            _ if !enforced => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions),
        };
        config.key_log = options.key_log.unwrap_or_else(|| Arc::new(NoKeyLog));
        let limits = Limits {
            handshake_timeout: options.handshake_timeout,
            max_handshake_bytes: options.max_handshake_bytes,
            allow_truncation: options.allow_truncation,
            checks_dates,
        };
        Ok(TlsConnector { config: Arc::new(config), shared: Arc::new(Shared::new(limits, hash)) })
    }

    /// Makes the layer of one connection, for [`Transport::start_tls`](crate::Transport::start_tls)
    /// or a factory's [`layers`](crate::Factory::layers). The server must have a certificate for
    /// `server_name`, which is a DNS name or an IP address.
    ///
    /// # Errors
    /// [`TlsConfigError::BadServerName`].
    pub fn layer(&self, server_name: &str) -> Result<TlsLayer, TlsConfigError> {
        Ok(TlsLayer::new(self.role(server_name)?))
    }

    /// Wraps a factory: its connections start with TLS. Its protocols are built when the handshake
    /// is completed, and a connector [is securing](crate::ConnectorState::Securing) until then.
    ///
    /// # Errors
    /// [`TlsConfigError::BadServerName`].
    pub fn factory<F>(&self, factory: F, server_name: &str) -> Result<TlsFactory<F>, TlsConfigError> {
        Ok(TlsFactory::new(factory, self.role(server_name)?))
    }

    /// Wraps an endpoint: its connections start with TLS. For
    /// [`open_connection`](crate::stream::open_connection), services and everything else that takes
    /// an endpoint. (asyncio: `open_connection(ssl=, server_hostname=)`.)
    ///
    /// ```no_run
    /// use twistor::stream::open_connection;
    /// use twistor::tls::{ClientTls, TlsConnector};
    ///
    /// # let _ = async {
    /// let connector = TlsConnector::new(ClientTls::default())?;
    /// let endpoint = connector.endpoint("tcp:example.org:443", "example.org")?;
    /// let (mut reader, writer) = open_connection(endpoint).await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) };
    /// ```
    ///
    /// # Errors
    /// [`TlsConfigError::BadServerName`], [`TlsConfigError::BadEndpoint`].
    pub fn endpoint(
        &self,
        endpoint: impl IntoEndpoint<dyn ClientEndpoint>,
        server_name: &str,
    ) -> Result<TlsClientEndpoint, TlsConfigError> {
        Ok(TlsClientEndpoint::new(endpoint.into_endpoint()?, self.role(server_name)?))
    }

    fn role(&self, server_name: &str) -> Result<Role, TlsConfigError> {
        let name = parsed_name(server_name)?;
        Ok(Role::Client {
            config: Arc::clone(&self.config),
            shared: Arc::clone(&self.shared),
            name,
            mid_connection: false,
        })
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("alpn", &self.config.alpn_protocols.len())
            .finish_non_exhaustive()
    }
}

/// A DNS name, with or without the dot at its end, or an IP address, with or without brackets.
pub(super) fn parsed_name(text: &str) -> Result<ServerName<'static>, TlsConfigError> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = inner.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let bad = |_| TlsConfigError::BadServerName(text.to_owned());
    ServerName::try_from(text.strip_suffix('.').unwrap_or(text).to_owned()).map_err(bad)
}

/// The only certificate of a client.
#[derive(Debug)]
struct OneCertificate(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for OneCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
