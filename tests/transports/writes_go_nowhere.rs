//! Writes after the end have no effect.

use crate::world::peer::connection;
use crate::world::{Record, Recorder, on_each_back_end};

#[test]
fn what_is_written_after_the_end_was_asked_for_is_not_sent() {
    on_each_back_end(|world| {
        for end in ["lose", "half", "abort"] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "data" {
                    transport.write(b"before");
                    match end {
                        "lose" => transport.lose_connection(),
                        "half" => transport.lose_write_connection(),
                        _ => transport.abort_connection(),
                    }
                }
                if what != "made" {
                    // A small write, and one that is large enough to bypass the write batch.
                    transport.write(b"after");
                    transport.write(&[b'a'; 100_000]);
                    transport.write_sequence(&[b"after", b"all"]);
                }
            });
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            peer.send(b"go");
            let (read, _) = peer.read_to_end(&mut reactor);
            assert_eq!(read, if end == "abort" { &b""[..] } else { b"before" }, "{end}");
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert!(reactor.transport(id).is_none());
            assert_eq!(record.events().iter().filter(|event| event.starts_with("lost")).count(), 1);
        }
    });
}
