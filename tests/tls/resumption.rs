//! Sessions are resumed, where both sides want it.

use twistor::tls::rustls::crypto::ring::Ticketer;
use twistor::tls::{ClientTls, ServerTls, TlsAcceptor, TlsConnector};

use crate::certificates::{Authority, NAME};
use crate::end::{Seen, end, meet};
use crate::world::{World, on_each_back_end};

fn connected(world: &World, acceptor: &TlsAcceptor, connector: &TlsConnector) -> (Seen, Seen) {
    let mut reactor = world.reactor();
    let (client, client_seen) = end();
    let (server, server_seen) = end();
    let client = client.acting(|what, transport, _| {
        if what == "data" {
            transport.lose_connection();
        }
    });
    meet(
        world,
        &mut reactor,
        acceptor.factory(server.saying("hello")),
        connector.factory(client, NAME).unwrap(),
    );
    (client_seen, server_seen)
}

#[test]
fn a_second_connection_resumes_the_session() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for tls12 in [false, true] {
            for ticketer in [false, true] {
                let acceptor = TlsAcceptor::new(ServerTls {
                    ticketer: ticketer.then(|| Ticketer::new().unwrap()),
                    ..ServerTls::from(authority.issue(NAME))
                });
                let acceptor = acceptor.unwrap();
                let mut provider = (*crate::bare::provider()).clone();
                if tls12 {
                    provider.cipher_suites.retain(|suite| suite.tls13().is_none());
                }
                let options = ClientTls { provider: Some(provider.into()), ..authority.client() };
                let connector = TlsConnector::new(options).unwrap();
                let (first, _) = connected(world, &acceptor, &connector);
                let (second, server) = connected(world, &acceptor, &connector);
                assert_eq!(second.events(), ["made", "data", "lost Done"]);
                assert_eq!((first.info().resumed, second.info().resumed), (false, true));
                assert!(server.info().resumed);
                assert_eq!(second.info().chain(), first.info().chain(), "the peer is the same");
                assert_eq!(second.info().certificate().unwrap().unwrap().names, [NAME]);
            }
        }
    });
}

#[test]
fn resumption_can_be_turned_off_on_either_side() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for (server, client) in [(0, 256), (256, 0)] {
            let options = ServerTls { max_sessions: server, ..ServerTls::from(authority.issue(NAME)) };
            let acceptor = TlsAcceptor::new(options).unwrap();
            let connector =
                TlsConnector::new(ClientTls { max_sessions: client, ..authority.client() }).unwrap();
            for _ in 0..2 {
                assert!(!connected(world, &acceptor, &connector).0.info().resumed);
            }
        }
    });
}
