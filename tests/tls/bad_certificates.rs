//! A bad certificate ends the handshake with an error of its own kind, and the peer gets an alert
//! that says so.

use rcgen::{ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use twistor::tls::rustls::{AlertDescription, Error};
use twistor::tls::{
    CertificateProblem, ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector, TlsError,
    Verification,
};

use crate::bare::Bare;
use crate::certificates::{Authority, NAME, self_signed};
use crate::end::{end, meet};
use crate::world::on_each_back_end;

/// A server's certificate, the client's options, the name of the problem, and the alert.
type Case = (Identity, ClientTls, &'static str, AlertDescription);

fn cases() -> Vec<Case> {
    let authority = Authority::new();
    let issue = |change: &dyn Fn(&mut rcgen::CertificateParams)| authority.issue_with(NAME, change);
    let other = Authority::new();
    let intermediate = authority.intermediate().issue(NAME);
    let key = key_of(&intermediate);
    let incomplete = Identity::new(intermediate.chain()[..1].to_vec(), key).unwrap();
    let revoked = issue(&|params| params.serial_number = Some(SerialNumber::from(7u64)));
    let revoking = ClientTls { revocation_lists: vec![authority.revoking(&[7])], ..authority.client() };
    let pinning = ClientTls { pinned_keys: vec![[7; 32]], ..authority.client() };
    let only_pinning = ClientTls { roots: Roots::PinnedKeys, ..pinning.clone() };
    let plain = || authority.client();
    vec![
        (
            issue(&|params| params.not_after = date_time_ymd(2001, 1, 1)),
            plain(),
            "expired",
            AlertDescription::CertificateExpired,
        ),
        (
            issue(&|params| params.not_before = date_time_ymd(2099, 1, 1)),
            plain(),
            "not_yet_valid",
            AlertDescription::CertificateExpired,
        ),
        (authority.issue("other.test"), plain(), "wrong_name", AlertDescription::BadCertificate),
        (other.issue(NAME), plain(), "unknown_issuer", AlertDescription::UnknownCA),
        (incomplete, plain(), "unknown_issuer", AlertDescription::UnknownCA),
        (self_signed(NAME), plain(), "self_signed", AlertDescription::UnknownCA),
        (
            issue(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            plain(),
            "wrong_usage",
            AlertDescription::UnsupportedCertificate,
        ),
        (
            issue(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            plain(),
            "wrong_usage",
            AlertDescription::CertificateUnknown,
        ),
        (revoked, revoking, "revoked", AlertDescription::CertificateRevoked),
        (authority.issue(NAME), pinning, "wrong_key", AlertDescription::AccessDenied),
        (authority.issue(NAME), only_pinning, "wrong_key", AlertDescription::AccessDenied),
    ]
}

/// The key of an identity. Tests of `Identity` itself do not need it.
fn key_of(identity: &Identity) -> twistor::tls::PrivateKeyDer<'static> {
    identity.private_key().clone_key()
}

#[test]
fn a_bad_certificate_is_refused_with_its_own_error() {
    on_each_back_end(|world| {
        for (identity, options, problem, alert) in cases() {
            let mut reactor = world.reactor();
            let (client, seen) = end();
            let (bare, server) = Bare::server(&identity, key_of(&identity));
            let connector = TlsConnector::new(options).unwrap();
            meet(world, &mut reactor, bare, connector.factory(client, NAME).unwrap());
            assert_eq!(seen.events(), [format!("failed {problem}")]);
            assert!(matches!(seen.error(), TlsError::BadCertificate(_)));
            assert_eq!(*server.error.borrow(), Some(Error::AlertReceived(alert)), "{problem}");
        }
    });
}

#[test]
fn the_errors_say_what_is_wrong() {
    on_each_back_end(|world| {
        let mut texts = Vec::new();
        for (identity, options, ..) in cases() {
            let mut reactor = world.reactor();
            let (client, seen) = end();
            let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
            let connector = TlsConnector::new(options).unwrap();
            let (server, _) = end();
            meet(world, &mut reactor, acceptor.factory(server), connector.factory(client, NAME).unwrap());
            texts.push(seen.error().to_string());
        }
        for (text, part) in texts.iter().zip([
            "expired at 2001-01-01T00:00:00Z",
            "not valid before 2099-01-01T00:00:00Z",
            "not for server.test, but for other.test",
            "issued by CN=Test Root",
            "issued by CN=Test Intermediate",
            "self-signed",
            "server authentication",
            "a CA's certificate",
            "revoked",
            "SHA-256 hash is ",
            "SHA-256 hash is ",
        ]) {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    });
}

#[test]
fn a_reported_problem_lets_the_connection_live() {
    on_each_back_end(|world| {
        for (identity, options, problem, _) in cases() {
            let mut reactor = world.reactor();
            let (client, seen) = end();
            let (server, _) = end();
            let connector =
                TlsConnector::new(ClientTls { verification: Verification::Reported, ..options }).unwrap();
            let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
            let client = client.acting(|_, transport, _| transport.lose_connection());
            meet(
                world,
                &mut reactor,
                acceptor.factory(server.echoing()),
                connector.factory(client, NAME).unwrap(),
            );
            assert_eq!(seen.events(), ["made", "lost Done"], "{problem}");
            assert_eq!(seen.info().problem.as_ref().map(CertificateProblem::name), Some(problem));
        }
    });
}

#[test]
fn a_pinned_key_replaces_roots_and_names() {
    on_each_back_end(|world| {
        let identity = self_signed("somewhere.else");
        // The hash is learned from a connection that only reports problems.
        let learning = ClientTls { verification: Verification::Reported, ..Authority::new().client() };
        let mut pin = None;
        for _ in 0..2 {
            let mut reactor = world.reactor();
            let (client, seen) = end();
            let (server, _) = end();
            let options = match pin {
                None => learning.clone(),
                Some(pin) => {
                    ClientTls { roots: Roots::PinnedKeys, pinned_keys: vec![pin], ..ClientTls::default() }
                }
            };
            let connector = TlsConnector::new(options).unwrap();
            let acceptor = TlsAcceptor::new(ServerTls::from(identity.clone())).unwrap();
            let client = client.acting(|_, transport, _| transport.lose_connection());
            meet(
                world,
                &mut reactor,
                acceptor.factory(server.echoing()),
                connector.factory(client, NAME).unwrap(),
            );
            assert_eq!(seen.events(), ["made", "lost Done"]);
            pin = seen.info().certificate().unwrap().unwrap().key_hash;
        }
    });
}

#[test]
fn a_forged_handshake_signature_is_refused() {
    // The server has the certificate, and another key.
    on_each_back_end(|world| {
        let authority = Authority::new();
        let (stolen, own) = (authority.issue(NAME), authority.issue(NAME));
        let signer = twistor::tls::rustls::crypto::ring::sign::any_supported_type(own.private_key()).unwrap();
        let certified = twistor::tls::rustls::sign::CertifiedKey::new(stolen.chain().to_vec(), signer);
        let config = twistor::tls::rustls::ServerConfig::builder_with_provider(crate::bare::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(std::sync::Arc::new(twistor::tls::rustls::sign::SingleCertAndKey::from(
                certified,
            )));
        let mut reactor = world.reactor();
        let (client, seen) = end();
        let (bare, server) = Bare::server_with(config);
        meet(world, &mut reactor, bare, authority.connector().factory(client, NAME).unwrap());
        assert_eq!(seen.error(), TlsError::BadCertificate(CertificateProblem::BadSignature));
        let alert = Error::AlertReceived(AlertDescription::DecryptError);
        assert_eq!(*server.error.borrow(), Some(alert));
    });
}
