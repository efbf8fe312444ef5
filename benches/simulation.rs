//! How fast a simulated world goes: callbacks a second of one core, and memory for each connection.
//!
//! The echo is played between a server and clients on other hosts, over links of 1 to 5 ms: each client sends 64 bytes
//! whenever its last 64 have come back. Every callback of a protocol counts, on either side. Memory is the
//! growth of the process's resident bytes, both ends and the world between them included. Before that one reactor accepts
//! 1,000,000 connections and holds all of them at once, each answered once, and the whole process has to stay under
//! 2 GiB. The hour is a monitor of 1,000
//! targets that probes each every ten seconds; the targets are hosts with a reactor each.

mod support;

use std::cell::Cell;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::options::Options;
use support::table::{self, Table};
use twistor::sim::{Latency, Link, Simulation};
use twistor::{ListenTcp, Protocol, Settings, Transport};

fn main() -> ExitCode {
    match std::env::var(HOLD).map(|count| count.parse()) {
        Ok(Ok(count)) => support::main(|_| hold(count)),
        _ => support::main(bench),
    }
}

fn bench(options: Options) -> support::Result<()> {
    hold_apart(if options.smoke { 1_000 } else { 1_000_000 })?;
    let rounds = options.rounds(3);
    let heads = ["connections", "virtual ms", "callbacks", "callbacks a second", "resident B/connection"];
    let mut table = Table::new(heads);
    for (connections, time) in [(1_000, 5_000), (100_000, 100), (1_000_000, 10)] {
        let (connections, time) = if options.smoke { (connections / 1000, 100) } else { (connections, time) };
        let rounds = if connections > 100_000 { 1 } else { rounds };
        let samples: Vec<Sample> =
            (0..rounds).map(|_| echo(connections, time)).collect::<support::Result<_>>()?;
        let rates: Vec<f64> = samples.iter().map(|sample| sample.callbacks as f64 / sample.took).collect();
        table.row([
            table::thousands(connections as f64),
            time.to_string(),
            table::thousands(samples[0].callbacks as f64),
            table::thousands(table::median(&rates)),
            table::thousands(samples[0].memory / connections as f64),
        ]);
    }
    table.print("An echo in a simulated world, one core");
    hour(&options)
}

struct Sample {
    callbacks: u64,
    /// Seconds.
    took: f64,
    memory: f64,
}

struct Echo(Rc<Cell<u64>>);

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.0.set(self.0.get() + 1);
        transport.write(data);
    }
}

/// As the echo, but it begins.
struct Caller(Rc<Cell<u64>>);

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.set(self.0.get() + 1);
        transport.write(&[b'x'; 64]);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.0.set(self.0.get() + 1);
        transport.write(data);
    }
}

/// Sends one message, and is idle when it is back.
struct Holder(Rc<Cell<usize>>);

impl Protocol for Holder {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&[b'x'; 64]);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        if data == [b'x'; 64] {
            self.0.set(self.0.get() + 1);
        }
    }
}

/// In a process of its own: what it takes is all that this takes, and nothing of it is left for the others.
fn hold_apart(connections: usize) -> support::Result<()> {
    let arguments = std::env::args().skip(1);
    let hold =
        Command::new(std::env::current_exe()?).args(arguments).env(HOLD, connections.to_string()).status()?;
    if hold.success() { Ok(()) } else { Err(format!("holding connections: {hold}").into()) }
}

const HOLD: &str = "TWISTOR_BENCH_HOLD";

/// One reactor holds so many accepted connections at once, and has answered each.
fn hold(connections: usize) -> support::Result<()> {
    let (callbacks, answered) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let clock = Instant::now();
    let counted = Rc::clone(&answered);
    let mut simulation = world(connections, &callbacks, move || Holder(Rc::clone(&counted)))?;
    let mut time = Duration::ZERO;
    while answered.get() < connections && time < TIME_LIMIT {
        simulation.run_for(STEP)?;
        time += STEP;
    }
    let took = clock.elapsed().as_secs_f64();
    let statistics = simulation.reactor(simulation.hosts()[0]).statistics();
    let (open, accepts, resident) = (statistics.connections, statistics.accepts, most_resident()?);
    println!(
        "\none reactor holds {} accepted connections at once, {} answered once: {} virtual ms, {took:.1} s, {:.2} GiB \
         resident in all at the most, both ends of {} B",
        table::thousands(open as f64),
        table::thousands(answered.get() as f64),
        time.as_millis(),
        resident as f64 / f64::from(1 << 30),
        table::thousands(resident as f64 / connections as f64),
    );
    if (open, answered.get(), callbacks.get(), accepts)
        != (connections, connections, connections as u64, connections as u64)
    {
        return Err(
            format!("{open} of {connections} connections are held, {} answered", answered.get()).into()
        );
    }
    if resident >= 2 << 30 {
        return Err(format!("{resident} bytes are resident, and 2 GiB were to be enough").into());
    }
    Ok(())
}

