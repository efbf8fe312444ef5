//! Descriptors of other code: their readiness is reported, and each watch ends once.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::world::folder::Folder;
use crate::world::{Record, World, kind, on_each_back_end, on_the_real_network};
use twistor::stream::AsyncFd;
use twistor::task::{join, yield_now};
use twistor::{Error, FdInterest, FdProtocol, FdTransport, Reactor, Reason};

const WHY: &str = "a simulated network has no descriptors";

/// Reads up to `most` bytes with each call, and acts after it.
struct Watcher {
    record: Record,
    act: Act,
}

type Act = Box<dyn FnMut(&str, &mut FdTransport<'_>)>;

impl Watcher {
    fn new(record: &Record) -> Watcher {
        Watcher { record: record.clone(), act: Box::new(|_, _| {}) }
    }

    fn acting(self, act: impl FnMut(&str, &mut FdTransport<'_>) + 'static) -> Watcher {
        Watcher { act: Box::new(act), ..self }
    }
}

impl FdProtocol for Watcher {
    fn do_read(&mut self, transport: &mut FdTransport<'_>) {
        while let Some(bytes) = read_from(transport.fd().unwrap()) {
            self.record.add(format!("read {}", String::from_utf8_lossy(&bytes)));
            if bytes.is_empty() {
                transport.stop_watching();
                break;
            }
        }
        (self.act)("read", transport);
    }

    fn do_write(&mut self, transport: &mut FdTransport<'_>) {
        self.record.add("writable");
        (self.act)("write", transport);
    }

    fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
        self.record.add(format!("lost {}", kind(reason)));
    }
}

/// The bytes that a descriptor has now; `None` if it would block.
fn read_from(descriptor: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut buffer = [0; 100];
    match read(descriptor, &mut buffer) {
        Ok(count) => Some(buffer[..count].to_vec()),
        Err(error) => {
            assert_eq!(error, Errno::AGAIN);
            None
        }
    }
}

/// A pipe: the reading end, and the writing end.
fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
}

fn turn(reactor: &mut Reactor) {
    reactor.iterate(Some(Duration::ZERO)).unwrap();
}

#[test]
fn what_arrives_in_a_pipe_is_reported_up_to_its_end() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let (reader, writer) = pipe();
        let id = reactor.watch_fd(reader, FdInterest::Readable, Watcher::new(&record)).unwrap();
        assert_eq!(reactor.resource_count(), 1);
        assert_eq!(reactor.resources(), ["a watched descriptor"]);
        let transport = reactor.fd_transport(id).unwrap();
        assert_eq!((transport.id(), transport.interest()), (id, Some(FdInterest::Readable)));
        turn(&mut reactor);
        assert!(record.events().is_empty(), "{:?}", record.events());
        for text in ["hello", "world"] {
            write(&writer, text.as_bytes()).unwrap();
            world.run_until(&mut reactor, text, |_| record.has(&format!("read {text}")));
        }
        drop(writer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["read hello", "read world", "read ", "lost Done"]);
        assert!(reactor.fd_transport(id).is_none());
    });
}

#[test]
fn a_callback_can_schedule_the_next_one() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let (reader, _writer) = pipe();
        let mut calls = 0;
        let watcher = Watcher::new(&record).acting(move |_, transport| {
            calls += 1;
            match calls {
                1..3 => transport.schedule(FdInterest::Readable),
                // Not watched, so it is not called.
                3 => transport.schedule(FdInterest::Writable),
                _ => unreachable!(),
            }
            if calls == 3 {
                transport.stop_watching();
                transport.schedule(FdInterest::Readable);
                assert!(transport.fd().is_err() && transport.interest().is_none());
            }
        });
        let id = reactor.watch_fd(reader, FdInterest::Readable, watcher).unwrap();
        reactor.fd_transport(id).unwrap().schedule(FdInterest::Both);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["lost Done"]);
    });
}

#[test]
fn requests_of_one_turn_are_one_call_of_each_kind() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let calls = Rc::new(Cell::new(0));
        let count = Rc::clone(&calls);
        let watcher = Watcher::new(&record).acting(move |_, transport| {
            count.set(count.get() + 1);
            transport.schedule(FdInterest::Both);
            transport.schedule(FdInterest::Readable);
        });
        let (reader, _writer) = pipe();
        let id = reactor.watch_fd(reader, FdInterest::Both, watcher).unwrap();
        reactor.fd_transport(id).unwrap().schedule(FdInterest::Both);
        for _ in 0..20 {
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert!((10..=50).contains(&calls.get()), "{} calls in 20 turns", calls.get());
        reactor.fd_transport(id).unwrap().stop_watching();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn room_in_a_full_pipe_is_reported() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let (reader, writer) = pipe();
        while write(&writer, &[b'x'; 4096]).is_ok() {}
        let id = reactor.watch_fd(writer, FdInterest::Both, Watcher::new(&record)).unwrap();
        turn(&mut reactor);
        assert!(record.events().is_empty(), "{:?}", record.events());
        while read_from(reader.as_fd()).is_some() {}
        world.run_until(&mut reactor, "room", |_| record.has("writable"));
        reactor.fd_transport(id).unwrap().stop_watching();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["writable", "lost Done"]);
    });
}

