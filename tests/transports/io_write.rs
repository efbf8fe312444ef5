//! A transport is an `io::Write` that accepts all bytes, or says that they would be lost.

use std::io::{ErrorKind, Write};

use crate::world::peer::connection;
use crate::world::{Record, Recorder, on_each_back_end};

#[test]
fn what_is_written_with_macros_and_encoders_is_sent_in_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let protocol = Recorder::new(&Record::new()).acting(|what, transport, _| {
            if what == "data" {
                transport.write("text, ");
                write!(transport, "{} and ", 42).unwrap();
                std::io::copy(&mut &b"a copy"[..], transport).unwrap();
                transport.write(vec![b'.'; 2]);
                transport.flush().unwrap();
                transport.lose_connection();
            }
        });
        let (_, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"go");
        let (read, _) = peer.read_to_end(&mut reactor);
        assert_eq!(read, b"text, 42 and a copy..");
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_write_that_would_be_lost_is_an_error() {
    on_each_back_end(|world| {
        for end in ["lose", "half", "abort"] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let errors = Record::new();
            let noted = errors.clone();
            let protocol = Recorder::new(&record).acting(move |what, transport, _| match (what, end) {
                ("data", _) => {
                    match end {
                        "lose" => transport.lose_connection(),
                        "half" => transport.lose_write_connection(),
                        _ => transport.abort_connection(),
                    }
                    let (written, flushed) = (transport.write_all(b"after"), transport.flush());
                    noted.add(format!(
                        "{:?} {:?}",
                        written.map_err(|e| e.kind()),
                        flushed.map_err(|e| e.kind())
                    ));
                }
                (what, _) if what.starts_with("lost") => {
                    let kind = write!(transport, "gone").unwrap_err().kind();
                    assert_eq!(kind, ErrorKind::BrokenPipe);
                    noted.add("gone");
                }
                _ => {}
            });
            let (id, mut peer) = connection(world, &mut reactor, protocol);
            peer.send(b"go");
            let (read, _) = peer.read_to_end(&mut reactor);
            assert_eq!(read, b"", "{end}");
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert!(reactor.transport(id).is_none());
            assert_eq!(errors.events(), ["Err(BrokenPipe) Err(BrokenPipe)", "gone"], "{end}");
        }
    });
}
