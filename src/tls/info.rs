//! Facts about a connection after its handshake.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use crate::tls::certificate::validity;
use crate::tls::verify::Sha256;
use crate::tls::{Certificate, CertificateProblem, MalformedCertificate};

/// The result of a handshake. It is an [extension](crate::Transport::extension) of the connection
/// from `connection_made` on, or from [`layers_ready`](crate::Protocol::layers_ready) on after
/// [`start_tls`](crate::Transport::start_tls). [`Transport::tls_info`](crate::Transport::tls_info)
/// is short for it.
///
/// ```
/// use twistor::{Protocol, Transport};
///
/// struct Shown;
///
/// impl Protocol for Shown {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         if let Some(tls) = transport.tls_info() {
///             println!("{:?} {:?}, resumed: {}", tls.version, tls.cipher_suite, tls.resumed);
///         }
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
/// ```
#[derive(Clone)]
#[doc(alias("get_extra_info", "ssl_object", "peercert", "cipher"))]
pub struct TlsInfo {
    /// The protocol version.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The group of the key exchange. `None` after a resumption without one.
    pub key_exchange: Option<NamedGroup>,
    /// Whether an earlier session was resumed. The peer's certificates are those of that session.
    pub resumed: bool,
    /// The time from the start of TLS to the end of the handshake.
    pub handshake_time: Duration,
    /// Whether the peer has stapled an OCSP response. Its contents are not verified.
    pub ocsp_stapled: bool,
    /// The problem of the peer's certificate, if
    /// [`Verification::Reported`](crate::tls::Verification::Reported) was asked for.
    pub problem: Option<CertificateProblem>,
    pub(super) alpn: Option<Box<[u8]>>,
    pub(super) server_name: Option<Box<str>>,
    pub(super) chain: Option<Arc<[CertificateDer<'static>]>>,
    pub(super) hash: Option<Sha256>,
}

impl TlsInfo {
    /// The negotiated application protocol, such as `b"h2"`.
    #[doc(alias("negotiatedProtocol", "selected_alpn_protocol"))]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The server's name: of a client, the one that was connected to; of a server, the one that
    /// the client has asked for (SNI).
    #[doc(alias("sni", "server_hostname"))]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The certificates that the peer has sent, in DER, its own first. Empty if it has sent none.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        self.chain.as_deref().unwrap_or_default()
    }

    /// The peer's own certificate, parsed.
    #[doc(alias("getPeerCertificate", "getpeercert"))]
    pub fn certificate(&self) -> Option<Result<Certificate, MalformedCertificate>> {
        self.chain().first().map(|own| Certificate::read(own, self.hash))
    }

    /// The end of the validity of the peer's own certificate, read without parsing the rest of it.
    /// `None` if there is no certificate, or if it is malformed.
    pub fn expires(&self) -> Option<SystemTime> {
        validity(self.chain().first()?).map(|(_, not_after)| not_after)
    }

    /// All certificates that the peer has sent, parsed, its own first.
    pub fn certificates(&self) -> impl Iterator<Item = Result<Certificate, MalformedCertificate>> {
        self.chain().iter().map(|certificate| Certificate::read(certificate, self.hash))
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TlsInfo");
        shown.field("version", &self.version).field("cipher_suite", &self.cipher_suite);
        shown.field("key_exchange", &self.key_exchange).field("resumed", &self.resumed);
        shown
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("server_name", &self.server_name);
        shown.field("certificates", &self.chain().len()).field("problem", &self.problem);
        shown.finish_non_exhaustive()
    }
}
