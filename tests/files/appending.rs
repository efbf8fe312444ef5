//! Appends keep their order, are whole, and are bounded.

use std::cell::RefCell;
use std::rc::Rc;

use crate::place::Place;
use crate::world::{Record, World, on_each_back_end};
use twistor::files::{self, AppendFile, FileFault};
use twistor::{Reactor, task};

fn open(world: &World, reactor: &mut Reactor, place: &Place, max_queued: usize) -> AppendFile {
    let slot = Rc::new(RefCell::new(None));
    let opened = Rc::clone(&slot);
    let open = files::append_to(place.path("log")).max_queued(max_queued);
    open.start(reactor, move |_, file| *opened.borrow_mut() = Some(file.unwrap())).unwrap();
    world.run_until(reactor, "the file is open", |_| slot.borrow().is_some());
    slot.take().unwrap()
}

#[test]
fn appends_are_in_order_and_tell_their_offsets() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("log", b"old ");
        let mut reactor = world.reactor();
        let file = open(world, &mut reactor, &place, 1 << 20);
        assert_eq!((file.opened().length, file.path()), (4, &*place.path("log")));
        let offsets = Rc::new(RefCell::new(Vec::new()));
        let mut expected = (b"old ".to_vec(), Vec::new());
        for number in 0..1000 {
            let (record, offsets) = (format!("{number} "), Rc::clone(&offsets));
            expected.1.push(expected.0.len() as u64);
            expected.0.extend_from_slice(record.as_bytes());
            file.append(record)
                .start(&mut reactor, move |_, offset| offsets.borrow_mut().push(offset.unwrap()))
                .unwrap();
        }
        // On the system's disk, some of it may be written already.
        let waits = file.queued();
        assert!(waits == expected.0.len() - 4 || world.simulated().is_none(), "{waits}");
        world.run_until(&mut reactor, "all is appended", |_| offsets.borrow().len() == 1000);
        assert_eq!((file.queued(), file.is_poisoned()), (0, false));
        assert_eq!((place.get("log").unwrap(), &*offsets.borrow()), (expected.0, &expected.1));
        drop(file);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_sync_comes_after_the_appends_before_it() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let file = open(world, &mut reactor, &place, 1 << 20);
        let record = Record::new();
        for number in 0..20 {
            let (appended, synced) = (record.clone(), record.clone());
            file.append("x")
                .start(&mut reactor, move |_, offset| {
                    appended.add(format!("append {number} {}", offset.unwrap()));
                })
                .unwrap();
            file.sync()
                .start(&mut reactor, move |_, result| {
                    result.unwrap();
                    synced.add(format!("sync {number}"));
                })
                .unwrap();
        }
        drop(file);
        world.run_until_idle(&mut reactor);
        let events = record.events();
        let place_of = |event: &str| events.iter().position(|other| other == event).unwrap();
        for number in 0..20 {
            assert!(place_of(&format!("append {number} {number}")) < place_of(&format!("sync {number}")));
        }
        assert_eq!(events.len(), 40);
        if let Some((network, _)) = world.simulated() {
            let calls = network.coverage();
            let (writes, syncs) =
                (calls.call(twistor::sim::CallKind::FileWrite), calls.call(twistor::sim::CallKind::FileSync));
            assert!(writes <= 3 && syncs <= 3, "those that wait share a call: {writes}, {syncs}");
        }
    });
}

#[test]
fn a_full_queue_refuses_an_append_and_has_room_later() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let file = open(world, &mut reactor, &place, 10);
        let append = |reactor: &mut Reactor, data: &str| {
            file.append(data).start(reactor, |_, done| assert!(done.is_ok()))
        };
        append(&mut reactor, "0123456789").unwrap();
        match append(&mut reactor, "x") {
            Err(full) => assert!(matches!(full.fault, FileFault::BufferFull { limit: 10 }), "{full}"),
            // A thread has written the data already.
            Ok(()) => assert!(world.simulated().is_none()),
        }
        world.run_until(&mut reactor, "there is room", |_| file.queued() == 0);
        append(&mut reactor, "012345678").unwrap();
        append(&mut reactor, "9").unwrap();
        append(&mut reactor, "").unwrap();
        let long = append(&mut reactor, "01234567890").unwrap_err();
        assert!(matches!(long.fault, FileFault::BufferFull { limit: 10 }), "{long}");
        world.run_until(&mut reactor, "all is written", |_| file.queued() == 0);
        drop(file);
        world.run_until_idle(&mut reactor);
        let written = place.get("log").unwrap();
        assert!([&b"01234567890123456789"[..], b"0123456789x0123456789"].contains(&&*written));
    });
}

#[test]
fn a_file_is_cut_between_appends() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let file = files::append_to(place.path("log")).await.unwrap();
            file.append("0123456789").await.unwrap();
            file.truncate(4).await.unwrap();
            assert_eq!(file.append("x").await.unwrap(), 4);
            file.truncate(7).await.unwrap();
            assert_eq!(file.append("y").await.unwrap(), 7);
            assert_eq!(file.metadata().await.unwrap().length, 8);
        });
        assert_eq!(place.get("log").unwrap(), b"0123x\0\0y");
    });
}

#[test]
fn appends_go_to_the_open_file_after_a_rotation() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let file = files::append_to(place.path("log")).await.unwrap();
            file.append("one").await.unwrap();
            files::rename(place.path("log"), place.path("log.1")).await.unwrap();
            file.append(" two").await.unwrap();
            let next = files::append_to(place.path("log")).await.unwrap();
            assert!(!next.opened().is_same_file(file.opened()));
            next.append("three").await.unwrap();
        });
        assert_eq!([place.get("log").unwrap(), place.get("log.1").unwrap()], [&b"three"[..], b"one two"]);
    });
}

#[test]
fn an_append_whose_future_is_dropped_is_written() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let file = files::append_to(place.path("log")).await.unwrap();
            let own = file.clone();
            let writing = task::spawn(async move { own.append("accepted").await.map(drop) });
            task::yield_now().await;
            task::yield_now().await;
            writing.cancel();
            drop(file);
        });
        assert_eq!(place.get("log").unwrap(), b"accepted");
    });
}

#[test]
fn many_files_share_the_threads() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let all: Vec<_> = (0..20)
                .map(|number| {
                    let path = place.path(&format!("log{number:02}"));
                    task::spawn(async move {
                        let file = files::append_to(path).await?;
                        for record in 0..20 {
                            file.append(format!("{record} ")).await?;
                        }
                        file.sync().await
                    })
                })
                .collect();
            for one in all {
                one.await.unwrap().unwrap();
            }
        });
        let expected: String = (0..20).map(|record| format!("{record} ")).collect();
        for number in 0..20 {
            assert_eq!(place.get(&format!("log{number:02}")).unwrap(), expected.as_bytes());
        }
    });
}
