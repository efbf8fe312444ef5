//! A UNIX socket's file is replaced if no process uses it, and never if one does.

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;

use crate::world::child::test_path;
use crate::world::folder::Folder;
use crate::world::{Record, idle_protocol, on_each_back_end, on_the_real_network, once};
use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};
use twistor::{Error, Reactor};

const FILES: &str = "the files of a real file system";

fn in_use(result: Result<twistor::Listener, Error>) -> bool {
    let kind = std::io::ErrorKind::AddrInUse;
    matches!(result, Err(Error::CannotListen { call: "bind", source, .. }) if source.kind() == kind)
}

fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

#[test]
fn a_listener_whose_queue_is_empty_or_full_keeps_its_file() {
    on_each_back_end(|world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let (mut one, mut other) = (world.reactor(), world.reactor());
        let record = Record::new();
        let options = twistor::ListenUnix { backlog: 1, ..twistor::ListenUnix::at(path.as_path()).unwrap() };
        let listener = one.listen_unix(options, idle_protocol).unwrap();
        assert!(in_use(other.listen_unix(path.as_path(), idle_protocol)));
        // The check takes a place in the backlog too.
        let client = crate::world::Recorder::new(&record).closing();
        other.connect_unix(path.as_path(), once(client, &Record::new())).unwrap();
        world.run_until(&mut other, "made", |_| record.has("made"));
        assert!(in_use(other.listen_unix(path.as_path(), idle_protocol)));
        one.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut one);
        world.run_until_idle(&mut other);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_bound_socket_that_does_not_listen_yet_keeps_its_file() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (path, alias) = (folder.path("socket"), folder.path("alias"));
        std::os::unix::fs::symlink(folder.itself(), &alias).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        let mut reactor = world.reactor();
        assert!(in_use(reactor.listen_unix(path.as_path(), idle_protocol)));
        // The same socket by another path.
        assert!(in_use(reactor.listen_unix(alias.join("socket"), idle_protocol)));
        socket.listen(1).unwrap();
        UnixStream::connect(&path).unwrap();
        // A bound socket elsewhere does not matter.
        let elsewhere = folder.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let other = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        other.bind(&SockAddr::unix(elsewhere.join("socket")).unwrap()).unwrap();
        drop(socket);
        let listener = reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn whoever_starts_beside_another_leaves_a_stale_file_to_it() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        leave_stale(&path);
        let mut reactor = world.reactor();
        let lock = folder.path("socket.lock");
        let other = File::create(&lock).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        let error = reactor.listen_unix(path.as_path(), idle_protocol);
        let said = error.as_ref().unwrap_err().to_string();
        assert!(said.contains(&format!("holds the lock {}", lock.display())), "{said}");
        assert!(in_use(error));
        // A path without an existing file does not need the lock.
        let free = reactor.listen_unix(folder.path("free"), idle_protocol).unwrap();
        drop(other);
        let listener = reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        reactor.stop_listening(&free).unwrap();
        world.close(&mut reactor, &listener);
        let left = fs::read_dir(folder.itself()).unwrap().count();
        assert_eq!(left, 0, "locks go with those who have them");
    });
}

