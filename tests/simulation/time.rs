//! Virtual time advances for all hosts of a simulation.

use std::time::Duration;

use twistor::sim::Simulation;

#[test]
fn a_reactor_without_a_turn_knows_what_time_it_is() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("idle");
    simulation.reactor(host).now();
    for seconds in 1..=3 {
        simulation.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(simulation.reactor_ref(host).unwrap().now().since_origin(), Duration::from_secs(seconds));
    }
    let soon = simulation.reactor(host).call_later(Duration::from_secs(1), |_| {});
    assert_eq!(
        soon.time(simulation.reactor_ref(host).unwrap()).unwrap().since_origin(),
        Duration::from_secs(4)
    );
}
