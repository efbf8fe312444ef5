//! Writes of one callback, or of one turn, are sent with one system call.

use std::time::Duration;

use crate::world::child::test_path;
use crate::world::idle_protocol;
use crate::world::peer::{connection, turns};
use crate::world::strace::under_strace;

#[test]
fn what_one_callback_writes_is_one_call_of_the_system() {
    let name = test_path(what_one_callback_writes_is_one_call_of_the_system);
    let traced = under_strace(name, "-e trace=sendto -s 4", |world| {
        let mut reactor = world.reactor();
        let protocol = idle_protocol().acting(|what, transport, _| {
            for _ in 0..100 {
                match what {
                    "made" => transport.write(b"made!"),
                    "data" => transport.write_sequence(&[b"da", b"", b"ta!"]),
                    _ => {}
                }
            }
        });
        let (id, mut peer) = connection(world, &mut reactor, protocol);
        peer.send(b"?");
        turns(&mut reactor);
        // Writes from elsewhere are sent together too, at the end of the turn.
        reactor.call_later(Duration::ZERO, move |reactor| {
            for _ in 0..100 {
                reactor.transport(id).unwrap().write(b"timer");
            }
        });
        turns(&mut reactor);
        assert_eq!(peer.read_now().len(), 3 * 500);
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
    if let Some(traced) = traced {
        for first in ["made", "data", "time"] {
            assert_eq!(traced.matches(&format!("\"{first}\"")).count(), 1, "{traced}");
        }
    }
}