fn echo(connections: usize, time: u64) -> support::Result<Sample> {
    let before = support::resident()?;
    let callbacks = Rc::new(Cell::new(0));
    let counted = Rc::clone(&callbacks);
    let mut simulation = world(connections, &callbacks, move || Caller(Rc::clone(&counted)))?;
    // Until all are connected and have had a message.
    simulation.run_for(Duration::from_millis(50))?;
    let begun = callbacks.get();
    let clock = Instant::now();
    simulation.run_for(Duration::from_millis(time))?;
    let took = clock.elapsed().as_secs_f64();
    let open = simulation.reactor(simulation.hosts()[0]).statistics().connections;
    if open != connections {
        return Err(format!("{open} of {connections} connections are open").into());
    }
    let memory = support::resident()? as f64 - before as f64;
    Ok(Sample { callbacks: callbacks.get() - begun, took, memory })
}

/// A server, and hosts around it that connect to it so often in all.
fn world<P: Protocol>(
    connections: usize,
    callbacks: &Rc<Cell<u64>>,
    client: impl Fn() -> P + Clone + 'static,
) -> support::Result<Simulation> {
    let mut simulation = Simulation::new(1);
    simulation.keep_trace(64);
    let latency = Latency::Uniform { least: Duration::from_millis(1), most: Duration::from_millis(5) };
    simulation.set_links(Link { latency, ..Link::default() });
    let server = simulation.host("server");
    simulation.set_descriptor_limit(server, usize::MAX);
    let settings =
        Settings { max_connections: usize::MAX - 1, accepts_per_turn: 1024, ..Settings::default() };
    simulation.set_settings(server, settings.clone());
    let counted = Rc::clone(callbacks);
    let listen = ListenTcp { backlog: u32::MAX, ..ListenTcp::new(([0, 0, 0, 0], 7)) };
    simulation.reactor(server).listen_tcp(listen, move || Echo(Rc::clone(&counted)))?;
    // A host has 28,000 ports for connections to the same place.
    for group in 0..connections.div_ceil(PORTS) {
        let host = simulation.host(&format!("client{group}"));
        simulation.set_settings(host, settings.clone());
        for _ in 0..PORTS.min(connections - group * PORTS) {
            simulation.reactor(host).connect_tcp("server:7", client.clone())?;
        }
    }
    Ok(simulation)
}

/// Bytes of this process that were resident at the most.
fn most_resident() -> support::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

const PORTS: usize = 25_000;

/// Virtual times: of a look at what was answered, and of all of them.
const STEP: Duration = Duration::from_millis(1);
const TIME_LIMIT: Duration = Duration::from_secs(10);

#[cfg(feature = "monitor")]
fn hour(options: &Options) -> support::Result<()> {
    use twistor::monitor::{Monitor, MonitorSettings, Target};

    struct Silent;

    impl Protocol for Silent {
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }

    let (targets, time) = if options.smoke { (10, 60) } else { (1_000, 3600) };
    let mut simulation = Simulation::new(1);
    for number in 0..targets {
        let host = simulation.host(&format!("host{number}"));
        simulation.reactor(host).listen_tcp("0.0.0.0:80", || Silent)?;
    }
    let watcher = simulation.host("watcher");
    let targets: Vec<Target> =
        (0..targets).map(|number| format!("tcp://host{number}:80").parse()).collect::<Result<_, _>>()?;
    let monitor = Monitor::start(simulation.reactor(watcher), targets, MonitorSettings::default(), ());
    let clock = Instant::now();
    simulation.run_for(Duration::from_secs(time))?;
    let took = clock.elapsed().as_secs_f64();
    assert!(monitor.all_up());
    let probes = simulation.reactor(watcher).statistics().connects;
    println!(
        "\na monitor of {} targets, {time} virtual s: {} probes, {} turns, {took:.2} s, {:.1} µs a probe",
        simulation.hosts().len() - 1,
        table::thousands(probes as f64),
        table::thousands(simulation.turns() as f64),
        took * 1e6 / probes as f64
    );
    Ok(())
}

#[cfg(not(feature = "monitor"))]
fn hour(_: &Options) -> support::Result<()> {
    println!("\nthe monitor's hour needs the feature `monitor`");
    Ok(())
}
