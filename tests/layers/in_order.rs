//! Input passes up through the layers to the protocol and output passes down, both in order.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::layers::{Noted, Then};
use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, abort_all, on_each_back_end, once};
use twistor::{ConnectTcp, Layer, LayerContext, Reason, Settings, layered};

#[test]
fn each_layer_has_its_place_and_the_protocol_stands_above_them() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::named("protocol", &record).echoing();
        let (low, high) = (record.clone(), record.clone());
        let factory =
            layered(layered(once(protocol, &Record::new()), move || Noted::new("high", &high)), move || {
                Noted::new("low", &low)
            });
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("protocol: made"));
        assert_eq!(record.take(), ["low: started", "high: started", "protocol: made"]);
        peer.send(b"hello");
        world.run_until(&mut reactor, "answered", |_| record.has("low: written hello"));
        let up = ["low: received hello", "high: received hello", "protocol: data hello"];
        assert_eq!(record.take(), [&up[..], &["high: written hello", "low: written hello"]].concat());
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"hello".to_vec(), None));
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(
            record.take(),
            [
                "low: read ended",
                "high: read ended",
                "protocol: read lost",
                "high: write ending",
                "low: write ending",
                "protocol: lost Done",
                "high: lost Done",
                "low: lost Done",
            ]
        );
    });
}

