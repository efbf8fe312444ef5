//! Numbers with names: types of records, and codes of responses.

use std::fmt;
use std::str::FromStr;

use domain::base::iana::{OptRcode, Rtype};

use crate::dns::DnsError;

/// The type of a record, as a number of the IANA registry.
///
/// ```
/// use twistor::dns::RecordType;
///
/// assert_eq!("mx".parse::<RecordType>()?, RecordType::MX);
/// assert_eq!("TYPE65280".parse::<RecordType>()?, RecordType(65280));
/// assert_eq!(RecordType::HTTPS.to_string(), "HTTPS");
/// # Ok::<(), twistor::dns::DnsError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: RecordType = RecordType(1);
    /// A name server of a zone.
    pub const NS: RecordType = RecordType(2);
    /// The canonical name of an alias.
    pub const CNAME: RecordType = RecordType(5);
    /// The start of a zone, with its times.
    pub const SOA: RecordType = RecordType(6);
    /// The name of an address, or another pointer.
    pub const PTR: RecordType = RecordType(12);
    /// A mail server.
    pub const MX: RecordType = RecordType(15);
    /// Text.
    pub const TXT: RecordType = RecordType(16);
    /// An IPv6 address.
    pub const AAAA: RecordType = RecordType(28);
    /// The host and the port of a service. (RFC 2782.)
    pub const SRV: RecordType = RecordType(33);
    /// The alias of a whole subtree. (RFC 6672.)
    pub const DNAME: RecordType = RecordType(39);
    /// The pseudo-record of EDNS. (RFC 6891.)
    pub const OPT: RecordType = RecordType(41);
    /// The endpoint of a service. (RFC 9460.)
    pub const SVCB: RecordType = RecordType(64);
    /// The endpoint of a web server. (RFC 9460.)
    pub const HTTPS: RecordType = RecordType(65);
    /// All types, in a question. Servers may answer with a subset. (RFC 8482.)
    pub const ANY: RecordType = RecordType(255);
    /// The authorities that may issue certificates. (RFC 8659.)
    pub const CAA: RecordType = RecordType(257);
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecordType::ANY => f.write_str("ANY"),
            RecordType(number) => write!(f, "{}", Rtype::from_int(number)),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordType({self})")
    }
}

impl FromStr for RecordType {
    type Err = DnsError;

    /// Parses a mnemonic in any case, or `TYPE` and a number (RFC 3597).
    ///
    /// # Errors
    /// [`DnsError::UnknownType`].
    fn from_str(text: &str) -> Result<RecordType, DnsError> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(RecordType::ANY);
        }
        let known = text.to_ascii_uppercase().parse::<Rtype>();
        known.map(|known| RecordType(known.to_int())).map_err(|_| DnsError::UnknownType(text.to_owned()))
    }
}

/// The code of a response: that of the header, extended by EDNS. (RFC 6895.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseCode(pub u16);

impl ResponseCode {
    /// No error.
    pub const NOERROR: ResponseCode = ResponseCode(0);
    /// The server could not read the question.
    pub const FORMERR: ResponseCode = ResponseCode(1);
    /// The server failed to find an answer.
    pub const SERVFAIL: ResponseCode = ResponseCode(2);
    /// The name does not exist.
    pub const NXDOMAIN: ResponseCode = ResponseCode(3);
    /// The server does not support this kind of question.
    pub const NOTIMP: ResponseCode = ResponseCode(4);
    /// The server does not answer this client.
    pub const REFUSED: ResponseCode = ResponseCode(5);
    /// The server does not support this version of EDNS.
    pub const BADVERS: ResponseCode = ResponseCode(16);
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A code has 12 bits. `checked_from_int` refuses all others, and these too.
        match OptRcode::masked_from_int(self.0).to_mnemonic_str().filter(|_| self.0 <= 0xfff) {
            Some(code) => f.write_str(code),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseCode({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_code_is_printed_by_its_name() {
        for (number, name) in [
            (0, "NOERROR"),
            (2, "SERVFAIL"),
            (3, "NXDOMAIN"),
            (5, "REFUSED"),
            (16, "BADVERS"),
            (15, "RCODE15"),
        ] {
            assert_eq!(ResponseCode(number).to_string(), name);
        }
        assert_eq!(ResponseCode(0x1003).to_string(), "RCODE4099");
    }
}
