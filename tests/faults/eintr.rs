//! A signal that interrupts the poll is no error, and changes nothing but the time of a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::world::child::{self, test_path};
use crate::world::{Record, abort_all, idle_protocol, on_the_real_network};
use rustix::process::{Signal, getpid, kill_process};

#[test]
fn a_loop_that_is_interrupted_again_and_again_does_its_work() {
    child::alone(test_path(a_loop_that_is_interrupted_again_and_again_does_its_work), "", || {
        on_the_real_network("signals interrupt a poll of the system", |world| {
            // A handler that does nothing: the poll is interrupted, and the reactor does not learn why.
            let handled = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(Signal::USR2.as_raw(), Arc::clone(&handled)).unwrap();
            let enough = Arc::new(AtomicBool::new(false));
            let over = Arc::clone(&enough);
            let sender = thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    kill_process(getpid(), Signal::USR2).unwrap();
                    thread::yield_now();
                }
            });
            let mut reactor = world.reactor();
            let record = Record::new();
            // Which thread takes a signal is the kernel's choice: as a rule, many of these polls are interrupted. That
            // every one of them is, is tested where strace makes the calls fail.
            for _ in 0..300 {
                assert!(reactor.iterate(Some(Duration::from_millis(1))).unwrap());
            }
            assert!(handled.load(Ordering::SeqCst));
            // Timers are not early, and bytes come.
            let timed = record.clone();
            let due = reactor.now() + Duration::from_millis(20);
            reactor.call_later(Duration::from_millis(20), move |reactor| {
                assert!(reactor.now() >= due);
                timed.add("timed");
            });
            let echo = idle_protocol().echoing();
            let listener = world.serve(&mut reactor, echo);
            let client = idle_protocol();
            let received = client.received.clone();
            let noted = record.clone();
            let much = 1 << 20;
            let client = client.acting(move |what, transport, _| match what {
                "made" => transport.write(&vec![b'x'; much]),
                "lost" => noted.add("lost"),
                _ => {}
            });
            world.ask(&mut reactor, &listener, client);
            world.run_until(&mut reactor, "all bytes", |_| {
                received.borrow().len() == much && record.has("timed")
            });
            abort_all(&mut reactor);
            world.close(&mut reactor, &listener);
            enough.store(true, Ordering::SeqCst);
            sender.join().unwrap();
        });
    });
}
