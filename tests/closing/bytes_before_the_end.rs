//! Data that arrived before a FIN or a reset is delivered before the loss.

use crate::world::{Record, Recorder, on_each_back_end};

#[test]
fn bytes_before_a_fin_are_delivered_before_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (server, client) = (Record::new(), Record::new());
        let protocol = Recorder::new(&server).closing();
        let listener = world.serve(&mut reactor, protocol);
        let greeting = Recorder::new(&client).acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"hello");
                transport.lose_connection();
            }
        });
        world.ask(&mut reactor, &listener, greeting);
        world.run_until(&mut reactor, "both lost", |_| server.has("lost Done") && client.has("lost Done"));
        assert_eq!(server.events(), ["made", "data hello", "read lost", "lost Done"]);
        assert_eq!(client.events(), ["made", "lost Done"]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn bytes_before_a_reset_are_delivered_before_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (server, client) = (Record::new(), Record::new());
        let listener = world.serve(&mut reactor, Recorder::new(&server));
        let rude = Recorder::new(&client).acting(|what, transport, _| {
            if what == "made" {
                // Large enough to bypass the write batch. The abort discards the unsent rest.
                transport.write(&[b'x'; 20_000]);
                transport.abort_connection();
            }
        });
        world.ask(&mut reactor, &listener, rude);
        world.run_until(&mut reactor, "both lost", |_| server.has("lost Lost") && client.has("lost Aborted"));
        assert_eq!(server.events(), ["made", "data (20000 bytes)", "lost Lost"]);
        world.close(&mut reactor, &listener);
    });
}
