//! Plain text where TLS is expected, and TLS where plain text is expected, end quickly and clearly.

use twistor::tls::TlsError;

use crate::certificates::{Authority, NAME};
use crate::end::{end, finish, listen, meet};
use crate::world::on_each_back_end;

/// An alert: unexpected message.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 10];

#[test]
fn plain_text_on_a_tls_port_is_answered_by_an_alert() {
    on_each_back_end(|world| {
        for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"E", b"\0\0\0\x01", b"SSH-2.0-OpenSSH_9.6\r\n"] {
            let mut reactor = world.reactor();
            let (server, seen) = end();
            let listener = listen(world, &mut reactor, Authority::new().acceptor().factory(server));
            let mut peer = world.connect(listener.address());
            peer.send(text);
            assert_eq!(peer.read_to_end(&mut reactor), (ALERT.to_vec(), None));
            drop(peer);
            finish(world, &mut reactor, &listener);
            assert!(seen.events().is_empty(), "no protocol was built");
        }
    });
}

#[test]
fn a_client_of_a_plain_server_says_so() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (server, server_seen) = end();
        let (client, seen) = end();
        let client = Authority::new().connector().factory(client, NAME).unwrap();
        meet(
            world,
            &mut reactor,
            server.acting(|what, transport, _| match what {
                "made" => transport.write("220 mail.test ESMTP\r\n"),
                "read lost" => transport.lose_connection(),
                _ => {}
            }),
            client,
        );
        assert_eq!(seen.events(), ["failed not_tls"]);
        let TlsError::NotTls { start, mid_connection } = seen.error() else { panic!() };
        assert_eq!((&start[..], mid_connection), (&b"220 mail.test ES"[..], false));
        assert_eq!(
            seen.error().to_string(),
            "the peer does not speak TLS, it sent \"220 mail.test ES\": check the port, and whether TLS is \
             started by a command there"
        );
        assert_eq!(server_seen.received.borrow()[0], 22, "a ClientHello");
        assert!(server_seen.received.borrow().ends_with(ALERT));
    });
}

#[test]
fn garbage_of_any_kind_ends_a_handshake() {
    on_each_back_end(|world| {
        for garbage in [
            // Records: of a wrong version, too long, with an empty message, an unknown message.
            &[22, 9, 9, 0, 5, 1, 2, 3, 4, 5][..],
            &[22, 3, 1, 0xff, 0xff, 1, 2, 3],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 4, 99, 0, 0, 0],
            // Data, an alert, and a change of ciphers before any handshake.
            &[23, 3, 3, 0, 1, 0],
            &[21, 3, 3, 0, 2, 2, 40],
            &[20, 3, 3, 0, 1, 1],
            // The ClientHello of SSL 2.
            &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10, 0, 0, 0],
        ] {
            let mut reactor = world.reactor();
            let (server, seen) = end();
            let listener = listen(world, &mut reactor, Authority::new().acceptor().factory(server));
            let mut peer = world.connect(listener.address());
            peer.send(garbage);
            peer.finish();
            let (answer, _) = peer.read_to_end(&mut reactor);
            assert!(answer.is_empty() || answer[0] == 21, "{garbage:?} is answered by {answer:?}");
            drop(peer);
            finish(world, &mut reactor, &listener);
            assert!(seen.events().is_empty());
        }
    });
}