#[test]
fn a_client_has_layers_as_a_server_has() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, served) = (Record::new(), Record::new());
        let listener = world.serve(&mut reactor, Recorder::new(&served).echoing());
        let protocol = Recorder::named("protocol", &record).acting(|what, transport, _| match what {
            "made" => transport.write(b"hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        let noted = record.clone();
        let factory = layered(once(protocol, &record), move || Noted::new("layer", &noted));
        reactor.connect_tcp(listener.address(), factory).unwrap();
        world.run_until(&mut reactor, "gone", |_| record.has("stopped"));
        assert_eq!(
            record.take(),
            [
                "started",
                "connecting",
                "layer: started",
                "protocol: made",
                "layer: written hello",
                "layer: received hello",
                "protocol: data hello",
                "layer: write ending",
                "protocol: lost Done",
                "layer: lost Done",
                "gone Done",
                "stopped",
            ]
        );
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn nobody_above_hears_anything_before_a_layer_is_ready() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let protocol = Recorder::named("protocol", &record).closing();
        let (low, high) = (record.clone(), record.clone());
        // Ready after one line.
        let waiting = move || {
            let mut ready = false;
            Noted::new("low", &low).acting(move |what, _, below, data| match what {
                "started" => Then::Nothing,
                "received" if !ready => {
                    if let Some(end) = data.iter().position(|byte| *byte == b'\n') {
                        ready = true;
                        below.ready();
                        below.pass_up(&data[end + 1..]);
                    }
                    Then::Nothing
                }
                _ => Then::Through,
            })
        };
        let above = layered(once(protocol, &Record::new()), move || Noted::new("high", &high));
        let listener = reactor.listen_tcp(world.anywhere(), layered(above, waiting)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"wait");
        world.run_until(&mut reactor, "received", |_| record.has("low: received wait"));
        turns(&mut reactor);
        assert_eq!(record.take(), ["low: started", "low: received wait"]);
        assert_eq!(reactor.connections().len(), 1);
        peer.send(b"\nrest");
        world.run_until(&mut reactor, "told", |_| record.has("protocol: data rest"));
        assert_eq!(
            record.take(),
            [
                "low: received \nrest",
                "high: started",
                "high: received rest",
                "protocol: made",
                "protocol: data rest",
            ]
        );
        peer.finish();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_connection_that_is_never_ready_does_not_call_its_protocol() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (record, factory) = (Record::new(), Record::new());
        let noted = record.clone();
        let never = move || {
            Noted::new("layer", &noted).acting(|what, _, _, _| match what {
                "write ending" => Then::Through,
                _ => Then::Nothing,
            })
        };
        let listener = reactor
            .listen_tcp(world.anywhere(), layered(once(Recorder::new(&record), &factory), never))
            .unwrap();
        for (end, reason) in [("close", "Done"), ("abort", "Aborted"), ("reset", "Lost")] {
            let peer = world.connect(listener.address());
            world.run_until(&mut reactor, "started", |_| record.has("layer: started"));
            let id = reactor.connections()[0];
            match end {
                "close" => reactor.transport(id).unwrap().lose_connection(),
                "abort" => reactor.transport(id).unwrap().abort_connection(),
                _ => peer.reset(),
            }
            world.run_until(&mut reactor, "lost", |reactor| reactor.connections().is_empty());
            let mut told = vec!["layer: started".to_owned(), format!("layer: lost {reason}")];
            if end == "close" {
                // It may have last words.
                told.insert(1, "layer: write ending".to_owned());
            }
            assert_eq!(record.take(), told);
        }
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_client_whose_layers_never_were_ready_has_failed_to_connect() {
    on_each_back_end(|world| {
        for panics in [false, true] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let listener = world.serve(&mut reactor, Recorder::new(&Record::new()).closing());
            let noted = record.clone();
            let refusing = move || {
                Noted::new("layer", &noted).acting(move |what, _, below, _| {
                    assert!(what != "started" || !panics, "a bug");
                    below.end(twistor::LayerError::new("layer", std::fmt::Error));
                    Then::Nothing
                })
            };
            let factory = layered(once(Recorder::new(&record), &record), refusing);
            reactor.connect_tcp(listener.address(), factory).unwrap();
            world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
            let why = if panics { "Panicked" } else { "Layer" };
            let lost = [format!("layer: lost {why}"), format!("failed {why}"), "stopped".to_owned()];
            assert_eq!(record.take()[3..], lost);
            assert_eq!(reactor.statistics().connect_failures, 1);
            assert_eq!(world.logged().len(), usize::from(panics));
            world.close(&mut reactor, &listener);
        }
    });
}

#[test]
fn layers_that_are_not_ready_in_time_end_their_connection() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(20);
        let settings = Settings { handshake_timeout: limit, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let (record, client) = (Record::new(), Record::new());
        let unready = |record: &Record| {
            let record = record.clone();
            move || Noted::new("layer", &record).acting(|_, _, _, _| Then::Nothing)
        };
        let factory = layered(once(Recorder::new(&record), &Record::new()), unready(&record));
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.read_to_end(&mut reactor);
        assert_eq!(record.events(), ["layer: started", "layer: lost TimedOut"]);
        // Outgoing connections use the connector's timeout.
        let raw = world.listen();
        let options = ConnectTcp { timeout: limit, ..raw.address().into() };
        let factory = layered(once(Recorder::new(&client), &client), unready(&client));
        reactor.connect_tcp(options, factory).unwrap();
        world.run_until(&mut reactor, "the failure", |_| client.has("stopped"));
        let events = ["layer: started", "layer: lost TimedOut", "failed TimedOut", "stopped"];
        assert_eq!(client.events()[2..], events);
        assert_eq!(reactor.statistics().handshake_timeouts, 2);
        drop((peer, raw));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn layers_that_are_ready_in_time_have_no_limit_any_more() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(20);
        let settings = Settings { handshake_timeout: limit, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let slow = |record: &Record| {
            let record = record.clone();
            move || {
                Noted::new("layer", &record).acting(|what, _, below, _| match what {
                    "started" => {
                        below.set_timer(Duration::from_millis(1));
                        Then::Nothing
                    }
                    "woken" => {
                        below.ready();
                        Then::Nothing
                    }
                    _ => Then::Through,
                })
            }
        };
        let factory = layered(once(Recorder::new(&record), &Record::new()), slow(&Record::new()));
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let client = Record::new();
        let factory = layered(once(Recorder::new(&client), &client), slow(&Record::new()));
        let timeout = Duration::from_secs(10);
        let options = ConnectTcp { timeout, ..listener.address().try_into().unwrap() };
        reactor.connect_tcp(options, factory).unwrap();
        world.run_until(&mut reactor, "both", |_| record.has("made") && client.has("made"));
        assert_eq!(reactor.delayed_call_count(), 0, "no limit is left");
        abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_factory_refuses_when_the_layers_are_ready() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let refusing = twistor::factory(|_| None::<Recorder>);
        let listener = reactor
            .listen_tcp(world.anywhere(), layered(refusing, move || Noted::new("layer", &noted)))
            .unwrap();
        let mut peer = world.connect(listener.address());
        assert_eq!(peer.read_to_end(&mut reactor), (Vec::new(), None));
        assert_eq!(record.take(), ["layer: started", "layer: lost Done"]);
        assert_eq!(reactor.statistics().connections_refused, 1);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_layer_ends_its_connection_with_an_error_of_its_own() {
    #[derive(Debug)]
    struct Password;

    impl std::fmt::Display for Password {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the password is wrong")
        }
    }

    impl std::error::Error for Password {}

    on_each_back_end(|world| {
        for at_once in [true, false] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let noted = record.clone();
            let guard = move || {
                Noted::new("guard", &noted).acting(move |what, _, below, _| {
                    if what == "received" {
                        let error = twistor::LayerError::new("guard", Password);
                        below.pass_down(b"go away");
                        match at_once {
                            true => below.end(error),
                            false => below.close(Some(error)),
                        }
                        return Then::Nothing;
                    }
                    Then::Through
                })
            };
            let said = Rc::new(Cell::new(false));
            let heard = Rc::clone(&said);
            let protocol = Telling { heard };
            let factory = layered(once(protocol, &Record::new()), guard);
            let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
            let mut peer = world.connect(listener.address());
            peer.send(b"1234");
            let (read, error) = peer.read_to_end(&mut reactor);
            if !at_once {
                assert_eq!((read, error), (b"go away".to_vec(), None));
            }
            drop(peer);
            world.close(&mut reactor, &listener);
            assert!(said.get());
            assert_eq!(record.events().last().unwrap(), "guard: lost Layer");
        }
    });

    struct Telling {
        heard: Rc<Cell<bool>>,
    }

    impl twistor::Protocol for Telling {
        fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {
            panic!("the guard keeps it");
        }

        fn connection_lost(&mut self, _: &mut twistor::Transport<'_>, reason: &Reason) {
            let Reason::Layer(error) = reason else { panic!("{reason}") };
            assert_eq!((error.layer(), error.is::<Password>()), ("guard", true));
            assert_eq!(reason.to_string(), "connection ended by a layer: guard: the password is wrong");
            self.heard.set(true);
        }
    }
}

#[test]
fn a_layer_is_woken_once_at_the_last_time_that_it_asked_for() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let waking = move || {
            Noted::new("layer", &noted).acting(|what, _, below, _| {
                match what {
                    "started" => {
                        below.set_timer(Duration::from_secs(100));
                        below.set_timer(Duration::ZERO);
                        below.ready();
                    }
                    "woken" => below.close(None),
                    _ => return Then::Through,
                }
                Then::Nothing
            })
        };
        let listener = reactor
            .listen_tcp(world.anywhere(), layered(once(Recorder::new(&record), &Record::new()), waking))
            .unwrap();
        let mut peer = world.connect(listener.address());
        peer.read_to_end(&mut reactor);
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(
            record.take(),
            [
                "layer: started",
                "made",
                "layer: woken",
                "layer: write ending",
                "lost Done",
                "layer: lost Done"
            ]
        );
    });
}

