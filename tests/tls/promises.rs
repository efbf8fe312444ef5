//! The promises of a transport, on a plain connection, below a layer that changes nothing, and over
//! TLS.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::{Layer, Producer, ProducerKind, Reactor, Settings, Transport, layered};

use crate::certificates::{Authority, NAME};
use crate::end::{End, end, meet};
use crate::world::{World, on_each_back_end};

struct Through;
impl Layer for Through {}

/// A kind of connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    Plain,
    Layer,
    Tls,
    /// TLS, on top of a layer.
    TlsAboveLayer,
    TlsInTls,
}

/// Runs a promise over each kind of connection and on each back end. It gets a function that
/// connects a server and a client, and runs until both are gone.
fn on_each_connection(promise: impl Fn(&World, &dyn Fn(&mut Reactor, End, End))) {
    let authority = Authority::new();
    let (acceptor, connector) = (authority.acceptor(), authority.connector());
    on_each_back_end(|world| {
        for over in [Over::Plain, Over::Layer, Over::Tls, Over::TlsAboveLayer, Over::TlsInTls] {
            let connect = |reactor: &mut Reactor, server: End, client: End| {
                let secure = |client: End| connector.factory(client, NAME).unwrap();
                match over {
                    Over::Plain => meet(world, reactor, server, client),
                    Over::Layer => {
                        meet(world, reactor, layered(server, || Through), layered(client, || Through))
                    }
                    Over::Tls => meet(world, reactor, acceptor.factory(server), secure(client)),
                    Over::TlsAboveLayer => meet(
                        world,
                        reactor,
                        layered(acceptor.factory(server), || Through),
                        layered(secure(client), || Through),
                    ),
                    Over::TlsInTls => meet(
                        world,
                        reactor,
                        acceptor.factory(acceptor.factory(server)),
                        connector.factory(secure(client), NAME).unwrap(),
                    ),
                }
            };
            eprintln!("over {over:?}");
            promise(world, &connect);
        }
    });
}

/// A client that closes at the end of its data.
fn reader(length: usize) -> (End, crate::end::Seen) {
    let (client, seen) = end();
    let mut count = 0;
    let client = client.acting(move |what, transport, data| {
        count += data.len();
        if (what == "data" && count == length) || what == "read lost" {
            transport.lose_connection();
        }
    });
    (client, seen)
}

#[test]
fn writes_of_one_callback_arrive_in_order() {
    on_each_connection(|world, connect| {
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "made" {
                for index in 0..1000 {
                    transport.write(format!("{index} "));
                }
                transport.write_sequence(&[b"the", b" ", b"end"]);
                transport.lose_connection();
                transport.write("never sent");
            }
        });
        let (client, seen) = end();
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        let expected: String = (0..1000).map(|index| format!("{index} ")).collect();
        assert_eq!(seen.text(), expected + "the end");
        assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
    });
}

#[test]
fn a_callback_gets_at_most_a_read_buffer() {
    on_each_connection(|world, connect| {
        let largest = Rc::new(Cell::new(0));
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "made" {
                transport.write(vec![b'x'; 300_000]);
                transport.lose_connection();
            }
        });
        let (client, seen) = end();
        let noted = Rc::clone(&largest);
        let client = client.acting(move |what, transport, data| {
            noted.set(noted.get().max(data.len()));
            if what == "read lost" {
                transport.lose_connection();
            }
        });
        let mut reactor = world.reactor_with(Settings { read_buffer: 5000, ..Settings::default() });
        connect(&mut reactor, server, client);
        assert_eq!(seen.received.borrow().len(), 300_000);
        assert!(largest.get() <= 5000, "{} bytes", largest.get());
    });
}

#[test]
fn paused_reading_delivers_nothing_until_it_is_resumed() {
    on_each_connection(|world, connect| {
        let (server, _) = end();
        let server = server.saying("hello");
        let (client, seen) = end();
        let paused = Rc::new(Cell::new(false));
        let state = Rc::clone(&paused);
        let client = client.acting(move |what, transport, _| match what {
            "made" => {
                transport.pause_reading();
                state.set(true);
                let state = Rc::clone(&state);
                let id = transport.id();
                transport.reactor().call_later(Duration::from_millis(20), move |reactor| {
                    state.set(false);
                    reactor.transport(id).unwrap().resume_reading();
                });
            }
            "data" => {
                assert!(!state.get(), "data while paused");
                transport.lose_connection();
            }
            _ => {}
        });
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(seen.text(), "hello");
    });
}

