//! Nothing that a reactor opens is inherited by the programs that its process starts.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use crate::world::child;
use crate::world::child::test_path;
use crate::world::{Record, Recorder, abort_all, idle_protocol, on_the_real_network};
use rustix::io::FdFlags;
use twistor::Signal;
use twistor::endpoint::server_from_string;

/// The descriptors that a program finds open when it starts.
fn inherited() -> Vec<String> {
    let list = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    assert!(list.status.success());
    String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_program_started_by_a_callback_inherits_no_socket() {
    on_the_real_network("a child inherits the descriptors of a process", |world| {
        let before = inherited();
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), idle_protocol).unwrap();
        reactor.on_signal(Signal::WindowChange, |_| {}).unwrap();
        let seen = record.clone();
        let client = Recorder::new(&record).acting(move |what, _, _| {
            if what == "made" {
                seen.add(format!("{:?}", inherited()));
            }
        });
        let accepted = world.connect(listener.address());
        world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().accepts == 1);
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        assert_eq!(record.events(), ["made".to_owned(), format!("{before:?}")]);
        drop(accepted);
        abort_all(&mut reactor);
        reactor.stop_listening(&listener).unwrap();
        world.run_until(&mut reactor, "all lost", |reactor| reactor.statistics().connections == 0);
    });
}

/// Whether a program that is started finds this number open.
fn inherits(number: i32) -> bool {
    Command::new("test").args(["-e", &format!("/proc/self/fd/{number}")]).status().unwrap().success()
}

/// A socket that programs inherit, as one is that this program was started with.
fn handed_down() -> TcpListener {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&socket, FdFlags::empty()).unwrap();
    assert!(inherits(socket.as_raw_fd()));
    socket
}

#[test]
fn an_adopted_inherited_descriptor_becomes_close_on_exec() {
    let test = test_path(an_adopted_inherited_descriptor_becomes_close_on_exec);
    child::alone(test, "", || {
        on_the_real_network("a child inherits the descriptors of a process", |world| {
            let socket = handed_down();
            let (number, address) = (socket.as_raw_fd(), socket.local_addr().unwrap());
            for _ in 0..2 {
                let mut reactor = world.reactor();
                let server = server_from_string(&format!("fd:{number}")).unwrap();
                let listener = server.listen(&mut reactor, Box::new(idle_protocol)).unwrap();
                assert!(!inherits(number));
                assert_eq!(socket.local_addr().unwrap(), address, "it is the same socket still");
                world.close(&mut reactor, &listener);
            }
        });
    });
}

#[test]
fn of_what_systemd_has_passed_nothing_is_handed_down() {
    let test = test_path(of_what_systemd_has_passed_nothing_is_handed_down);
    // The shell's own number is that of the program that it becomes.
    let first = "exec 3>&- 4>&-; export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=web:admin;";
    child::alone(test, first, || {
        on_the_real_network("systemd passes descriptors of the system", |world| {
            let sockets = [handed_down(), handed_down()];
            assert_eq!(sockets.each_ref().map(|socket| socket.as_raw_fd()), [3, 4]);
            let mut reactor = world.reactor();
            let server = server_from_string("systemd:name=admin").unwrap();
            let listener = server.listen(&mut reactor, Box::new(idle_protocol)).unwrap();
            assert!(!inherits(3) && !inherits(4));
            world.close(&mut reactor, &listener);
        });
    });
}
