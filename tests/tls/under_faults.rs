//! TLS on simulated networks that delay, cut and reset: data is whole or its loss is known.

use std::time::Duration;

use twistor::Reason;
use twistor::sim::{Latency, Link, Simulation};
use twistor::tls::TlsError;

use crate::certificates::{Authority, NAME};
use crate::end::end;

/// A length of data that takes many records and segments.
const LENGTH: usize = 200_000;

/// Sends data over a link, and cuts the connection after a time if one is given. Returns the length
/// that arrived, the receiver's reason, and whether the sender has seen a clean end.
fn sent(seed: u64, link: Link, cut: Option<Duration>) -> (usize, Option<Reason>) {
    let authority = Authority::new();
    let mut simulation = Simulation::new(seed);
    let (near, far) = (simulation.host("near"), simulation.host("far"));
    simulation.set_link(near, far, link);
    let (server, seen) = end();
    let server = server.acting(|what, transport, _| {
        if what == "read lost" {
            transport.lose_connection();
        }
    });
    let (client, client_seen) = end();
    let client = client.acting(|what, transport, _| {
        if what == "made" {
            transport.write(vec![b'x'; LENGTH]);
            transport.lose_connection();
        }
    });
    let listener =
        simulation.reactor(far).listen_tcp("0.0.0.0:443", authority.acceptor().factory(server)).unwrap();
    let address = (simulation.address(far), listener.address().port().unwrap());
    let client = authority.connector().factory(client, NAME).unwrap();
    simulation.reactor(near).connect_tcp(address, client).unwrap();
    if let Some(cut) = cut {
        simulation.run_for(cut).unwrap();
        simulation.reset_connections(near, far);
    }
    simulation.run_for(Duration::from_secs(600)).unwrap();
    assert!(cut.is_some() || client_seen.has_ended());
    let reason = seen.reason.borrow().clone();
    (seen.received.borrow().len(), reason)
}

#[test]
fn slow_and_lossy_links_deliver_everything() {
    for seed in 0..20 {
        let latency = Duration::from_millis(seed * 13);
        let link = Link {
            latency: Latency::Uniform { least: latency, most: latency * 3 },
            loss: 0.02,
            bandwidth: Some(100_000 * (seed + 1)),
            ..Link::default()
        };
        let (length, reason) = sent(seed, link, None);
        assert_eq!((length, reason), (LENGTH, Some(Reason::Done)), "seed {seed}");
    }
}

#[test]
fn a_cut_at_any_time_is_never_a_clean_end() {
    let mut outcomes = [0; 3];
    for step in 0..60 {
        let link = Link { bandwidth: Some(1_000_000), ..Link::fixed(Duration::from_millis(20)) };
        let (length, reason) = sent(step, link, Some(Duration::from_millis(step * 6)));
        match reason {
            None => {
                assert_eq!(length, 0, "no protocol was built");
                outcomes[0] += 1;
            }
            Some(Reason::Done) => {
                assert_eq!(length, LENGTH, "at step {step}");
                outcomes[1] += 1;
            }
            Some(reason) => {
                assert!(matches!(reason, Reason::Lost(_)) || TlsError::of(&reason).is_some(), "{reason}");
                outcomes[2] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "each phase was cut: {outcomes:?}");
}
