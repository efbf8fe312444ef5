//! Descriptors are sent with the bytes of UNIX sockets: in order, before their byte, and without
//! leaks.

use std::cell::RefCell;
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::world::child;
use crate::world::child::test_path;
use crate::world::strace::under_strace;
use crate::world::{Record, on_the_real_network, once};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use twistor::{Error, Protocol, Reason, Transport};

const KERNEL: &str = "descriptors are the system's";

/// Returns a pipe that contains `text`.
fn letter(text: &str) -> OwnedFd {
    // Not inherited by child processes of other tests.
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    File::from(write).write_all(text.as_bytes()).unwrap();
    read
}

fn read(descriptor: OwnedFd) -> String {
    let mut text = String::new();
    File::from(descriptor).read_to_string(&mut text).unwrap();
    text
}

/// Records received bytes, and the text of received pipes.
struct Receiver {
    record: Record,
    wants: bool,
    /// The action when descriptors are lost.
    at_a_loss: fn(&mut Transport<'_>),
}

impl Receiver {
    fn new(record: &Record, wants: bool, at_a_loss: fn(&mut Transport<'_>)) -> Receiver {
        Receiver { record: record.clone(), wants, at_a_loss }
    }
}

impl Protocol for Receiver {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if self.wants {
            transport.receive_descriptors().unwrap();
        }
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.record.add(format!("data {}", String::from_utf8_lossy(data)));
    }

