//! A readable view of an X.509 certificate.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Validity;

use crate::tls::verify::Sha256;

/// The contents of a certificate, for display and for decisions. It is only parsed, not verified.
/// Texts are those of the certificate, raw: print them [escaped](crate::escape).
///
/// [`TlsInfo::certificates`](crate::tls::TlsInfo::certificates) returns those of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("getPeerCertificate", "X509", "x509"))]
pub struct Certificate {
    /// The subject, as in RFC 4514: `CN=example.org,O=Example`.
    pub subject: String,
    /// The issuer, written like the subject.
    pub issuer: String,
    /// The subject alternative names: DNS names, IP addresses, e-mail addresses and URIs.
    pub names: Vec<String>,
    /// The begin of the validity.
    pub not_before: SystemTime,
    /// The end of the validity.
    pub not_after: SystemTime,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// The kind of the public key: `RSA`, `P-256`, `P-384`, `P-521`, `Ed25519`, or an OID.
    pub key_kind: String,
    /// The size of the public key in bits. 0: unknown.
    pub key_bits: usize,
    /// The algorithm of the issuer's signature, such as `ecdsa-with-SHA256`, or an OID.
    pub signature_algorithm: String,
    /// Whether it is the certificate of a CA.
    pub is_ca: bool,
    /// SHA-256 hash of the whole certificate, as browsers show it. `None` if the certificate was
    /// parsed outside of a connection, or if the crypto provider has no SHA-256.
    pub fingerprint: Option<[u8; 32]>,
    /// SHA-256 hash of the public key (SPKI), as in
    /// [`ClientTls::pinned_keys`](crate::tls::ClientTls::pinned_keys). `None` if the certificate
    /// was parsed outside of a connection.
    pub key_hash: Option<[u8; 32]>,
}

impl Certificate {
    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// [`MalformedCertificate`] with the reason.
    pub fn parse(der: &[u8]) -> Result<Certificate, MalformedCertificate> {
        Certificate::read(der, None)
    }

    pub(super) fn read(der: &[u8], hash: Option<Sha256>) -> Result<Certificate, MalformedCertificate> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|error| malformed(&error))?;
        let body = &parsed.tbs_certificate;
        let (key_kind, key_bits) = key(&body.subject_public_key_info);
        let constraints = body.get::<BasicConstraints>().ok().flatten();
        let key_der = hash.and_then(|_| body.subject_public_key_info.to_der().ok());
        Ok(Certificate {
            subject: body.subject.to_string(),
            issuer: body.issuer.to_string(),
            names: names(body.get::<SubjectAltName>().ok().flatten()),
            not_before: body.validity.not_before.to_system_time(),
            not_after: body.validity.not_after.to_system_time(),
            serial: body.serial_number.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            key_kind,
            key_bits,
            signature_algorithm: known(SIGNATURES, parsed.signature_algorithm.oid),
            is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            fingerprint: hash.map(|hash| hash.of(der)),
            key_hash: hash.zip(key_der).map(|(hash, key)| hash.of(&key)),
        })
    }

    /// Whether subject and issuer are the same.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The number of whole days from `now` to the end of the validity. Negative after it.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        days_left(self.not_after, now)
    }

    /// The time from `now` to the end of the validity. Zero if it has expired.
    pub fn valid_for(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// The number of whole days from `now` to the end of a validity, -1 in the first day after it. The
/// last second is a part of the validity (RFC 5280, section 4.1.2.5).
pub(crate) fn days_left(not_after: SystemTime, now: SystemTime) -> i64 {
    let seconds = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    (seconds(not_after) - seconds(now)).div_euclid(SECONDS_OF_A_DAY)
}

const SECONDS_OF_A_DAY: i64 = 86_400;

/// Reads only the validity of a certificate, without an allocation.
pub(super) fn validity(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let mut reader = SliceReader::new(der).ok()?;
    // Certificate, TBSCertificate.
    Header::decode(&mut reader).ok()?;
    Header::decode(&mut reader).ok()?;
    if reader.peek_byte()? == VERSION_TAG {
        AnyRef::decode(&mut reader).ok()?;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        AnyRef::decode(&mut reader).ok()?;
    }
    let validity = Validity::decode(&mut reader).ok()?;
    Some((validity.not_before.to_system_time(), validity.not_after.to_system_time()))
}

fn names(names: Option<(bool, SubjectAltName)>) -> Vec<String> {
    let all = names.map(|(_, names)| names.0).unwrap_or_default();
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => Some(name.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|address| address.to_string()),
        _ => None,
    };
    all.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Kind and bits of a public key.
fn key(info: &SubjectPublicKeyInfoOwned) -> (String, usize) {
    let algorithm = info.algorithm.oid;
    let curve = || info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok();
    let oid = match algorithm == EC_KEY {
        true => curve().unwrap_or(algorithm),
        false => algorithm,
    };
    let bits = match KEYS.iter().find(|(known, ..)| *known == oid) {
        Some((_, kind, 0)) => return ((*kind).to_owned(), rsa_bits(info).unwrap_or(0)),
        Some((_, kind, bits)) => return ((*kind).to_owned(), *bits),
        None => 0,
    };
    (oid.to_string(), bits)
}

fn rsa_bits(info: &SubjectPublicKeyInfoOwned) -> Option<usize> {
    let mut reader = SliceReader::new(info.subject_public_key.as_bytes()?).ok()?;
    Header::decode(&mut reader).ok()?;
    let modulus = UintRef::decode(&mut reader).ok()?;
    let bytes = modulus.as_bytes();
    let leading = bytes.first()?.leading_zeros() as usize;
    Some(bytes.len() * 8 - leading)
}

fn known(names: &[(ObjectIdentifier, &str)], oid: ObjectIdentifier) -> String {
    match names.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => oid.to_string(),
    }
}

/// Error of parsing a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedCertificate {
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for MalformedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed certificate: {}", self.why)
    }
}

impl Error for MalformedCertificate {}

fn malformed(error: &x509_cert::der::Error) -> MalformedCertificate {
    MalformedCertificate { why: error.to_string() }
}

/// `[0]`, explicit: the version of a certificate.
const VERSION_TAG: u8 = 0xa0;

const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// Public keys and their bits. 0: as in the key.
const KEYS: &[(ObjectIdentifier, &str, usize)] = &[
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"), "RSA", 0),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "P-256", 256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "P-384", 384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "P-521", 521),
    (ObjectIdentifier::new_unwrap("1.3.101.112"), "Ed25519", 256),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448", 456),
];

const SIGNATURES: &[(ObjectIdentifier, &str)] = &[
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "sha1WithRSAEncryption"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10"), "RSASSA-PSS"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), "sha256WithRSAEncryption"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), "sha384WithRSAEncryption"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), "sha512WithRSAEncryption"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), "ecdsa-with-SHA256"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), "ecdsa-with-SHA384"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), "ecdsa-with-SHA512"),
    (ObjectIdentifier::new_unwrap("1.3.101.112"), "Ed25519"),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_negative_after_the_end() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 86_400);
        for (seconds, days) in [(172_800, 2), (172_799, 1), (86_400, 1), (86_399, 0), (0, 0)] {
            assert_eq!(days_left(end, end - Duration::from_secs(seconds)), days);
        }
        for (millis, days) in [(999, 0), (1000, -1), (86_400_000, -1), (86_401_000, -2)] {
            assert_eq!(days_left(end, end + Duration::from_millis(millis)), days);
        }
    }
}
