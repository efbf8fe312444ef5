//! The file of a UNIX socket makes room for a new one when it is nobody's, and never when it is somebody's.

mod world;

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Barrier;

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};
use twistor::{Error, Reactor};
use world::folder::Folder;
use world::{Record, nobody, on_each_back_end, on_the_real_network, once};

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
        let listener = one.listen_unix(options, nobody).unwrap();
        assert!(in_use(other.listen_unix(path.as_path(), nobody)));
        // The look at it has a place in the queue, too.
        let client = world::Recorder::new(&record).closing();
        other.connect_unix(path.as_path(), once(client, &Record::new())).unwrap();
        world.run_until(&mut other, "made", |_| record.has("made"));
        assert!(in_use(other.listen_unix(path.as_path(), nobody)));
        one.stop_listening(&listener).unwrap();
        world.run_until_idle(&mut one);
        world.run_until_idle(&mut other);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_socket_that_is_bound_and_does_not_listen_yet_keeps_its_file() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (path, alias) = (folder.path("socket"), folder.path("alias"));
        std::os::unix::fs::symlink(folder.itself(), &alias).unwrap();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        let mut reactor = world.reactor();
        assert!(in_use(reactor.listen_unix(path.as_path(), nobody)));
        // By another name it is the same.
        assert!(in_use(reactor.listen_unix(alias.join("socket"), nobody)));
        socket.listen(1).unwrap();
        UnixStream::connect(&path).unwrap();
        // One that is bound elsewhere is no reason.
        let elsewhere = folder.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let other = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        other.bind(&SockAddr::unix(elsewhere.join("socket")).unwrap()).unwrap();
        drop(socket);
        let listener = reactor.listen_unix(path.as_path(), nobody).unwrap();
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
        let other = File::open(folder.itself()).unwrap();
        flock(&other, FlockOperation::LockExclusive).unwrap();
        assert!(in_use(reactor.listen_unix(path.as_path(), nobody)));
        // What stands in nobody's way is not held up by whoever keeps the lock.
        let free = reactor.listen_unix(folder.path("free"), nobody).unwrap();
        drop(other);
        let listener = reactor.listen_unix(path.as_path(), nobody).unwrap();
        reactor.stop_listening(&free).unwrap();
        world.close(&mut reactor, &listener);
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
                    let listens = match reactor.listen_unix(path.as_path(), nobody) {
                        Ok(_) => 1,
                        error => {
                            assert!(in_use(error));
                            0
                        }
                    };
                    barrier.wait();
                    // Whoever listens is there until all have tried.
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
