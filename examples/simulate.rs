//! A monitor watches 1,000 simulated hosts through a day of outages: what it detected, and how
//! late. A seed gives the same result: `cargo run --release --example simulate [SEED]`

use std::io::Write;
use std::time::{Duration, Instant};
use std::{cell::RefCell, collections::BTreeMap, env, rc::Rc};

use twistor::monitor::{Change, Event, Monitor, MonitorSettings, Target};
use twistor::report::HumanDuration;
use twistor::sim::{FaultKind, Latency, Link, Simulation};
use twistor::{Protocol, Transport, println_or_exit};

use FaultKind::{Crash, FullBacklog, Kill, OneWayPartition, Partition, Refusal, Reset, Silence};

/// Some faults affect only new connections, and only a held connection notices a reset.
const HELD: &[FaultKind] = &[Kill, Reset, Crash, Partition, OneWayPartition];
const PROBED: &[FaultKind] = &[Kill, Refusal, Crash, Partition, OneWayPartition, Silence, FullBacklog];
const HOUR: Duration = Duration::from_secs(3600);

/// A service that accepts connections and sends nothing.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    let (mut simulation, begun) = (Simulation::new(seed), Instant::now());
    let [least, usual, worst] = [5, 40, 400].map(Duration::from_millis);
    let latency = Latency::LongTail { least, usual, worst };
    simulation.set_links(Link { latency, loss: 0.001, ..Link::default() });
    let (mut random, watcher) = (simulation.random("outages"), simulation.host("watcher"));
    let midnight = simulation.reactor(watcher).system_time();

    let (mut targets, mut outages) = (Vec::<Target>::new(), Vec::new());
    for number in 0..1_000 {
        let name = format!("host{number}");
        let host = simulation.host(&name);
        simulation.boot(host, |reactor| reactor.listen_tcp("0.0.0.0:80", || Silent).map(drop))?;
        // Every other host is held. The others are probed every minute.
        let (scheme, kinds) = if number % 2 == 0 { ("hold", HELD) } else { ("tcp", PROBED) };
        targets.push(format!("{scheme}://{name}:80").parse()?);
        // Each host has an outage of 5 to 90 minutes in every third of the day.
        for begin in [HOUR / 2, HOUR * 8, HOUR * 16] {
            let (kind, from) = (*random.pick(kinds), begin + random.between(Duration::ZERO, HOUR * 6));
            let until = from + random.between(HOUR / 12, HOUR * 3 / 2);
            simulation.at(from, move |simulation| simulation.inject_fault(kind, host, watcher));
            simulation.at(until, move |simulation| simulation.clear_fault(kind, host, watcher));
            outages.push((scheme, kind, name.clone(), midnight + from..midnight + until));
        }
    }
    let alarms = Rc::new(RefCell::new(Vec::new()));
    let reported = Rc::clone(&alarms);
    let settings = MonitorSettings { interval: HOUR / 60, ..MonitorSettings::default() };
    Monitor::start(simulation.reactor(watcher), targets, settings, move |event: &Event<'_>| {
        if let Change::Down { .. } = event.change {
            reported.borrow_mut().push((event.target.host().unwrap_or_default(), event.wall));
        }
        Ok(())
    });
    simulation.run_for(HOUR * 24)?;

    // Match alarms to outages and compute the delays. Alarms without an outage are false.
    let (mut alarms, mut lateness, count) = (alarms.borrow_mut(), BTreeMap::new(), outages.len());
    for (scheme, kind, name, time) in outages {
        let alarm = alarms.iter().position(|(host, at)| *host == name && time.contains(at));
        let late = alarm.map(|alarm| alarms.swap_remove(alarm).1.duration_since(time.start)).transpose()?;
        lateness.entry((scheme, kind)).or_insert_with(Vec::new).push(late);
    }
    println_or_exit!("1,000 hosts, {count} outages, 24 hours: what one monitor saw (seed {seed})\n");
    println_or_exit!(
        "outage                    times   seen  missed     median      worst  0 s            70 s"
    );
    for ((scheme, kind), late) in &lateness {
        let mut seen: Vec<Duration> = late.iter().flatten().copied().collect();
        seen.sort();
        let at = |place: usize| seen.get(place).map_or("-".into(), |late| HumanDuration(*late).to_string());
        let (median, worst) = (at(seen.len() / 2), at(seen.len().saturating_sub(1)));
        let (times, missed, kind) = (late.len(), late.len() - seen.len(), kind.to_string());
        let (seen, bars) = (seen.len(), histogram(&seen));
        println_or_exit!(
            "{scheme:<5} {kind:<18} {times:>6} {seen:>6} {missed:>7} {median:>10} {worst:>10}  {bars}"
        );
    }
    println_or_exit!("\nfalse alarms: {}", alarms.len());
    let _ = writeln!(std::io::stderr(), "({:.1?}, {} turns)", begun.elapsed(), simulation.turns());
    Ok(())
}

/// Draws the distribution from 0 to 70 seconds in twenty bars.
fn histogram(times: &[Duration]) -> String {
    let mut bars = [0; 20];
    times.iter().for_each(|time| bars[(time.as_secs() as usize * 2 / 7).min(19)] += 1);
    let max = bars.iter().copied().max().unwrap_or(0).max(1);
    bars.map(|bar: usize| [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][(bar * 8).div_ceil(max)])
        .iter()
        .collect()
}
