//! A peer that resets before the accept counts as a connection that is made and lost.

use crate::world::{Record, Recorder, on_each_back_end};
use twistor::{Address, factory};

#[test]
fn a_peer_that_resets_before_accept_still_has_its_address() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let listener = reactor
            .listen_tcp(
                world.anywhere(),
                factory(move |peer: &Address| {
                    noted.add(format!("build {peer}"));
                    let seen = noted.clone();
                    Some(Recorder::new(&noted).acting(move |what, transport, _| {
                        seen.add(format!("{what} by {}", transport.peer()));
                    }))
                }),
            )
            .unwrap();
        let rude = world.connect(listener.address());
        let peer = rude.local_address();
        rude.reset();
        world.run_until(&mut reactor, "lost", |reactor| reactor.statistics().connections_lost == 1);
        assert_eq!(
            record.events(),
            [
                format!("build {peer}"),
                "made".into(),
                format!("made by {peer}"),
                "lost Lost".into(),
                format!("lost by {peer}"),
            ]
        );
        world.close(&mut reactor, &listener);
    });
}