#[test]
fn data_before_the_end_is_delivered_to_a_paused_reader() {
    on_each_connection(|world, connect| {
        let (server, _) = end();
        let server = server.acting(|what, transport, _| {
            if what == "made" {
                transport.write("the last words");
                transport.lose_connection();
            }
        });
        let (client, seen) = end();
        let client = client.acting(move |what, transport, _| match what {
            "made" => {
                transport.pause_reading();
                let id = transport.id();
                transport.reactor().call_later(Duration::from_millis(20), move |reactor| {
                    reactor.transport(id).unwrap().resume_reading();
                });
            }
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
        assert_eq!(seen.text(), "the last words");
    });
}

/// Produces until a limit, and then unregisters.
struct Counting {
    left: Rc<Cell<usize>>,
    running: Rc<Cell<bool>>,
}

impl Producer for Counting {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.running.set(true);
        let piece = self.left.get().min(10_000);
        transport.write(vec![b'p'; piece]);
        self.left.set(self.left.get() - piece);
        if self.left.get() == 0 {
            transport.unregister_producer();
        }
    }
    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        self.running.set(false);
    }
    fn stop_producing(&mut self, _: &mut Reactor) {
        self.left.set(0);
    }
}

#[test]
fn a_close_waits_for_a_pull_producer() {
    on_each_connection(|world, connect| {
        let left = Rc::new(Cell::new(1_000_000));
        let (server, _) = end();
        let remaining = Rc::clone(&left);
        let server = server.acting(move |what, transport, _| {
            if what == "made" {
                let producer = Counting { left: Rc::clone(&remaining), running: Rc::default() };
                transport.register_producer(producer, ProducerKind::Pull).unwrap();
                transport.lose_connection();
            }
        });
        let (client, seen) = end();
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!((seen.received.borrow().len(), left.get()), (1_000_000, 0));
        assert_eq!(seen.events(), ["made", "data", "read lost", "lost Done"]);
    });
}

#[test]
fn water_marks_are_crossed_once_each_way() {
    on_each_connection(|world, connect| {
        let (server, server_seen) = end();
        let server = server.acting(|what, transport, _| match what {
            "made" => {
                transport.set_water_marks(10_000, 1_000);
                transport.write(vec![b'x'; 20 * 1024 * 1024]);
            }
            "resume" => transport.lose_connection(),
            _ => {}
        });
        let (client, seen) = end();
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(seen.received.borrow().len(), 20 * 1024 * 1024);
        assert_eq!(server_seen.events(), ["made", "pause", "resume", "lost Done"]);
    });
}

#[test]
fn a_panic_ends_only_its_connection() {
    on_each_connection(|world, connect| {
        let (server, server_seen) = end();
        let server = server.acting(|what, _, _| {
            if what == "data" {
                panic!("in a callback");
            }
        });
        let (client, seen) = end();
        let client = client.saying("hello");
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(server_seen.events(), ["made", "data", "lost Panicked"]);
        assert_eq!(seen.events().first().unwrap(), "made");
        assert_eq!(world.logged().len(), 1, "the panic is logged");
    });
}

#[test]
fn writes_from_outside_take_the_same_way() {
    on_each_connection(|world, connect| {
        let (server, _) = end();
        let server = server.acting(|what, transport, _| match what {
            "made" => {
                let id = transport.id();
                transport.write("one ");
                transport.reactor().call_later(Duration::from_millis(1), move |reactor| {
                    reactor.transport(id).unwrap().write("two ");
                    reactor.transport(id).unwrap().write("three");
                });
            }
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let (client, seen) = reader("one two three".len());
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(seen.text(), "one two three");
    });
}

#[test]
fn input_given_back_comes_again_in_order() {
    on_each_connection(|world, connect| {
        let (server, server_seen) = end();
        let taken = Rc::new(RefCell::new(String::new()));
        let text = Rc::clone(&taken);
        // Takes one byte of each call, and gives back the rest.
        let server = server.acting(move |what, transport, data| match (what, data) {
            ("data", [first, rest @ ..]) => {
                text.borrow_mut().push(*first as char);
                transport.unread(rest);
            }
            ("read lost", _) => transport.lose_connection(),
            _ => {}
        });
        let (client, _) = end();
        let client = client.acting(|what, transport, _| {
            if what == "made" {
                transport.write("abcdefgh");
                transport.lose_connection();
            }
        });
        let mut reactor = world.reactor();
        connect(&mut reactor, server, client);
        assert_eq!(*taken.borrow(), "abcdefgh");
        assert_eq!(server_seen.events().last().unwrap(), "lost Done");
    });
}