    fn descriptor_received(&mut self, _: &mut Transport<'_>, descriptor: OwnedFd) {
        assert!(rustix::io::fcntl_getfd(&descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        self.record.add(format!("descriptor {}", read(descriptor)));
    }

    fn descriptors_lost(&mut self, transport: &mut Transport<'_>) {
        self.record.add("some are lost");
        (self.at_a_loss)(transport);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.record.add(format!("lost {reason:?}"));
    }
}

type Send = Box<dyn FnMut(&mut Transport<'_>)>;

struct Sender(Send);

impl Protocol for Sender {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        (self.0)(transport);
        transport.lose_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Returns what a receiver recorded.
fn seen(
    world: &crate::world::World,
    wants: bool,
    send: impl FnMut(&mut Transport<'_>) + 'static,
) -> Vec<String> {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (one, other) = UnixStream::pair().unwrap();
    reactor.adopt_connection(one.into(), Receiver::new(&record, wants, |_| {})).unwrap();
    reactor.adopt_connection(other.into(), Sender(Box::new(send))).unwrap();
    world.run_until_idle(&mut reactor);
    record.events()
}

#[test]
fn each_comes_before_the_byte_that_it_travelled_with() {
    on_the_real_network(KERNEL, |world| {
        let events = seen(world, true, |transport| {
            transport.write(b"before ");
            transport.write_descriptors(b"one ", vec![letter("1")]).unwrap();
            transport.write_descriptors(b"two ", vec![letter("2"), letter("3")]).unwrap();
            transport.write(b"after");
        });
        let bytes: String = events.iter().filter_map(|event| event.strip_prefix("data ")).collect();
        assert_eq!(bytes, "before one two after");
        let order: Vec<&str> = events.iter().map(String::as_str).collect();
        let at = |wanted: &str| order.iter().position(|event| *event == wanted).unwrap();
        let with = |word: &str| order.iter().position(|e| e.starts_with("data") && e.contains(word)).unwrap();
        assert!(at("descriptor 1") < with("one") && at("descriptor 2") < with("two"), "{order:?}");
        assert!(at("descriptor 2") < at("descriptor 3"), "{order:?}");
        assert_eq!(events.last().unwrap(), "lost Done");
    });
}

#[test]
fn unrequested_descriptors_are_closed_and_every_byte_arrives() {
    on_the_real_network(KERNEL, |world| {
        let events = seen(world, false, |transport| {
            for number in 0..40 {
                transport.write_descriptors(format!("{number},").as_bytes(), vec![letter("x")]).unwrap();
                transport.write(b"and,");
            }
        });
        let bytes: String = events.iter().filter_map(|event| event.strip_prefix("data ")).collect();
        let wanted: String = (0..40).map(|number| format!("{number},and,")).collect();
        assert_eq!(bytes, wanted);
        assert!(!events.iter().any(|event| event.starts_with("descriptor")));
    });
}

#[test]
fn many_of_them_with_much_data_keep_their_places() {
    on_the_real_network(KERNEL, |world| {
        let events = seen(world, true, |transport| {
            for number in 0..60 {
                // More than the kernel accepts at once.
                let piece = vec![b'a' + number % 26; 10_000];
                transport.write_descriptors(&piece, vec![letter(&number.to_string())]).unwrap();
            }
        });
        let (mut bytes, mut next) = (0, 0);
        for event in &events {
            if let Some(data) = event.strip_prefix("data ") {
                bytes += data.len();
                // The kernel may return earlier bytes together with those of the descriptor.
                assert!(bytes <= next * 10_000, "{next} of them at {bytes}: the next is late");
            } else if let Some(text) = event.strip_prefix("descriptor ") {
                assert_eq!(text, next.to_string());
                assert!(bytes <= next * 10_000, "{text} at {bytes}");
                next += 1;
            }
        }
        assert_eq!((bytes, next), (600_000, 60));
    });
}

#[test]
fn what_cannot_travel_is_refused_and_closed() {
    on_the_real_network(KERNEL, |world| {
        let said = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&said);
        let events = seen(world, true, move |transport| {
            let say = |result: Result<(), Error>| told.borrow_mut().push(result.unwrap_err().to_string());
            say(transport.write_descriptors(b"", vec![letter("x")]));
            say(transport.write_descriptors(b"x", vec![]));
            let many = |count| {
                let one = letter("x");
                (0..count).map(|_| one.as_fd().try_clone_to_owned().unwrap()).collect::<Vec<_>>()
            };
            say(transport.write_descriptors(b"x", many(254)));
            transport.write_descriptors(b"253", many(253)).unwrap();
        });
        let count = "sendmsg: needs 1 to 253 descriptors and at least one byte";
        assert_eq!(*said.borrow(), [count; 3]);
        assert_eq!(events.iter().filter(|event| event.starts_with("descriptor")).count(), 253);
        // TCP cannot carry descriptors.
        let mut reactor = world.reactor();
        let listener = world.serve(&mut reactor, crate::world::idle_protocol().closing());
        let asks = crate::world::idle_protocol().acting(move |what, transport, _| {
            if what == "made" {
                assert!(transport.write_descriptors(b"x", vec![letter("x")]).is_err());
                assert!(transport.receive_descriptors().is_err());
                transport.lose_connection();
            }
        });
        let record = Record::new();
        reactor.connect_tcp(listener.address(), once(asks, &record)).unwrap();
        world.run_until(&mut reactor, "gone", |_| record.has("gone Done"));
        world.close(&mut reactor, &listener);
    });
}

/// Opens descriptors until only `left` are free.
fn exhaust(left: usize) -> Vec<File> {
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    all.truncate(all.len().saturating_sub(left));
    all
}

/// Returns what a receiver with one free descriptor recorded for two messages of three descriptors
/// each, and the counts of losses and log lines.
fn seen_in_want(
    world: &crate::world::World,
    receiver: impl Protocol,
    record: &Record,
) -> (Vec<String>, u64, Vec<String>) {
    let mut reactor = world.reactor();
    let (one, other) = UnixStream::pair().unwrap();
    for word in ["one ", "two "] {
        let letters = [letter("1"), letter("2"), letter("3")];
        let borrowed: Vec<_> = letters.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let bytes = [IoSlice::new(word.as_bytes())];
        assert_eq!(sendmsg(&other, &bytes, &mut control, SendFlags::empty()), Ok(4));
    }
    drop(other);
    let id = reactor.adopt_connection(one.into(), receiver).unwrap();
    let all = exhaust(1);
    world.run_until(&mut reactor, "lost", |reactor| reactor.transport(id).is_none());
    drop(all);
    world.run_until_idle(&mut reactor);
    (record.take(), reactor.statistics().descriptors_lost, world.logged())
}

#[test]
fn without_descriptors_bytes_arrive_and_losses_are_reported() {
    let test = test_path(without_descriptors_bytes_arrive_and_losses_are_reported);
    child::alone(test, "ulimit -n 64;", || {
        on_the_real_network(KERNEL, |world| {
            let record = Record::new();
            let goes_on = Receiver::new(&record, true, |_| {});
            let (events, counted, logged) = seen_in_want(world, goes_on, &record);
            let first = ["descriptor 1", "some are lost", "data one "];
            assert_eq!(events[..3], first);
            assert_eq!(events[3..6], ["descriptor 1", "some are lost", "data two "]);
            assert_eq!(events[6..], ["lost Done"]);
            assert_eq!((counted, logged.len()), (2, 1), "{logged:?}");
            assert!(logged[0].contains("out of descriptors"), "{logged:?}");
        });
    });
}

#[test]
fn on_descriptor_loss_a_close_delivers_bytes_and_an_abort_none() {
    let test = test_path(on_descriptor_loss_a_close_delivers_bytes_and_an_abort_none);
    child::alone(test, "ulimit -n 64;", || {
        on_the_real_network(KERNEL, |world| {
            let record = Record::new();
            let closes = Receiver::new(&record, true, |transport| transport.lose_connection());
            let (events, ..) = seen_in_want(world, closes, &record);
            assert_eq!(events, ["descriptor 1", "some are lost", "data one ", "lost Done"]);
            let aborts = Receiver::new(&record, true, |transport| transport.abort_connection());
            let (events, ..) = seen_in_want(world, aborts, &record);
            assert_eq!(events, ["descriptor 1", "some are lost", "lost Aborted"]);
        });
    });
}

#[test]
fn by_default_a_descriptor_loss_closes_after_the_bytes() {
    struct Unaware(Record);
    impl Protocol for Unaware {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.receive_descriptors().unwrap();
        }
        fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
            self.0.add(format!("data {}", String::from_utf8_lossy(data)));
        }
    }
    let test = test_path(by_default_a_descriptor_loss_closes_after_the_bytes);
    child::alone(test, "ulimit -n 64;", || {
        on_the_real_network(KERNEL, |world| {
            let record = Record::new();
            let (events, counted, _) = seen_in_want(world, Unaware(record.clone()), &record);
            assert_eq!((events, counted), (vec!["data one ".to_owned()], 1));
        });
    });
}

#[test]
fn while_too_many_travel_they_wait_and_the_connection_goes_on() {
    let test = test_path(while_too_many_travel_they_wait_and_the_connection_goes_on);
    let tampering = "-e trace=sendmsg -e inject=sendmsg:error=ETOOMANYREFS:when=1..3";
    let traced = under_strace(test, tampering, |world| {
        let events = seen(world, true, |transport| {
            transport.write(b"before ");
            transport.write_descriptors(b"one ", vec![letter("1")]).unwrap();
            transport.write_descriptors(b"two", vec![letter("2")]).unwrap();
            transport.write(b" after");
        });
        let bytes: String = events.iter().filter_map(|event| event.strip_prefix("data ")).collect();
        assert_eq!(bytes, "before one two after");
        let descriptors = events.iter().filter(|event| event.starts_with("descriptor"));
        assert_eq!(descriptors.collect::<Vec<_>>(), ["descriptor 1", "descriptor 2"]);
        assert_eq!(events.last().unwrap(), "lost Done");
    });
    let Some(traced) = traced else { return };
    assert_eq!(traced.matches("ETOOMANYREFS").count(), 3, "{traced}");
}
