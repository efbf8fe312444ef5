//! A monitor watches 1,000 simulated hosts through a day of outages, in seconds: what did it see, how late, and what did
//! it miss? The same seed tells the same story: `cargo run --release --example simulate [SEED]`

use std::time::{Duration, Instant, SystemTime};
use std::{cell::RefCell, collections::BTreeMap, env, io, rc::Rc};

use twistor::monitor::{Change, Event, Monitor, Reporter, Settings, Span, Summary, Target};
use twistor::sim::{Host, Simulation};
use twistor::{Protocol, Transport};

const HOSTS: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Takes connections, and says nothing.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Notes when the monitor says that a host is down.
#[derive(Clone, Default)]
struct Alarms(Rc<RefCell<Vec<(usize, SystemTime)>>>);

impl Reporter for Alarms {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if let Change::Down { .. } = event.change {
            let host = event.target.host().trim_start_matches("host").parse().unwrap_or(HOSTS);
            self.0.borrow_mut().push((host, event.wall));
        }
        Ok(())
    }

    fn summary(&mut self, _: &Summary<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// What goes wrong on a host, seen from the watcher, and how it ends.
type Blow = fn(&mut Simulation, Host, Host);

const OUTAGES: [(&str, Blow, Blow); 5] = [
    ("process killed", |s, host, _| s.kill(host), |s, host, _| s.restart(host).expect("the port is free")),
    ("power lost", |s, host, _| s.crash(host), |s, host, _| s.restart(host).expect("the port is free")),
    ("way cut", |s, host, watcher| s.partition(watcher, host), |s, host, watcher| s.heal(watcher, host)),
    ("refused", |s, host, _| s.refuse(host, None), |s, host, _| s.admit(host, None)),
    ("filtered", |s, host, _| s.silence(host, None), |s, host, _| s.admit(host, None)),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    let (mut simulation, begun) = (Simulation::new(seed), Instant::now());
    for number in 0..HOSTS {
        let host = simulation.host(&format!("host{number}"));
        simulation.boot(host, |reactor| reactor.listen_tcp("0.0.0.0:80", || Silent).map(drop))?;
    }
    let hosts = simulation.hosts();
    // One half is held: a connection that stays open. The other half is probed every minute.
    let scheme = |number| if number < HOSTS / 2 { "hold" } else { "tcp" };
    let url = |number| format!("{}://host{number}:80", scheme(number)).parse::<Target>();
    let targets = (0..HOSTS).map(url).collect::<Result<_, _>>()?;
    let (watcher, alarms) = (simulation.host("watcher"), Alarms::default());
    let settings = Settings { interval: HOUR / 60, ..Settings::default() };
    let midnight = simulation.reactor(watcher).wall();
    Monitor::start(simulation.reactor(watcher), targets, settings, alarms.clone());

    // Each host has an outage of 20 to 60 minutes in the morning and in the afternoon.
    let (mut random, mut outages) = (simulation.random("outages"), Vec::new());
    for (number, host) in hosts.into_iter().enumerate() {
        for half in [1, 13] {
            // What only new connections meet is no outage for one that is held.
            let kind = random.index(if number < HOSTS / 2 { 3 } else { OUTAGES.len() });
            let from = random.between(HOUR * half, HOUR * (half + 9));
            let until = from + random.between(HOUR / 3, HOUR);
            simulation.at(from, move |simulation| OUTAGES[kind].1(simulation, host, watcher));
            simulation.at(until, move |simulation| OUTAGES[kind].2(simulation, host, watcher));
            outages.push((number, kind, midnight + from, midnight + until));
        }
    }
    simulation.run_for(24 * HOUR)?;
    let (mut alarms, mut seen) = (alarms.0.borrow_mut(), BTreeMap::<_, Vec<Option<Duration>>>::new());
    for (number, kind, from, until) in outages {
        let alarm = alarms.iter().position(|(host, at)| *host == number && (from..until).contains(at));
        let late = alarm.map(|alarm| alarms.swap_remove(alarm).1.duration_since(from).unwrap_or_default());
        seen.entry((scheme(number), kind)).or_default().push(late);
    }
    println!("{HOSTS} hosts, 24 hours, seed {seed}: {:?}, {} turns\n", begun.elapsed(), simulation.turns());
    println!("watched  outage          outages  detected  missed  median late  worst late");
    for ((scheme, kind), late) in seen {
        let mut found: Vec<&Duration> = late.iter().flatten().collect();
        found.sort();
        let (name, missed) = (OUTAGES[kind].0, late.len() - found.len());
        let [median, worst] = [found.len() / 2, found.len() - 1].map(|at| Span(*found[at]).to_string());
        let counts = format!("{:>7} {:>9} {missed:>7}", late.len(), found.len());
        println!("{scheme:<8} {name:<15} {counts} {median:>12} {worst:>11}");
    }
    println!("\n{} false alarms", alarms.len());
    Ok(())
}
