//! An endpoint of datagrams is a port to receive at, or one peer.

use std::any::Any;
use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::rc::Rc;

use crate::world::{Record, on_each_back_end, on_the_real_network};
use twistor::endpoint::{DatagramEndpoint, datagram_from_string};
use twistor::{
    Address, ConnectUdp, DatagramProtocol, DatagramTransport, Error, ListenUdp, ListenUnixDatagram, Reason,
};

/// Sends a word when it begins, if it has one peer; keeps what comes, and sends it back if it is to.
struct Words {
    echoes: bool,
    came: Rc<RefCell<Vec<String>>>,
}

impl DatagramProtocol for Words {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        if transport.peer().is_some() {
            transport.write(b"hello").unwrap();
        }
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        self.came.borrow_mut().push(String::from_utf8_lossy(data).into_owned());
        if self.echoes {
            transport.write_to(data, from).unwrap();
        }
    }
}

#[test]
fn a_port_and_a_peer_from_text_meet() {
    on_the_real_network("sockets of datagrams are the system's", |world| {
        let mut reactor = world.reactor();
        let came = Rc::<RefCell<Vec<String>>>::default();
        let back = Rc::<RefCell<Vec<String>>>::default();
        let server = datagram_from_string("udp:0:interface=127.0.0.1").unwrap();
        let echo = Words { echoes: true, came: Rc::clone(&came) };
        let server = server.open(&mut reactor, Box::new(echo)).unwrap();
        let port = reactor.datagram_transport(server).unwrap().host().port().unwrap();
        let client = datagram_from_string(&format!("udp:127.0.0.1:{port}")).unwrap();
        let words = Words { echoes: false, came: Rc::clone(&back) };
        let client = client.open(&mut reactor, Box::new(words)).unwrap();
        world.run_until(&mut reactor, "back", |_| !back.borrow().is_empty());
        assert_eq!(
            (came.borrow().as_slice(), back.borrow().as_slice()),
            (&["hello".to_owned()][..], &["hello".to_owned()][..])
        );
        for id in [server, client] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_path_and_its_peer_from_text_meet() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let came = Rc::<RefCell<Vec<String>>>::default();
        let back = Rc::<RefCell<Vec<String>>>::default();
        let path = crate::world::temp_dir::short_temp_dir()
            .join(format!("twistor-text-{}-{world:p}", std::process::id()));
        let (there, here) = (format!("{}-there", path.display()), format!("{}-here", path.display()));
        let server = datagram_from_string(&format!("unix:{there}:mode=600")).unwrap();
        let echo = Words { echoes: true, came: Rc::clone(&came) };
        let server = server.open(&mut reactor, Box::new(echo)).unwrap();
        let client = datagram_from_string(&format!("unix:{here}:peer={there}")).unwrap();
        let words = Words { echoes: false, came: Rc::clone(&back) };
        let client = client.open(&mut reactor, Box::new(words)).unwrap();
        world.run_until(&mut reactor, "back", |_| !back.borrow().is_empty());
        assert_eq!((came.take(), back.take()), (vec!["hello".to_owned()], vec!["hello".to_owned()]));
        for id in [server, client] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

/// Records what it is told.
struct Told(Record);

impl DatagramProtocol for Told {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        self.0.add(format!("start, peer {}", transport.peer().unwrap().ip().unwrap()));
        transport.write(b"second").unwrap();
    }

    fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.0.add(String::from_utf8_lossy(data));
    }

    fn stop_protocol(&mut self, _: &mut DatagramTransport<'_>, reason: &Reason) {
        self.0.add(match reason {
            Reason::Unresolved { host, .. } => format!("{host} is not found"),
            other => format!("stop {other:?}"),
        });
    }
}

#[test]
fn a_peer_given_by_name_is_resolved_and_writes_wait_for_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        // Whichever of its addresses the name has first.
        let both = ListenUdp { ipv6_only: Some(false), ..ListenUdp::new((Ipv6Addr::UNSPECIFIED, 0)) };
        let echo = Words { echoes: true, came: Rc::default() };
        let server = both.open(&mut reactor, Box::new(echo)).unwrap();
        let port = reactor.datagram_transport(server).unwrap().host().port().unwrap();
        let record = Record::new();
        let by_name = ConnectUdp::new("localhost", port);
        let client = by_name.open(&mut reactor, Box::new(Told(record.clone()))).unwrap();
        let mut transport = reactor.datagram_transport(client).unwrap();
        assert_eq!((transport.peer(), transport.is_closing()), (None, false));
        transport.write(b"first").unwrap();
        let other = transport.write_to(b"x", &Address::Udp(([127, 0, 0, 1], port).into()));
        assert!(matches!(other, Err(Error::BadAddress(_))), "{other:?}");
        assert_eq!(transport.write_buffer_size(), 5);
        world.run_until(&mut reactor, "back", |_| record.events().len() == 3);
        assert_eq!(record.events()[1..], ["first", "second"]);
        assert!(record.events()[0].starts_with("start, peer "));
        for id in [server, client] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn an_unresolvable_peer_name_ends_the_socket_with_the_reason() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let nowhere = datagram_from_string("udp:nothing.invalid:53").unwrap();
        let id = nowhere.open(&mut reactor, Box::new(Told(record.clone()))).unwrap();
        assert_eq!(record.events(), [""; 0], "nothing inside the call");
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["nothing.invalid is not found"]);
        assert!(reactor.datagram_transport(id).is_none());
        // One of the wrong family is as good as none.
        let six = ListenUdp::new((Ipv6Addr::LOCALHOST, 0));
        let six = ListenUdp { ipv6_only: Some(true), ..six };
        let here = ConnectUdp { local: six, ..ConnectUdp::new("twistor.invalid", 53) };
        here.open(&mut reactor, Box::new(Told(record.clone()))).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.take()[1..], ["twistor.invalid is not found"]);
    });
}

