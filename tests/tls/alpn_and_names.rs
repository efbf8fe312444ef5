//! The application protocol and the certificate are chosen in the handshake.

use twistor::tls::rustls::AlertDescription;
use twistor::tls::{ClientTls, Identity, ServerTls, TlsAcceptor, TlsConnector, TlsError, by_alpn};

use crate::certificates::{Authority, NAME};
use crate::end::{Seen, end, finish, listen, meet};
use crate::world::{World, on_each_back_end};

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

#[test]
fn alpn_chooses_the_protocol_of_both_sides() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for (offered, chosen) in [
            (&["new", "old"][..], Some("new")),
            (&["old", "new"], Some("new")),
            (&["unknown", "old"], Some("old")),
            (&[], None),
        ] {
            let mut reactor = world.reactor();
            let connector =
                TlsConnector::new(ClientTls { alpn: protocols(offered), ..authority.client() }).unwrap();
            let acceptor = TlsAcceptor::new(ServerTls {
                alpn: protocols(&["new", "old"]),
                ..ServerTls::from(authority.issue(NAME))
            });
            let (client, seen) = end();
            let client = client.acting(|what, transport, _| {
                if what == "data" {
                    transport.lose_connection();
                }
            });
            let server = by_alpn(move |protocol| {
                let (server, _) = end();
                let said = match protocol {
                    Some(b"new") => "the new one",
                    Some(b"old") => "the old one",
                    _ => "none",
                };
                Some(Box::new(server.saying(said).into_protocol()))
            });
            meet(
                world,
                &mut reactor,
                acceptor.unwrap().factory(server),
                connector.factory(client, NAME).unwrap(),
            );
            assert_eq!(seen.text(), chosen.map_or("none".to_owned(), |name| format!("the {name} one")));
            assert_eq!(seen.info().alpn(), chosen.map(str::as_bytes));
        }
    });
}

#[test]
fn without_a_common_protocol_there_is_no_connection() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let connector =
            TlsConnector::new(ClientTls { alpn: protocols(&["a"]), ..authority.client() }).unwrap();
        let acceptor =
            TlsAcceptor::new(ServerTls { alpn: protocols(&["b"]), ..ServerTls::from(authority.issue(NAME)) });
        let (client, seen) = end();
        let (server, server_seen) = end();
        meet(
            world,
            &mut reactor,
            acceptor.unwrap().factory(server),
            connector.factory(client, NAME).unwrap(),
        );
        assert_eq!(seen.error(), TlsError::Alert(AlertDescription::NoApplicationProtocol));
        assert!(server_seen.events().is_empty());
    });
}

fn ask(world: &World, acceptor: &TlsAcceptor, connector: &TlsConnector, name: &str) -> (Seen, Seen) {
    let mut reactor = world.reactor();
    let (client, client_seen) = end();
    let (server, server_seen) = end();
    let client = client.acting(|_, transport, _| transport.lose_connection());
    let listener = listen(world, &mut reactor, acceptor.factory(server.echoing()));
    reactor.connect_tcp(listener.address(), connector.factory(client, name).unwrap()).unwrap();
    finish(world, &mut reactor, &listener);
    (client_seen, server_seen)
}

fn subject_of(seen: &Seen) -> String {
    seen.info().certificate().unwrap().unwrap().subject
}

#[test]
fn a_server_chooses_its_certificate_by_name() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let identities =
            ["first.test", "second.test", "*.wild.test"].map(|name| authority.issue(name)).to_vec();
        let acceptor = TlsAcceptor::new(ServerTls { identities, ..ServerTls::default() }).unwrap();
        let connector = authority.connector();
        for (name, subject) in [
            ("first.test", "CN=first.test (test)"),
            ("second.test", "CN=second.test (test)"),
            ("SECOND.test.", "CN=second.test (test)"),
            ("a.wild.test", "CN=*.wild.test (test)"),
        ] {
            let (client, server) = ask(world, &acceptor, &connector, name);
            assert_eq!(subject_of(&client), subject, "{name}");
            assert!(server.info().server_name().is_some());
        }
        let (client, _) = ask(world, &acceptor, &connector, "unknown.test");
        assert_eq!(client.events(), ["failed wrong_name"], "the first certificate is the default");
    });
}

#[test]
fn unknown_names_can_be_refused() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::new(ServerTls {
            refuses_unknown_names: true,
            ..ServerTls::from(authority.issue(NAME))
        });
        let (client, _) = ask(world, &acceptor.unwrap(), &authority.connector(), "unknown.test");
        assert_eq!(client.events(), ["failed alert"]);
    });
}

#[test]
fn certificates_are_replaced_while_a_server_runs() {
    on_each_back_end(|world| {
        let (old, new) = (Authority::new(), Authority::new());
        let acceptor = old.acceptor();
        let clone = acceptor.clone();
        let (client, _) = ask(world, &clone, &old.connector(), NAME);
        assert_eq!(client.events(), ["made", "lost Done"]);
        acceptor.replace_identities(&[new.issue(NAME)]).unwrap();
        let mismatched =
            Identity::new(old.issue(NAME).chain().to_vec(), new.issue(NAME).private_key().clone_key());
        acceptor.replace_identities(&[mismatched.unwrap()]).unwrap_err();
        acceptor.replace_identities(&[]).unwrap_err();
        let (client, _) = ask(world, &clone, &new.connector(), NAME);
        assert_eq!(client.events(), ["made", "lost Done"], "the bad ones have changed nothing");
        let (client, _) = ask(world, &clone, &old.connector(), NAME);
        assert_eq!(client.events(), ["failed unknown_issuer"]);
    });
}

#[test]
fn an_address_can_be_the_name_of_a_server() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for (name, written) in [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]")] {
            let acceptor = TlsAcceptor::new(ServerTls::from(authority.issue(name))).unwrap();
            let (client, server) = ask(world, &acceptor, &authority.connector(), written);
            assert_eq!(client.events(), ["made", "lost Done"]);
            assert_eq!(client.info().certificate().unwrap().unwrap().names, [name]);
            assert_eq!(server.info().server_name(), None, "addresses are not sent");
        }
    });
}
