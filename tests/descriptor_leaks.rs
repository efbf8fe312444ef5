//! However many connections come and go, in whatever way, as many descriptors and places are in use as before.

mod world;

use twistor::{Protocol, Transport};
use world::on_each_back_end;
use world::peer::Peer;
use world::random::Random;

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
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let listener = reactor.listen_tcp(world.anywhere(), || Obedient).unwrap();
        let (idle, places) = (world.descriptors(), reactor.in_use());
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
            world.run_until(&mut reactor, "all are gone", |reactor| reactor.in_use() == places);
        }
        assert_eq!(world.descriptors(), idle);
        assert_eq!(reactor.statistics().losses, reactor.statistics().accepts);
        world.close(&mut reactor, &listener);
    });
}
