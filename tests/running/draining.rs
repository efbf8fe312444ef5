//! A graceful stop asks each protocol once to finish its work, and waits for it up to a limit.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, on_the_real_network};
use twistor::framing::{
    Decoder, FrameTransport, LineReceiver, LineTransport, Lines, MessageReceiver, MessageTransport, Messages,
    NextState, Stateful, StatefulReceiver, StatefulTransport, StringReceiver, Strings,
};
use twistor::stream::{StreamReader, StreamWriter, factory};
use twistor::task::sleep;
use twistor::{
    Layer, LayerContext, Phase, Protocol, Reactor, Reason, Settings, SystemEvent, Transport, layered,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// The time that an answer takes.
const WORK: Duration = Duration::from_millis(300);

/// Answers each request after `work`, and closes after the last answer of a drain.
struct Worker {
    record: Record,
    work: Duration,
    in_flight: usize,
    draining: bool,
    answer: &'static [u8],
    act: fn(&mut Transport<'_>),
}

impl Worker {
    fn new(record: &Record, work: Duration) -> Worker {
        let (record, answer) = (record.clone(), &b"answer"[..]);
        Worker { record, work, in_flight: 0, draining: false, answer, act: |_| {} }
    }

    fn acting(self, act: fn(&mut Transport<'_>)) -> Worker {
        Worker { act, ..self }
    }

    fn close_if_done(&self, transport: &mut Transport<'_>) {
        if self.draining && self.in_flight == 0 {
            transport.lose_connection();
        }
    }
}

impl Protocol for Worker {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        self.record.add("made");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        self.record.add("request");
        self.in_flight += 1;
        transport.call_later(self.work, |worker: &mut Worker, transport| {
            worker.in_flight -= 1;
            transport.write(worker.answer);
            worker.close_if_done(transport);
        });
    }

    fn drain(&mut self, transport: &mut Transport<'_>) {
        self.record.add("drain");
        self.draining = true;
        (self.act)(transport);
        self.close_if_done(transport);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.record.add(format!("lost {reason:?}"));
    }
}

fn reactor_with_limit(world: &World, limit: Duration) -> Reactor {
    world.reactor_with(Settings { graceful_stop_timeout: limit, ..Settings::default() })
}

fn stop_soon(reactor: &mut Reactor) {
    reactor.call_later(Duration::ZERO, |reactor| assert!(reactor.stop_gracefully()));
}

#[test]
fn a_request_in_flight_is_answered() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let listener = world.serve(&mut reactor, Worker::new(&record, WORK));
        let mut peer = world.connect(listener.address());
        peer.send(b"request");
        world.run_until(&mut reactor, "the request", |_| record.has("request"));
        let began = reactor.now();
        stop_soon(&mut reactor);
        assert_eq!(world.run_read_by(&mut reactor, peer), b"answer".len());
        assert_eq!(record.events(), ["made", "request", "drain", "lost Done"]);
        assert!(reactor.now() - began >= WORK);
    });
}

#[test]
fn an_idle_connection_closes_at_once() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let by_default = Record::new();
        let worker = world.serve(&mut reactor, Worker::new(&record, WORK));
        let recorder = world.serve(&mut reactor, Recorder::new(&by_default));
        let peers = [world.connect(worker.address()), world.connect(recorder.address())];
        world.run_until(&mut reactor, "both", |_| record.has("made") && by_default.has("made"));
        reactor.call_later(LONG / 2, |_| panic!("the stop waits for idle connections"));
        stop_soon(&mut reactor);
        world.run(&mut reactor);
        assert_eq!(record.events(), ["made", "drain", "lost Done"]);
        assert_eq!(by_default.events(), ["made", "lost Done"]);
        drop(peers);
    });
}

#[test]
fn a_connection_that_does_not_finish_is_lost_after_the_limit() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(20);
        let mut reactor = reactor_with_limit(world, limit);
        let record = Record::new();
        let listener = world.serve(&mut reactor, Worker::new(&record, LONG));
        let mut peer = world.connect(listener.address());
        peer.send(b"request");
        world.run_until(&mut reactor, "the request", |_| record.has("request"));
        let began = reactor.now();
        stop_soon(&mut reactor);
        world.run(&mut reactor);
        reactor.update_time();
        assert!(reactor.now() - began >= limit);
        assert_eq!(record.events(), ["made", "request", "drain", "lost Stopped"]);
    });
}

