//! Certificates that are made for a test.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use twistor::tls::{
    CertificateDer, CertificateRevocationListDer, ClientTls, Identity, PrivateKeyDer, Roots, ServerTls,
    TlsAcceptor, TlsConnector,
};

/// The name of most servers.
pub const NAME: &str = "server.test";

/// A certification authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates between it and the root, its own first. Empty for a root.
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub fn new() -> Authority {
        let issuer = CertifiedIssuer::self_signed(authority(&unique("Test Root")), key()).unwrap();
        Authority { issuer, chain: Vec::new() }
    }

    /// An authority below this one.
    pub fn intermediate(&self) -> Authority {
        let issuer = CertifiedIssuer::signed_by(authority("Test Intermediate"), key(), &self.issuer).unwrap();
        let chain = [&[issuer.der().clone()], &self.chain[..]].concat();
        Authority { issuer, chain }
    }

    /// Issues a certificate for a server or a client.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("{name} (test)"));
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = key();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [&[own.der().clone()], &self.chain[..]].concat();
        Identity::new(chain, private(&key)).unwrap()
    }

    /// A list that revokes certificates by their serial numbers.
    pub fn revoking(&self, serials: &[u64]) -> CertificateRevocationListDer<'static> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn roots(&self) -> Roots {
        Roots::Only(vec![self.der()])
    }

    /// The options of a client that trusts this authority.
    pub fn client(&self) -> ClientTls {
        ClientTls { roots: self.roots(), ..ClientTls::default() }
    }

    /// A client that trusts this authority.
    pub fn connector(&self) -> TlsConnector {
        TlsConnector::new(self.client()).unwrap()
    }

    /// A server with a certificate of this authority, for [`NAME`].
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::new(ServerTls::from(self.issue(NAME))).unwrap()
    }
}

/// A certificate that no authority has issued.
pub fn self_signed(name: &str) -> Identity {
    let key = key();
    let own = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Identity::new(vec![own.der().clone()], private(&key)).unwrap()
}

/// Roots with equal names and different keys would be taken for each other.
fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{name} {}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}
