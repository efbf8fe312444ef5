//! Errors of TLS connections.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use crate::escape::EscapedBytes;
use crate::tls::CertificateProblem;
use crate::{LayerError, Reason};

/// The reason why TLS ended a connection. [`Reason::Layer`] contains it:
///
/// ```
/// use twistor::tls::{CertificateProblem, TlsError};
/// use twistor::{ClientFactory, Connector, Reason};
///
/// fn failed(connector: &mut Connector<'_>, reason: &Reason) {
///     match TlsError::of(reason) {
///         Some(TlsError::BadCertificate(CertificateProblem::Expired { .. })) => { /* .. */ }
///         Some(error) => eprintln!("{}: {error}", connector.destination()),
///         None => eprintln!("{}: {reason}", connector.destination()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias("SSLError", "SSL.Error", "CertificateError", "SSLCertVerificationError"))]
pub enum TlsError {
    /// This side refused the certificate of the peer.
    BadCertificate(CertificateProblem),
    /// The peer sent something else than TLS. The fields are its first bytes, at most 16, and
    /// whether TLS was started in mid-connection ([`Transport::start_tls`]).
    ///
    /// [`Transport::start_tls`]: crate::Transport::start_tls
    NotTls {
        /// The first bytes, at most 16.
        start: Vec<u8>,
        /// Whether TLS was started in mid-connection. The bytes are then plain text that came
        /// before the handshake, perhaps injected.
        mid_connection: bool,
    },
    /// The peer ended the connection without a `close_notify`. What it sent may be cut off (RFC
    /// 8446, section 6.1).
    Truncated,
    /// The peer closed the connection during the handshake.
    ClosedInHandshake,
    /// The handshake was not completed in time.
    HandshakeTimedOut(Duration),
    /// The peer sent more than this many bytes without completing the handshake.
    HandshakeTooLarge(usize),
    /// The peer sent a fatal alert: it refused the connection, or found an error in it.
    Alert(AlertDescription),
    /// The two sides have no protocol version in common.
    NoCommonVersion,
    /// The two sides have no cipher suite, key exchange or signature scheme in common.
    NoCommonCipher,
    /// The two sides have no application protocol (ALPN) in common.
    NoCommonProtocol,
    /// The client asked for a server name that no certificate is for.
    UnknownServerName(String),
    /// The peer violated the protocol, or the cryptography failed.
    Protocol(rustls::Error),
}

impl TlsError {
    /// The error of TLS in a reason, if it contains one.
    pub fn of(reason: &Reason) -> Option<&TlsError> {
        match reason {
            Reason::Layer(error) => error.error(),
            _ => None,
        }
    }

    /// A short name for metrics and JSON, such as `"truncated"`. For a bad certificate it is
    /// [`CertificateProblem::name`].
    pub fn name(&self) -> &'static str {
        match self {
            TlsError::BadCertificate(problem) => problem.name(),
            TlsError::NotTls { .. } => "not_tls",
            TlsError::Truncated => "truncated",
            TlsError::ClosedInHandshake => "closed_in_handshake",
            TlsError::HandshakeTimedOut(_) => "handshake_timeout",
            TlsError::HandshakeTooLarge(_) => "handshake_too_large",
            TlsError::Alert(_) => "alert",
            TlsError::NoCommonVersion => "no_common_version",
            TlsError::NoCommonCipher => "no_common_cipher",
            TlsError::NoCommonProtocol => "no_common_protocol",
            TlsError::UnknownServerName(_) => "unknown_server_name",
            TlsError::Protocol(_) => "protocol",
        }
    }

    /// The error as that of a layer.
    pub(super) fn into_layer_error(self) -> LayerError {
        LayerError::new(LAYER, self)
    }
}

