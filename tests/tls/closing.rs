//! A clean close and a truncation are distinct, each direction closes alone, and alerts arrive.

use twistor::tls::rustls::{self, AlertDescription, Error};
use twistor::tls::{ServerTls, TlsAcceptor, TlsError};

use crate::bare::{Bare, say, send};
use crate::certificates::{Authority, NAME};
use crate::end::{end, meet, secured};
use crate::world::on_each_back_end;

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn fin_without_close_notify_is_a_truncation() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for version in VERSIONS {
            for allowed in [false, true] {
                let mut reactor = world.reactor();
                let (server, seen) = end();
                let (bare, _) = Bare::client_of(&authority, &[version]);
                let bare = bare.acting(|what, session, transport| {
                    if what == "handshaken" {
                        say(session, b"the first half");
                        send(session, transport);
                        transport.lose_connection();
                    }
                });
                let acceptor = TlsAcceptor::new(ServerTls {
                    allow_truncation: allowed,
                    ..ServerTls::from(authority.issue(NAME))
                });
                meet(world, &mut reactor, acceptor.unwrap().factory(server.echoing()), bare);
                assert_eq!(seen.text(), "the first half", "what came before is delivered");
                match allowed {
                    false => {
                        assert_eq!(seen.events(), ["made", "data", "lost truncated"]);
                        assert_eq!(seen.error(), TlsError::Truncated);
                    }
                    true => assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]),
                }
            }
        }
    });
}

#[test]
fn a_record_that_is_cut_off_is_a_truncation() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, seen) = end();
        let (bare, _) = Bare::client(&authority);
        let bare = bare.acting(|what, session, transport| {
            if what == "handshaken" {
                say(session, b"whole");
                send(session, transport);
                say(session, b"never");
                let mut record = Vec::new();
                session.write_tls(&mut record).unwrap();
                transport.write(&record[..record.len() - 1]);
                transport.lose_connection();
            }
        });
        meet(world, &mut reactor, authority.acceptor().factory(server.echoing()), bare);
        assert_eq!((seen.text(), seen.error()), ("whole".into(), TlsError::Truncated));
    });
}

#[test]
fn close_notify_ends_the_input_cleanly() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for version in VERSIONS {
            let mut reactor = world.reactor();
            let (server, seen) = end();
            let (bare, bare_seen) = Bare::client_of(&authority, &[version]);
            let bare = bare.acting(|what, session, transport| {
                if what == "handshaken" {
                    say(session, b"all");
                    session.send_close_notify();
                    send(session, transport);
                    // Data after a close_notify is ignored (RFC 8446, section 6.1).
                    transport.write(b"\x17\x03\x03\0\x05trash");
                    transport.lose_write_connection();
                }
            });
            let server = server.acting(|what, transport, _| {
                if what == "read lost" {
                    transport.write("and the answer");
                    transport.lose_connection();
                }
            });
            meet(world, &mut reactor, authority.acceptor().factory(server), bare);
            assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
            assert_eq!(seen.text(), "all");
            assert_eq!(*bare_seen.received.borrow(), b"and the answer");
            assert!(*bare_seen.closed.borrow(), "a close_notify came back");
        }
    });
}

#[test]
fn each_direction_closes_alone() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, server_seen) = end();
        let (client, client_seen) = end();
        let client = client.acting(|what, transport, _| {
            if what == "made" {
                transport.write("question");
                transport.lose_write_connection();
            }
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let server = server.acting(|what, transport, _| {
            if what == "read lost" {
                transport.write("a late answer");
                transport.lose_connection();
            }
        });
        let (server, client) = secured(&authority, server, client);
        meet(world, &mut reactor, server, client);
        assert_eq!(client_seen.events(), ["made", "write lost", "data", "read lost", "lost Done"]);
        assert_eq!(server_seen.events(), ["made", "data", "read lost", "lost Done"]);
        assert_eq!((server_seen.text(), client_seen.text()), ("question".into(), "a late answer".into()));
    });
}

#[test]
fn a_broken_record_ends_with_an_alert() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        for version in VERSIONS {
            let mut reactor = world.reactor();
            let (server, seen) = end();
            let (bare, bare_seen) = Bare::client_of(&authority, &[version]);
            let bare = bare.acting(|what, session, transport| {
                if what == "handshaken" {
                    say(session, b"good");
                    send(session, transport);
                    say(session, b"changed on the way");
                    let mut record = Vec::new();
                    session.write_tls(&mut record).unwrap();
                    *record.last_mut().unwrap() ^= 1;
                    transport.write(&record);
                }
            });
            meet(world, &mut reactor, authority.acceptor().factory(server.echoing()), bare);
            assert_eq!(seen.text(), "good", "what came before is delivered");
            assert_eq!(seen.error(), TlsError::Protocol(Error::DecryptError));
            let alert = Error::AlertReceived(AlertDescription::BadRecordMac);
            assert_eq!(*bare_seen.error.borrow(), Some(alert));
        }
    });
}

#[test]
fn an_abort_says_nothing() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, server_seen) = end();
        let (client, client_seen) = end();
        let client = client.acting(|what, transport, _| {
            if what == "data" {
                transport.abort_connection();
            }
        });
        let (server, client) = secured(&authority, server.saying("hello"), client);
        meet(world, &mut reactor, server, client);
        assert_eq!(client_seen.events(), ["made", "data", "lost Aborted"]);
        assert_eq!(server_seen.events(), ["made", "lost Lost"]);
    });
}

#[test]
fn floods_of_empty_and_odd_records_end_a_connection() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        // In TLS 1.2 a change of ciphers and a warning are records in plain text before the end of
        // the handshake. In TLS 1.3 key updates are messages of a session.
        let mut reactor = world.reactor();
        let (server, seen) = end();
        let (bare, _) = Bare::client_of(&authority, &[&rustls::version::TLS13]);
        let bare = bare.acting(|what, session, transport| {
            if what == "handshaken" {
                for _ in 0..100 {
                    session.refresh_traffic_keys().unwrap();
                    send(session, transport);
                }
            }
        });
        meet(world, &mut reactor, authority.acceptor().factory(server.echoing()), bare);
        assert_eq!(seen.events(), ["made", "lost protocol"]);
    });
}
