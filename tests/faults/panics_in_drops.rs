//! A panic in the drop of what a program handed over disturbs nothing else, and is logged once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::witness::{beside_a_witness, panicked_once};
use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::{
    Address, BuildContext, DatagramProtocol, DatagramTransport, Factory, Listener, Phase, Protocol, Signal,
    SystemEvent, Transport,
};

/// User code that panics when it is dropped.
struct RudeToDrop;

impl Drop for RudeToDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("no");
        }
    }
}

impl Protocol for RudeToDrop {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.abort_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

impl Factory for RudeToDrop {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        context.reactor().call_later(Duration::ZERO, |_| {});
        None
    }
}

#[test]
fn a_panic_in_the_drop_of_a_protocol_concerns_nobody() {
    beside_a_witness(|world, reactor, _| {
        let gone = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        reactor.connect_tcp(listener.address(), once(RudeToDrop, &gone)).unwrap();
        world.run_until(reactor, "the loss", |_| gone.has("stopped"));
        assert_eq!(gone.events(), ["started", "connecting", "gone Aborted", "stopped"]);
        panicked_once(world, reactor, "the drop of user code");
        reactor.stop_listening(&listener).unwrap();
    });
}

/// Stops its own listener, and then cannot even be dropped.
struct StopsItself {
    listener: Rc<RefCell<Option<Listener>>>,
    _rude: RudeToDrop,
}

impl Factory for StopsItself {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let listener = self.listener.borrow_mut().take()?;
        context.reactor().stop_listening(&listener).unwrap();
        None
    }
}

#[test]
fn a_panic_in_the_drop_of_a_factory_concerns_nobody() {
    beside_a_witness(|world, reactor, _| {
        let listener = reactor.listen_tcp(world.anywhere(), RudeToDrop).unwrap();
        reactor.stop_listening(&listener).unwrap();
        world.run_until(reactor, "the drop", |reactor| reactor.statistics().panics == 1);
        let place: Rc<RefCell<Option<Listener>>> = Rc::default();
        let factory = StopsItself { listener: Rc::clone(&place), _rude: RudeToDrop };
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let _client = world.connect(listener.address());
        *place.borrow_mut() = Some(listener);
        world.run_until(reactor, "the drop", |reactor| reactor.statistics().panics == 2);
        assert_eq!(world.logged().len(), 2);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_call_concerns_nobody() {
    beside_a_witness(|world, reactor, _| {
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        let client = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport
                    .call_later(Duration::ZERO, |_: &mut Recorder, transport| transport.abort_connection());
                // Due at the same instant, when the protocol is gone; and one that is far away.
                for delay in [Duration::ZERO, Duration::from_secs(60)] {
                    let rude = RudeToDrop;
                    transport.call_later(delay, move |_: &mut Recorder, _| drop(rude));
                }
            }
        });
        reactor.connect_tcp(listener.address(), once(client, &record)).unwrap();
        world.run_until(reactor, "the loss", |_| record.has("stopped"));
        assert_eq!(reactor.statistics().panics, 2);
        assert_eq!(world.logged(), ["panic in the drop of user code: no"; 2]);
        reactor.stop_listening(&listener).unwrap();
    });
}

struct Deaf;

impl DatagramProtocol for Deaf {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: &[u8], _: &Address) {}
}

#[test]
fn a_panic_in_dropping_a_call_of_a_closed_socket_is_contained() {
    beside_a_witness(|world, reactor, _| {
        let id = reactor.listen_udp(world.anywhere(), Deaf).unwrap();
        let rude = RudeToDrop;
        let mut transport = reactor.datagram_transport(id).unwrap();
        transport.stop_listening();
        // It is due before the socket is gone.
        transport.call_later(Duration::ZERO, move |_: &mut Deaf, _| drop(rude));
        world.run_until(reactor, "gone", |reactor| reactor.datagram_transport(id).is_none());
        panicked_once(world, reactor, "the drop of user code");
    });
}

#[test]
fn a_panic_in_dropping_a_call_with_its_socket_is_contained() {
    beside_a_witness(|world, reactor, _| {
        let id = reactor.listen_udp(world.anywhere(), Deaf).unwrap();
        let rude = RudeToDrop;
        let mut transport = reactor.datagram_transport(id).unwrap();
        transport.call_later(Duration::from_secs(60), move |_: &mut Deaf, _| drop(rude));
        transport.stop_listening();
        world.run_until(reactor, "gone", |reactor| reactor.datagram_transport(id).is_none());
        panicked_once(world, reactor, "the drop of user code");
    });
}

#[test]
fn a_panic_in_the_drop_of_what_is_left_over_does_not_leave_run() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let rude = RudeToDrop;
        reactor.call_later(Duration::from_secs(60), move |_| drop(rude));
        let rude = RudeToDrop;
        reactor
            .on_signal(Signal::WindowChange, move |_| {
                let _ = &rude;
            })
            .unwrap();
        let rude = RudeToDrop;
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move |reactor, _| {
            reactor.call_later(Duration::ZERO, |reactor| {
                reactor.stop();
            });
            drop(rude);
        });
        world.run(&mut reactor);
        let logged = world.logged();
        assert_eq!(logged.len(), 3, "{logged:?}");
    });
}
