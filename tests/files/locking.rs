//! A lock has one holder at a time, in this process and in others.

use std::time::Duration;

use crate::place::Place;
use crate::world::{on_each_back_end, on_the_real_network};
use twistor::files::{self, FileFault};
use twistor::task;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_locked_file_is_refused_at_once() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let lock = files::lock(place.path("lock")).mode(0o600).await.unwrap();
            assert_eq!(lock.path(), place.path("lock"));
            let refused = files::lock(place.path("lock")).await.unwrap_err();
            assert!(matches!(refused.fault, FileFault::Locked), "{refused}");
            drop(lock);
        });
        assert_eq!(place.get("lock").unwrap(), b"", "it stays, empty");
    });
}

#[test]
fn waiting_for_a_lock_ends_when_it_is_released() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let lock = files::lock(place.path("lock")).await.unwrap();
            let second = task::spawn(files::lock(place.path("lock")).timeout(LONG).into_future());
            task::sleep(Duration::from_millis(120)).await;
            assert!(!second.is_finished());
            drop(lock);
            assert!(second.await.unwrap().is_ok());
        });
    });
}

#[test]
fn waiting_for_a_lock_has_a_limit() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let _lock = files::lock(place.path("lock")).await.unwrap();
            let timeout = Duration::from_millis(70);
            let refused = files::lock(place.path("lock")).timeout(timeout).await.unwrap_err();
            assert!(matches!(refused.fault, FileFault::Locked), "{refused}");
        });
    });
}

#[test]
fn of_many_that_wait_one_holds_the_lock() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let held = std::rc::Rc::new(std::cell::Cell::new(0));
            let all: Vec<_> = (0..5)
                .map(|_| {
                    let (lock, held) = (files::lock(place.path("lock")).timeout(LONG), held.clone());
                    task::spawn(async move {
                        let lock = lock.await.unwrap();
                        assert_eq!(held.replace(held.get() + 1), 0);
                        task::sleep(Duration::from_millis(3)).await;
                        held.set(held.get() - 1);
                        drop(lock);
                    })
                })
                .collect();
            for one in all {
                one.await.unwrap();
            }
        });
    });
}

#[test]
fn a_lock_file_that_its_holder_removes_is_no_way_in() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let first = files::lock(place.path("lock")).await.unwrap();
            files::remove(place.path("lock")).await.unwrap();
            // Another file: the first lock does not exclude it.
            let second = files::lock(place.path("lock")).await.unwrap();
            drop(first);
            let third = files::lock(place.path("lock")).await.unwrap_err();
            assert!(matches!(third.fault, FileFault::Locked), "{third}");
            drop(second);
        });
    });
}

#[test]
fn another_program_has_the_lock() {
    on_the_real_network("flock(1) is the other program", |world| {
        let place = Place::new(world);
        let path = place.path("lock");
        let Ok(mut other) = std::process::Command::new("flock")
            .arg(&path)
            .args(["sh", "-c", "echo locked; cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        else {
            return eprintln!("SKIPPED: flock(1) is not installed");
        };
        let mut locked = [0; 7];
        std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut locked).unwrap();
        world.run_future(async {
            let refused = files::lock(&path).await.unwrap_err();
            assert!(matches!(refused.fault, FileFault::Locked), "{refused}");
            drop(other.stdin.take());
            assert!(files::lock(&path).timeout(LONG).await.is_ok());
        });
        assert!(other.wait().unwrap().success());
    });
}
