//! Reactors on several threads start together, share a port, and stop together, whatever ends the
//! first of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::world::{Record, Recorder, child, free_address, idle_protocol, on_the_real_network, once};
use twistor::{Error, ListenTcp, Phase, Reactor, RemoteHandle, Settings, SystemEvent};

const THREADS: &str = "each reactor has a thread of the process";

fn quiet() -> Settings {
    Settings { handle_signals: false, ..Settings::default() }
}

fn listen(reactor: &mut Reactor, address: SocketAddr) -> twistor::Result<()> {
    let shared = ListenTcp { reuse_port: true, ..ListenTcp::new(address) };
    reactor.listen_tcp(shared, || idle_protocol().echoing()).map(drop)
}

#[test]
fn all_reactors_serve_one_port_and_stop_with_one() {
    on_the_real_network(THREADS, |_| {
        let address = free_address();
        let threads = Mutex::new(Vec::new());
        let remotes: Mutex<Vec<RemoteHandle>> = Mutex::default();
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (sender, all_run) = mpsc::channel();
            let (threads, remotes, ended) = (&threads, &remotes, &ended);
            let group = scope.spawn(move || {
                let result = twistor::run_on_cores_with(3, quiet(), |reactor| {
                    threads.lock().unwrap().push(thread::current().id());
                    remotes.lock().unwrap().push(reactor.remote());
                    listen(reactor, address)?;
                    let sender = sender.clone();
                    reactor.call_when_running(move |_| sender.send(()).unwrap());
                    Ok::<(), Error>(())
                });
                ended.fetch_add(1, Ordering::SeqCst);
                result
            });
            for _ in 0..3 {
                all_run.recv().unwrap();
            }
            let mut peers: Vec<_> = (0..24).map(|_| TcpStream::connect(address).unwrap()).collect();
            for peer in &mut peers {
                peer.write_all(b"hello").unwrap();
                peer.read_exact(&mut [0; 5]).unwrap();
            }
            let remotes: Vec<RemoteHandle> = remotes.lock().unwrap().clone();
            let accepted = |remote: &RemoteHandle| {
                remote.blocking_call_from_thread(|reactor| reactor.statistics().accepts).unwrap()
            };
            assert_eq!(remotes.iter().map(accepted).sum::<u64>(), 24);
            assert_eq!(ended.load(Ordering::SeqCst), 0);
            remotes[2].stop().unwrap();
            group.join().unwrap().unwrap();
        });
        let mut threads = threads.into_inner().unwrap();
        threads.sort_by_key(|thread| format!("{thread:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 3, "a thread for each");
    });
}

#[test]
fn no_reactor_runs_if_one_is_not_set_up() {
    on_the_real_network(THREADS, |_| {
        let (set_up, ran) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let result = twistor::run_on_cores_with(3, quiet(), |reactor| {
            let ran = Arc::clone(&ran);
            reactor.call_when_running(move |_| {
                ran.fetch_add(1, Ordering::SeqCst);
            });
            match set_up.fetch_add(1, Ordering::SeqCst) {
                1 => Err(reactor.listen_tcp("nowhere:0", idle_protocol).unwrap_err()),
                _ => Ok(()),
            }
        });
        assert!(matches!(result, Err(Error::BadAddress(_))), "{result:?}");
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_panic_of_the_setup_comes_after_the_end_of_all_threads() {
    on_the_real_network(THREADS, |_| {
        let set_up = AtomicUsize::new(0);
        let run = || {
            twistor::run_on_cores_with(2, quiet(), |_| match set_up.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("in the setup"),
                _ => Ok::<(), Error>(()),
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the setup"));
    });
}

#[test]
fn a_stop_is_as_graceful_as_that_of_the_first_reactor() {
    on_the_real_network(THREADS, |_| {
        for graceful in [true, false] {
            let number = AtomicUsize::new(0);
            let collected = Arc::<Mutex<Vec<_>>>::default();
            twistor::run_on_cores_with(2, quiet(), |reactor| {
                let first = number.fetch_add(1, Ordering::SeqCst) == 0;
                let (reactor_record, collected) = (Record::new(), Arc::clone(&collected));
                // Both ends are here: a graceful stop closes them cleanly.
                let notes = reactor_record.clone();
                let listener = reactor.listen_tcp("127.0.0.1:0", idle_protocol)?;
                let client = once(Recorder::new(&notes), &Record::new());
                reactor.connect_tcp(twistor::ConnectTcp::try_from(listener.address())?, client)?;
                if first {
                    stop_when_connected(reactor, graceful);
                }
                reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move |_, _| {
                    collected.lock().unwrap().push(reactor_record.events());
                });
                Ok::<(), Error>(())
            })
            .unwrap();
            let ends = collected.lock().unwrap();
            assert_eq!(ends.len(), 2, "both have ended");
            let clean = ends.iter().filter(|events| events.last().is_some_and(|end| end == "lost Done"));
            match graceful {
                // The second may not have been connected yet.
                true => assert!(clean.count() >= 1, "{ends:?}"),
                false => assert_eq!(clean.count(), 0, "{ends:?}"),
            }
        }
    });
}

fn stop_when_connected(reactor: &mut Reactor, graceful: bool) {
    reactor.call_later(Duration::ZERO, move |reactor| match reactor.statistics().connections {
        0..=1 => stop_when_connected(reactor, graceful),
        _ if graceful => drop(reactor.stop_gracefully()),
        _ => drop(reactor.stop()),
    });
}

#[test]
fn a_signal_stops_all_reactors() {
    let test = child::test_path(a_signal_stops_all_reactors);
    child::alone(test, "", || {
        let (running, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        twistor::run_on_cores(2, |reactor| {
            let (running, ended) = (Arc::clone(&running), Arc::clone(&ended));
            reactor.call_when_running(move |_| {
                if running.fetch_add(1, Ordering::SeqCst) == 1 {
                    child::raise(rustix::process::Signal::TERM);
                }
            });
            reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move |_, _| {
                ended.fetch_add(1, Ordering::SeqCst);
            });
            Ok::<(), Error>(())
        })
        .unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), 2);
    });
}