#[test]
fn timers_counters_and_file_changes_are_reported() {
    on_the_real_network(WHY, |world| {
        let folder = Folder::new();
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: 0, tv_nsec: 1_000_000 },
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).unwrap();
        let counter = eventfd(7, EventfdFlags::NONBLOCK).unwrap();
        let changes = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&changes, folder.path(""), inotify::WatchFlags::CREATE).unwrap();
        let (mut reactor, records) = (world.reactor(), [Record::new(), Record::new(), Record::new()]);
        for (descriptor, record) in [timer, counter, changes].into_iter().zip(&records) {
            let watcher = Watcher::new(record).acting(|_, transport| transport.stop_watching());
            reactor.watch_fd(descriptor, FdInterest::Readable, watcher).unwrap();
        }
        std::fs::write(folder.path("new"), "").unwrap();
        world.run_until_idle(&mut reactor);
        for record in records {
            let events = record.events();
            assert!(events.len() == 2 && events[0].starts_with("read ") && events[1] == "lost Done");
        }
    });
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_reason() {
    on_the_real_network(WHY, |world| {
        let mut reactor = world.reactor();
        let before = world.descriptors();
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let refused = reactor.watch_fd(file, FdInterest::Readable, Watcher::new(&Record::new()));
        let error = refused.unwrap_err();
        assert!(matches!(&error, Error::System { source, .. } if source.kind() == ErrorKind::Unsupported));
        assert!(twistor::error_chain(&error).to_string().contains("regular files"), "{error}");
        assert_eq!((world.descriptors(), reactor.resource_count()), (before, 0));
        reactor.call_when_running(|reactor| assert!(reactor.stop()));
        world.run(&mut reactor);
        let late = reactor.watch_fd(pipe().0, FdInterest::Readable, Watcher::new(&Record::new()));
        assert!(matches!(late, Err(Error::ReactorFinished)));
    });
}

#[test]
fn a_simulated_network_refuses_descriptors() {
    on_each_back_end(|world| {
        if world.simulated().is_none() {
            return;
        }
        let mut reactor = world.reactor();
        let (reader, writer) = pipe();
        let error = reactor.watch_fd(reader, FdInterest::Both, Watcher::new(&Record::new())).unwrap_err();
        assert!(twistor::error_chain(&error).to_string().contains("no descriptors"), "{error}");
        assert_eq!(write(&writer, b"x"), Err(Errno::PIPE), "it was closed");
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn a_panic_ends_its_watch_alone() {
    on_the_real_network(WHY, |world| {
        let mut reactor = world.reactor();
        let (bad, good) = (Record::new(), Record::new());
        let (pipes, watchers) =
            ([pipe(), pipe()], [Watcher::new(&bad).acting(|_, _| panic!("no")), Watcher::new(&good)]);
        let mut writers = Vec::new();
        for ((reader, writer), watcher) in pipes.into_iter().zip(watchers) {
            reactor.watch_fd(reader, FdInterest::Readable, watcher).unwrap();
            write(&writer, b"x").unwrap();
            writers.push(writer);
        }
        world.run_until(&mut reactor, "both", |_| good.has("read x") && bad.has("lost Panicked"));
        assert_eq!(world.logged(), ["panic in do_read: no"]);
        assert_eq!(reactor.statistics().panics, 1);
        writers.clear();
        world.run_until_idle(&mut reactor);
        assert_eq!(bad.events(), ["read x", "lost Panicked"]);
        assert_eq!(good.events(), ["read x", "read ", "lost Done"]);
    });
}

#[test]
fn a_watch_that_another_callback_ends_is_called_no_more() {
    on_the_real_network(WHY, |world| {
        let mut reactor = world.reactor();
        let records = [Record::new(), Record::new()];
        let ids = Rc::new(RefCell::new(Vec::new()));
        let mut writers = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let ids_of_both = Rc::clone(&ids);
            let watcher = Watcher::new(record).acting(move |_, transport| {
                let other = ids_of_both.borrow()[1 - index];
                transport.reactor().fd_transport(other).unwrap().stop_watching();
            });
            let (reader, writer) = pipe();
            ids.borrow_mut().push(reactor.watch_fd(reader, FdInterest::Readable, watcher).unwrap());
            write(&writer, b"x").unwrap();
            writers.push(writer);
        }
        // One poll reports both. The first that is called ends the other.
        world.run_until(&mut reactor, "one", |reactor| reactor.resource_count() == 1);
        let mut events = records.map(|record| record.events());
        events.sort();
        assert_eq!(events, [vec!["lost Done"], vec!["read x"]]);
    });
}

#[test]
fn a_duplicate_that_the_user_closes_does_not_end_the_watch() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, record) = (world.reactor(), Record::new());
        let (reader, writer) = pipe();
        let duplicate = reader.try_clone().unwrap();
        let id = reactor.watch_fd(duplicate, FdInterest::Readable, Watcher::new(&record)).unwrap();
        drop(reader);
        write(&writer, b"x").unwrap();
        world.run_until(&mut reactor, "the byte", |_| record.has("read x"));
        // The other way round: what is open elsewhere leaves the poll with its watch.
        let kept = reactor.fd_transport(id).unwrap().detach().unwrap();
        write(&writer, b"y").unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["read x", "lost Released"]);
        assert_eq!(read_from(kept.as_fd()).unwrap(), b"y");
    });
}

