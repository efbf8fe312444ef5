//! Adopted sockets: listening, connected and datagram sockets, TCP and UNIX.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::world::{Record, Recorder, idle_protocol, on_the_real_network, once};
use twistor::{Address, DatagramProtocol, DatagramTransport, Error};

const KERNEL: &str = "descriptors are the system's";

#[test]
fn an_adopted_listener_is_served_and_stays_open_elsewhere() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ours.local_addr().unwrap();
        let adopted: OwnedFd = ours.try_clone().unwrap().into();
        let record = Record::new();
        let listener =
            reactor.adopt_listener(adopted, once(Recorder::new(&record).echoing(), &record)).unwrap();
        assert_eq!(listener.address(), &Address::Tcp(address));
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"hello").unwrap();
        world.run_until(&mut reactor, "heard", |_| record.has("data hello"));
        peer.read_exact(&mut [0; 5]).unwrap();
        reactor.stop_listening(&listener).unwrap();
        // The other descriptor still listens.
        let waiting = TcpStream::connect(address).unwrap();
        ours.set_nonblocking(false).unwrap();
        drop(ours.accept().unwrap());
        drop((waiting, peer));
        world.run_until_idle(&mut reactor);
        assert!(record.has("stopped") && record.has("lost Done"));
    });
}

#[test]
fn data_received_before_a_connection_is_adopted_is_kept() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let (one, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"early").unwrap();
        let record = Record::new();
        reactor.adopt_connection(one.into(), Recorder::new(&record).echoing()).unwrap();
        assert_eq!(record.events(), [""; 0], "nothing inside the call");
        world.run_until(&mut reactor, "echoed", |_| record.has("data early"));
        let mut back = [0; 5];
        other.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"early");
        drop(other);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["made", "data early", "read lost", "lost Done"]);
        assert_eq!(reactor.statistics().adopted, 1);
    });
}

#[test]
fn a_connection_of_tcp_has_its_addresses_and_can_be_aborted() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let record = Record::new();
        let id = reactor.adopt_connection(accepted.into(), Recorder::new(&record)).unwrap();
        let transport = reactor.transport(id).unwrap();
        assert_eq!(transport.peer(), &Address::Tcp(from));
        assert_eq!(transport.host(), Address::Tcp(listener.local_addr().unwrap()));
        world.run_until(&mut reactor, "made", |_| record.has("made"));
        reactor.transport(id).unwrap().abort_connection();
        world.run_until_idle(&mut reactor);
        let error = peer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(record.events(), ["made", "lost Aborted"]);
    });
}

struct Echo(Record);

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.0.add(String::from_utf8_lossy(data));
        transport.write_to(data, from).unwrap();
    }
}

