//! The result of a handshake, and what it means.

use crate::tls::rustls::ProtocolVersion;
use crate::tls::{Certificate, CertificateProblem, TlsInfo, days_left};
use std::time::{Duration, SystemTime};

/// The result of a handshake.
pub(super) struct Report {
    /// The endpoint as it was given.
    pub(super) endpoint: String,
    /// The name that the certificate must be for.
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) connect_time: Duration,
    pub(super) now: SystemTime,
    /// A certificate that expires within this time is reported.
    pub(super) warn: Duration,
    pub(super) info: TlsInfo,
}

/// The meaning of the result.
#[derive(Clone, Copy)]
pub(super) enum Verdict<'a> {
    Trusted,
    ExpiresSoon,
    NotTrusted(&'a CertificateProblem),
}

impl Report {
    pub(super) fn verdict(&self) -> Verdict<'_> {
        let is_soon = |end: SystemTime| end.duration_since(self.now).unwrap_or_default() < self.warn;
        match &self.info.problem {
            Some(problem) => Verdict::NotTrusted(problem),
            None if self.info.expires().is_some_and(is_soon) => Verdict::ExpiresSoon,
            None => Verdict::Trusted,
        }
    }

    /// The whole days until the server's certificate expires. Negative after that.
    pub(super) fn days_left(&self) -> Option<i64> {
        Some(days_left(self.info.expires()?, self.now))
    }

    /// The version, such as `1.3`.
    pub(super) fn version(&self) -> &'static str {
        match self.info.version {
            ProtocolVersion::TLSv1_2 => "1.2",
            _ => "1.3",
        }
    }

    /// The cipher suite by its name in the registry of IANA.
    pub(super) fn cipher(&self) -> String {
        format!("{:?}", self.info.cipher_suite).replacen("TLS13_", "TLS_", 1)
    }

    pub(super) fn alpn(&self) -> Option<String> {
        self.info.alpn().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The certificates, its own first. The error is the reason why one cannot be parsed.
    pub(super) fn certificates(&self) -> Vec<Result<Certificate, String>> {
        self.info.certificates().map(|parsed| parsed.map_err(|bad| bad.why)).collect()
    }
}

impl Verdict<'_> {
    /// The verdict in a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Trusted => "trusted",
            Verdict::ExpiresSoon => "expires_soon",
            Verdict::NotTrusted(problem) => problem.name(),
        }
    }
}
