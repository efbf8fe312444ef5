//! Descriptors travel with the bytes of UNIX sockets: in order, before their byte, and none is left open by accident.

mod world;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use twistor::{Error, Protocol, Reason, Transport};
use world::{Record, on_the_real_network, once};

const KERNEL: &str = "descriptors are the system's";

/// What a pipe that is handed over still holds.
fn letter(text: &str) -> OwnedFd {
    let (read, write) = rustix::pipe::pipe().unwrap();
    File::from(write).write_all(text.as_bytes()).unwrap();
    read
}

fn read(descriptor: OwnedFd) -> String {
    let mut text = String::new();
    File::from(descriptor).read_to_string(&mut text).unwrap();
    text
}

/// Records bytes and the text of what it is handed.
struct Receiver {
    record: Record,
    wants: bool,
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

/// What a receiver saw of what was sent.
fn seen(world: &world::World, wants: bool, send: impl FnMut(&mut Transport<'_>) + 'static) -> Vec<String> {
    let mut reactor = world.reactor();
    let record = Record::new();
    let (one, other) = UnixStream::pair().unwrap();
    reactor.adopt_connection(one.into(), Receiver { record: record.clone(), wants }).unwrap();
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
fn whoever_does_not_ask_for_them_gets_every_byte_and_nothing_stays_open() {
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
                // More than the system takes at once.
                let piece = vec![b'a' + number % 26; 10_000];
                transport.write_descriptors(&piece, vec![letter(&number.to_string())]).unwrap();
            }
        });
        let (mut bytes, mut next) = (0, 0);
        for event in &events {
            if let Some(data) = event.strip_prefix("data ") {
                bytes += data.len();
                // The system may hand over bytes that came before together with those it travelled with.
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
        let count = "sendmsg: 1 to 253 descriptors travel with at least one byte";
        assert_eq!(*said.borrow(), [count; 3]);
        assert_eq!(events.iter().filter(|event| event.starts_with("descriptor")).count(), 253);
        // Over TCP they cannot travel at all.
        let mut reactor = world.reactor();
        let listener = world.serve(&mut reactor, world::nobody().closing());
        let asks = world::nobody().acting(move |what, transport, _| {
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
