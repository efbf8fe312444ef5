//! A layer added in mid-connection handles all later input and output, and no earlier data.

use crate::layers::{Noted, Then};
use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, abort_all, on_each_back_end, once};
use twistor::{Layer, LayerContext, Reactor, Settings, layered};

/// Swaps the case of letters in both directions.
struct Swapping;

fn swapped(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte }).collect()
}

impl Layer for Swapping {
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_up(&swapped(data));
    }
    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.pass_down(&swapped(data));
    }
}

/// Adds the layer on request.
fn switching(record: &Record) -> Recorder {
    Recorder::new(record).acting(|what, transport, data| match (what, data) {
        ("data", b"start") => {
            transport.write(b"go ");
            transport.write(b"ahead ");
            transport.add_layer(Swapping);
            transport.write(b"now ");
        }
        ("data", data) => transport.write(data),
        ("read lost", _) => transport.lose_connection(),
        _ => {}
    })
}

#[test]
fn earlier_writes_bypass_an_added_layer_and_later_ones_use_it() {
    on_each_back_end(|world| {
        // As the first layer, and above another one.
        for beneath in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noted = Record::new();
            let one = once(switching(&record), &Record::new());
            let listener = match beneath {
                false => reactor.listen_tcp(world.anywhere(), one),
                true => {
                    let noted = noted.clone();
                    reactor.listen_tcp(world.anywhere(), layered(one, move || Noted::new("beneath", &noted)))
                }
            };
            let listener = listener.unwrap();
            let mut peer = world.connect(listener.address());
            peer.send(b"start");
            world.run_until(&mut reactor, "started", |_| record.has("data start"));
            peer.send(b"Hello");
            peer.finish();
            assert_eq!(peer.read_to_end(&mut reactor), (b"go ahead NOW Hello".to_vec(), None));
            drop(peer);
            world.close(&mut reactor, &listener);
            assert_eq!(
                record.events(),
                ["made", "data start", "layers ready", "data hELLO", "read lost", "lost Done"]
            );
        }
    });
}

#[test]
fn a_layer_can_be_added_outside_of_the_callbacks() {
    on_each_back_end(|world| {
        for inside in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let (id, mut peer) = connection(world, &mut reactor, Recorder::new(&record).echoing());
            turns(&mut reactor);
            match inside {
                false => reactor.transport(id).unwrap().add_layer(Swapping),
                true => reactor
                    .with_protocol(id, |_: &mut Recorder, transport| transport.add_layer(Swapping))
                    .unwrap(),
            }
            reactor.transport(id).unwrap().write(b"more ");
            assert!(
                reactor.with_protocol(id, |_: &mut Recorder, _| ()).is_some(),
                "its protocol is found as before"
            );
            peer.send(b"hello");
            peer.finish();
            assert_eq!(peer.read_to_end(&mut reactor), (b"MORE hello".to_vec(), None));
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", "layers ready", "data HELLO", "read lost", "lost Done"]);
        }
    });
}

#[test]
fn a_layer_can_be_added_in_any_callback() {
    on_each_back_end(|world| {
        for place in ["made", "data", "read lost", "lost"] {
            let mut reactor: Reactor = world.reactor();
            let record = Record::new();
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == place {
                    transport.add_layer(Swapping);
                    transport.write(b"swapped");
                }
                if what == "read lost" {
                    transport.lose_connection();
                }
            });
            let listener = world.serve(&mut reactor, protocol);
            let mut peer = world.connect(listener.address());
            peer.send(b"hello");
            world.run_until(&mut reactor, "read", |_| record.events().len() > 1);
            peer.finish();
            let expected = if place == "lost" { &b""[..] } else { b"SWAPPED" };
            assert_eq!(peer.read_to_end(&mut reactor), (expected.to_vec(), None));
            drop(peer);
            world.close(&mut reactor, &listener);
            let told: &[&str] = match place {
                "made" => &["made", "layers ready", "data HELLO", "read lost", "lost Done"],
                "data" => &["made", "data hello", "layers ready", "read lost", "lost Done"],
                _ => &["made", "data hello", "read lost", "lost Done"],
            };
            assert_eq!(record.events(), told);
        }
    });
}

#[test]
fn bytes_that_the_protocol_was_not_told_of_are_the_new_layers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, data| match (what, data) {
            ("data", b"start") => {
                transport.add_layer(Swapping);
                transport.pause_reading();
            }
            ("read lost", _) => transport.lose_connection(),
            _ => {}
        });
        let listener = world.serve(&mut reactor, protocol);
        let mut peer = world.connect(listener.address());
        peer.send(b"start");
        world.run_until(&mut reactor, "started", |_| record.has("data start"));
        peer.send(b"hello");
        peer.finish();
        turns(&mut reactor);
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().resume_reading();
        peer.read_to_end(&mut reactor);
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(
            record.events(),
            ["made", "data start", "layers ready", "data HELLO", "read lost", "lost Done"]
        );
    });
}

