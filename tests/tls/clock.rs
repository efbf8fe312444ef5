//! Certificates are checked by the reactor's clock, which a simulation moves.

use std::time::{Duration, SystemTime};

use rcgen::date_time_ymd;
use twistor::tls::{CertificateProblem, ClientTls, ServerTls, TlsAcceptor, TlsConnector, TlsError};

use crate::certificates::{Authority, NAME};
use crate::end::{Seen, end, meet};
use crate::world::{World, on_each_back_end};

/// Connects once on the simulated network, after its clock has been set forward.
fn connected(world: &World, step: i64, acceptor: &TlsAcceptor, connector: &TlsConnector) -> Seen {
    let (network, host) = world.simulated().unwrap();
    network.step_clock(host, step);
    let mut reactor = world.reactor();
    let (client, seen) = end();
    let (server, _) = end();
    // A ticket comes behind the handshake, so the client waits for data.
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
    seen
}

const DAY: i64 = 86_400;

#[test]
fn a_certificate_expires_while_the_simulated_clock_moves() {
    on_each_back_end(|world| {
        if world.simulated().is_none() {
            return; // The system's clock cannot be set.
        }
        let authority = Authority::new();
        // The simulation begins with the year 2026.
        let identity = authority.issue_with(NAME, |params| {
            params.not_before = date_time_ymd(2026, 1, 3);
            params.not_after = date_time_ymd(2026, 1, 5);
        });
        let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
        let connector = TlsConnector::new(ClientTls { max_sessions: 0, ..authority.client() }).unwrap();
        let early = connected(world, 0, &acceptor, &connector);
        assert_eq!(early.events(), ["failed not_yet_valid"]);
        let valid = connected(world, 3 * DAY, &acceptor, &connector);
        assert_eq!(valid.events(), ["made", "data", "lost Done"]);
        let late = connected(world, 2 * DAY, &acceptor, &connector);
        let TlsError::BadCertificate(CertificateProblem::Expired { not_after, now }) = late.error() else {
            panic!("{:?}", late.error())
        };
        let fifth = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_571_200);
        assert_eq!(not_after, fifth);
        assert!(now > not_after + Duration::from_secs(80_000), "{now:?}");
        // The clock can be set back, too.
        assert_eq!(connected(world, -DAY - 1000, &acceptor, &connector).events()[0], "made");
    });
}

#[test]
fn a_session_is_not_resumed_past_its_certificate() {
    on_each_back_end(|world| {
        if world.simulated().is_none() {
            return; // The system's clock cannot be set.
        }
        let authority = Authority::new();
        let identity = authority.issue_with(NAME, |params| params.not_after = date_time_ymd(2026, 1, 2));
        let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
        let connector = authority.connector();
        assert!(!connected(world, 0, &acceptor, &connector).info().resumed);
        assert!(connected(world, DAY / 2, &acceptor, &connector).info().resumed);
        let late = connected(world, DAY / 2 + 60, &acceptor, &connector);
        assert_eq!(late.events(), ["failed expired"]);
    });
}
