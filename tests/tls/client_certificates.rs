//! Client certificates: required, optional, and refused.

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use twistor::tls::rustls::AlertDescription;
use twistor::tls::{
    ClientCertificates, ClientTls, Identity, ServerTls, TlsAcceptor, TlsConnector, TlsError, TlsVersion,
};

use crate::certificates::{Authority, NAME};
use crate::end::{Seen, end, meet};
use crate::world::{World, on_each_back_end};

/// Connects a client with this certificate. Returns what client and server have seen.
fn connected(
    world: &World,
    authority: &Authority,
    clients: ClientCertificates,
    identity: Option<Identity>,
    version: TlsVersion,
) -> (Seen, Seen) {
    let mut reactor = world.reactor();
    let (client, client_seen) = end();
    let (server, server_seen) = end();
    let acceptor = TlsAcceptor::new(ServerTls {
        client_certificates: clients,
        ..ServerTls::from(authority.issue(NAME))
    });
    let only_12 = version == TlsVersion::Tls12;
    let mut provider = (*crate::bare::provider()).clone();
    if only_12 {
        provider.cipher_suites.retain(|suite| suite.tls13().is_none());
    }
    let connector =
        TlsConnector::new(ClientTls { identity, provider: Some(provider.into()), ..authority.client() });
    let client = client.acting(|what, transport, _| match what {
        "made" => transport.write("hello"),
        "data" => transport.lose_connection(),
        _ => {}
    });
    meet(
        world,
        &mut reactor,
        acceptor.unwrap().factory(server.echoing()),
        connector.unwrap().factory(client, NAME).unwrap(),
    );
    (client_seen, server_seen)
}

#[test]
fn a_server_sees_the_certificate_of_its_client() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
            for clients in [
                ClientCertificates::Required(authority.roots()),
                ClientCertificates::Optional(authority.roots()),
            ] {
                let identity = authority.issue("client.test");
                let (client, server) = connected(world, &authority, clients, Some(identity.clone()), version);
                assert_eq!(client.events(), ["made", "data", "lost Done"]);
                assert_eq!(server.info().chain(), identity.chain());
                let names = server.info().certificate().unwrap().unwrap().names;
                assert_eq!(names, ["client.test"]);
            }
        }
    });
}

#[test]
fn an_optional_certificate_can_be_missing() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let clients = ClientCertificates::Optional(authority.roots());
        let (client, server) = connected(world, &authority, clients, None, TlsVersion::Tls13);
        assert_eq!(client.events(), ["made", "data", "lost Done"]);
        assert!(server.info().chain().is_empty());
        assert!(server.info().certificate().is_none());
    });
}

#[test]
fn a_missing_or_bad_client_certificate_is_refused_by_alert() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let expired = authority.issue_with("client.test", |params| {
            params.not_after = date_time_ymd(2001, 1, 1);
        });
        let of_a_server = authority.issue_with("client.test", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        let unknown = Authority::new().issue("client.test");
        for (identity, alert) in [
            (None, AlertDescription::CertificateRequired),
            (Some(expired), AlertDescription::CertificateExpired),
            (Some(of_a_server), AlertDescription::UnsupportedCertificate),
            (Some(unknown), AlertDescription::UnknownCA),
        ] {
            let clients = ClientCertificates::Required(authority.roots());
            let (client, server) = connected(world, &authority, clients, identity, TlsVersion::Tls13);
            // The handshake of a client with TLS 1.3 is completed before the server's verdict.
            assert_eq!(client.events(), ["made", "lost alert"], "{alert:?}");
            assert_eq!(client.error(), TlsError::Alert(alert));
            assert!(server.events().is_empty(), "no protocol was built");
        }
        let clients = ClientCertificates::Required(authority.roots());
        let (client, _) = connected(world, &authority, clients, None, TlsVersion::Tls12);
        assert_eq!(client.events(), ["failed alert"]);
    });
}
