//! A reactor runs inside another event loop, which waits for its descriptor and its timeout.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, on_the_real_network};
use twistor::task::{channel, sleep};
use twistor::{Error, Reactor};

const WHY: &str = "a simulated network has no descriptors";

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// Waits as an outer loop does, and runs a turn. Returns whether the descriptor was readable.
fn outer_turn(reactor: &mut Reactor) -> bool {
    let timeout = reactor.poll_timeout().map(|timeout| Timespec::try_from(timeout).unwrap());
    let mut sources = [PollFd::from_borrowed_fd(reactor.poll_fd().unwrap(), PollFlags::IN)];
    let ready = poll(&mut sources, timeout.as_ref()).unwrap();
    reactor.iterate(Some(Duration::ZERO)).unwrap();
    ready > 0
}

fn run_outer(reactor: &mut Reactor, what: &str, done: impl Fn(&mut Reactor) -> bool) {
    let hangs = reactor.call_later(LONG, |_| panic!("the outer loop hangs"));
    while !done(reactor) {
        outer_turn(reactor);
        assert!(hangs.time(reactor).is_some(), "{what}");
    }
    hangs.cancel(reactor).unwrap();
}

/// Runs until the reactor waits for events only.
fn settle(reactor: &mut Reactor) {
    while reactor.poll_timeout() == Some(Duration::ZERO) {
        reactor.iterate(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn connections_and_timers_run_in_another_loop() {
    on_the_real_network(WHY, |world: &World| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let listener = world.serve(&mut reactor, idle_protocol().echoing());
        let client = Recorder::new(&record).acting(|what, transport, _| match what {
            "made" => {
                transport.call_later(Duration::from_millis(1), |_: &mut Recorder, transport| {
                    transport.write(b"hello");
                });
            }
            "data" => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        run_outer(&mut reactor, "the echo", |_| record.has("lost Done"));
        assert_eq!(record.events(), ["made", "data hello", "lost Done"]);
        reactor.stop_listening(&listener).unwrap();
        run_outer(&mut reactor, "the end", |reactor| reactor.resource_count() == 0);
    });
}

#[test]
fn an_edge_triggered_outer_poll_misses_nothing() {
    on_the_real_network(WHY, |world: &World| {
        const CONNECTIONS: usize = 20;
        let (mut reactor, record) = (world.reactor(), Record::new());
        let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&outer, reactor.poll_fd().unwrap(), epoll::EventData::new_u64(1), edges).unwrap();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().echoing()).unwrap();
        for _ in 0..CONNECTIONS {
            let client = Recorder::new(&record).acting(|what, transport, _| match what {
                "made" => transport.write(&[b'x'; 200_000]),
                "data" => transport.lose_connection(),
                _ => {}
            });
            world.ask(&mut reactor, &listener, client);
        }
        let hangs = reactor.call_later(LONG, |_| panic!("the outer loop hangs"));
        while record.count("lost Done") < CONNECTIONS {
            let timeout = reactor.poll_timeout().map(|timeout| Timespec::try_from(timeout).unwrap());
            let mut events = Vec::with_capacity(4);
            epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()).unwrap();
            reactor.iterate(Some(Duration::ZERO)).unwrap();
            assert!(hangs.time(&reactor).is_some(), "{:?}", record.events().len());
        }
        hangs.cancel(&mut reactor).unwrap();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn the_timeout_is_that_of_the_next_call_and_zero_with_work() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO), "it has not started");
        settle(&mut reactor);
        assert_eq!(reactor.poll_timeout(), None);
        let call = reactor.call_later(LONG, |_| {});
        let timeout = reactor.poll_timeout().unwrap();
        assert!(!timeout.is_zero() && timeout <= LONG, "{timeout:?}");
        call.cancel(&mut reactor).unwrap();
        assert_eq!(reactor.poll_timeout(), None);
        let handle = reactor.handle();
        handle.call(|_| {});
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
        settle(&mut reactor);
        reactor.call_later(Duration::ZERO, |_| {});
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
        settle(&mut reactor);
        assert!(reactor.stop());
        assert_eq!(reactor.poll_timeout(), Some(Duration::ZERO));
        while reactor.iterate(Some(Duration::ZERO)).unwrap() {}
        assert_eq!(reactor.poll_timeout(), None, "it has finished");
    });
}

#[test]
fn calls_and_wakers_from_threads_make_the_descriptor_readable() {
    on_the_real_network(WHY, |world: &World| {
        let (mut reactor, told) = (world.reactor(), Rc::new(Cell::new(0)));
        let tells = Rc::clone(&told);
        let (sender, mut receiver) = channel(1);
        let task = reactor.spawn(async move {
            while let Some(number) = receiver.recv().await {
                sleep(Duration::from_millis(1)).await;
                tells.set(number);
            }
        });
        settle(&mut reactor);
        assert_eq!(reactor.poll_timeout(), None);
        let remote = reactor.remote();
        let sends = thread::spawn(move || {
            remote.call_from_thread(move |_| assert!(sender.try_send(7).is_ok())).unwrap();
        });
        assert!(outer_turn(&mut reactor), "no event and no timer, and yet it did not wait");
        run_outer(&mut reactor, "the message", |_| told.get() == 7);
        sends.join().unwrap();
        drop(task);
        settle(&mut reactor);
    });
}

#[test]
fn turns_of_one_reactor_do_not_nest_and_those_of_two_do() {
    on_each_back_end(|world| {
        let (mut outer, mut inner) = (world.reactor(), world.reactor());
        let record = Record::new();
        let (notes, nested) = (record.clone(), record.clone());
        inner.call_later(Duration::ZERO, move |_| nested.add("inner"));
        outer.call_later(Duration::ZERO, move |outer| {
            assert!(matches!(outer.iterate(Some(Duration::ZERO)), Err(Error::AlreadyRunning)));
            settle(&mut inner);
            inner.iterate(Some(Duration::ZERO)).unwrap();
            notes.add("outer");
        });
        world.run_until(&mut outer, "both", |_| record.has("outer"));
        assert_eq!(record.events(), ["inner", "outer"]);
    });
}

#[test]
fn a_simulated_reactor_has_no_descriptor() {
    on_each_back_end(|world| {
        let reactor = world.reactor();
        match world.simulated() {
            None => assert!(reactor.poll_fd().is_ok()),
            Some(_) => assert!(matches!(reactor.poll_fd(), Err(Error::System { .. }))),
        }
    });
}