#[test]
fn an_outer_loop_is_told_when_the_limit_ends_the_stop() {
    on_the_real_network("an outer loop waits in real time", |world| {
        let mut reactor = reactor_with_limit(world, Duration::from_millis(20));
        let record = Record::new();
        let listener = world.serve(&mut reactor, Worker::new(&record, LONG));
        let mut peer = world.connect(listener.address());
        peer.send(b"request");
        world.run_until(&mut reactor, "the request", |_| record.has("request"));
        stop_soon(&mut reactor);
        loop {
            let wait = reactor.poll_timeout().expect("a stop that takes too long is not forgotten");
            if !reactor.iterate(Some(wait)).unwrap() {
                break;
            }
        }
        assert_eq!(record.events(), ["made", "request", "drain", "lost Stopped"]);
    });
}

#[test]
fn a_plain_stop_asks_no_protocol() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let listener = world.serve(&mut reactor, Worker::new(&record, WORK));
        let peer = world.connect(listener.address());
        world.run_until(&mut reactor, "the connection", |_| record.has("made"));
        reactor.call_later(Duration::ZERO, |reactor| assert!(reactor.stop()));
        world.run(&mut reactor);
        assert_eq!(record.events(), ["made", "lost Stopped"]);
        drop(peer);
    });
}

#[test]
fn a_connection_is_asked_once_and_not_after_its_end() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let (busy, aborted, aborts) = (Record::new(), Record::new(), Record::new());
        let listeners = [
            world.serve(&mut reactor, Worker::new(&busy, WORK)),
            world.serve(&mut reactor, Worker::new(&aborted, Duration::ZERO)),
            world.serve(
                &mut reactor,
                Worker::new(&aborts, WORK).acting(|transport| {
                    transport.abort_connection();
                    assert!(!transport.reactor().stop_gracefully(), "it stops already");
                }),
            ),
        ];
        let mut peers = listeners.each_ref().map(|listener| world.connect(listener.address()));
        peers[0].send(b"request");
        world.run_until(&mut reactor, "all", |_| {
            busy.has("request") && aborted.has("made") && aborts.has("made")
        });
        for id in reactor.connections() {
            reactor.with_protocol(id, |worker: &mut Worker, transport| {
                if worker.work.is_zero() {
                    transport.abort_connection();
                }
            });
        }
        assert!(reactor.stop_gracefully());
        world.run(&mut reactor);
        assert_eq!(busy.events(), ["made", "request", "drain", "lost Done"]);
        assert_eq!(aborted.events(), ["made", "lost Aborted"]);
        assert_eq!(aborts.events(), ["made", "drain", "lost Aborted"]);
        drop(peers);
    });
}

#[test]
fn a_panic_in_drain_ends_that_connection_alone() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let (panics, works) = (Record::new(), Record::new());
        let bad = world.serve(&mut reactor, Worker::new(&panics, WORK).acting(|_| panic!("no")));
        let good = world.serve(&mut reactor, Worker::new(&works, WORK));
        let first = world.connect(bad.address());
        let mut second = world.connect(good.address());
        second.send(b"request");
        world.run_until(&mut reactor, "both", |_| panics.has("made") && works.has("request"));
        stop_soon(&mut reactor);
        assert_eq!(world.run_read_by(&mut reactor, second), b"answer".len());
        assert!(panics.events()[2].starts_with("lost Panicked"), "{:?}", panics.events());
        let logged = world.logged();
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert!(logged[0].starts_with("panic in drain of connection"), "{logged:?}");
        drop(first);
    });
}

/// A layer that is ready only once it has received something.
struct Greeted;

impl Layer for Greeted {
    fn started(&mut self, _: &mut LayerContext<'_>) {}

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        below.ready();
        below.pass_up(data);
    }
}

#[test]
fn a_layered_connection_is_asked_if_it_is_ready() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let (ready, waits) = (Record::new(), Record::new());
        let servers = [&ready, &waits].map(|record| {
            let record = record.clone();
            let layered = layered(move || Worker::new(&record, WORK), || Greeted);
            reactor.listen_tcp(world.anywhere(), layered).unwrap()
        });
        let mut first = world.connect(servers[0].address());
        let second = world.connect(servers[1].address());
        first.send(b"request");
        world.run_until(&mut reactor, "both", |reactor| {
            ready.has("request") && reactor.connections().len() == 2
        });
        stop_soon(&mut reactor);
        assert_eq!(world.run_read_by(&mut reactor, first), b"answer".len());
        assert_eq!(ready.events(), ["made", "request", "drain", "lost Done"]);
        assert!(waits.events().is_empty(), "no protocol was built: {:?}", waits.events());
        drop(second);
    });
}

#[test]
fn a_connection_made_while_the_stop_is_delayed_is_asked_too() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let (made, hold) = (record.clone(), Rc::new(RefCell::new(None)));
        let held = Rc::clone(&hold);
        let server = world.serve(&mut reactor, idle_protocol().closing());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, guard| {
            *held.borrow_mut() = Some(guard);
            let worker = Worker::new(&made, WORK);
            let worker = RefCell::new(Some(worker));
            reactor.connect_tcp(server.address(), twistor::factory(move |_| worker.take())).unwrap();
        });
        reactor.call_when_running(|reactor| assert!(reactor.stop_gracefully()));
        world.run_until(&mut reactor, "the connection", |_| record.has("made"));
        hold.take();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["made", "drain", "lost Done"]);
    });
}

