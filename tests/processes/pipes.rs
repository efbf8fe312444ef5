//! A child's pipes have budgets, water marks and limits, and lose no data.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::process::{REAL, Seen, Watcher, spawn, zombies};
use crate::world::on_the_real_network;
use twistor::{ExitReason, ProcessProtocol, ProcessTransport, Reason, Settings, SpawnProcess};

#[test]
fn a_slow_reader_gets_all_output_beyond_the_pipes_capacity() {
    const SIZE: usize = 3_000_000;
    /// Pauses reading after each piece.
    struct Slow {
        got: Rc<RefCell<usize>>,
        exited: bool,
    }
    impl ProcessProtocol for Slow {
        fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
            *self.got.borrow_mut() += data.len();
            process.pause_stdout();
            process.call_later(Duration::ZERO, |_: &mut Slow, process| process.resume_stdout());
        }
        fn process_exited(&mut self, _: &mut ProcessTransport<'_>, _: &ExitReason) {
            self.exited = true;
        }
        fn process_ended(&mut self, _: &mut ProcessTransport<'_>, reason: &ExitReason) {
            assert!(self.exited && reason.is_clean());
            assert_eq!(*self.got.borrow(), SIZE, "all of it comes before the end");
        }
    }
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let got = Rc::new(RefCell::new(0));
        let protocol = Slow { got: Rc::clone(&got), exited: false };
        let line = format!("head -c {SIZE} /dev/zero");
        reactor.spawn_process(SpawnProcess::shell(line), protocol).unwrap();
        world.run_until_idle(reactor);
        assert_eq!(*got.borrow(), SIZE);
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn paused_output_is_delivered_after_the_exit_before_the_end() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = Seen::default();
        let started = |process: &mut ProcessTransport<'_>| process.pause_stdout();
        let protocol = Watcher { seen: seen.clone(), started: Box::new(started) };
        let id = reactor.spawn_process(SpawnProcess::shell("echo said before"), protocol).unwrap();
        let heard = seen.clone();
        world.run_until(reactor, "the exit", |_| heard.all().iter().any(|seen| seen.starts_with("exited")));
        reactor.process_transport(id).unwrap().resume_stdout();
        world.run_until_idle(reactor);
        assert!(seen.place("exited: exited") < seen.place("out said before\\n"));
        assert_eq!(seen.all().last().unwrap(), "ended: exited");
    });
}

#[test]
fn one_that_does_not_read_makes_the_writer_pause_and_resume() {
    /// Writes until `pause_writing`, twice.
    struct Writer {
        seen: Seen,
        rounds: usize,
        paused: bool,
    }
    impl Writer {
        fn fill(&mut self, process: &mut ProcessTransport<'_>) {
            while !process.writing_paused() {
                process.write(&[b'x'; 10_000]);
            }
        }
    }
    impl ProcessProtocol for Writer {
        fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
            self.fill(process);
        }
        fn pause_writing(&mut self, _: &mut ProcessTransport<'_>) {
            assert!(!self.paused);
            self.paused = true;
        }
        fn resume_writing(&mut self, process: &mut ProcessTransport<'_>) {
            assert!(self.paused && process.write_buffer_size() <= 16 * 1024);
            self.paused = false;
            self.rounds += 1;
            match self.rounds {
                3 => process.close_stdin(),
                _ => self.fill(process),
            }
        }
        fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
            self.seen.note(String::from_utf8_lossy(data).trim());
        }
    }
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = Seen::default();
        let protocol = Writer { seen: seen.clone(), rounds: 0, paused: false };
        reactor.spawn_process(SpawnProcess::shell("wc -c"), protocol).unwrap();
        world.run_until_idle(reactor);
        let count: usize = seen.all().concat().parse().unwrap();
        assert!(count > 3 * 64 * 1024 && count.is_multiple_of(10_000), "{count}");
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn input_over_the_buffer_limit_kills_the_process() {
    /// Writes much data, and as much again in `pause_writing`.
    struct Writer(Seen);
    impl ProcessProtocol for Writer {
        fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
            self.pause_writing(process);
        }
        fn pause_writing(&mut self, process: &mut ProcessTransport<'_>) {
            assert!(!process.writing_paused() || process.write_buffer_size() > 100_000);
            for _ in 0..100 {
                process.write(&[b'x'; 10_000]);
            }
        }
        fn process_ended(&mut self, _: &mut ProcessTransport<'_>, reason: &ExitReason) {
            self.0.note(format!("ended: {reason}"));
        }
    }
    on_the_real_network(REAL, |world| {
        let settings = Settings { write_buffer_limit: 100_000, ..Settings::default() };
        let reactor = &mut world.reactor_with(settings);
        let seen = Seen::default();
        reactor.spawn_process(SpawnProcess::new("sleep", ["1000"]), Writer(seen.clone())).unwrap();
        world.run_until_idle(reactor);
        assert_eq!(seen.all(), ["ended: killed by SIGKILL"]);
        assert_eq!(reactor.statistics().buffer_limits, 1);
    });
}

#[test]
fn an_input_that_the_child_closes_is_told_without_a_write() {
    /// Records the reason, then lets the child continue.
    struct Closed(Rc<RefCell<Option<Reason>>>);
    impl ProcessProtocol for Closed {
        fn in_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
            assert!(process.pid().is_some(), "it runs still");
            *self.0.borrow_mut() = Some(reason.clone());
            process.kill();
        }
    }
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let reason = Rc::default();
        let protocol = Closed(Rc::clone(&reason));
        reactor.spawn_process(SpawnProcess::shell("exec sleep 1000 <&-"), protocol).unwrap();
        world.run_until_idle(reactor);
        let reason = reason.borrow().clone().unwrap();
        assert_eq!(reason.system_error().unwrap().kind, std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn closing_a_childs_output_ends_the_writer_by_sigpipe() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        let seen = crate::process::spawn_and(reactor, SpawnProcess::new("yes", [""; 0]), |process| {
            process.close_stdout();
        });
        world.run_until_idle(reactor);
        assert_eq!(seen.all().last().unwrap(), "ended: killed by SIGPIPE");
    });
}

#[test]
fn a_thousand_short_children_in_waves_leave_nothing() {
    on_the_real_network(REAL, |world| {
        let reactor = &mut world.reactor();
        for _ in 0..20 {
            let wave: Vec<Seen> =
                (0..50).map(|index| spawn(reactor, SpawnProcess::shell(format!("echo {index}")))).collect();
            world.run_until_idle(reactor);
            for (index, seen) in wave.iter().enumerate() {
                assert_eq!(crate::process::said(&seen.all()), format!("{index}\\n"));
                assert_eq!(seen.all().iter().filter(|seen| seen.starts_with("exited")).count(), 1);
                assert_eq!(seen.all().last().unwrap(), "ended: exited");
            }
            assert_eq!((zombies(), reactor.resource_count()), (0, 0));
        }
        assert_eq!(reactor.statistics().spawns, 1000);
    });
}
