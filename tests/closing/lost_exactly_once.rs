//! Whatever protocols do in callbacks, each connection is made once and lost once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::random::Random;
use crate::world::{abort_all, on_each_back_end};
use twistor::{
    BuildContext, ClientFactory, ConnectionId, Connector, Factory, Producer, ProducerKind, Protocol, Reason,
    Settings, Transport,
};

/// State shared by all protocols of a scenario.
struct Scene {
    random: Random,
    /// Number of actions left. At 0, everything comes to an end.
    energy: usize,
    everyone: Vec<ConnectionId>,
    made: usize,
    lost: usize,
    wrong: Vec<String>,
}

type Shared = Rc<RefCell<Scene>>;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    New,
    Made,
    Lost,
}

/// A protocol that takes random actions in every callback.
struct Wild {
    scene: Shared,
    phase: Phase,
    input_ended: bool,
}

impl Wild {
    fn new(scene: &Shared) -> Wild {
        Wild { scene: Rc::clone(scene), phase: Phase::New, input_ended: false }
    }

    fn expect(&self, what: &str, right: bool) {
        if !right {
            self.scene.borrow_mut().wrong.push(format!("{what} when {:?}", self.phase));
        }
    }

    fn act(&mut self, what: &str, transport: &mut Transport<'_>) {
        self.expect(what, self.phase == Phase::Made);
        act(&self.scene, transport);
    }
}

/// Takes up to three random actions on this connection or another.
fn act(scene: &Shared, transport: &mut Transport<'_>) {
    for _ in 0..3 {
        let (what, whom) = {
            let mut scene = scene.borrow_mut();
            if scene.energy == 0 {
                drop(scene);
                return transport.abort_connection();
            }
            scene.energy -= 1;
            let whom = match scene.everyone.len() {
                0 => None,
                length => {
                    let index = scene.random.below(length);
                    Some(scene.everyone[index])
                }
            };
            (scene.random.below(14), whom)
        };
        match (what % 2, whom) {
            (0, Some(other)) if other != transport.id() => {
                if let Some(mut other) = transport.reactor().transport(other) {
                    one_thing(what, scene, &mut other);
                }
            }
            _ => one_thing(what, scene, transport),
        }
    }
}

fn one_thing(what: usize, scene: &Shared, transport: &mut Transport<'_>) {
    let amount = scene.borrow_mut().random.below(40_000) + 1;
    match what {
        0..4 => transport.write(&vec![b'x'; amount]),
        4 => transport.lose_connection(),
        5 => transport.abort_connection(),
        6 => transport.lose_write_connection(),
        7 => transport.pause_reading(),
        8 => transport.resume_reading(),
        9 => transport.set_water_marks(amount, amount / 2),
        10 => {
            let scene = Rc::clone(scene);
            transport.call_later(
                Duration::from_micros(amount as u64 / 100),
                move |wild: &mut Wild, transport| {
                    wild.expect("a timed call", wild.phase == Phase::Made);
                    act(&scene, transport);
                },
            );
        }
        11 => {
            let scene = Rc::clone(scene);
            let kind = if amount.is_multiple_of(2) { ProducerKind::Push } else { ProducerKind::Pull };
            // Fails if a producer is already registered.
            let _ = transport.register_producer(Source { scene }, kind);
        }
        12 => transport.unregister_producer(),
        _ => {
            let other = scene.borrow().everyone.last().copied();
            if let Some(other) = other {
                let random = Rc::clone(scene);
                transport.reactor().with_protocol(other, |_: &mut Wild, transport| act(&random, transport));
            }
        }
    }
}

struct Source {
    scene: Shared,
}

impl Producer for Source {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        act(&self.scene, transport);
    }
}

impl Protocol for Wild {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.expect("made", self.phase == Phase::New);
        self.phase = Phase::Made;
        let id = transport.id();
        let mut scene = self.scene.borrow_mut();
        scene.made += 1;
        scene.everyone.push(id);
        drop(scene);
        transport.write(b"hello");
        self.act("made", transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.expect("data after the end of the input", !self.input_ended && !data.is_empty());
        self.act("data", transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.expect("a second end of the input", !self.input_ended);
        self.input_ended = true;
        self.act("the end of the input", transport);
        if self.scene.borrow_mut().random.below(2) == 0 {
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.act("the end of the output", transport);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.act("pause", transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.act("resume", transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.act("lost", transport);
        self.phase = Phase::Lost;
        self.scene.borrow_mut().lost += 1;
    }
}

struct Clients {
    scene: Shared,
}

impl Factory for Clients {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Wild::new(&self.scene)))
    }
}

impl ClientFactory for Clients {
    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        let again = self.scene.borrow().energy > 0;
        if again {
            connector.connect();
        }
    }

    fn client_connection_failed(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}

#[test]
fn wild_callbacks_do_no_harm() {
    on_each_back_end(|world| {
        for seed in 0..150 {
            let settings = Settings {
                close_timeout: Duration::from_millis(5),
                linger: Duration::from_millis(2),
                write_buffer_limit: 200_000,
                ..Settings::default()
            };
            let mut reactor = world.reactor_with(settings);
            let scene = Rc::new(RefCell::new(Scene {
                random: Random::new(seed),
                energy: 300,
                everyone: Vec::new(),
                made: 0,
                lost: 0,
                wrong: Vec::new(),
            }));
            let server = Rc::clone(&scene);
            let listener = reactor.listen_tcp(world.anywhere(), move || Wild::new(&server)).unwrap();
            for _ in 0..4 {
                let clients = Clients { scene: Rc::clone(&scene) };
                reactor.connect_tcp(listener.address(), clients).unwrap();
            }
            // Ends the connections that no action ended: a paused pair would stay open for ever.
            let last = Rc::clone(&scene);
            reactor.call_later(Duration::from_millis(15), move |reactor| {
                last.borrow_mut().energy = 0;
                abort_all(reactor);
                reactor.stop_listening(&listener).unwrap();
            });
            world.run_until_idle(&mut reactor);
            let scene = scene.borrow();
            assert!(scene.wrong.is_empty(), "seed {seed}: {:?}", scene.wrong);
            assert_eq!(scene.made, scene.lost, "seed {seed}");
            assert!(scene.made >= 4, "seed {seed}: {} were made", scene.made);
            assert_eq!(reactor.statistics().panics, 0, "seed {seed}");
        }
    });
}
