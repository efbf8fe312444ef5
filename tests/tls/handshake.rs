//! The handshake: byte by byte, stalled at every flight, ended in between, and its limits.

use std::time::Duration;

use twistor::tls::rustls::{self, AlertDescription};
use twistor::tls::{ClientTls, ServerTls, TlsAcceptor, TlsConnector, TlsError, TlsVersion};
use twistor::{ConnectTcp, ConnectorState, Reason, Settings};

use crate::bare::{Bare, provider, say};
use crate::certificates::{Authority, NAME};
use crate::end::{end, finish, listen, meet, secured};
use crate::world::{Record, on_each_back_end};

#[test]
fn a_connection_is_made_when_the_handshake_is_completed() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, server_seen) = end();
        let (client, client_seen) = end();
        let client = client.acting(|what, transport, _| match what {
            "made" => transport.write("hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        let (server, client) = secured(&authority, server.echoing(), client);
        meet(world, &mut reactor, server, client);
        assert_eq!(client_seen.events(), ["made", "data", "lost Done"]);
        assert_eq!(server_seen.events(), ["made", "data", "read lost", "lost Done"]);
        assert_eq!((client_seen.text(), server_seen.text()), ("hello".into(), "hello".into()));
        let (client, server) = (client_seen.info(), server_seen.info());
        assert_eq!(client.version, rustls::ProtocolVersion::TLSv1_3);
        assert_eq!((client.version, client.cipher_suite), (server.version, server.cipher_suite));
        assert_eq!((client.server_name(), server.server_name()), (Some(NAME), Some(NAME)));
        assert_eq!(client.chain().len(), 1);
        assert!(!client.resumed && client.problem.is_none());
    });
}

#[test]
fn a_handshake_comes_byte_by_byte() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let mut reactor = world.reactor_with(Settings { read_buffer: 1, ..Settings::default() });
            let (server, seen) = end();
            let (bare, bare_seen) = Bare::client_of(&authority, versions);
            let bare = bare.acting(|what, session, transport| match what {
                "handshaken" => say(session, b"hello"),
                "data" => {
                    session.send_close_notify();
                    crate::bare::send(session, transport);
                    transport.lose_connection();
                }
                _ => {}
            });
            meet(world, &mut reactor, authority.acceptor().factory(server.echoing()), bare);
            assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
            assert!(bare_seen.received.borrow().starts_with(b"h"), "the echo");
        }
    });
}

#[test]
fn a_client_that_stalls_is_ended_at_every_flight() {
    on_each_back_end(|world| {
        if world.simulated().is_none() {
            return; // Ten seconds pass.
        }
        let authority = Authority::new();
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            for flights in 0..2 {
                let mut reactor = world.reactor();
                let began = reactor.now();
                let (server, seen) = end();
                let (bare, bare_seen) = Bare::client_of(&authority, versions);
                let acceptor = authority.acceptor();
                meet(world, &mut reactor, acceptor.factory(server), bare.stalling_after(flights));
                assert!(seen.events().is_empty(), "no protocol was built");
                assert!(bare_seen.lost.borrow().is_some());
                let passed = reactor.now() - began;
                assert!((10..12).contains(&passed.as_secs()), "{passed:?}");
            }
        }
    });
}

#[test]
fn a_server_that_stalls_fails_the_client_at_every_flight() {
    on_each_back_end(|world| {
        if world.simulated().is_none() {
            return; // Ten seconds pass.
        }
        let authority = Authority::new();
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for flights in 0..if version.version == rustls::ProtocolVersion::TLSv1_3 { 1 } else { 2 } {
                let mut reactor = world.reactor();
                let identity = authority.issue(NAME);
                let config = rustls::ServerConfig::builder_with_provider(provider())
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(identity.chain().to_vec(), identity.private_key().clone_key());
                let (bare, _) = Bare::server_with(config.unwrap());
                let (client, seen) = end();
                let limit = Duration::from_secs(5);
                let options = ClientTls { handshake_timeout: limit, ..authority.client() };
                let client = TlsConnector::new(options).unwrap().factory(client, NAME).unwrap();
                meet(world, &mut reactor, bare.stalling_after(flights), client);
                assert_eq!(seen.events(), ["failed handshake_timeout"]);
                assert_eq!(seen.error(), TlsError::HandshakeTimedOut(limit));
            }
        }
    });
}

