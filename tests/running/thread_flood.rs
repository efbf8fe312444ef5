//! A flood of calls from threads is bounded, keeps its order, and does not block the rest of the
//! loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, on_the_real_network};
use twistor::{Error, Settings};

#[test]
fn connections_go_on_while_threads_flood_the_loop_with_calls() {
    on_the_real_network("threads of the process call while the loop works", |world| {
        let settings = Settings { thread_call_queue: 1000, calls_per_turn: 100, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let enough = Arc::new(AtomicBool::new(false));
        let (asked, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let disorder = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (remote, enough, asked) = (reactor.remote(), Arc::clone(&enough), Arc::clone(&asked));
                let (ran, disorder) = (Arc::clone(&ran), Arc::clone(&disorder));
                thread::spawn(move || {
                    let last = Arc::new(AtomicUsize::new(0));
                    let mut number = 0;
                    while !enough.load(Ordering::SeqCst) {
                        let (ran, disorder, last) =
                            (Arc::clone(&ran), Arc::clone(&disorder), Arc::clone(&last));
                        let call = move |_: &mut twistor::Reactor| {
                            if last.swap(number + 1, Ordering::SeqCst) != number {
                                disorder.fetch_add(1, Ordering::SeqCst);
                            }
                            ran.fetch_add(1, Ordering::SeqCst);
                        };
                        match remote.call_from_thread(call) {
                            Ok(()) => {
                                number += 1;
                                asked.fetch_add(1, Ordering::SeqCst);
                            }
                            Err(Error::QueueFull(1000)) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        world.run_until(&mut reactor, "the flood", |_| ran.load(Ordering::SeqCst) > 1000);
        let record = Record::new();
        let server = idle_protocol().echoing();
        let listener = world.serve(&mut reactor, server);
        let client = Recorder::new(&record).acting(|what, transport, data| match what {
            "made" => transport.write(&[0]),
            "data" if data[0] == 100 => transport.lose_connection(),
            "data" => transport.write(&[data[0] + 1]),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "a hundred echoes", |_| record.has("lost Done"));
        enough.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let all = || ran.load(Ordering::SeqCst) == asked.load(Ordering::SeqCst);
        world.run_until(&mut reactor, "all calls", |_| all());
        assert_eq!(disorder.load(Ordering::SeqCst), 0);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn queued_calls_never_exceed_the_limit_however_slow_the_loop() {
    on_each_back_end(|world| {
        let settings = Settings { thread_call_queue: 10, calls_per_turn: 2, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let remote = reactor.remote();
        let mut accepted = 0;
        for _ in 0..20 {
            while remote.call_from_thread(|_| {}).is_ok() {
                accepted += 1;
            }
            assert_eq!(accepted - reactor.statistics().thread_calls, 10);
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        // The remaining calls run without another wake-up.
        let never = reactor.call_later(Duration::from_secs(20), |_| {});
        while reactor.statistics().thread_calls + 2 < accepted {
            reactor.iterate(None).unwrap();
        }
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        assert_eq!(reactor.statistics().thread_calls, accepted);
        never.cancel(&mut reactor).unwrap();
    });
}

#[test]
fn one_wake_up_is_enough_for_many_calls() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let remote = reactor.remote();
        for _ in 0..10_000 {
            remote.call_from_thread(|_| {}).unwrap();
        }
        let before = reactor.statistics().turns;
        world.run_until(&mut reactor, "all calls", |reactor| reactor.statistics().thread_calls == 10_000);
        assert_eq!(reactor.statistics().turns - before, 1);
    });
}