#[test]
fn an_end_that_a_layer_sends_before_it_was_asked_to_is_none() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let layer = move || {
            Noted::new("layer", &noted).acting(|what, _, below, _| {
                if what == "received" {
                    below.pass_eof_down();
                }
                Then::Through
            })
        };
        let factory = layered(once(Recorder::new(&record).echoing(), &Record::new()), layer);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        for text in ["one ", "two "] {
            peer.send(text.as_bytes());
            world.run_until(&mut reactor, "told", |_| record.has(&format!("data {text}")));
        }
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"one two ".to_vec(), None));
        drop(peer);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_layer_that_resumes_reading_has_what_came_meanwhile() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        let layer = move || {
            Noted::new("layer", &noted).acting(|what, _, below, _| {
                match what {
                    "started" => below.pause_reading(),
                    "written" => below.resume_reading(),
                    _ => {}
                }
                Then::Through
            })
        };
        let factory = layered(once(Recorder::new(&record), &Record::new()), layer);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        peer.send(b"hello");
        turns(&mut reactor);
        assert!(!record.has("data hello"));
        let id = reactor.connections()[0];
        reactor.transport(id).unwrap().write(b"go on");
        turns(&mut reactor);
        assert!(record.has("data hello"), "{:?}", record.events());
        abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn what_layers_deliver_comes_in_pieces_of_at_most_a_read() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { read_buffer: 10, ..Settings::default() });
        let record = Record::new();
        let noted = record.clone();
        let layer = move || {
            Noted::new("layer", &noted).acting(|what, _, below, _| match what {
                "received" => {
                    below.pass_up(b"one that has more to say than it has heard");
                    Then::Nothing
                }
                _ => Then::Through,
            })
        };
        let factory = layered(once(Recorder::new(&record), &Record::new()), layer);
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"x");
        world.run_until(&mut reactor, "told", |_| record.events().len() > 3);
        turns(&mut reactor);
        let told = record.events().into_iter().filter(|event| event.starts_with("data")).collect::<Vec<_>>();
        assert_eq!(
            told,
            ["data one that h", "data as more to", "data  say than ", "data it has hea", "data rd"]
        );
        abort_all(&mut reactor);
        world.close(&mut reactor, &listener);
    });
}

/// Writes one more byte each time that bytes were sent.
struct GoesOn(usize);

impl Layer for GoesOn {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.watch_sent();
        below.ready();
    }

    fn sent(&mut self, below: &mut LayerContext<'_>, _: usize) {
        if self.0 > 0 {
            self.0 -= 1;
            below.pass_down(b"!");
        }
    }
}

#[test]
fn a_layer_is_told_of_what_it_sent_when_told_of_what_was_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (id, mut peer) = connection(world, &mut reactor, crate::world::idle_protocol());
        let mut transport = reactor.transport(id).unwrap();
        transport.add_layer(GoesOn(8));
        transport.write(b"hello");
        turns(&mut reactor);
        turns(&mut reactor);
        assert_eq!(peer.read_now(), b"hello!!!!!!!!");
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
    });
}
