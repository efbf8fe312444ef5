//! Facts about the TLS of a target.

use crate::tls::rustls::ProtocolVersion;
use crate::tls::{TlsInfo, days_left};
use std::time::SystemTime;

/// Facts about the TLS of a target's last connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The protocol version: `"1.2"` or `"1.3"`.
    pub version: &'static str,
    /// The end of the validity of the server's certificate. `None` if it cannot be parsed.
    pub not_after: Option<SystemTime>,
}

impl TlsFacts {
    /// Reads the facts of a connection.
    pub(super) fn of(info: &TlsInfo) -> TlsFacts {
        let version = match info.version {
            ProtocolVersion::TLSv1_2 => "1.2",
            _ => "1.3",
        };
        TlsFacts { version, not_after: info.expires() }
    }

    /// The number of whole days until the certificate expires. Negative after that.
    pub fn days_left(&self, now: SystemTime) -> Option<i64> {
        Some(days_left(self.not_after?, now))
    }
}

/// A number of days for people.
pub(super) fn days(count: i64) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}
