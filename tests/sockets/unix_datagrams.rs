//! UNIX datagrams are neither lost nor reordered, and wait for a full receiver.

use std::os::unix::net::UnixDatagram as Plain;

use crate::world::child::test_path;
use crate::world::strace::under_strace;
use crate::world::{Record, on_each_back_end, on_the_real_network};
use twistor::{
    Address, DatagramProtocol, DatagramTransport, Error, ListenUnixDatagram, Settings, SystemError,
    UnixAddress,
};

const FILES: &str = "the names of a real system";

struct Mailbox(Record);

impl DatagramProtocol for Mailbox {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.0.add(format!("{} from {from}", String::from_utf8_lossy(data)));
        if !from.unix().unwrap().is_unnamed() {
            transport.write_to(data, from).unwrap();
        }
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        self.0.add("refused");
    }

    fn error_received(&mut self, _: &mut DatagramTransport<'_>, error: &SystemError) {
        self.0.add(format!("error {}: {:?}", error.call, error.kind));
    }

    fn send_failed(&mut self, _: &mut DatagramTransport<'_>, to: Option<&Address>, error: &SystemError) {
        self.0.add(format!("failed to {to:?}: {:?}", error.kind));
    }
}

fn name(what: &str) -> UnixAddress {
    format!("@twistor-{what}-{}", std::process::id()).parse().unwrap()
}

fn at(address: &UnixAddress) -> ListenUnixDatagram {
    ListenUnixDatagram { address: Some(address.clone()), ..ListenUnixDatagram::default() }
}

#[test]
fn an_answer_goes_to_the_name_that_asked() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (there, here) = (name("there"), name("here"));
        let (server, client) = (Record::new(), Record::new());
        let listening = reactor.listen_unix_datagram(at(&there), Mailbox(server.clone())).unwrap();
        let asking = ListenUnixDatagram { peer: Some(there.clone()), ..at(&here) };
        let asking = reactor.listen_unix_datagram(asking, Mailbox(client.clone())).unwrap();
        reactor.datagram_transport(asking).unwrap().write(b"hello").unwrap();
        let asked = format!("hello from {here}");
        world.run_until(&mut reactor, "asked", |_| server.has(&asked));
        // Two sockets that answer each other would never stop.
        reactor.datagram_transport(asking).unwrap().stop_listening();
        reactor.datagram_transport(listening).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}

/// Sends a thousand datagrams to a slower socket, from a connected or an unconnected one.
fn come_in_order(connected: bool) {
    use std::os::linux::net::SocketAddrExt;
    on_the_real_network(FILES, |world| {
        let mut reactor = world.reactor();
        let slow = name(if connected { "peer" } else { "slow" });
        let plain = std::os::unix::net::SocketAddr::from_abstract_name(slow.abstract_name().unwrap());
        let receiver = Plain::bind_addr(&plain.unwrap()).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let record = Record::new();
        let sender =
            ListenUnixDatagram { peer: connected.then(|| slow.clone()), ..ListenUnixDatagram::default() };
        let sender = reactor.listen_unix_datagram(sender, Mailbox(record.clone())).unwrap();
        for number in 0..1000_u32 {
            let to = Address::Unix(slow.clone());
            reactor.datagram_transport(sender).unwrap().write_to(&number.to_be_bytes(), &to).unwrap();
        }
        let received = std::cell::Cell::new(0_u32);
        world.run_until(&mut reactor, "all there", |_| {
            let mut buffer = [0; 8];
            while let Ok(count) = receiver.recv(&mut buffer) {
                assert_eq!(buffer[..count], received.get().to_be_bytes());
                received.set(received.get() + 1);
            }
            received.get() == 1000
        });
        assert_eq!(record.events(), [""; 0]);
        reactor.datagram_transport(sender).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn more_than_a_peer_has_room_for_waits_here_and_none_is_lost() {
    come_in_order(true);
}

#[test]
fn more_than_any_other_has_room_for_waits_here_and_none_is_lost() {
    come_in_order(false);
}

#[test]
fn a_name_that_nobody_has_is_told_with_it() {
    on_the_real_network(FILES, |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let id =
            reactor.listen_unix_datagram(ListenUnixDatagram::default(), Mailbox(record.clone())).unwrap();
        let missing = Address::Unix(UnixAddress::of_path("/nowhere/at/all").unwrap());
        reactor.datagram_transport(id).unwrap().write_to(b"hello", &missing).unwrap();
        world.run_until(&mut reactor, "told", |_| !record.events().is_empty());
        assert_eq!(record.events(), ["failed to Some(Unix(UnixAddress(/nowhere/at/all))): NotFound"]);
        reactor.datagram_transport(id).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_send_to_a_stale_name_loses_only_that_datagram() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (gone, here) = (path(world, "gone"), path(world, "here"));
        // The file stays without a socket.
        let stale = ListenUnixDatagram { unlink: false, ..at(&gone) };
        let stale = reactor.listen_unix_datagram(stale, Mailbox(Record::new())).unwrap();
        let sender = reactor.listen_unix_datagram(at(&here), Mailbox(record.clone())).unwrap();
        reactor.datagram_transport(stale).unwrap().stop_listening();
        world.run_until(&mut reactor, "closed", |reactor| reactor.datagram_transport(stale).is_none());
        let mut transport = reactor.datagram_transport(sender).unwrap();
        transport.write_to(b"lost", &Address::Unix(gone.clone())).unwrap();
        transport.write_to(b"mine", &Address::Unix(here.clone())).unwrap();
        world.run_until(&mut reactor, "mine", |_| record.events().len() >= 2);
        reactor.datagram_transport(sender).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
        let first = format!("failed to Some(Unix(UnixAddress({gone}))): ConnectionRefused");
        assert_eq!(record.events()[..2], [first, format!("mine from {here}")]);
        let _ = std::fs::remove_file(gone.path().unwrap());
    });
}

/// A unique path for this test.
fn path(world: &crate::world::World, what: &str) -> UnixAddress {
    let name = format!("twistor-{what}-{}-{:p}", std::process::id(), world);
    UnixAddress::of_path(crate::world::temp_dir::short_temp_dir().join(name)).unwrap()
}

#[test]
fn a_receiver_that_never_reads_costs_a_look_now_and_then() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (deaf, here) = (path(world, "deaf"), path(world, "asks"));
        let receiver = reactor.listen_unix_datagram(at(&deaf), Mailbox(Record::new())).unwrap();
        reactor.datagram_transport(receiver).unwrap().pause_reading();
        let sender = reactor.listen_unix_datagram(at(&here), Mailbox(Record::new())).unwrap();
        for _ in 0..1000 {
            reactor
                .datagram_transport(sender)
                .unwrap()
                .write_to(b"hello?", &Address::Unix(deaf.clone()))
                .unwrap();
        }
        for _ in 0..50 {
            reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
            assert!(reactor.delayed_call_count() <= 1, "{} timers", reactor.delayed_call_count());
        }
        assert!(reactor.datagram_transport(sender).unwrap().write_buffer_size() > 0);
        for id in [sender, receiver] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(reactor.delayed_call_count(), 0);
    });
}

