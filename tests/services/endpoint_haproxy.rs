//! An endpoint behind a proxy has the peers that the proxy tells of, and takes headers from whom it was told to.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::{Record, Recorder, World, on_each_back_end};
use twistor::endpoint::server_from_string;
use twistor::{Address, Listener, Reactor, factory};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\nhello";

/// Listens as the text says, with a factory that notes its peers and protocols that note what comes.
fn listen(reactor: &mut Reactor, text: &str) -> (Listener, Rc<RefCell<Vec<Address>>>, Record) {
    let (peers, record) = (Rc::<RefCell<Vec<Address>>>::default(), Record::new());
    let (seen, noted) = (Rc::clone(&peers), record.clone());
    let notes = factory(move |peer| {
        seen.borrow_mut().push(peer.clone());
        Some(Recorder::new(&noted).closing())
    });
    let listener = server_from_string(text).unwrap().listen(reactor, Box::new(notes)).unwrap();
    (listener, peers, record)
}

fn ask(world: &World, text: &str) -> (Vec<Address>, Vec<String>) {
    let mut reactor = world.reactor();
    let (listener, peers, record) = listen(&mut reactor, text);
    let mut peer = world.connect(listener.address());
    peer.send(HEADER);
    peer.finish();
    let (back, _) = peer.read_to_end(&mut reactor);
    assert!(back.is_empty());
    world.close(&mut reactor, &listener);
    (peers.take(), record.events())
}

#[test]
fn the_peer_is_the_one_of_the_header() {
    on_each_back_end(|world| {
        for allow in
            ["", ":allow=127.0.0.1", ":allow=10.0.0.0/8,127.0.0.0/8:header_timeout=1", ":allow=everybody"]
        {
            let (peers, events) = ask(world, &format!("haproxy:tcp:0:interface=127.0.0.1{allow}"));
            assert_eq!(peers, [Address::Tcp("192.0.2.7:40000".parse().unwrap())]);
            assert_eq!(events, ["made", "data hello", "read lost", "lost Done"]);
        }
    });
}

#[test]
fn whoever_is_not_allowed_to_send_headers_is_not_served() {
    on_each_back_end(|world| {
        let (peers, events) = ask(world, "haproxy:tcp:0:interface=127.0.0.1:allow=10.0.0.0/8,unix");
        assert_eq!((peers, events), (vec![], vec![]));
    });
}
