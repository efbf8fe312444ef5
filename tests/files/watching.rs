//! A watch sees each kind of change, and reports it once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::place::Place;
use crate::world::{World, on_each_back_end, with_reactor};
use twistor::files::{self, FileChange, FileWatch};
use twistor::{Reactor, task};

const INTERVAL: Duration = Duration::from_millis(5);

/// Changes by their names. Clones share them.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn add(&self, change: &FileChange) {
        let text = match change {
            FileChange::Found(found) => format!("found {}", found.length),
            FileChange::Modified(found) => format!("modified {}", found.length),
            FileChange::Replaced(found) => format!("replaced {}", found.length),
            FileChange::Missing => "missing".to_owned(),
            FileChange::Failed(error) => format!("failed {:?}", error.kind()),
        };
        self.0.borrow_mut().push(text);
    }
}

fn watch(reactor: &mut Reactor, place: &Place, name: &str, seen: &Seen) -> FileWatch {
    let seen = seen.clone();
    let watch = files::watch(place.path(name)).interval(INTERVAL);
    watch.start(reactor, move |_, change| seen.add(&change))
}

fn expect(world: &World, reactor: &mut Reactor, seen: &Seen, changes: &[&str]) {
    world.run_until(reactor, "the change is seen", |_| seen.0.borrow().len() >= changes.len());
    assert_eq!(*seen.0.borrow(), changes);
    seen.0.borrow_mut().clear();
}

#[test]
fn a_file_appears_changes_is_replaced_and_removed() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let (mut reactor, seen) = (world.reactor(), Seen::default());
        let watch = watch(&mut reactor, &place, "file", &seen);
        expect(world, &mut reactor, &seen, &["missing"]);
        // Appears as a whole, so that no look comes between its creation and its contents.
        place.put("draft", b"one");
        place.rename("draft", "file");
        expect(world, &mut reactor, &seen, &["found 3"]);
        place.put("draft", b"three");
        place.rename("draft", "file");
        expect(world, &mut reactor, &seen, &["replaced 5"]);
        place.remove("file");
        expect(world, &mut reactor, &seen, &["missing"]);
        let watches = reactor.resources().iter().filter(|one| one.starts_with("a watch of")).count();
        assert_eq!(watches, 1, "{:?}", reactor.resources());
        assert!(watch.stop(&mut reactor) && !watch.stop(&mut reactor));
        world.run_until_idle(&mut reactor);
        assert_eq!(*seen.0.borrow(), [] as [&str; 0]);
    });
}

#[test]
fn an_append_is_seen_while_the_loop_runs() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"one");
        world.run_future(async {
            let mut watcher = files::watch(place.path("file")).interval(INTERVAL).changes().unwrap();
            assert!(matches!(watcher.changed().await, Some(FileChange::Found(found)) if found.length == 3));
            let file = files::append_to(place.path("file")).await.unwrap();
            file.append(" two").await.unwrap();
            assert!(
                matches!(watcher.changed().await, Some(FileChange::Modified(found)) if found.length == 7)
            );
        });
    });
}

#[test]
fn the_same_file_is_reported_once() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"one");
        place.put("other", b"one");
        let (mut reactor, seen, later) = (world.reactor(), Seen::default(), Seen::default());
        let watch_of = |reactor: &mut Reactor, name, seen: &Seen| watch(reactor, &place, name, seen);
        let first = watch_of(&mut reactor, "file", &seen);
        expect(world, &mut reactor, &seen, &["found 3"]);
        // Twenty looks of another watch, which began later.
        for _ in 0..20 {
            let second = watch_of(&mut reactor, "other", &later);
            world.run_until(&mut reactor, "a look", |_| !later.0.borrow().is_empty());
            later.0.borrow_mut().clear();
            second.stop(&mut reactor);
            let now = reactor.now();
            world.run_until(&mut reactor, "time passes", |reactor| reactor.now() >= now + INTERVAL);
        }
        assert_eq!(*seen.0.borrow(), [] as [&str; 0]);
        first.stop(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_switched_link_on_the_way_is_a_replaced_file() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        // As Kubernetes lays out a mounted secret.
        for (dir, data) in [("2024", &b"old certificate"[..]), ("2025", b"new certificate")] {
            place.create_dir(dir);
            place.put(&format!("{dir}/tls.crt"), data);
        }
        place.symlink("2024", "..data");
        place.symlink("..data/tls.crt", "tls.crt");
        let (mut reactor, seen) = (world.reactor(), Seen::default());
        let watch = watch(&mut reactor, &place, "tls.crt", &seen);
        expect(world, &mut reactor, &seen, &["found 15"]);
        place.symlink("2025", "..data_tmp");
        place.rename("..data_tmp", "..data");
        expect(world, &mut reactor, &seen, &["replaced 15"]);
        watch.stop(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_link_itself_can_be_watched() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("one", b"1");
        place.symlink("one", "link");
        world.run_future(async {
            let watch = files::watch(place.path("link")).interval(INTERVAL).no_symlink();
            let mut watcher = watch.changes().unwrap();
            assert!(matches!(watcher.changed().await, Some(FileChange::Found(found)) if found.length == 3));
            place.symlink("three", "next");
            place.rename("next", "link");
            assert!(
                matches!(watcher.changed().await, Some(FileChange::Replaced(found)) if found.length == 5)
            );
        });
    });
}

#[test]
fn a_file_that_cannot_be_looked_at_is_reported_once() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        place.put("file", b"one");
        let (mut reactor, seen) = (world.reactor(), Seen::default());
        let watch = watch(&mut reactor, &place, "file/below", &seen);
        expect(world, &mut reactor, &seen, &["failed NotADirectory"]);
        place.remove("file");
        expect(world, &mut reactor, &seen, &["missing"]);
        place.create_dir("file");
        place.put("file/below", b"data");
        world.run_until(&mut reactor, "it is found", |_| {
            seen.0.borrow().iter().any(|change| change.starts_with("found"))
        });
        watch.stop(&mut reactor);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_watch_can_end_itself() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        let (mut reactor, own) = (world.reactor(), Rc::new(RefCell::new(None::<FileWatch>)));
        let ended = Rc::clone(&own);
        let watch = files::watch(place.path("file")).interval(INTERVAL);
        let watch = watch.start(&mut reactor, move |reactor, _| {
            let watch = ended.take().expect("it is called once");
            assert!(watch.stop(reactor));
        });
        *own.borrow_mut() = Some(watch);
        world.run_until_idle(&mut reactor);
        assert!(own.borrow().is_none());
    });
}

#[test]
fn a_watcher_shows_the_last_change_and_ends_with_its_drop() {
    on_each_back_end(|world| {
        let place = Place::new(world);
        world.run_future(async {
            let mut watcher = files::watch(place.path("file")).interval(INTERVAL).changes().unwrap();
            assert!(matches!(watcher.changed().await, Some(FileChange::Missing)));
            for data in ["a", "bb", "ccc"] {
                files::write(place.path("file"), data).await.unwrap();
                let length = data.len() as u64;
                let before = with_reactor(|reactor| reactor.now());
                while with_reactor(|reactor| reactor.now()) < before + 4 * INTERVAL {
                    task::sleep(INTERVAL).await;
                }
                if length == 3 {
                    let change = watcher.changed().await.unwrap();
                    assert_eq!(change.metadata().unwrap().length, 3, "{change:?}");
                }
            }
            drop(watcher);
            with_reactor(|reactor| {
                assert_eq!(reactor.resources().iter().filter(|one| one.contains("watch")).count(), 0)
            });
        });
    });
}