#[test]
fn a_paused_receiver_delays_no_other_and_loses_no_datagram() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (deaf, other) = (path(world, "deaf"), path(world, "other"));
        let (later, now) = (Record::new(), Record::new());
        let receiver = reactor.listen_unix_datagram(at(&deaf), Mailbox(later.clone())).unwrap();
        reactor.datagram_transport(receiver).unwrap().pause_reading();
        let listener = reactor.listen_unix_datagram(at(&other), Mailbox(now.clone())).unwrap();
        let sender =
            reactor.listen_unix_datagram(ListenUnixDatagram::default(), Mailbox(Record::new())).unwrap();
        for number in 0..100 {
            for to in [&deaf, &other] {
                let data = format!("{number:02}");
                let to = Address::Unix(to.clone());
                reactor.datagram_transport(sender).unwrap().write_to(data.as_bytes(), &to).unwrap();
            }
        }
        world.run_until(&mut reactor, "the other's", |_| now.events().len() == 100);
        assert!(reactor.datagram_transport(sender).unwrap().write_buffer_size() > 0);
        assert_eq!(later.events(), [""; 0]);
        reactor.datagram_transport(receiver).unwrap().resume_reading();
        world.run_until(&mut reactor, "the deaf one's", |_| later.events().len() == 100);
        let all: Vec<String> = (0..100).map(|number| format!("{number:02} from (unnamed)")).collect();
        assert_eq!((now.events(), later.events()), (all.clone(), all));
        for id in [sender, listener, receiver] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn what_waits_for_one_that_does_not_read_leaves_room_for_others() {
    on_each_back_end(|world| {
        let settings = Settings { write_buffer_limit: 20_000, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let (deaf, other) = (path(world, "deaf"), path(world, "other"));
        let record = Record::new();
        let receiver = reactor.listen_unix_datagram(at(&deaf), Mailbox(Record::new())).unwrap();
        reactor.datagram_transport(receiver).unwrap().pause_reading();
        let listener = reactor.listen_unix_datagram(at(&other), Mailbox(record.clone())).unwrap();
        let sender =
            reactor.listen_unix_datagram(ListenUnixDatagram::default(), Mailbox(Record::new())).unwrap();
        let write = |reactor: &mut twistor::Reactor, to: &UnixAddress| {
            let written =
                reactor.datagram_transport(sender).unwrap().write_to(&[b'x'; 50], &Address::Unix(to.clone()));
            reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
            written
        };
        let taken = (0..1000).take_while(|_| write(&mut reactor, &deaf).is_ok()).count();
        assert!((100..200).contains(&taken), "{taken}");
        assert!(matches!(write(&mut reactor, &deaf), Err(Error::QueueFull(20_000))));
        assert_eq!(reactor.statistics().datagrams_dropped, 2);
        for _ in 0..1000 {
            write(&mut reactor, &other).unwrap();
        }
        world.run_until(&mut reactor, "the other's", |_| record.events().len() == 1000);
        for id in [sender, listener, receiver] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_socket_whose_peer_is_gone_hears_nobody_else() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (gone, here, stranger) = (path(world, "gone"), path(world, "here"), path(world, "stranger"));
        let record = Record::new();
        let peer = reactor.listen_unix_datagram(at(&gone), Mailbox(Record::new())).unwrap();
        let left = ListenUnixDatagram { peer: Some(gone.clone()), ..at(&here) };
        let left = reactor.listen_unix_datagram(left, Mailbox(record.clone())).unwrap();
        let other = reactor.listen_unix_datagram(at(&stranger), Mailbox(Record::new())).unwrap();
        reactor.datagram_transport(peer).unwrap().stop_listening();
        world.run_until(&mut reactor, "closed", |reactor| reactor.datagram_transport(peer).is_none());
        reactor.datagram_transport(left).unwrap().write(b"hello?").unwrap();
        world.run_until(&mut reactor, "told", |_| !record.events().is_empty());
        // The kernel now accepts datagrams from any socket.
        reactor.datagram_transport(other).unwrap().write_to(b"psst", &Address::Unix(here.clone())).unwrap();
        world.run_until(&mut reactor, "there", |reactor| reactor.statistics().datagrams_from_others == 1);
        for id in [left, other] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["failed to None: ConnectionRefused"]);
    });
}

