//! Connections are accepted as they arrive: few accepts return EAGAIN, and a burst does not wait
//! for long.

use std::time::Duration;

use twistor::sim::{CallKind, Host, Simulation};
use twistor::{Protocol, Settings, Transport};

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

const ACCEPTS_PER_TURN: usize = 16;

/// A server, and a host that connects to it.
fn hosts(simulation: &mut Simulation) -> (Host, Host) {
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    let settings =
        Settings { accepts_per_turn: ACCEPTS_PER_TURN, max_connections: 10_000, ..Settings::default() };
    simulation.set_settings(server, settings);
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Silent).unwrap();
    simulation.run_for(Duration::from_millis(1)).unwrap();
    (server, client)
}

fn connect(simulation: &mut Simulation, client: Host) {
    simulation.reactor(client).connect_tcp("server:7", || Silent).unwrap();
}

#[test]
fn connections_one_by_one_are_accepted_without_failing_accepts() {
    Simulation::explore(0..20, |simulation| {
        let (server, client) = hosts(simulation);
        for _ in 0..50 {
            connect(simulation, client);
            simulation.run_for(Duration::from_secs(1)).unwrap();
        }
        assert_eq!(simulation.reactor(server).statistics().accepts, 50);
        assert_eq!(simulation.coverage().call(CallKind::Accept), 50);
    });
}

#[test]
fn a_thousand_connections_take_few_turns_and_failing_accepts() {
    Simulation::explore(0..20, |simulation| {
        let hosts = hosts(simulation);
        let mut tried = 0;
        for _ in 0..5 {
            let before = simulation.reactor(hosts.0).statistics();
            // All connections are in the backlog when it resumes.
            simulation.pause(hosts.0);
            (0..1000).for_each(|_| connect(simulation, hosts.1));
            simulation.run_for(Duration::from_secs(1)).unwrap();
            simulation.resume(hosts.0);
            simulation.run_for(Duration::from_secs(1)).unwrap();
            let after = simulation.reactor(hosts.0).statistics();
            assert_eq!(after.accepts - before.accepts, 1000);
            let (calls, turns) = (simulation.coverage().call(CallKind::Accept), after.turns - before.turns);
            assert!(calls - tried <= 1000 + 3, "{} accepts", calls - tried);
            assert!(turns < 2 * 1000 / ACCEPTS_PER_TURN as u64, "{turns} turns");
            tried = calls;
        }
    });
}

#[test]
fn no_more_are_accepted_in_a_turn_than_the_settings_allow() {
    Simulation::explore(0..5, |simulation| {
        let (server, client) = hosts(simulation);
        let mut accepted = 0;
        (0..500).for_each(|_| connect(simulation, client));
        simulation
            .run_until(|simulation| {
                let accepts =
                    simulation.reactor_ref(server).map_or(0, |reactor| reactor.statistics().accepts);
                assert!(accepts - accepted <= ACCEPTS_PER_TURN as u64, "{}", accepts - accepted);
                accepted = accepts;
                accepts == 500
            })
            .unwrap();
    });
}
