//! A busy listener queues as many connections as its backlog allows. Further ones get no answer and
//! do no harm.

use std::io::ErrorKind;

use crate::world::peer::Peer;
use crate::world::{Record, Recorder, on_each_back_end};
use twistor::ListenTcp;

#[test]
fn connects_beyond_the_backlog_get_no_answer_from_a_busy_loop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let served = record.clone();
        let short = ListenTcp { backlog: 1, ..ListenTcp::new(world.anywhere()) };
        let listener = reactor.listen_tcp(short, move || Recorder::new(&served).closing()).unwrap();
        // Linux queues one connection more than the backlog.
        let mut peers: Vec<Peer> = (0..2).map(|_| world.connect(listener.address())).collect();
        let beyond = world.try_connect(listener.address());
        assert_eq!(beyond.err().unwrap().kind(), ErrorKind::TimedOut);
        world.run_until(&mut reactor, "those who waited", |_| record.count("made") == 2);
        peers.push(world.connect(listener.address()));
        world.run_until(&mut reactor, "one more", |_| record.count("made") == 3);
        assert_eq!(reactor.statistics().accept_errors, 0);
        drop(peers);
        world.run_until(&mut reactor, "all lost", |_| record.count("lost Done") == 3);
        world.close(&mut reactor, &listener);
    });
}
