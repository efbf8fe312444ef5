//! However many connections come and go, in whatever way, as many descriptors and places are in use as before.

use crate::world::child::{self, test_path};
use crate::world::peer::Peer;
use crate::world::random::Random;
use crate::world::{World, on_each_back_end};
use twistor::{Protocol, Transport};

/// Answers; closes at `c`, aborts at `a`.
struct Obedient;

impl Protocol for Obedient {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
        match data {
            b"c" => transport.lose_connection(),
            b"a" => transport.abort_connection(),
            _ => {}
        }
    }
}

#[test]
fn twenty_thousand_connections_leave_nothing_behind() {
    // Descriptors are counted exactly: no other test may run in this process.
    let name = test_path(twenty_thousand_connections_leave_nothing_behind);
    child::alone(name, "", || on_each_back_end(twenty_thousand_come_and_go));
}

fn twenty_thousand_come_and_go(world: &World) {
    let mut reactor = world.reactor();
    let listener = reactor.listen_tcp(world.anywhere(), || Obedient).unwrap();
    let (idle, places) = (world.descriptors(), reactor.resource_count());
    let mut random = Random::new(1);
    let mut total = 0;
    while total < 20_000 {
        let mut peers: Vec<Peer> = (0..50).map(|_| world.connect(listener.address())).collect();
        total += peers.len();
        for peer in &mut peers {
            peer.send([b"c", b"a", b"x"][random.below(3)]);
        }
        world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().accepts == total as u64);
        for peer in peers {
            match random.below(3) {
                // Few of them by a close that began here: the system remembers these for a minute.
                0 if random.below(10) == 0 => drop(peer),
                _ => peer.reset(),
            }
        }
        world.run_until(&mut reactor, "all are gone", |reactor| reactor.resource_count() == places);
    }
    assert_eq!(world.descriptors(), idle);
    assert_eq!(reactor.statistics().connections_lost, reactor.statistics().accepts);
    world.close(&mut reactor, &listener);
}
