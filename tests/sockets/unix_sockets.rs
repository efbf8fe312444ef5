//! UNIX sockets: streams over a path or an abstract name, the lifetime of socket files, and peer
//! credentials.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use crate::world::child::test_path;
use crate::world::folder::Folder;
use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, on_the_real_network, once};
use twistor::{
    Address, BuildContext, ConnectUnix, Error, ListenUnix, Protocol, Reactor, Reason, UnixAddress,
};

const FILES: &str = "the files of a real file system";

/// Sends a word, and closes once it is echoed.
fn asking(record: &Record) -> Recorder {
    Recorder::new(record).acting(|what, transport, _| match what {
        "made" => transport.write(b"hello"),
        "data" => transport.lose_connection(),
        _ => {}
    })
}

fn refusal(error: Error) -> (String, &'static str, std::io::ErrorKind) {
    match error {
        Error::CannotListen { address, call, source } => (address, call, source.kind()),
        other => panic!("{other}"),
    }
}

/// Connects, and returns the reason of the failure.
fn failure(world: &World, reactor: &mut Reactor, to: impl Into<ConnectUnix>) -> Reason {
    let why = Rc::new(RefCell::new(None));
    let told = Rc::clone(&why);
    struct Why(Rc<RefCell<Option<Reason>>>);
    impl twistor::Factory for Why {
        fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
            None
        }
    }
    impl twistor::ClientFactory for Why {
        fn client_connection_failed(&mut self, _: &mut twistor::Connector<'_>, reason: &Reason) {
            self.0.replace(Some(reason.clone()));
        }
    }
    reactor.connect_unix(to.into(), Why(told)).unwrap();
    world.run_until_idle(reactor);
    why.take().expect("it failed")
}

fn echoes(world: &World, address: ListenUnix) {
    let mut reactor = world.reactor();
    let (there, here) = (Record::new(), Record::new());
    let name = address.address.clone();
    let listener =
        reactor.listen_unix(address, once(Recorder::new(&there).echoing(), &Record::new())).unwrap();
    assert_eq!(listener.address(), &Address::Unix(name.clone()));
    let hosts = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&hosts);
    let mut asks = asking(&here);
    let mut act = std::mem::replace(&mut asks.act, Box::new(|_, _, _| {}));
    let asks = asks.acting(move |what, transport, data| {
        if what == "made" {
            seen.borrow_mut().push((transport.host(), transport.peer().clone()));
        }
        act(what, transport, data);
    });
    reactor.connect_unix(ConnectUnix::new(name.clone()), once(asks, &Record::new())).unwrap();
    world.run_until(&mut reactor, "both lost", |_| there.has("lost Done") && here.has("lost Done"));
    world.close(&mut reactor, &listener);
    assert_eq!(here.events(), ["made", "data hello", "lost Done"]);
    assert_eq!(there.events(), ["made", "data hello", "read lost", "lost Done"]);
    assert_eq!(*hosts.borrow(), [(Address::Unix(UnixAddress::UNNAMED), Address::Unix(name))]);
}

#[test]
fn bytes_go_both_ways_over_a_path() {
    on_each_back_end(|world| {
        let folder = Folder::new();
        echoes(world, ListenUnix::at(folder.path("socket")).unwrap());
    });
}

