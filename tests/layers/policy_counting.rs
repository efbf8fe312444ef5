//! Traffic is counted per connection and in total, and shown as hex and text.

use crate::world::peer::turns;
use crate::world::{Record, Recorder, on_each_back_end, once};
use twistor::policy::{ByteCounts, DumpLayer, DumpStyle, TrafficCounter, count_traffic, dump_traffic};
use twistor::{ConnectionId, factory};

#[test]
fn each_connection_is_counted_and_all_together() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let traffic = TrafficCounter::new();
        let noted = record.clone();
        let echo = factory(move |_| Some(Recorder::new(&noted).echoing()));
        let listener = reactor.listen_tcp(world.anywhere(), count_traffic(echo, &traffic)).unwrap();
        let mut peers = [world.connect(listener.address()), world.connect(listener.address())];
        peers[0].send(b"hello");
        peers[1].send(b"hi");
        world.run_until(&mut reactor, "answered", |_| traffic.total().sent == 7);
        let mut counts: Vec<ByteCounts> = traffic.open().into_iter().map(|(_, counts)| counts).collect();
        counts.sort_by_key(|counts| counts.sent);
        assert_eq!(counts, [ByteCounts { received: 2, sent: 2 }, ByteCounts { received: 5, sent: 5 }]);
        // Writes from outside of its callbacks count too.
        let (id, before): (ConnectionId, _) = traffic.open()[0];
        reactor.transport(id).unwrap().write(b"more");
        turns(&mut reactor);
        assert_eq!(traffic.of(id).unwrap().sent, before.sent + 4);
        for mut peer in peers {
            peer.finish();
            peer.read_to_end(&mut reactor);
        }
        world.close(&mut reactor, &listener);
        assert_eq!(traffic.total(), ByteCounts { received: 7, sent: 11 });
        assert_eq!((traffic.connections(), traffic.open().len(), traffic.of(id)), (2, 0, None));
    });
}

#[test]
fn a_dump_shows_everything_that_goes_either_way() {
    on_each_back_end(|world| {
        for (style, came, went) in [
            (
                DumpStyle::Hex,
                "< 00000000  68 65 6c 6c 6f 0a                                 |hello.|",
                "> 00000000  68 65 6c 6c 6f 0a                                 |hello.|",
            ),
            (DumpStyle::Text, "< hello\\n", "> hello\\n"),
        ] {
            let mut reactor = world.reactor();
            let shown = Record::new();
            let lines = shown.clone();
            let echo = once(Recorder::new(&Record::new()).echoing(), &Record::new());
            let factory = dump_traffic(echo, style, move |line| lines.add(line));
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            let address = peer.local_address();
            peer.send(b"hello\n");
            peer.finish();
            peer.read_to_end(&mut reactor);
            drop(peer);
            world.close(&mut reactor, &listener);
            let shown = shown.take();
            let name = shown[0].split(' ').next().unwrap().to_owned();
            let rest: Vec<&str> =
                shown.iter().map(|line| line.strip_prefix(&*name).unwrap().trim()).collect();
            let first = format!("+ {address}");
            assert_eq!(rest, [&first, came, went, "<.", ">.", "- connection closed cleanly"]);
        }
    });
}

#[test]
fn a_dump_goes_to_whatever_takes_lines() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy_dump.txt");
    let mut write = DumpLayer::to_writer(std::fs::File::create(&folder).unwrap());
    write("one");
    write("two");
    assert_eq!(std::fs::read_to_string(folder).unwrap(), "one\ntwo\n");
    DumpLayer::to_log()("a debug message");
}