#[test]
fn a_socket_files_mode_is_never_wider_than_requested() {
    let test = test_path(a_socket_files_mode_is_never_wider_than_requested);
    let traced = under_strace(test, "-e trace=fchmod,bind,chmod,fchmodat", |world| {
        let mut reactor = world.reactor();
        let private = ListenUnixDatagram { mode: Some(0o600), ..at(&path(world, "private")) };
        let id = reactor.listen_unix_datagram(private, Mailbox(Record::new())).unwrap();
        reactor.datagram_transport(id).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
    let Some(traced) = traced else { return };
    let calls: Vec<&str> = traced.lines().filter(|line| !line.contains("+++")).collect();
    let narrowed = calls.iter().position(|line| line.contains("fchmod(") && line.contains("0600")).unwrap();
    let bound = calls.iter().position(|line| line.contains("bind(") && line.contains("private")).unwrap();
    assert!(narrowed < bound, "{traced}");
}

/// Records the lengths of datagrams.
struct Measuring(Record);

impl DatagramProtocol for Measuring {
    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(format!("{} bytes", data.len()));
    }

    fn datagram_truncated(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(format!("cut to {}", data.len()));
    }
}

#[test]
fn however_much_is_asked_for_no_more_than_256_kib_come_whole() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let there = path(world, "there");
        let greedy = ListenUnixDatagram { max_size: usize::MAX, ..at(&there) };
        let receiver = reactor.listen_unix_datagram(greedy, Measuring(record.clone())).unwrap();
        let long = ListenUnixDatagram { send_buffer: Some(1 << 20), ..ListenUnixDatagram::default() };
        let sender = reactor.listen_unix_datagram(long, Mailbox(Record::new())).unwrap();
        for length in [256 * 1024, 256 * 1024 + 1] {
            let to = Address::Unix(there.clone());
            reactor.datagram_transport(sender).unwrap().write_to(&vec![b'x'; length], &to).unwrap();
        }
        world.run_until(&mut reactor, "both", |_| record.events().len() == 2);
        for id in [sender, receiver] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["262144 bytes", "cut to 262144"]);
    });
}

#[test]
fn a_peer_that_reconnects_is_reported_once_and_its_data_arrives() {
    on_the_real_network("foreign sockets, whose peer changes", |world| {
        let mut reactor = world.reactor();
        let [one, two, three] = ["one", "two", "three"].map(|what| path(world, what));
        let bind = |name: &UnixAddress| Plain::bind(name.path().unwrap()).unwrap();
        let (ours, peer, other) = (bind(&one), bind(&two), bind(&three));
        ours.connect(two.path().unwrap()).unwrap();
        peer.connect(one.path().unwrap()).unwrap();
        let record = Record::new();
        let id = reactor.adopt_datagram(ours.into(), Mailbox(record.clone())).unwrap();
        world.run_until(&mut reactor, "begun", |reactor| reactor.statistics().turns > 2);
        // Unread datagrams are then lost, which is why the error is reported.
        reactor.datagram_transport(id).unwrap().write(b"unread").unwrap();
        reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
        peer.send(b"last").unwrap();
        peer.connect(three.path().unwrap()).unwrap();
        // Both in the next turn.
        reactor.iterate(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!(
            record.events()[..2],
            ["error recv: ConnectionReset".to_owned(), format!("last from {two}")]
        );
        reactor.datagram_transport(id).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
        drop((peer, other));
        for name in [one, two, three] {
            std::fs::remove_file(name.path().unwrap()).unwrap();
        }
    });
}
