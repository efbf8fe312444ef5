//! TLS that starts in mid-connection, and plain text that must not pass for encrypted input.

use twistor::framing::{LineReceiver, LineTransport, Lines};
use twistor::tls::{TlsAcceptor, TlsConnector, TlsError};
use twistor::{Protocol, Reason, Transport};

use crate::certificates::{Authority, NAME};
use crate::end::{End, Seen, end, finish, listen, meet};
use crate::world::{Record, World, kind, on_each_back_end, once};

fn starting_server(acceptor: TlsAcceptor) -> (End, Seen) {
    let (server, seen) = end();
    let server = server.acting(move |what, transport, data| match what {
        "data" if data.starts_with(b"STARTTLS\r\n") => {
            transport.write("go ahead\n");
            transport.start_tls(acceptor.layer());
            transport.unread(&data[10..]);
            transport.write("in private: ");
        }
        "data" => transport.write(data),
        "read lost" => transport.lose_connection(),
        _ => {}
    });
    (server, seen)
}

fn starting_client(connector: TlsConnector) -> (End, Seen) {
    let (client, seen) = end();
    let client = client.acting(move |what, transport, data| match what {
        "made" => transport.write("STARTTLS\r\n"),
        "data" if data == b"go ahead\n" => {
            transport.start_tls(connector.layer(NAME).unwrap());
            transport.write("hello");
        }
        "data" if data.ends_with(b"hello") => transport.lose_connection(),
        _ => {}
    });
    (client, seen)
}

#[test]
fn both_sides_start_tls_in_mid_connection() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (server, server_seen) = starting_server(authority.acceptor());
        let (client, client_seen) = starting_client(authority.connector());
        meet(world, &mut reactor, server, client);
        assert_eq!(client_seen.text(), "go ahead\nin private: hello");
        assert_eq!(server_seen.text(), "STARTTLS\r\nhello");
        assert_eq!(server_seen.events(), ["made", "data", "layers ready", "data", "read lost", "lost Done"]);
        assert_eq!(client_seen.events()[..3], ["made", "data", "layers ready"]);
        assert_eq!(server_seen.info().server_name(), Some(NAME));
    });
}

#[test]
fn a_close_waits_for_the_handshake_and_what_was_written() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let (acceptor, connector) = (authority.acceptor(), authority.connector());
        let (server, server_seen) = end();
        let server = server.acting(move |what, transport, _| {
            if what == "made" {
                transport.start_tls(acceptor.layer());
            }
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let (client, client_seen) = end();
        let client = client.acting(move |what, transport, _| {
            if what == "made" {
                transport.start_tls(connector.layer(NAME).unwrap());
                transport.write("the last words");
                transport.lose_connection();
            }
        });
        meet(world, &mut reactor, server, client);
        assert_eq!(server_seen.text(), "the last words");
        assert_eq!(server_seen.events(), ["made", "layers ready", "data", "read lost", "lost Done"]);
        assert_eq!(client_seen.events().last().unwrap(), "lost Done");
    });
}

#[test]
fn a_connection_closes_in_the_handshake_without_output() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let mut reactor = world.reactor();
        let connector = authority.connector();
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let (client, seen) = end();
        let client = client.acting(move |what, transport, _| {
            if what == "made" {
                transport.start_tls(connector.layer(NAME).unwrap());
                transport.lose_connection();
            }
        });
        meet(world, &mut reactor, server, client);
        assert_eq!(seen.events(), ["made", "lost Done"]);
    });
}

fn injected(world: &World, make: impl FnOnce(TlsAcceptor, &Record) -> Box<dyn Protocol>) -> Record {
    let authority = Authority::new();
    let mut reactor = world.reactor();
    let record = Record::new();
    let protocol = make(authority.acceptor(), &record);
    struct Boxed(Box<dyn Protocol>);
    impl Protocol for Boxed {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            self.0.connection_made(transport);
        }
        fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
            self.0.data_received(transport, data);
        }
        fn layers_ready(&mut self, transport: &mut Transport<'_>) {
            self.0.layers_ready(transport);
        }
        fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
            self.0.connection_lost(transport, reason);
        }
    }
    let listener = listen(world, &mut reactor, once(Boxed(protocol), &Record::new()));
    let mut peer = world.connect(listener.address());
    peer.send(b"STARTTLS\r\nDELETE everything\r\n");
    let (answer, _) = peer.read_to_end(&mut reactor);
    assert!(answer.starts_with(b"go ahead\n"), "{:?}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(&[21, 3, 3, 0, 2, 2, 10]), "an alert");
    drop(peer);
    finish(world, &mut reactor, &listener);
    record
}

#[test]
fn injected_plain_text_is_refused() {
    on_each_back_end(|world| {
        let record = injected(world, |acceptor, record| {
            let record = record.clone();
            let (server, seen) = starting_server(acceptor);
            struct Noting(crate::end::Running, Seen, Record);
            impl Protocol for Noting {
                fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
                    self.0.data_received(transport, data);
                }
                fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
                    self.0.connection_lost(transport, reason);
                    self.2.add(self.1.error().to_string());
                    self.2.add(self.1.events().join(", "));
                }
            }
            Box::new(Noting(server.into_protocol(), seen, record))
        });
        assert_eq!(
            record.events(),
            [
                "the peer sent \"DELETE everythin\" where its TLS handshake was expected: plain text before \
                 the handshake is refused, it may be injected",
                "data, lost not_tls"
            ]
        );
    });
}

/// Lines: `STARTTLS` starts TLS.
struct Commands {
    acceptor: TlsAcceptor,
    record: Record,
}

impl LineReceiver for Commands {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        self.record.add(String::from_utf8_lossy(line));
        match line {
            b"STARTTLS" => {
                transport.write("go ahead\n");
                transport.start_tls(self.acceptor.layer());
            }
            _ => transport.write("done\n"),
        }
    }

    fn layers_ready(&mut self, _: &mut LineTransport<'_>) {
        self.record.add("ready");
    }

    fn connection_lost(&mut self, _: &mut LineTransport<'_>, reason: &Reason) {
        self.record.add(TlsError::of(reason).map_or_else(|| kind(reason), |error| error.name().into()));
    }
}

#[test]
fn a_framing_hands_buffered_lines_to_the_handshake() {
    on_each_back_end(|world| {
        let record = injected(world, |acceptor, record| {
            Box::new(Lines::new(Commands { acceptor, record: record.clone() }))
        });
        assert_eq!(record.events(), ["STARTTLS", "not_tls"], "the second command was not carried out");
    });
}
