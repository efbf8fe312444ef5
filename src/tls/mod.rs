//! TLS 1.2 and 1.3 as a layer of a connection, with [rustls](https://docs.rs/rustls).
//!
//! A [`TlsConnector`] is the configuration of clients and a [`TlsAcceptor`] that of servers. Both
//! make a [`TlsLayer`] for a connection: from its start ([`TlsConnector::factory`],
//! [`TlsAcceptor::factory`], and `endpoint` of both), or in mid-connection
//! ([`Transport::start_tls`](crate::Transport::start_tls)). Protocols, factories, streams, framings
//! and policies work over it unchanged.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
//! use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
//! use twistor::tls::{
//!     ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector, certificates_from_pem,
//! };
//!
//! async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
//!     writer.write(reader.read_chunk(1024).await?);
//!     writer.drain().await
//! }
//!
//! let roots = Roots::Only(certificates_from_pem(chain_pem.as_bytes())?);
//! let identity = Identity::from_pem(chain_pem, key_pem)?;
//! let acceptor = TlsAcceptor::new(ServerTls::from(identity))?;
//! let connector = TlsConnector::new(ClientTls { roots, ..ClientTls::default() })?;
//! twistor::block_on(async move {
//!     let server = start_server(acceptor.endpoint("127.0.0.1:0")?, echo)?;
//!     let client = connector.endpoint(server.address(), "localhost")?;
//!     let (mut reader, writer) = open_connection(client).await?;
//!     writer.write(b"in private");
//!     assert_eq!(reader.read_chunk(1024).await?, b"in private");
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! # Ok(())
//! # }
//! ```
//!
//! # What a protocol sees
//!
//! | event | with TLS from the start | after `start_tls` |
//! |---|---|---|
//! | the handshake is completed | `connection_made`, the first call | `layers_ready` |
//! | the handshake fails | nothing; a connector fails with [`Reason::Layer`], a listener logs it | `connection_lost` with [`Reason::Layer`] |
//! | the peer sends `close_notify` | `read_connection_lost`: by default the connection closes, with [`Reason::Done`] | the same |
//! | FIN without `close_notify` | the data, then `connection_lost` with [`TlsError::Truncated`], and never `read_connection_lost` | the same |
//! | a fatal alert, a wrong record | the data before it, then `connection_lost` with [`TlsError`] | the same |
//! | a reset | `connection_lost` with [`Reason::Lost`] | the same |
//!
//! - **Closing.** `lose_connection` sends the data, `close_notify` and FIN, and does not wait for
//!   the peer's `close_notify` (RFC 8446, section 6.1). `lose_write_connection` closes one
//!   direction: the other goes on, also with TLS 1.2. `abort_connection` sends no `close_notify`.
//! - **Alerts** reach the peer before the connection goes.
//! - **A client with TLS 1.3 is ready before the server has verified its certificate.** The refusal
//!   is then a `connection_lost` with [`TlsError::Alert`], after `connection_made`.
//! - **Limits.** The handshake has a time limit and a limit of bytes, in the options. A connector's
//!   timeout includes it, and its state is
//!   [`Securing`](crate::ConnectorState::Securing). A record has at most 16 KiB, and a message of
//!   the handshake 64 KiB. 32 empty records, 4 warning alerts or 32 key updates in a row are an
//!   error. Renegotiation is refused.
//! - **Backpressure.** A layer keeps at most one incomplete record. Encrypted output counts for the
//!   water marks like any other, and so does output that waits for the handshake.
//! - **Dates** are compared with the [calendar time](crate::Reactor::system_time) of the reactor,
//!   so that certificates expire in a simulation too. A resumed session is refused once the peer's
//!   certificate has expired.
//!
//! # Not supported
//!
//! Early data (0-RTT), encrypted ClientHello, raw public keys, OCSP verification, and versions
//! before TLS 1.2.
//!
//! # Crypto providers
//!
//! The feature `tls` has *ring*. `tls-aws-lc-rs` has AWS-LC, which adds post-quantum key exchange.
//! With both, *ring* stays the default. `tls-no-provider` has none: an application sets
//! `provider` in the options, or installs a default for its process. [`rustls`](mod@rustls) is
//! exported for the types of these options.
//!
//! [`Reason`]: crate::Reason
//! [`Reason::Layer`]: crate::Reason::Layer
//! [`Reason::Done`]: crate::Reason::Done
//! [`Reason::Lost`]: crate::Reason::Lost

mod certificate;
mod client;
mod clock;
mod config_error;
mod credentials;
mod endpoint;
mod error;
mod factory;
mod info;
mod layer;
mod server;
mod stream;
mod transport;
mod verify;
mod version;

pub use rustls;
pub use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

#[cfg(feature = "monitor")]
pub(crate) use self::certificate::days_left;
pub use self::certificate::{Certificate, MalformedCertificate};
pub use self::client::{ClientTls, TlsConnector, Verification};
pub use self::config_error::TlsConfigError;
pub use self::credentials::{
    Identity, IdentityFiles, IdentityWatch, ReloadStatistics, Roots, WatchIdentities, certificates_from_file,
    certificates_from_pem, default_provider, revocation_lists_from_pem,
};
pub(crate) use self::endpoint::register_endpoints;
#[cfg(feature = "monitor")]
pub(crate) use self::endpoint::{ClientOptions, TlsClientText, server_name};
#[cfg(feature = "cli")]
pub(crate) use self::endpoint::{Hexadecimal, RootsFrom, ServerOptions, TlsServerText};
pub use self::endpoint::{TlsClientEndpoint, TlsServerEndpoint};
pub use self::error::TlsError;
pub use self::factory::{TlsFactory, by_alpn};
pub use self::info::TlsInfo;
pub use self::layer::TlsLayer;
pub use self::server::{ClientCertificates, ServerTls, TlsAcceptor};
pub use self::verify::CertificateProblem;
pub use self::version::TlsVersion;