#[test]
fn a_lock_on_the_folder_keeps_no_stale_file() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        leave_stale(&path);
        // Read access is enough for the lock.
        let reader = File::open(folder.itself()).unwrap();
        flock(&reader, FlockOperation::LockExclusive).unwrap();
        let mut reactor = world.reactor();
        let listener = reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn what_is_no_lock_file_of_this_user_locks_nothing() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (path, lock, other) = (folder.path("socket"), folder.path("socket.lock"), folder.path("other"));
        let locked = File::create(&other).unwrap();
        flock(&locked, FlockOperation::LockExclusive).unwrap();
        let mut reactor = world.reactor();
        for kind in ["a link", "a second name", "a pipe", "a folder", "another user's"] {
            leave_stale(&path);
            match kind {
                "a link" => std::os::unix::fs::symlink(&other, &lock).unwrap(),
                "a second name" => fs::hard_link(&other, &lock).unwrap(),
                "a pipe" => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &lock,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::RWXU,
                    0,
                )
                .unwrap(),
                "a folder" => fs::create_dir(&lock).unwrap(),
                _ if rustix::process::geteuid().is_root() => {
                    fs::rename(&other, &lock).unwrap();
                    std::os::unix::fs::chown(&lock, Some(12_345), None).unwrap();
                }
                _ => {}
            }
            let listener = reactor
                .listen_unix(path.as_path(), idle_protocol)
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
            reactor.stop_listening(&listener).unwrap();
            world.run_until_idle(&mut reactor);
            match kind {
                "a folder" => fs::remove_dir(&lock).unwrap(),
                // For an ordinary user, the last one does not exist.
                _ => drop(fs::remove_file(&lock)),
            }
        }
        drop(locked);
    });
}

/// A process with write access to a parent folder keeps exchanging the path to the socket.
#[test]
fn a_file_in_another_folder_is_never_taken_for_the_stale_one() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (stale, live, alias) = (folder.path("stale"), folder.path("live"), folder.path("alias"));
        for place in [&stale, &live] {
            fs::create_dir(place).unwrap();
        }
        let listens = UnixListener::bind(live.join("socket")).unwrap();
        let mut reactor = world.reactor();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let swap = || {
                let next = folder.path("next");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for place in [&stale, &live] {
                        std::os::unix::fs::symlink(place, &next).unwrap();
                        fs::rename(&next, &alias).unwrap();
                    }
                }
            };
            scope.spawn(swap);
            for _ in 0..300 {
                if !stale.join("socket").exists() {
                    leave_stale(&stale.join("socket"));
                }
                // The folder found by each attempt is random.
                if let Ok(listener) = reactor.listen_unix(alias.join("socket"), idle_protocol) {
                    reactor.stop_listening(&listener).unwrap();
                }
                if !live.join("socket").exists() {
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("the file of a live socket is gone");
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        world.run_until_idle(&mut reactor);
        drop(listens);
    });
}

#[test]
fn of_many_that_start_at_once_one_listens_and_is_found() {
    on_the_real_network(FILES, |_| {
        const STARTERS: usize = 4;
        for _ in 0..50 {
            let folder = Folder::new();
            let path = folder.path("socket");
            leave_stale(&path);
            let barrier = Barrier::new(STARTERS);
            let listening: usize = std::thread::scope(|scope| {
                let start = || {
                    let mut reactor = Reactor::new().unwrap();
                    barrier.wait();
                    let listens = match reactor.listen_unix(path.as_path(), idle_protocol) {
                        Ok(_) => 1,
                        error => {
                            assert!(in_use(error));
                            0
                        }
                    };
                    barrier.wait();
                    // The winner listens until all have tried.
                    let found = UnixStream::connect(&path).is_ok();
                    barrier.wait();
                    assert!(found);
                    listens
                };
                let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
                starters.into_iter().map(|starter| starter.join().unwrap()).sum()
            });
            assert_eq!(listening, 1);
        }
    });
}

#[test]
fn a_relative_file_is_removed_from_any_working_directory() {
    let name = test_path(a_relative_file_is_removed_from_any_working_directory);
    crate::world::child::alone(name, "", || {
        on_the_real_network(FILES, |world| {
            let folder = Folder::new();
            std::env::set_current_dir(folder.itself()).unwrap();
            let mut reactor = world.reactor();
            let listener = reactor.listen_unix(Path::new("socket"), idle_protocol).unwrap();
            assert!(folder.path("socket").exists());
            std::env::set_current_dir("/").unwrap();
            world.close(&mut reactor, &listener);
            assert!(!folder.path("socket").exists());
        });
    });
}