#[test]
fn bytes_go_both_ways_over_an_abstract_name() {
    on_each_back_end(|world| {
        let name = format!("@twistor-test-{}", std::process::id());
        echoes(world, name.parse().unwrap());
    });
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_listener() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let mut reactor = world.reactor();
        let options = ListenUnix { mode: Some(0o620), ..ListenUnix::at(&path).unwrap() };
        let listener = reactor.listen_unix(options, idle_protocol).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, 0o620);
        reactor.stop_listening(&listener).unwrap();
        assert!(!path.exists());
        let kept = ListenUnix { unlink: false, ..ListenUnix::at(&path).unwrap() };
        let listener = reactor.listen_unix(kept, idle_protocol).unwrap();
        reactor.stop_listening(&listener).unwrap();
        assert!(path.exists());
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    let name = test_path(the_mode_does_not_depend_on_the_umask);
    crate::world::child::alone(name, "umask 077;", || {
        let folder = Folder::new();
        let mut reactor = twistor::Reactor::new().unwrap();
        for mode in [0o600, 0o660, 0o666, 0o777] {
            let (stream, datagram) = (folder.path("stream"), folder.path("datagram"));
            let options = ListenUnix { mode: Some(mode), ..ListenUnix::at(&stream).unwrap() };
            let listener = reactor.listen_unix(options, idle_protocol).unwrap();
            let address = twistor::UnixAddress::of_path(&datagram).unwrap();
            let options = twistor::ListenUnixDatagram {
                address: Some(address),
                mode: Some(mode),
                ..Default::default()
            };
            let socket = reactor.listen_unix_datagram(options, Nothing).unwrap();
            for path in [&stream, &datagram] {
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, mode);
            }
            reactor.stop_listening(&listener).unwrap();
            reactor.datagram_transport(socket).unwrap().stop_listening();
        }
        // The umask of the process is unchanged.
        let file = folder.path("file");
        fs::write(&file, "").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    });

    struct Nothing;
    impl twistor::DatagramProtocol for Nothing {
        fn datagram_received(&mut self, _: &mut twistor::DatagramTransport<'_>, _: &[u8], _: &Address) {}
    }
}

/// A process with write access to the folder replaces the socket by a link as soon as it exists.
#[test]
fn the_mode_is_set_on_no_other_file() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (path, victim) = (folder.path("socket"), folder.path("victim"));
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let mut reactor = world.reactor();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let next = folder.path("next");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::os::unix::fs::symlink(&victim, &next).unwrap();
                    while !path.exists() && !done.load(std::sync::atomic::Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    fs::rename(&next, &path).unwrap();
                }
            });
            for _ in 0..300 {
                let options = ListenUnix { mode: Some(0o666), ..ListenUnix::at(&path).unwrap() };
                if let Ok(listener) = reactor.listen_unix(options, idle_protocol) {
                    reactor.stop_listening(&listener).unwrap();
                }
                let _ = fs::remove_file(&path);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o600);
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn the_files_go_with_a_reactor_that_is_dropped() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let mut reactor = world.reactor();
        reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        assert!(path.exists());
        drop(reactor);
        assert!(!path.exists());
    });
}

#[test]
fn a_stale_socket_file_is_replaced_and_one_in_use_is_not() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the stale file");
        let mut reactor = world.reactor();
        let careful = ListenUnix { remove_stale: false, ..ListenUnix::at(&path).unwrap() };
        let refused = reactor.listen_unix(careful, idle_protocol).unwrap_err();
        let in_use = (path.display().to_string(), "bind", std::io::ErrorKind::AddrInUse);
        assert_eq!(refusal(refused), in_use);
        let listener = reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        // Now a socket uses the path.
        let refused = reactor.listen_unix(path.as_path(), idle_protocol).unwrap_err();
        assert_eq!(refusal(refused), in_use);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("letter");
        fs::write(&path, "dear").unwrap();
        let mut reactor = world.reactor();
        assert!(reactor.listen_unix(path.as_path(), idle_protocol).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear");
    });
}

#[test]
fn a_listener_whose_path_was_taken_over_leaves_the_new_file() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let mut reactor = world.reactor();
        let listener = reactor.listen_unix(path.as_path(), idle_protocol).unwrap();
        fs::remove_file(&path).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        world.close(&mut reactor, &listener);
        assert!(path.exists());
    });
}

