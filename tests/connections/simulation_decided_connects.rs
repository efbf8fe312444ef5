//! The owner of a simulated network decides each connect, and can answer for hosts that do not
//! exist.

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{Record, Recorder, once};
use twistor::sim::{Errno, Host, Link, Simulation, SocketOptions};

const MOMENT: Duration = Duration::from_millis(10);

fn simulation() -> (Simulation, Host, Host) {
    let simulation = Simulation::new(1);
    let (client, gateway) = (simulation.host("client"), simulation.host("gateway"));
    simulation.set_gateway(gateway);
    simulation.bind_any_address(gateway);
    (simulation, client, gateway)
}

fn connect(simulation: &mut Simulation, client: Host, to: &str) -> Record {
    let record = Record::new();
    let factory = once(Recorder::new(&record), &record);
    simulation.reactor(client).connect_tcp(to, factory).unwrap();
    simulation.run_for(MOMENT).unwrap();
    record
}

#[test]
fn a_connect_that_is_held_waits_until_it_is_decided_about() {
    let (mut simulation, client, gateway) = simulation();
    let address: SocketAddr = "203.0.113.7:80".parse().unwrap();
    let listener = simulation.listen(gateway, address, 8).unwrap();
    simulation.hold_connects(client, true);
    let first = connect(&mut simulation, client, "203.0.113.7:80");
    let second = connect(&mut simulation, client, "203.0.113.8:81");
    let held = simulation.held_connects(client);
    let to: Vec<String> = held.iter().map(|held| held.to.to_string()).collect();
    assert_eq!(to, ["203.0.113.7:80", "203.0.113.8:81"]);
    simulation.run_for(Duration::from_secs(5)).unwrap();
    assert!(listener.accept().is_err(), "nothing travels");

    assert!(simulation.allow_connect(held[0]));
    assert!(simulation.fail_connect(held[1], Errno::EHOSTUNREACH));
    assert!(!simulation.allow_connect(held[0]) && !simulation.fail_connect(held[1], Errno::EPERM));
    simulation.run_for(MOMENT).unwrap();
    let (_socket, peer) = listener.accept().unwrap();
    assert_eq!(peer, held[0].from);
    assert!(first.has("made"), "{:?}", first.events());
    assert!(second.has("failed NoRoute"), "{:?}", second.events());
    assert_eq!(simulation.held_connects(client), []);
}

#[test]
fn a_connect_that_was_given_up_is_held_no_more() {
    let (mut simulation, client, _) = simulation();
    simulation.hold_connects(client, true);
    let record = connect(&mut simulation, client, "203.0.113.7:80");
    let held = simulation.held_connects(client)[0];
    simulation.run_for(Duration::from_secs(10)).unwrap();
    assert!(record.has("failed TimedOut"), "{:?}", record.events());
    assert_eq!(simulation.held_connects(client), []);
    assert!(!simulation.allow_connect(held));
    assert_eq!(simulation.connections(), 0);
}

#[test]
fn without_a_gateway_a_connect_that_was_held_finds_no_host() {
    let mut simulation = Simulation::new(1);
    let client = simulation.host("client");
    simulation.hold_connects(client, true);
    let record = connect(&mut simulation, client, "203.0.113.7:80");
    assert!(simulation.allow_connect(simulation.held_connects(client)[0]));
    simulation.run_for(Duration::from_secs(4)).unwrap();
    assert!(record.has("failed NoRoute"), "{:?}", record.events());
}

#[test]
fn unknown_names_lead_to_the_gateway_and_lookups_can_be_instant() {
    let (mut simulation, client, gateway) = simulation();
    simulation.set_links(Link::instant());
    simulation.set_look_up_time(Duration::ZERO);
    let address = simulation.address(gateway);
    let listener = simulation.listen(gateway, (address, 80).into(), 8).unwrap();
    simulation.reactor(client).connect_tcp("example.org:80", || Recorder::new(&Record::new())).unwrap();
    simulation.run_for(Duration::ZERO).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn socket_buffer_limits_can_be_changed_at_any_time() {
    let (simulation, client, gateway) = simulation();
    simulation.set_links(Link::instant());
    let listener = simulation.listen(gateway, "203.0.113.7:80".parse().unwrap(), 8).unwrap();
    let to = "203.0.113.7:80".parse().unwrap();
    let mut sender = simulation.connect(client, to, SocketOptions::default()).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_receive_buffer_size(0);
    assert!(sender.send(b"hello").is_err());
    receiver.set_receive_buffer_size(3);
    assert_eq!(sender.send(b"hello").unwrap(), 3);
    sender.set_send_buffer_size(4);
    assert_eq!(sender.send(b"hello").unwrap(), 1);
    assert!(sender.send(b"hello").is_err());
    let mut buffer = [0; 16];
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn whoever_waited_for_room_is_told_of_it() {
    let (mut simulation, client, gateway) = simulation();
    let listener = simulation.listen(gateway, "203.0.113.7:80".parse().unwrap(), 8).unwrap();
    let record = Record::new();
    let talker = Recorder::new(&record).acting(|event, transport, _| {
        if event == "data" {
            transport.write(&[b'w'; 1000]);
        }
    });
    simulation.hold_connects(client, true);
    simulation.reactor(client).connect_tcp("203.0.113.7:80", once(talker, &record)).unwrap();
    simulation.run_for(MOMENT).unwrap();
    simulation.allow_connect(simulation.held_connects(client)[0]);
    simulation.run_for(MOMENT).unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_receive_buffer_size(0);
    socket.send(b"now").unwrap();
    simulation.run_for(MOMENT).unwrap();
    let mut buffer = [0; 2000];
    assert!(socket.recv(&mut buffer).is_err(), "{:?}", record.events());
    socket.set_receive_buffer_size(1000);
    simulation.run_for(MOMENT).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 1000);
}

#[test]
fn a_released_connect_goes_to_the_current_owner_of_the_address() {
    let (mut simulation, client, _) = simulation();
    simulation.hold_connects(client, true);
    let record = connect(&mut simulation, client, "203.0.113.7:80");
    let server = simulation.host("server");
    simulation.add_address(server, "203.0.113.7".parse().unwrap());
    let listener = simulation.listen(server, "203.0.113.7:80".parse().unwrap(), 8).unwrap();
    assert!(simulation.allow_connect(simulation.held_connects(client)[0]));
    simulation.run_for(MOMENT).unwrap();
    assert!(listener.accept().is_ok() && record.has("made"), "{:?}", record.events());
}

#[test]
fn plain_sockets_are_not_held() {
    let (simulation, client, gateway) = simulation();
    simulation.set_links(Link::instant());
    simulation.hold_connects(client, true);
    let listener = simulation.listen(gateway, "203.0.113.7:80".parse().unwrap(), 8).unwrap();
    let _socket =
        simulation.connect(client, "203.0.113.7:80".parse().unwrap(), SocketOptions::default()).unwrap();
    assert!(listener.accept().is_ok());
}
