//! Simulated UNIX sockets are local to a host, are not affected by links, and leave their files
//! behind when a process is killed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{FaultKind, Host, Simulation};
use twistor::{
    Address, DatagramProtocol, DatagramTransport, ListenUnix, ListenUnixDatagram, Protocol, Transport,
    UnixAddress,
};

const SECOND: Duration = Duration::from_secs(1);

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

fn name() -> UnixAddress {
    "/run/echo".parse().unwrap()
}

/// Creates a host whose reactor listens, again after each restart.
fn listening(simulation: &mut Simulation) -> Host {
    let host = simulation.host("here");
    simulation.boot(host, |reactor| reactor.listen_unix(name(), || Echo).map(|_| ())).unwrap();
    host
}

fn answers(simulation: &mut Simulation, host: Host) -> bool {
    let Ok(mut socket) = simulation.connect_unix(host, &name()) else { return false };
    socket.send(b"hello").unwrap();
    simulation.run_for(Duration::from_millis(10)).unwrap();
    socket.recv(&mut [0; 16]).is_ok_and(|count| count == 5)
}

#[test]
fn a_plain_socket_reaches_a_reactor_through_a_file() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    assert!(answers(&mut simulation, host));
    assert_eq!(simulation.socket_file(host, "/run/echo"), Some(0o755));
}

#[test]
fn each_host_has_names_of_its_own() {
    let mut simulation = Simulation::new(1);
    listening(&mut simulation);
    let other = simulation.host("there");
    let error = simulation.connect_unix(other, &name()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(simulation.socket_file(other, "/run/echo"), None);
}

#[test]
fn partitions_and_links_do_not_concern_it() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    simulation.partition(host, host);
    simulation.refuse(host, None);
    simulation.drop_connects(host, None);
    assert!(answers(&mut simulation, host));
    assert!(!simulation.reset_any_connection());
    assert_eq!(simulation.reset_connections(host, host), 0);
}

#[test]
fn a_full_queue_is_one_of_the_faults() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    simulation.fill_backlog(host, None);
    let error = simulation.connect_unix(host, &name()).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(simulation.coverage().fault(FaultKind::FullBacklog), 1);
    simulation.accept_connects(host, None);
    assert!(answers(&mut simulation, host));
}

#[test]
fn a_process_that_ends_takes_its_file_along() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    assert!(answers(&mut simulation, host));
    assert!(simulation.reactor(host).stop());
    simulation.run_for(SECOND).unwrap();
    assert_eq!(simulation.socket_file(host, "/run/echo"), None);
}

#[test]
fn a_killed_listener_leaves_its_file_to_its_successor() {
    for crash in [false, true] {
        let mut simulation = Simulation::new(1);
        let host = listening(&mut simulation);
        if crash {
            simulation.crash(host)
        } else {
            simulation.kill(host)
        }
        assert!(simulation.socket_file(host, "/run/echo").is_some());
        let error = simulation.connect_unix(host, &name()).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        simulation.restart(host).unwrap();
        assert!(answers(&mut simulation, host));
    }
}

#[test]
fn a_stale_file_keeps_its_name_in_use_until_it_is_removed() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    simulation.kill(host);
    simulation.boot(host, |_| Ok(())).unwrap();
    let options = || ListenUnix { remove_stale: false, ..ListenUnix::new(name()) };
    let failed = simulation.reactor(host).listen_unix(options(), || Echo).err().unwrap();
    assert!(failed.to_string().contains("/run/echo"), "{failed}");
    assert!(simulation.remove_socket_file(host, "/run/echo"));
    assert!(!simulation.remove_socket_file(host, "/run/echo"));
    simulation.reactor(host).listen_unix(options(), || Echo).unwrap();
    assert!(answers(&mut simulation, host));
}

#[test]
fn two_processes_of_a_host_know_each_other_by_different_numbers() {
    struct Asks(Rc<RefCell<Vec<Option<u32>>>>);
    impl Protocol for Asks {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            self.0.borrow_mut().push(transport.peer_credentials().unwrap().process);
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    let mut simulation = Simulation::new(1);
    let host = simulation.host("here");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (server, client) = (Rc::clone(&seen), Rc::clone(&seen));
    let reactor = simulation.reactor(host);
    reactor.listen_unix(name(), move || Asks(Rc::clone(&server))).unwrap();
    reactor.connect_unix(name(), move || Asks(Rc::clone(&client))).unwrap();
    let _plain = simulation.connect_unix(host, &name()).unwrap();
    simulation.run_for(SECOND).unwrap();
    let mut seen = seen.borrow().clone();
    seen.sort_unstable();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].is_some());
    // The reactor is at both ends of one connection, and the plain socket's process at one end of
    // the other.
    seen.dedup();
    assert_eq!(seen.len(), 2);
}

#[test]
fn data_takes_time_so_an_endless_exchange_stays_bounded() {
    let mut simulation = Simulation::new(1);
    let host = listening(&mut simulation);
    simulation
        .reactor(host)
        .connect_unix(name(), || {
            struct Begins;
            impl Protocol for Begins {
                fn connection_made(&mut self, transport: &mut Transport<'_>) {
                    transport.write(b"x");
                }
                fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
                    transport.write(data);
                }
            }
            Begins
        })
        .unwrap();
    simulation.run_for(SECOND).unwrap();
    let rounds = simulation.reactor_ref(host).unwrap().statistics().bytes_received;
    // 50 microseconds each way.
    assert!((19_000..=20_000).contains(&rounds), "{rounds}");
}

#[test]
fn datagrams_come_whole_in_order_and_from_whom_they_are() {
    struct Box(Rc<RefCell<Vec<String>>>);
    impl DatagramProtocol for Box {
        fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
            self.0.borrow_mut().push(format!("{} from {from}", String::from_utf8_lossy(data)));
        }
    }
    let mut simulation = Simulation::new(1);
    let host = simulation.host("here");
    let came = Rc::new(RefCell::new(Vec::new()));
    let at = |name: &str| ListenUnixDatagram {
        address: Some(name.parse().unwrap()),
        ..ListenUnixDatagram::default()
    };
    let reactor = simulation.reactor(host);
    reactor.listen_unix_datagram(at("@box"), Box(Rc::clone(&came))).unwrap();
    let peer = Some("@box".parse().unwrap());
    let sender = ListenUnixDatagram { peer, ..at("/run/sender") };
    let sender = reactor.listen_unix_datagram(sender, Box(Rc::default())).unwrap();
    for number in 0..100 {
        reactor.datagram_transport(sender).unwrap().write(number.to_string().as_bytes()).unwrap();
    }
    simulation.run_for(SECOND).unwrap();
    let expected: Vec<String> = (0..100).map(|number| format!("{number} from /run/sender")).collect();
    assert_eq!(*came.borrow(), expected);
}
