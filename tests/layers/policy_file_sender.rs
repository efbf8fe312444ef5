//! A file is sent piece by piece, no faster than it is accepted, and its sender is told the result.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::PathBuf;
use std::rc::Rc;

use crate::world::folder::Folder;
use crate::world::peer::{narrow_connection, turns};
use crate::world::{Record, Recorder, World, on_each_back_end};
use twistor::files;
use twistor::policy::{FileSendResult, FileSender};

/// Records `FileSendResult` as text.
fn told(record: &Record) -> impl FnOnce(&mut twistor::Reactor, FileSendResult) + 'static {
    let record = record.clone();
    move |_, sent| {
        record.add(match sent {
            FileSendResult::Complete(count) => format!("complete {count}"),
            FileSendResult::Lost(count) => format!("sent {count}, then lost"),
            FileSendResult::Failed(count, error) => format!("sent {count}, then {error}"),
        });
    }
}

/// A reader that records the largest single read and the total.
struct Watched {
    left: usize,
    seen: Rc<RefCell<(usize, usize)>>,
    fails_at_end: bool,
    interrupted: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.left == 0 && self.fails_at_end {
            return Err(io::Error::other("the disk is broken"));
        }
        let count = self.left.min(buffer.len());
        buffer[..count].fill(b'f');
        self.left -= count;
        let mut seen = self.seen.borrow_mut();
        *seen = (seen.0.max(buffer.len()), seen.1 + count);
        Ok(count)
    }
}

fn file(left: usize) -> (Watched, Rc<RefCell<(usize, usize)>>) {
    let seen = Rc::default();
    (Watched { left, seen: Rc::clone(&seen), fails_at_end: false, interrupted: false }, seen)
}

#[test]
fn all_of_it_comes_and_a_close_waits_for_it() {
    on_each_back_end(|world| {
        for length in [0, 1, 16 * 1024, 16 * 1024 + 1, 1_000_000] {
            let mut reactor = world.reactor();
            let record = Record::new();
            let done = record.clone();
            let (file, seen) = file(length);
            let mut file = Some(file);
            let protocol = Recorder::new(&record).acting(move |what, transport, _| {
                if what == "made" {
                    let file = FileSender::new(file.take().unwrap());
                    file.send(transport, told(&done)).unwrap();
                    let (another, _) = self::file(1);
                    let refused = FileSender::new(another).send(transport, |_, _| panic!("not begun"));
                    assert!(refused.is_err());
                    transport.lose_connection();
                }
            });
            let (_, mut peer) = narrow_connection(world, &mut reactor, protocol);
            let (all, error) = peer.read_to_end(&mut reactor);
            assert_eq!((all.len(), error), (length, None));
            drop(peer);
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", &format!("complete {length}"), "lost Done"]);
            assert_eq!(*seen.borrow(), (16 * 1024, length));
        }
    });
}

#[test]
fn no_more_is_read_than_the_peer_takes() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (file, seen) = file(usize::MAX);
        let (id, peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        FileSender::new(file).piece(1000).send(&mut transport, told(&record)).unwrap();
        let mut before = usize::MAX;
        // Until the kernel's buffers are full.
        while before != seen.borrow().1 {
            before = seen.borrow().1;
            (0..20).for_each(|_| turns(&mut reactor));
        }
        assert_eq!(seen.borrow().0, 1000);
        assert!(reactor.transport(id).unwrap().write_buffer_size() <= 1000);
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert!(record.events()[1].ends_with("then lost"), "{:?}", record.events());
    });
}

#[test]
fn a_file_read_error_is_reported_and_the_connection_goes_on() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (file, _) = file(2000);
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        let file = Watched { fails_at_end: true, ..file };
        FileSender::new(file).send(&mut transport, told(&record)).unwrap();
        world.run_until(&mut reactor, "told", |_| record.events().len() == 2);
        assert_eq!(record.events(), ["made", "sent 2000, then the disk is broken"]);
        let mut transport = reactor.transport(id).unwrap();
        transport.write(b"sorry");
        transport.lose_connection();
        assert_eq!(peer.read_to_end(&mut reactor).0.len(), 2005);
        drop(peer);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn pieces_can_be_changed_on_the_way() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (id, mut peer) = narrow_connection(world, &mut reactor, Recorder::new(&record));
        let mut transport = reactor.transport(id).unwrap();
        // Some pieces become empty.
        let only_letters = |piece: &mut Vec<u8>| piece.retain(u8::is_ascii_alphabetic);
        FileSender::new(&b"a1b2345c"[..])
            .piece(1)
            .transform(only_letters)
            .send(&mut transport, told(&record))
            .unwrap();
        transport.lose_connection();
        assert_eq!(peer.read_to_end(&mut reactor), (b"abc".to_vec(), None));
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "complete 8", "lost Done"]);
    });
}

#[test]
fn a_file_is_read_beside_the_loop_one_piece_ahead() {
    on_each_back_end(|world| {
        let (place, data) = a_file(world, 300_000);
        let mut reactor = world.reactor();
        let opened = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&opened);
        files::open(place)
            .start(&mut reactor, move |_, file| *slot.borrow_mut() = Some(file.unwrap()))
            .unwrap();
        world.run_until(&mut reactor, "it is open", |_| opened.borrow().is_some());
        let record = Record::new();
        let (done, file) = (record.clone(), opened.take().unwrap());
        let mut file = Some(file);
        let protocol = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                let sender = FileSender::from_file(file.take().unwrap()).piece(10_000);
                sender.send(transport, told(&done)).unwrap();
                transport.lose_connection();
            }
        });
        let (_, mut peer) = narrow_connection(world, &mut reactor, protocol);
        let (all, error) = peer.read_to_end(&mut reactor);
        assert!(all == data && error.is_none(), "{} bytes, {error:?}", all.len());
        drop(peer);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "complete 300000", "lost Done"]);
    });
}

/// Puts a file on the disk of the back end.
fn a_file(world: &World, length: u32) -> (PathBuf, Vec<u8>) {
    let data: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    let path = match world.simulated() {
        Some((network, host)) => {
            assert!(network.disk(host).write("/file", &data));
            PathBuf::from("/file")
        }
        None => {
            thread_local! { static FOLDER: Folder = Folder::new(); }
            let path = FOLDER.with(|folder| folder.path("file"));
            std::fs::write(&path, &data).unwrap();
            path
        }
    };
    (path, data)
}
