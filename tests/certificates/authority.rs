//! A certification authority that writes PEM.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use twistor::tls::{Roots, certificates_from_pem};

use crate::place::Place;

/// The days of a validity, from today.
pub type Days = std::ops::Range<i64>;

/// Valid also by the clocks of simulations.
pub const ALWAYS: Days = -9000..9000;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key.
#[derive(Clone)]
pub struct Pem {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = day(ALWAYS.start).into();
        params.not_after = day(ALWAYS.end).into();
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Issues a certificate for a name and 127.0.0.1, valid for these days from today.
    pub fn issue(&self, name: &str, days: Days) -> Pem {
        self.issue_between(name, day(days.start), day(days.end), |_| {})
    }

    pub fn issue_between(
        &self,
        name: &str,
        from: SystemTime,
        until: SystemTime,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pem {
        let names = [name, "127.0.0.1"].map(str::to_owned);
        let (mut params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = from.into();
        params.not_after = until.into();
        // A certificate that cannot be revoked is a finding of its own.
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec!["http://127.0.0.1/list".to_owned()] }];
        change(&mut params);
        let own = params.signed_by(&key, &self.0).unwrap();
        Pem { chain: own.pem() + &self.pem(), key: key.serialize_pem() }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> Roots {
        Roots::Only(certificates_from_pem(self.pem().as_bytes()).unwrap())
    }
}

impl Pem {
    /// A certificate that no authority has issued.
    pub fn self_signed(name: &str) -> Pem {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Pem { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Writes chain and key to one file, as a whole.
    pub fn put_together(&self, place: &Place, name: &str) {
        place.put("draft", (self.chain.clone() + &self.key).as_bytes());
        place.rename("draft", name);
    }

    /// Writes `NAME.pem` and `NAME.key`, each as a whole.
    pub fn put(&self, place: &Place, name: &str) {
        for (ending, text) in [("pem", &self.chain), ("key", &self.key)] {
            place.put("draft", text.as_bytes());
            place.rename("draft", &format!("{name}.{ending}"));
        }
    }
}

/// A time of this day.
pub fn day(days: i64) -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    // An hour later, so that whole days are left for a while.
    SystemTime::UNIX_EPOCH + Duration::from_secs((now + days * 86_400 + 3600) as u64)
}