// -- wrappers --

/// Handlers of each framing, which take down that they were asked, and close.
struct Asked(Record);

impl LineReceiver for Asked {
    fn line_received(&mut self, _: &mut LineTransport<'_>, _: &[u8]) {}

    fn drain(&mut self, transport: &mut LineTransport<'_>) {
        self.0.add("line receiver");
        transport.lose_connection();
    }
}

impl StringReceiver for Asked {
    fn string_received(&mut self, _: &mut FrameTransport<'_>, _: &[u8]) {}

    fn drain(&mut self, transport: &mut FrameTransport<'_>) {
        self.0.add("string receiver");
        transport.lose_connection();
    }
}

impl StatefulReceiver for Asked {
    fn initial_state(&mut self) -> NextState<Asked> {
        NextState::new(1, |_, _, _| NextState::new(1, |asked, _, _| asked.initial_state()))
    }

    fn drain(&mut self, transport: &mut StatefulTransport<'_>) {
        self.0.add("stateful receiver");
        transport.lose_connection();
    }
}

struct Bytes;

impl Decoder for Bytes {
    type Message = u8;
    type Error = std::convert::Infallible;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<u8>, Self::Error> {
        let Some((first, rest)) = input.split_first() else { return Ok(None) };
        *input = rest;
        Ok(Some(*first))
    }
}

impl MessageReceiver for Asked {
    type Decoder = Bytes;

    fn message_received(&mut self, _: &mut MessageTransport<'_, Bytes>, _: u8) {}

    fn drain(&mut self, transport: &mut MessageTransport<'_, Bytes>) {
        self.0.add("message receiver");
        transport.lose_connection();
    }
}

#[test]
fn framings_ask_their_handlers() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let asked = || Asked(record.clone());
        let listeners = [
            world.serve(&mut reactor, Lines::new(asked())),
            world.serve(&mut reactor, Strings::int16(asked())),
            world.serve(&mut reactor, Stateful::new(asked())),
            world.serve(&mut reactor, Messages::new(asked(), Bytes)),
        ];
        let peers = listeners.each_ref().map(|listener| world.connect(listener.address()));
        world.run_until(&mut reactor, "all", |reactor| reactor.connections().len() == peers.len());
        stop_soon(&mut reactor);
        world.run(&mut reactor);
        let mut events = record.events();
        events.sort();
        let expected = ["line receiver", "message receiver", "stateful receiver", "string receiver"];
        assert_eq!(events, expected);
    });
}

#[test]
fn a_handler_of_a_stream_answers_the_request_in_flight() {
    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let handled = record.clone();
        let handler = factory(async move |mut reader: StreamReader, writer: StreamWriter| {
            while let Ok([_, ..]) = reader.read_chunk(100).await {
                handled.add("request");
                while !handled.has("end") {
                    sleep(Duration::from_millis(1)).await;
                }
                writer.write(b"answer");
            }
            handled.add("end");
        });
        let listener = reactor.listen_tcp(world.anywhere(), handler).unwrap();
        let (mut busy, idle) = (world.connect(listener.address()), world.connect(listener.address()));
        busy.send(b"request");
        world.run_until(&mut reactor, "both", |reactor| {
            record.has("request") && reactor.connections().len() == 2
        });
        stop_soon(&mut reactor);
        // The request in flight takes until the idle connection has ended.
        assert_eq!(world.run_read_by(&mut reactor, busy), b"answer".len());
        assert_eq!(record.events(), ["request", "end", "end"]);
        drop(idle);
    });
}

#[cfg(feature = "http")]
#[test]
fn the_http_client_completes_the_request_in_flight() {
    use twistor::http::Client;

    on_each_back_end(|world| {
        let mut reactor = reactor_with_limit(world, LONG);
        let record = Record::new();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let worker = Worker { answer, ..Worker::new(&record, WORK) };
        let listener = world.serve(&mut reactor, worker);
        let (client, done) = (Client::default(), record.clone());
        let call = client.get(format!("http://{}/", listener.address()));
        call.timeout(LONG).start(&mut reactor, move |_, result| {
            done.add(String::from_utf8(result.unwrap().response.body).unwrap());
        });
        world.run_until(&mut reactor, "the request", |_| record.has("request"));
        stop_soon(&mut reactor);
        reactor.call_later(LONG / 2, |_| panic!("the client keeps its connection"));
        world.run(&mut reactor);
        assert!(record.has("ok") && record.has("drain"), "{:?}", record.events());
    });
}