#[test]
fn an_added_layer_sees_later_input_despite_descriptor_passing() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let serves = Recorder::new(&record).acting(|what, transport, data| match (what, data) {
            ("made", _) => transport.receive_descriptors().unwrap(),
            ("data", b"start") => {
                transport.add_layer(Swapping);
                assert!(transport.receive_descriptors().is_err(), "they would come past it");
                transport.write(b"ready");
            }
            ("read lost", _) => transport.lose_connection(),
            _ => {}
        });
        let answered = Record::new();
        let asks = Recorder::new(&answered).acting(|what, transport, data| match (what, data) {
            ("made", _) => transport.write(b"start"),
            ("data", _) => {
                transport.write(b"swapped");
                transport.lose_connection();
            }
            _ => {}
        });
        let name = format!("@twistor-layers-{}", std::process::id());
        let listener = reactor.listen_unix(name.as_str(), once(serves, &Record::new())).unwrap();
        reactor.connect_unix(name.as_str(), once(asks, &Record::new())).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done") && answered.has("lost Done"));
        world.close(&mut reactor, &listener);
        assert_eq!(answered.events(), ["made", "data READY", "lost Done"]);
        assert_eq!(
            record.events(),
            ["made", "data start", "layers ready", "data SWAPPED", "read lost", "lost Done"]
        );
    });
}

#[test]
fn what_waits_for_the_protocol_is_the_new_layers() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 5, ..Settings::default() });
        let record = Record::new();
        let protocol = Recorder::new(&record).acting(|what, transport, data| {
            if (what, data) == ("data", b"hello") {
                transport.pause_reading();
                transport.add_layer(Swapping);
            }
        });
        let noted = record.clone();
        let layer = move || {
            Noted::new("layer", &noted).acting(|what, _, below, _| match what {
                "received" => {
                    below.pass_up(b"helloworld");
                    Then::Nothing
                }
                _ => Then::Through,
            })
        };
        let listener = reactor.listen_tcp(world.anywhere(), layered(once(protocol, &Record::new()), layer));
        let listener = listener.unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"x");
        world.run_until(&mut reactor, "told", |_| record.has("data hello"));
        turns(&mut reactor);
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().resume_reading();
        turns(&mut reactor);
        assert_eq!(
            record.events(),
            ["layer: started", "made", "layer: received x", "data hello", "layers ready", "data WORLD"]
        );
        abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_layer_added_while_output_passes_leaves_it_in_order() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, noted) = (Record::new(), Record::new());
        let protocol = Recorder::new(&record).echoing();
        let adding = move || {
            let mut added = false;
            Noted::new("adding", &noted).acting(move |what, _, below, data| {
                if what == "written" && !std::mem::replace(&mut added, true) {
                    let (first, second) = data.split_at(2);
                    below.pass_down(first);
                    let id = below.id();
                    below.reactor().transport(id).unwrap().add_layer(Swapping);
                    below.pass_down(second);
                    return Then::Nothing;
                }
                Then::Through
            })
        };
        let factory = layered(layered(once(protocol, &Record::new()), adding), || Swapping);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        world.run_until(&mut reactor, "told", |_| record.has("data HELLO"));
        // Through one more layer from now on.
        peer.send(b"again");
        world.run_until(&mut reactor, "told again", |_| record.has("data again"));
        turns(&mut reactor);
        assert_eq!(peer.read_now(), b"helloagain");
        abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_layer_below_one_that_holds_output_back_is_not_called() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, noted) = (Record::new(), Record::new());
        let protocol = Recorder::new(&record).echoing();
        let dropping = Record::new();
        let upper = move || {
            Noted::new("upper", &dropping).acting(|what, _, _, _| match what {
                "written" => Then::Nothing,
                _ => Then::Through,
            })
        };
        let lower = noted.clone();
        let factory =
            layered(layered(once(protocol, &Record::new()), upper), move || Noted::new("lower", &lower));
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        world.run_until(&mut reactor, "told", |_| record.has("data hello"));
        turns(&mut reactor);
        assert_eq!(noted.events(), ["lower: started", "lower: received hello"]);
        abort_all(&mut reactor);
        drop(peer);
        world.close(&mut reactor, &listener);
    });
}
