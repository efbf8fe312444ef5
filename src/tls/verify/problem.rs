//! Reasons to refuse a certificate.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use x509_cert::der::DateTime;

use crate::tls::certificate::Certificate;
use crate::tls::clock::system_time;

/// The reason why a certificate is not trusted.
///
/// Names and times are those in the certificate, raw. `Display` of the error that contains them is
/// escaped by [`LayerError`](crate::LayerError).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias("CertificateError", "VerificationError"))]
pub enum CertificateProblem {
    /// It has expired.
    Expired {
        /// The end of its validity.
        not_after: SystemTime,
        /// The reactor's calendar time.
        now: SystemTime,
    },
    /// It is not valid yet.
    NotYetValid {
        /// The begin of its validity.
        not_before: SystemTime,
        /// The reactor's calendar time.
        now: SystemTime,
    },
    /// It is for other names than the one that was connected to.
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// The names of the certificate.
        names: Vec<String>,
    },
    /// No known root has issued it, or an intermediate certificate is missing.
    UnknownIssuer {
        /// The issuer of the last certificate that the peer sent.
        issuer: String,
    },
    /// It was issued by its own key, and is not among the roots.
    SelfSigned {
        /// Its subject.
        subject: String,
    },
    /// It is not for this use: a client's certificate of a server, or a CA's.
    WrongUsage(String),
    /// A revocation list contains it.
    Revoked,
    /// A revocation list is out of date.
    RevocationUnknown,
    /// Its key is none of the pinned ones. The SHA-256 hash of its public key is given.
    WrongKey([u8; 32]),
    /// The peer sent no certificate.
    Missing,
    /// A signature is wrong, or of an unsupported kind.
    BadSignature,
    /// It cannot be parsed.
    Malformed,
    /// Any other reason.
    Other(String),
}

impl CertificateProblem {
    /// A short name for metrics and JSON, such as `"expired"`.
    pub fn name(&self) -> &'static str {
        match self {
            CertificateProblem::Expired { .. } => "expired",
            CertificateProblem::NotYetValid { .. } => "not_yet_valid",
            CertificateProblem::WrongName { .. } => "wrong_name",
            CertificateProblem::UnknownIssuer { .. } => "unknown_issuer",
            CertificateProblem::SelfSigned { .. } => "self_signed",
            CertificateProblem::WrongUsage(_) => "wrong_usage",
            CertificateProblem::Revoked => "revoked",
            CertificateProblem::RevocationUnknown => "revocation_unknown",
            CertificateProblem::WrongKey(_) => "wrong_key",
            CertificateProblem::Missing => "no_certificate",
            CertificateProblem::BadSignature => "bad_signature",
            CertificateProblem::Malformed => "malformed",
            CertificateProblem::Other(_) => "other",
        }
    }

    /// Sorts the verifier's error about a chain.
    pub(in crate::tls) fn new(
        error: &CertificateError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> CertificateProblem {
        use CertificateError as Bad;
        let issued_by_itself = |own: &Certificate| own.is_self_issued();
        match error {
            Bad::ExpiredContext { time, not_after } => {
                CertificateProblem::Expired { not_after: system_time(*not_after), now: system_time(*time) }
            }
            Bad::NotValidYetContext { time, not_before } => CertificateProblem::NotYetValid {
                not_before: system_time(*not_before),
                now: system_time(*time),
            },
            Bad::NotValidForNameContext { expected, .. } => CertificateProblem::WrongName {
                expected: expected.to_str().into_owned(),
                names: Certificate::parse(end_entity).map(|own| own.names).unwrap_or_default(),
            },
            Bad::UnknownIssuer => {
                let own = Certificate::parse(end_entity).ok();
                if let Some(own) = own.filter(issued_by_itself) {
                    return CertificateProblem::SelfSigned { subject: own.subject };
                }
                let top = intermediates.last().unwrap_or(end_entity);
                let issuer = Certificate::parse(top).map(|top| top.issuer).unwrap_or_default();
                CertificateProblem::UnknownIssuer { issuer }
            }
            Bad::InvalidPurposeContext { .. } => CertificateProblem::WrongUsage(error.to_string()),
            Bad::InvalidPurpose => CertificateProblem::WrongUsage("its extended key usage forbids it".into()),
            Bad::Revoked => CertificateProblem::Revoked,
            Bad::UnknownRevocationStatus
            | Bad::ExpiredRevocationList
            | Bad::ExpiredRevocationListContext { .. } => CertificateProblem::RevocationUnknown,
            Bad::BadSignature
            | Bad::UnsupportedSignatureAlgorithmContext { .. }
            | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                CertificateProblem::BadSignature
            }
            Bad::BadEncoding => CertificateProblem::Malformed,
            // The verifier has no variant of its own for this error of webpki.
            Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                match Certificate::parse(end_entity).ok().filter(issued_by_itself) {
                    Some(own) => CertificateProblem::SelfSigned { subject: own.subject },
                    None => CertificateProblem::WrongUsage("it is a CA's certificate".into()),
                }
            }
            Bad::Other(other) => CertificateProblem::Other(other.to_string()),
            other => CertificateProblem::Other(other.to_string()),
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateProblem::Expired { not_after, now } => write!(
                f,
                "the peer's certificate expired at {}, and it is {}: the peer must renew it, or the clock \
                 here is wrong",
                Time(*not_after),
                Time(*now)
            ),
            CertificateProblem::NotYetValid { not_before, now } => write!(
                f,
                "the peer's certificate is not valid before {}, and it is {}: the clock here may be wrong",
                Time(*not_before),
                Time(*now)
            ),
            CertificateProblem::WrongName { expected, names } if names.is_empty() => write!(
                f,
                "the peer's certificate is not for {expected}: it has no subject alternative names at all"
            ),
            CertificateProblem::WrongName { expected, names } => {
                write!(f, "the peer's certificate is not for {expected}, but for ")?;
                for (index, name) in names.iter().enumerate().take(SHOWN_NAMES) {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{name}")?;
                }
                match names.len().saturating_sub(SHOWN_NAMES) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            CertificateProblem::UnknownIssuer { issuer } => write!(
                f,
                "the peer's certificate was issued by {issuer}, which is not a known root: add the root, or \
                 the peer must send its intermediate certificates"
            ),
            CertificateProblem::SelfSigned { subject } => write!(
                f,
                "the peer's certificate is self-signed ({subject}): add it to the roots, or pin its key"
            ),
            CertificateProblem::WrongUsage(why) => {
                write!(f, "the peer's certificate is not for this use: {why}")
            }
            CertificateProblem::Revoked => f.write_str("the peer's certificate is revoked"),
            CertificateProblem::RevocationUnknown => {
                f.write_str("a revocation list is out of date: load a newer one")
            }
            CertificateProblem::WrongKey(hash) => {
                f.write_str("the peer's key is not pinned, its SHA-256 hash is ")?;
                hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            CertificateProblem::Missing => f.write_str("the peer sent no certificate, and one is required"),
            CertificateProblem::BadSignature => {
                f.write_str("a signature of the peer's certificates is wrong or of an unsupported kind")
            }
            CertificateProblem::Malformed => f.write_str("the peer's certificate cannot be parsed"),
            CertificateProblem::Other(why) => write!(f, "the peer's certificate is not valid: {why}"),
        }
    }
}

impl Error for CertificateProblem {}

/// A calendar time in UTC, as in RFC 3339.
struct Time(SystemTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match DateTime::from_unix_duration(Duration::from_secs(since.as_secs())) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} s after 1970", since.as_secs()),
        }
    }
}

/// Names shown in a text.
const SHOWN_NAMES: usize = 5;