#[test]
fn a_socket_of_datagrams_is_served() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"early", address).unwrap();
        let record = Record::new();
        let id = reactor.adopt_datagram(socket.into(), Echo(record.clone())).unwrap();
        world.run_until(&mut reactor, "heard", |_| record.has("early"));
        assert_eq!(peer.recv(&mut [0; 9]).unwrap(), 5);
        reactor.datagram_transport(id).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_is_not_what_it_is_taken_for_is_refused_and_closed() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let bound = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            OwnedFd::from(socket)
        };
        let listening = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        for descriptor in [file(), udp(), bound()] {
            let refused = reactor.adopt_listener(descriptor, idle_protocol).unwrap_err();
            assert!(matches!(refused, Error::CannotListen { call: "adopt", .. }), "{refused}");
        }
        for descriptor in [file(), udp(), listening()] {
            let refused = reactor.adopt_connection(descriptor, idle_protocol()).unwrap_err();
            assert!(matches!(refused, Error::System { call: "adopt", .. }), "{refused}");
        }
        let refused = reactor.adopt_connection(bound(), idle_protocol()).unwrap_err();
        assert!(matches!(refused, Error::System { call: "getpeername", .. }), "{refused}");
        for descriptor in [file(), listening()] {
            assert!(reactor.adopt_datagram(descriptor, Echo(Record::new())).is_err());
        }
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_of_another_family_is_refused_as_such() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let netlink = || {
            let (domain, kind) = (socket2::Domain::from(16), socket2::Type::DGRAM);
            OwnedFd::from(socket2::Socket::new(domain, kind, None).unwrap())
        };
        let refused = [
            reactor.adopt_listener(netlink(), idle_protocol).err(),
            reactor.adopt_connection(netlink(), idle_protocol()).err(),
            reactor.adopt_datagram(netlink(), Echo(Record::new())).err(),
        ];
        for error in refused.map(Option::unwrap) {
            let (Error::CannotListen { source, .. } | Error::System { source, .. }) = &error else {
                panic!("{error}");
            };
            let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
            assert_eq!(source.raw_os_error(), Some(unsupported), "{error}");
        }
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn the_file_of_an_adopted_unix_socket_stays() {
    on_the_real_network(KERNEL, |world| {
        let path =
            crate::world::temp_dir::short_temp_dir().join(format!("twistor-adopted-{}", std::process::id()));
        let mut reactor = world.reactor();
        let listener = UnixListener::bind(&path).unwrap();
        let adopted = reactor.adopt_listener(listener.into(), idle_protocol).unwrap();
        world.close(&mut reactor, &adopted);
        assert!(path.exists());
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn what_is_asked_of_a_connection_before_it_begins_holds() {
    on_the_real_network(KERNEL, |world| {
        for paused in [false, true] {
            let mut reactor = world.reactor();
            let (one, mut other) = UnixStream::pair().unwrap();
            other.write_all(b"early").unwrap();
            let record = Record::new();
            let id = reactor.adopt_connection(one.into(), Recorder::new(&record).closing()).unwrap();
            let mut transport = reactor.transport(id).unwrap();
            match paused {
                true => transport.pause_reading(),
                false => transport.resume_reading(),
            }
            assert_eq!(transport.reading_paused(), paused);
            world.run_until(&mut reactor, "made", |_| record.has("made"));
            for _ in 0..3 {
                reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
            }
            assert_eq!(record.has("data early"), !paused);
            reactor.transport(id).unwrap().resume_reading();
            drop(other);
            world.run_until_idle(&mut reactor);
            assert_eq!(record.events(), ["made", "data early", "read lost", "lost Done"]);
        }
    });
}

#[test]
fn a_socket_of_another_protocol_with_datagrams_is_none_of_udp() {
    use socket2::{Domain, Protocol, Socket, Type};
    on_the_real_network(KERNEL, |world| {
        // The first needs privileges, and the second is missing on some systems.
        let others = [Protocol::ICMPV4, Protocol::from(136)];
        let opened = others.map(|protocol| Socket::new(Domain::IPV4, Type::DGRAM, Some(protocol)));
        let Some(other) = opened.into_iter().find_map(Result::ok) else {
            return eprintln!("SKIPPED: this system has no datagrams but those of UDP");
        };
        let mut reactor = world.reactor();
        let Err(Error::System { call, source }) = reactor.adopt_datagram(other.into(), Echo(Record::new()))
        else {
            panic!("adopted");
        };
        assert_eq!(call, "adopt");
        assert_eq!(source.raw_os_error(), Some(rustix::io::Errno::PROTONOSUPPORT.raw_os_error()));
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn both_ends_of_an_adopted_pair_are_unnamed() {
    on_the_real_network(KERNEL, |world| {
        let mut reactor = world.reactor();
        let (one, other) = UnixStream::pair().unwrap();
        let record = Record::new();
        let noted = record.clone();
        let protocol = idle_protocol().acting(move |what, transport, _| match what {
            "made" => {
                let unnamed = Address::Unix(twistor::UnixAddress::UNNAMED);
                assert_eq!(transport.peer(), &unnamed);
                assert_eq!(transport.host(), unnamed);
                noted.add(format!("process {:?}", transport.peer_credentials().unwrap().process));
            }
            "read lost" => transport.lose_connection(),
            _ => {}
        });
        reactor.adopt_connection(one.into(), protocol).unwrap();
        drop(other);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), [format!("process {:?}", Some(std::process::id()))]);
    });
}
