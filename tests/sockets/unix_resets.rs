//! Closing a UNIX socket with unread input resets it: earlier data is read, and the end is not
//! clean.

use std::cell::Cell;
use std::rc::Rc;

use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, once};
use twistor::{ConnectUnix, ConnectionId};

/// Returns what a server recorded whose client sent data and closed without reading the server's.
fn seen(world: &World, server_waits: bool) -> Vec<String> {
    let mut reactor = world.reactor();
    let (there, here) = (Record::new(), Record::new());
    let ids: [Rc<Cell<Option<ConnectionId>>>; 2] = Default::default();
    let [server, client] = ids.clone();
    let serves = Recorder::new(&there).acting(move |what, transport, _| match what {
        "made" => {
            server.set(Some(transport.id()));
            transport.write(b"unread");
            if server_waits {
                transport.pause_reading();
            }
        }
        "read lost" => transport.lose_connection(),
        _ => {}
    });
    let asks = Recorder::new(&here).acting(move |what, transport, _| {
        if what == "made" {
            client.set(Some(transport.id()));
            transport.pause_reading();
            transport.write(b"bye");
        }
    });
    let name = format!("@twistor-resets-{}", std::process::id());
    let listener = reactor.listen_unix(name.as_str(), once(serves, &Record::new())).unwrap();
    let to: ConnectUnix = name.parse().unwrap();
    reactor.connect_unix(to, once(asks, &Record::new())).unwrap();
    world.run_until(&mut reactor, "both made", |_| ids.iter().all(|id| id.get().is_some()));
    if !server_waits {
        world.run_until(&mut reactor, "read", |_| there.has("data bye"));
    }
    // The output of each callback was sent when it returned.
    crate::world::peer::turns(&mut reactor);
    let [server, client] = ids.each_ref().map(|id| id.get().unwrap());
    reactor.transport(client).unwrap().abort_connection();
    world.run_until(&mut reactor, "aborted", |_| here.has("lost Aborted"));
    if server_waits {
        reactor.transport(server).unwrap().resume_reading();
    }
    world.run_until(&mut reactor, "lost", |reactor| reactor.transport(server).is_none());
    world.close(&mut reactor, &listener);
    there.events()
}

#[test]
fn a_reset_after_what_was_read_is_no_clean_end() {
    on_each_back_end(|world| assert_eq!(seen(world, false), ["made", "data bye", "lost Lost"]));
}

#[test]
fn a_reset_behind_what_was_not_read_yet_is_no_clean_end_either() {
    on_each_back_end(|world| assert_eq!(seen(world, true), ["made", "data bye", "lost Lost"]));
}

#[test]
fn a_close_with_everything_read_is_a_clean_end() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let name = format!("@twistor-resets-{}", std::process::id());
        let serves = Recorder::new(&record).closing();
        let listener = reactor.listen_unix(name.as_str(), once(serves, &Record::new())).unwrap();
        let asks = idle_protocol().acting(|what, transport, _| {
            if what == "made" {
                transport.write(b"bye");
                transport.lose_connection();
            }
        });
        let to: ConnectUnix = name.parse().unwrap();
        reactor.connect_unix(to, once(asks, &Record::new())).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
        assert_eq!(record.events(), ["made", "data bye", "read lost", "lost Done"]);
    });
}
