//! Results come as callbacks, Deferreds and futures: once, on a fresh stack, and within limits.

use std::cell::Cell;
use std::rc::Rc;

use crate::place::Place;
use crate::world::{Record, on_each_back_end};
use twistor::files::{self, FileError, FileFault};
use twistor::{Deferred, Reactor, Settings};

#[test]
fn a_callback_comes_later_and_once() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"data");
        let mut reactor = world.reactor();
        let record = Record::new();
        let done = record.clone();
        let started = files::read(place.path("file")).start(&mut reactor, move |_, read| {
            done.add(String::from_utf8(read.unwrap()).unwrap());
        });
        started.unwrap();
        assert_eq!(record.events(), [] as [&str; 0], "nothing is called inside the call");
        assert_eq!(reactor.resource_count(), 1, "{:?}", reactor.resources());
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["data"]);
    });
}

#[test]
fn a_callback_may_start_the_next_operation() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        let (path, done) = (place.path("file"), Rc::new(Cell::new(false)));
        let seen = Rc::clone(&done);
        let written = move |reactor: &mut Reactor, written: Result<(), FileError>| {
            written.unwrap();
            let read = move |_: &mut Reactor, read: Result<Vec<u8>, FileError>| {
                seen.set(read.unwrap() == b"data");
            };
            files::read(path).start(reactor, read).unwrap();
        };
        files::write(place.path("file"), "data").start(&mut reactor, written).unwrap();
        world.run_until_idle(&mut reactor);
        assert!(done.get());
    });
}

#[test]
fn a_panic_in_a_callback_ends_nothing_else() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"data");
        let mut reactor = world.reactor();
        files::read(place.path("file")).start(&mut reactor, |_, _| panic!("no taste")).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(reactor.statistics().panics, 1);
        assert_eq!(world.logged().len(), 1);
        let read = reactor.block_on(files::read(place.path("file")).into_future()).unwrap();
        assert_eq!(read.unwrap(), b"data");
    });
}

#[test]
fn a_deferred_has_the_result_or_the_error() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"data");
        let mut reactor = world.reactor();
        let record = Record::new();
        for name in ["file", "missing"] {
            let record = record.clone();
            let read: Deferred<Vec<u8>> = files::read(place.path(name)).defer(&mut reactor);
            read.done(move |_, read| match read {
                Ok(data) => record.add(format!("{} bytes", data.len())),
                Err(failure) => {
                    let error = failure.downcast_ref::<FileError>().expect("the error of the operation");
                    record.add(format!("{:?} {}", error.action, error.is_not_found()));
                }
            });
        }
        world.run_until_idle(&mut reactor);
        let mut events = record.events();
        events.sort();
        assert_eq!(events, ["4 bytes", "Read true"]);
    });
}

#[test]
fn an_operation_outlives_its_deferred_and_its_future() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor();
        drop(files::write(place.path("deferred"), "data").defer(&mut reactor));
        let path = place.path("future");
        let task = reactor.spawn(async move {
            let mut write = std::pin::pin!(files::write(path, "data").into_future());
            std::future::poll_fn(|context| {
                assert!(write.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        });
        task.detach();
        world.run_until_idle(&mut reactor);
        assert_eq!(
            [place.get("deferred"), place.get("future")],
            [Some(b"data".to_vec()), Some(b"data".to_vec())]
        );
        assert_eq!(place.names(), ["deferred", "future"]);
    });
}

#[test]
fn a_future_outside_of_a_task_fails() {
    let mut read = std::pin::pin!(files::read("/etc/hosts").into_future());
    let polled = read.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    match polled {
        std::task::Poll::Ready(Err(error)) => assert!(matches!(error.fault, FileFault::NoReactor), "{error}"),
        _ => panic!("it cannot have started"),
    }
}

#[test]
fn operations_beyond_the_queue_are_refused() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"data");
        let mut reactor = world.reactor_with(Settings { file_queue: 3, ..Settings::default() });
        let record = Record::new();
        for number in 0..4 {
            let record = record.clone();
            let started = files::read(place.path("file")).start(&mut reactor, move |_, read| {
                record.add(format!("{number} {}", read.is_ok()));
            });
            match (number, started) {
                (0..3, Ok(())) => {}
                (3, Err(error)) => {
                    assert!(matches!(error.fault, FileFault::QueueFull { limit: 3 }), "{error}")
                }
                (number, started) => panic!("{number}: {started:?}"),
            }
        }
        world.run_until_idle(&mut reactor);
        let mut events = record.events();
        events.sort();
        assert_eq!(events, ["0 true", "1 true", "2 true"]);
        let again = reactor.block_on(files::read(place.path("file")).into_future()).unwrap();
        assert!(again.is_ok(), "there is room again");
    });
}

#[test]
fn one_thread_is_enough_for_many_operations() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let mut reactor = world.reactor_with(Settings { file_threads: 1, ..Settings::default() });
        let done = Rc::new(Cell::new(0));
        for number in 0..200 {
            let done = Rc::clone(&done);
            let write = files::write(place.path(&format!("file{number:03}")), "data");
            write
                .start(&mut reactor, move |_, written| done.set(done.get() + u32::from(written.is_ok())))
                .unwrap();
        }
        world.run_until_idle(&mut reactor);
        assert_eq!((done.get(), place.names().len()), (200, 200));
    });
}