#[test]
fn the_connect_timeout_includes_the_handshake() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, _) = end();
        // A server that accepts and says nothing.
        let server = server.acting(|what, transport, _| {
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let listener = listen(world, &mut reactor, server);
        let (client, seen) = end();
        let limit = Duration::from_millis(50);
        let connect = ConnectTcp { timeout: limit, ..ConnectTcp::try_from(listener.address()).unwrap() };
        let factory = authority.connector().factory(client, NAME).unwrap();
        let id = reactor.connect_tcp(connect, factory).unwrap();
        let states = Record::new();
        while let Some(connector) = reactor.connector(id) {
            states.add(format!("{:?}", connector.state()));
            reactor.iterate(Some(Duration::from_millis(5))).unwrap();
        }
        assert!(states.has(&format!("{:?}", ConnectorState::Securing)), "{:?}", states.events());
        finish(world, &mut reactor, &listener);
        assert_eq!(*seen.reason.borrow(), Some(Reason::TimedOut(limit)));
    });
}

#[test]
fn a_peer_that_closes_in_the_handshake_is_an_error() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "data" {
                transport.lose_connection();
            }
        });
        let (client, seen) = end();
        meet(world, &mut reactor, server, authority.connector().factory(client, NAME).unwrap());
        assert_eq!(seen.error(), TlsError::ClosedInHandshake);
        // A server hears nothing of health checks, and builds no protocol for half a handshake.
        let (server, server_seen) = end();
        let listener = listen(world, &mut reactor, authority.acceptor().factory(server));
        for hello in [&b""[..], &[22, 3, 1, 2]] {
            let mut peer = world.connect(listener.address());
            peer.send(hello);
            peer.finish();
            let _ = peer.read_to_end(&mut reactor);
        }
        finish(world, &mut reactor, &listener);
        assert!(server_seen.events().is_empty());
    });
}

#[test]
fn too_many_bytes_of_a_handshake_end_it() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for (limit, made) in [(100, false), (100_000, true)] {
            let mut reactor = world.reactor();
            let options = ServerTls { max_handshake_bytes: limit, ..ServerTls::from(authority.issue(NAME)) };
            let acceptor = TlsAcceptor::new(options).unwrap();
            let (server, server_seen) = end();
            let (client, client_seen) = end();
            let client = client.acting(|_, transport, _| transport.lose_connection());
            let client = authority.connector().factory(client, NAME).unwrap();
            meet(world, &mut reactor, acceptor.factory(server.echoing()), client);
            assert_eq!(server_seen.record.has("made"), made);
            assert_eq!(client_seen.record.has("made"), made);
            // A client limits the server in the same way.
            let options = ClientTls { max_handshake_bytes: limit, ..authority.client() };
            let connector = TlsConnector::new(options).unwrap();
            let (client, client_seen) = end();
            let (server, _) = end();
            let client = client.acting(|_, transport, _| transport.lose_connection());
            let server = authority.acceptor().factory(server.echoing());
            meet(world, &mut reactor, server, connector.factory(client, NAME).unwrap());
            let ends = if made { ["made", "lost Done"] } else { ["failed handshake_too_large", ""] };
            assert_eq!(client_seen.events()[0], ends[0]);
        }
    });
}

#[test]
fn versions_and_ciphers_without_a_common_one_are_named() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut only_12 = (*provider()).clone();
        only_12.cipher_suites.retain(|suite| suite.tls13().is_none());
        let mut one = (*provider()).clone();
        one.cipher_suites.truncate(1);
        let mut another = (*provider()).clone();
        another.cipher_suites = another.cipher_suites[1..2].to_vec();
        for (server, client, alert) in [
            (
                ServerTls { min_version: TlsVersion::Tls13, ..ServerTls::default() },
                ClientTls { provider: Some(only_12.clone().into()), ..authority.client() },
                AlertDescription::ProtocolVersion,
            ),
            (
                ServerTls { provider: Some(only_12.into()), ..ServerTls::default() },
                ClientTls { min_version: TlsVersion::Tls13, ..authority.client() },
                AlertDescription::ProtocolVersion,
            ),
            (
                ServerTls { provider: Some(one.into()), ..ServerTls::default() },
                ClientTls { provider: Some(another.into()), ..authority.client() },
                AlertDescription::HandshakeFailure,
            ),
        ] {
            let mut reactor = world.reactor();
            let server = ServerTls { identities: vec![authority.issue(NAME)], ..server };
            let acceptor = TlsAcceptor::new(server).unwrap();
            let connector = TlsConnector::new(client).unwrap();
            let (client, seen) = end();
            meet(world, &mut reactor, acceptor.factory(end().0), connector.factory(client, NAME).unwrap());
            assert_eq!(seen.error(), TlsError::Alert(alert));
        }
    });
}

#[test]
fn a_reset_in_the_handshake_is_a_lost_connection() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "data" {
                transport.abort_connection();
            }
        });
        let (client, seen) = end();
        meet(world, &mut reactor, server, authority.connector().factory(client, NAME).unwrap());
        assert_eq!(seen.events(), ["failed Lost"]);
    });
}