#[test]
fn the_end_of_the_reactor_ends_its_watches() {
    on_the_real_network(WHY, |world| {
        for dropped in [false, true] {
            let (mut reactor, record) = (world.reactor(), Record::new());
            let (reader, _writer) = pipe();
            reactor.watch_fd(reader, FdInterest::Readable, Watcher::new(&record)).unwrap();
            if dropped {
                turn(&mut reactor);
                drop(reactor);
            } else {
                // A watch does not delay a graceful stop.
                reactor.call_when_running(|reactor| assert!(reactor.stop_gracefully()));
                reactor.call_later(Duration::from_secs(2), |_| panic!("the stop waits for the watch"));
                world.run(&mut reactor);
            }
            assert_eq!(record.events(), ["lost Stopped"]);
        }
    });
}

// -- tasks --

async fn read_all(descriptor: &AsyncFd<OwnedFd>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let read = |fd: &OwnedFd| read_from(fd.as_fd()).ok_or_else(|| ErrorKind::WouldBlock.into());
        match descriptor.async_io(FdInterest::Readable, read).await.unwrap() {
            piece if piece.is_empty() => return all,
            piece => all.extend(piece),
        }
    }
}

#[test]
fn tasks_await_the_readiness_of_a_pipe() {
    on_the_real_network(WHY, |world: &World| {
        const MUCH: usize = 1 << 20;
        let all = world.run_future(async {
            let (reader, writer) = pipe();
            let (reader, writer) = (AsyncFd::new(reader), AsyncFd::new(writer));
            let (reader, writer) = (reader.unwrap(), writer.unwrap());
            let sends = async move {
                let mut left = MUCH;
                while left > 0 {
                    writer.writable().await.unwrap();
                    let piece = vec![b'x'; left.min(10_000)];
                    match writer.try_io(FdInterest::Writable, |fd| Ok(write(fd, &piece)?)) {
                        Ok(count) => left -= count,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
            };
            join(read_all(&reader), sends).await.0
        });
        assert_eq!(all, vec![b'x'; MUCH]);
    });
}

#[test]
fn what_is_not_ready_is_not_called() {
    on_the_real_network(WHY, |world: &World| {
        world.run_future(async {
            let (reader, _writer) = pipe();
            let reader = AsyncFd::with_interest(reader, FdInterest::Readable).unwrap();
            yield_now().await;
            let error = reader.try_io(FdInterest::Both, |_| -> std::io::Result<()> { unreachable!() });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::WouldBlock);
            let inner = reader.into_inner();
            assert!(read_from(inner.as_fd()).is_none(), "still open");
        });
    });
}

#[test]
fn a_task_that_awaits_readiness_hears_of_the_end() {
    on_the_real_network(WHY, |world| {
        let (mut reactor, told) = (world.reactor(), Rc::new(Cell::new(false)));
        let tells = Rc::clone(&told);
        let task = reactor.spawn(async move {
            let (reader, _writer) = pipe();
            let reader = AsyncFd::new(reader).unwrap();
            assert!(matches!(reader.readable().await, Err(Error::Stopped)));
            tells.set(true);
        });
        task.detach();
        turn(&mut reactor);
        turn(&mut reactor);
        reactor.call_when_running(|reactor| assert!(reactor.stop()));
        world.run(&mut reactor);
        assert!(told.get());
        assert!(matches!(AsyncFd::new(pipe().0), Err(Error::ReactorUnavailable)), "no task");
    });
}