/// Sorts an error of rustls. `problem` is what the verifier found out about the certificate.
pub(super) fn sorted(error: rustls::Error, problem: Option<CertificateProblem>) -> TlsError {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => TlsError::BadCertificate(match (problem, error) {
            (Some(problem), _) => problem,
            (None, CertificateError::BadSignature) => CertificateProblem::BadSignature,
            (None, CertificateError::BadEncoding) => CertificateProblem::Malformed,
            (None, other) => CertificateProblem::Other(other.to_string()),
        }),
        Tls::NoCertificatesPresented => TlsError::BadCertificate(CertificateProblem::Missing),
        Tls::AlertReceived(alert) => TlsError::Alert(alert),
        Tls::NoApplicationProtocol => TlsError::NoCommonProtocol,
        Tls::PeerIncompatible(why) => match why {
            PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            // TLS 1.1 and older do not have the extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => TlsError::NoCommonVersion,
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon => TlsError::NoCommonCipher,
            other => TlsError::Protocol(Tls::PeerIncompatible(other)),
        },
        other => TlsError::Protocol(other),
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::BadCertificate(problem) => problem.fmt(f),
            TlsError::NotTls { start, mid_connection: false } => write!(
                f,
                "the peer does not speak TLS, it sent \"{}\": check the port, and whether TLS is \
                 started by a command there",
                EscapedBytes(start)
            ),
            TlsError::NotTls { start, mid_connection: true } => write!(
                f,
                "the peer sent \"{}\" where its TLS handshake was expected: plain text before the \
                 handshake is refused, it may be injected",
                EscapedBytes(start)
            ),
            TlsError::Truncated => {
                f.write_str("the peer ended the connection without a close_notify: the data may be cut off")
            }
            TlsError::ClosedInHandshake => {
                f.write_str("the peer closed the connection during the handshake: its log may say why")
            }
            TlsError::HandshakeTimedOut(limit) => {
                write!(f, "the handshake was not completed within {limit:?}")
            }
            TlsError::HandshakeTooLarge(limit) => {
                write!(f, "the peer sent more than {limit} bytes without completing the handshake")
            }
            TlsError::Alert(alert) => {
                write!(f, "the peer sent the alert {alert:?}")?;
                match advice(*alert) {
                    "" => Ok(()),
                    advice => write!(f, ": {advice}"),
                }
            }
            TlsError::NoCommonVersion => f.write_str(
                "no protocol version in common: this side speaks TLS 1.2 and 1.3, or what min_version leaves",
            ),
            TlsError::NoCommonCipher => {
                f.write_str("no cipher suite, key exchange or signature scheme in common")
            }
            TlsError::NoCommonProtocol => {
                f.write_str("no application protocol in common: compare the ALPN lists of both sides")
            }
            TlsError::UnknownServerName(name) => {
                write!(f, "the client asked for {name}, which no certificate here is for")
            }
            TlsError::Protocol(error) => error.fmt(f),
        }
    }
}

impl Error for TlsError {}

/// The likely cause of an alert of the peer.
fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA => "it does not trust the issuer of the certificate of this side",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept the certificate of this side, perhaps its name"
        }
        AlertDescription::CertificateExpired => {
            "the certificate of this side is expired or not yet valid by the peer's clock"
        }
        AlertDescription::CertificateRevoked => "the certificate of this side is revoked",
        AlertDescription::UnsupportedCertificate => {
            "the certificate of this side is not for this use, or its key is of an unsupported kind"
        }
        AlertDescription::CertificateRequired => "it requires a client certificate",
        AlertDescription::AccessDenied => "it knows the certificate, and denies access",
        AlertDescription::UnrecognisedName => "it does not know the server name that was asked for",
        AlertDescription::NoApplicationProtocol => "it supports none of the offered ALPN protocols",
        AlertDescription::ProtocolVersion => "it does not speak the offered versions of TLS",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it accepts none of the offered cipher suites or signature schemes, or requires a client \
             certificate"
        }
        AlertDescription::InternalError => "its log may say why",
        _ => "",
    }
}

/// The layer's name in its errors.
pub(super) const LAYER: &str = "TLS";
