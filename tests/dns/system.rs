//! The resolver with the configuration of this machine, on the real network. Nothing is sent.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::world::{World, on_the_real_network};
use twistor::dns::Resolver;
use twistor::dns::system::{Hosts, NameServiceSwitch, ResolvConf, no_interfaces};
use twistor::{Reactor, Reason};

const FILES: &str = "a simulated host has no files";

fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

#[test]
fn the_configuration_is_that_of_the_files() {
    let resolver = Resolver::from_system();
    let conf = ResolvConf::parse(&read("/etc/resolv.conf"), no_interfaces);
    let servers: Vec<SocketAddr> = resolver.config().servers.iter().map(|server| server.address).collect();
    // A server with a scope is skipped here.
    assert!(conf.servers.iter().all(|server| servers.contains(server)) || servers.len() > 3, "{servers:?}");
    assert_eq!(resolver.config().hosts, Hosts::parse(&read("/etc/hosts"), no_interfaces));
}

#[test]
fn a_new_reactor_knows_the_names_of_the_table_of_hosts() {
    let hosts = Hosts::parse(&read("/etc/hosts"), no_interfaces);
    let switch = NameServiceSwitch::parse(&read("/etc/nsswitch.conf"));
    let named = |address: &IpAddr| hosts.names(*address).map(str::to_owned).collect::<Vec<_>>();
    let loopback: IpAddr = [127, 0, 0, 1].into();
    let names: Vec<String> = named(&loopback)
        .into_iter()
        .filter(|name| !name.ends_with("localhost") && switch.sources(name, "").is_ok())
        .collect();
    if names.is_empty() || switch.is_unknown() {
        eprintln!("SKIPPED: /etc/hosts has no other name of 127.0.0.1");
        return;
    }
    for explicit in [false, true] {
        on_the_real_network(FILES, |world| {
            let mut reactor = world.reactor();
            if explicit {
                reactor.set_resolver(Resolver::from_system());
            }
            let found = look_up(world, &mut reactor, &names[0]).unwrap();
            assert!(found.contains(&SocketAddr::new(loopback, 80)), "{found:?}");
            let again = look_up(world, &mut reactor, &names[0].to_uppercase()).unwrap();
            assert_eq!(found, again);
            world.run_until_idle(&mut reactor);
        });
    }
}

#[test]
fn special_names_need_no_file_and_no_thread() {
    on_the_real_network(FILES, |world| {
        let mut reactor = world.reactor();
        let found = look_up(world, &mut reactor, "localhost").unwrap();
        assert_eq!(found.len(), 2);
        let outcome = look_up(world, &mut reactor, "host.invalid");
        assert!(matches!(outcome, Err(Reason::Unresolved { .. })), "{outcome:?}");
        world.run_until_idle(&mut reactor);
    });
}

fn look_up(world: &World, reactor: &mut Reactor, host: &str) -> Result<Vec<SocketAddr>, Reason> {
    let place = Rc::new(RefCell::new(None));
    let found = Rc::clone(&place);
    reactor.resolve(host, 80, move |_, outcome| *found.borrow_mut() = Some(outcome)).unwrap();
    let ended = Rc::clone(&place);
    world.run_until(reactor, "the outcome", move |_| ended.borrow().is_some());
    place.take().unwrap()
}