#[test]
fn an_overlong_path_is_refused_before_any_socket_is_opened() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        for (length, good) in [(107, true), (108, false)] {
            let path = format!("/{}", "p".repeat(length - 1));
            let told = reactor.connect_unix(path.as_str(), idle_protocol).map(drop);
            match told {
                Ok(()) => assert!(good),
                Err(Error::BadAddress(bad)) => assert!(!good && bad.text == path),
                Err(other) => panic!("{other}"),
            }
        }
        // The valid attempt fails, and its factory logs that.
        world.run_until_idle(&mut reactor);
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn a_missing_path_and_a_stale_one_fail_with_the_kernels_error() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let mut reactor = world.reactor();
        let missing = ConnectUnix::at(folder.path("missing")).unwrap();
        let reason = failure(world, &mut reactor, missing);
        let Reason::ConnectFailed(error) = reason else { panic!("{reason:?}") };
        assert_eq!(error.kind, std::io::ErrorKind::NotFound);
        let stale = folder.path("stale");
        drop(UnixListener::bind(&stale).unwrap());
        let reason = failure(world, &mut reactor, ConnectUnix::at(stale).unwrap());
        assert!(matches!(reason, Reason::Refused(_)), "{reason:?}");
    });
}

#[test]
fn a_full_queue_is_waited_for_until_there_is_room() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let first = UnixStream::connect(&path).unwrap();
        let mut reactor = world.reactor();
        // With a full backlog, the attempt lasts until its timeout.
        let timeout = Duration::from_millis(30);
        let short = ConnectUnix { timeout, ..ConnectUnix::at(&path).unwrap() };
        assert_eq!(failure(world, &mut reactor, short), Reason::TimedOut(timeout));
        // With room in the backlog it succeeds, although no event reports that.
        let record = Record::new();
        reactor.connect_unix(path.as_path(), once(asking(&record), &Record::new())).unwrap();
        world.run_until(&mut reactor, "an attempt", |reactor| reactor.delayed_call_count() == 3);
        assert!(!record.has("made"));
        drop(socket.accept().unwrap());
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        drop((first, socket));
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn the_peer_is_known_by_its_credentials() {
    on_the_real_network("credentials are the kernel's", |world| {
        let folder = Folder::new();
        let path = folder.path("socket");
        let mut reactor = world.reactor();
        let seen = Rc::new(RefCell::new(None));
        let told = Rc::clone(&seen);
        let server = idle_protocol().acting(move |what, transport, _| {
            if what == "made" {
                told.replace(Some(transport.peer_credentials().unwrap()));
                transport.lose_connection();
            }
        });
        let listener = reactor.listen_unix(path.as_path(), once(server, &Record::new())).unwrap();
        let client = idle_protocol().closing();
        reactor.connect_unix(path.as_path(), once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "seen", |_| seen.borrow().is_some());
        world.close(&mut reactor, &listener);
        let seen = seen.take().unwrap();
        assert_eq!(seen.process, Some(std::process::id()));
        assert_eq!(seen.user, rustix::process::geteuid().as_raw());
        assert_eq!(seen.group, rustix::process::getegid().as_raw());
    });
}

#[test]
fn a_clients_socket_file_is_removed_on_loss_and_on_failure() {
    on_the_real_network(FILES, |world| {
        let folder = Folder::new();
        let (there, here) = (folder.path("there"), folder.path("here"));
        let named = || ConnectUnix {
            bind: Some(UnixAddress::of_path(&here).unwrap()),
            ..ConnectUnix::at(&there).unwrap()
        };
        let mut reactor = world.reactor();
        assert!(matches!(failure(world, &mut reactor, named()), Reason::ConnectFailed(_)));
        assert!(!here.exists());
        let record = Record::new();
        let peers = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&peers);
        let server = idle_protocol().acting(move |what, transport, _| match what {
            "made" => seen.borrow_mut().push(transport.peer().to_string()),
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        let listener = reactor.listen_unix(there.as_path(), once(server, &Record::new())).unwrap();
        let file = here.clone();
        let client = Recorder::new(&record).acting(move |what, transport, _| {
            if what == "made" {
                assert!(file.exists());
                transport.lose_connection();
            }
        });
        reactor.connect_unix(named(), once(client, &Record::new())).unwrap();
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        world.close(&mut reactor, &listener);
        assert!(!here.exists());
        assert_eq!(*peers.borrow(), [here.display().to_string()]);
    });
}