#[test]
fn the_first_address_that_can_be_connected_to_is_taken() {
    on_each_back_end(|world| {
        let Some((network, _)) = world.simulated() else { return };
        let mut reactor = world.reactor();
        let echo = Words { echoes: true, came: Rc::default() };
        let server = ListenUdp::new(world.anywhere()).open(&mut reactor, Box::new(echo)).unwrap();
        let port = reactor.datagram_transport(server).unwrap().host().port().unwrap();
        // The first is of another family, and there is no way from the loopback to the second.
        let addresses = ["2001:db8::1", "203.0.113.9", "127.0.0.1"];
        let addresses = addresses.map(|address| address.parse().unwrap());
        network.add_name("two.example", &addresses);
        let record = Record::new();
        let local = ListenUdp::new(world.anywhere());
        let two = ConnectUdp { local, ..ConnectUdp::new("two.example", port) };
        let client = two.open(&mut reactor, Box::new(Told(record.clone()))).unwrap();
        world.run_until(&mut reactor, "back", |_| record.has("second"));
        assert_eq!(record.events(), ["start, peer 127.0.0.1", "second"]);
        for id in [server, client] {
            reactor.datagram_transport(id).unwrap().stop_listening();
        }
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn a_socket_closed_during_its_lookup_ends_without_a_callback() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let by_name = ConnectUdp::new("localhost", 9);
        let id = by_name.open(&mut reactor, Box::new(Told(record.clone()))).unwrap();
        reactor.datagram_transport(id).unwrap().write(b"never").unwrap();
        reactor.datagram_transport(id).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), [""; 0]);
        assert_eq!(reactor.statistics().datagrams_sent, 0);
    });
}

#[test]
fn text_sets_what_the_options_are_called() {
    let listen = datagram_from_string(
        "udp:53:interface=::1:max_size=512:reuse_address=yes:reuse_port=yes:broadcast=yes:ipv6_only=yes:send_buffer=1:receive_buffer=2",
    );
    let listen = listen.unwrap();
    let listen: &dyn Any = &*listen;
    let expected = ListenUdp {
        max_size: 512,
        reuse_address: true,
        reuse_port: true,
        broadcast: true,
        ipv6_only: Some(true),
        send_buffer: Some(1),
        receive_buffer: Some(2),
        ..ListenUdp::new((std::net::Ipv6Addr::LOCALHOST, 53))
    };
    assert_eq!(listen.downcast_ref::<ListenUdp>(), Some(&expected));
    let unix = datagram_from_string(
        "unix:/run/x:peer=@y:max_size=512:mode=660:remove_stale=no:unlink=no:send_buffer=1:receive_buffer=2",
    );
    let unix = unix.unwrap();
    let unix: &dyn Any = &*unix;
    let expected = ListenUnixDatagram {
        address: Some("/run/x".parse().unwrap()),
        peer: Some("@y".parse().unwrap()),
        max_size: 512,
        mode: Some(0o660),
        remove_stale: false,
        unlink: false,
        send_buffer: Some(1),
        receive_buffer: Some(2),
    };
    assert_eq!(unix.downcast_ref::<ListenUnixDatagram>(), Some(&expected));
    let peer = datagram_from_string("udp:[::1]:53").unwrap();
    let peer: &dyn Any = &*peer;
    assert_eq!(peer.downcast_ref::<ConnectUdp>(), Some(&ConnectUdp::new("::1", 53)));
}

#[test]
fn what_is_wrong_is_named_before_anything_is_opened() {
    for (text, key) in [
        ("udp", Some("port")),
        ("udp:example..org:53", Some("host")),
        ("udp:127.0.0.1:0", Some("port")),
        ("udp:53:bind=127.0.0.1", Some("bind")),
        ("udp:127.0.0.1:53:interface=127.0.0.1", Some("interface")),
        ("udp:1:2:3", Some("host")),
        ("unix:", Some("path")),
        ("unix:/run/x:timeout=5", Some("timeout")),
        ("unix:/run/x:peer=", Some("peer")),
        ("udq:53", Some("udq")),
        ("tcp:53", Some("tcp")),
    ] {
        assert_eq!(datagram_from_string(text).err().unwrap().key.as_deref(), key, "{text}");
    }
    on_each_back_end(|world| {
        // Put together by hand, it is looked at when it is opened.
        let mut reactor = world.reactor();
        let words = Words { echoes: false, came: Rc::default() };
        let error = ConnectUdp::new("127.0.0.1", 0).open(&mut reactor, Box::new(words));
        assert!(matches!(error, Err(Error::BadAddress(_))));
        world.run_until_idle(&mut reactor);
    });
}
