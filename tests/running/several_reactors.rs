//! Reactors are values: several live in one process, on one thread or several, and communicate.

use std::thread;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, on_the_real_network, once};
use twistor::{ListenTcp, Reactor, Settings};

fn echo() -> Recorder {
    idle_protocol().echoing()
}

fn hello(record: &Record) -> Recorder {
    Recorder::new(record).acting(|what, transport, _| match what {
        "made" => transport.write(b"hello"),
        "data" => transport.lose_connection(),
        _ => {}
    })
}

#[test]
fn two_reactors_take_turns_on_one_thread() {
    on_each_back_end(|world| {
        let (mut serving, mut asking) = (world.reactor(), world.reactor());
        let listener = serving.listen_tcp(world.anywhere(), echo).unwrap();
        let record = Record::new();
        world.ask(&mut asking, &listener, hello(&record));
        for _ in 0..10_000 {
            serving.iterate(Some(Duration::from_millis(1))).unwrap();
            asking.iterate(Some(Duration::from_millis(1))).unwrap();
            if record.has("lost Done") && serving.statistics().connections == 0 {
                break;
            }
        }
        assert_eq!(record.events(), ["made", "data hello", "lost Done"]);
        serving.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut serving);
        world.run_until_idle(&mut asking);
    });
}

#[test]
fn a_reactor_can_run_inside_a_callback_of_another() {
    on_each_back_end(|world| {
        let (mut outer, inner) = (world.reactor(), world.reactor());
        let record = Record::new();
        let noted = record.clone();
        let mut inner = Some(inner);
        outer.call_when_running(move |outer| {
            let mut inner = inner.take().unwrap();
            inner.call_when_running(move |inner| {
                noted.add("inner");
                inner.stop();
            });
            inner.run().unwrap();
            outer.stop();
        });
        world.run(&mut outer);
        assert_eq!(record.events(), ["inner"]);
    });
}

#[test]
fn reactors_on_threads_share_a_port_and_stop_one_by_one() {
    on_the_real_network("each reactor has a thread of the process", |world| {
        let shared = |address| ListenTcp { reuse_port: true, ..ListenTcp::new(address) };
        // Reserves the port.
        let mut first = world.reactor();
        let reserved = first.listen_tcp(shared(world.anywhere()), echo).unwrap();
        let twistor::Address::Tcp(address) = *reserved.address() else { panic!("not a TCP address") };
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (told, remotes) = std::sync::mpsc::channel();
                let thread = thread::spawn(move || {
                    let settings = Settings { handle_signals: false, ..Settings::default() };
                    let mut reactor = Reactor::with_settings(settings).unwrap();
                    reactor.listen_tcp(shared(address), echo).unwrap();
                    told.send(reactor.remote()).unwrap();
                    reactor.run().unwrap();
                    reactor.statistics().accepts
                });
                (remotes.recv().unwrap(), thread)
            })
            .collect();
        first.stop_listening(&reserved).unwrap();
        let record = Record::new();
        for _ in 0..40 {
            first.connect_tcp(address, once(hello(&record), &Record::new())).unwrap();
        }
        world.run_until(&mut first, "all echoes", |_| record.count("lost Done") == 40);
        assert_eq!(record.count("data hello"), 40);
        let accepted: u64 = workers
            .into_iter()
            .map(|(remote, thread)| {
                remote.stop().unwrap();
                thread.join().unwrap()
            })
            .sum();
        assert_eq!(accepted, 40);
        world.run_until_idle(&mut first);
    });
}
