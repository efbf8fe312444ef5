//! What an idle accepted connection costs in memory, and what is left when all of them have closed.
//!
//! Resident bytes of the server process, read while it sleeps: growth over 10,000 connections that have said nothing,
//! growth after one message of 64 bytes on each, and all of it after the last close. The protocol has no state of its
//! own, so the growth is the framework's. The kernel's sockets are not in it. With `--check` the bench exits with 1
//! when a connection of twistor's is over its limit in `benches/baselines.txt`.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::baselines::Guard;
use support::load::Pattern;
use support::options::Options;
use support::server::{Kind, Server};
use support::table::{self, Table};

const CONNECTIONS: usize = 10_000;
const SMOKE_CONNECTIONS: usize = 500;

/// What a server is warmed up with, so that what it allocates once is not counted as a connection's.
const WARM_UP: usize = 64;

const MESSAGE: usize = 64;

/// Connections opened at once; well below every server's backlog.
const GROUP: usize = 256;

/// What one server did, round by round: bytes.
#[derive(Default)]
struct Samples {
    before: Vec<f64>,
    idle: Vec<f64>,
    used: Vec<f64>,
    after: Vec<f64>,
}

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let count = if options.smoke { SMOKE_CONNECTIONS } else { CONNECTIONS };
    let kinds = Kind::with_baseline(&options.servers);
    let mut samples: Vec<Samples> = kinds.iter().map(|_| Samples::default()).collect();
    for _ in 0..options.rounds(5) {
        for (&kind, samples) in kinds.iter().zip(&mut samples) {
            sample(kind, count, samples).map_err(|error| format!("{}: {error}", kind.name()))?;
        }
    }

    let heads =
        ["server", "before, KiB", "idle, B/connection", "after a message, B/connection", "all closed, KiB"];
    let mut table = Table::new(heads);
    for (kind, samples) in kinds.iter().zip(&samples) {
        let figures = [
            table::thousands(table::median(&samples.before) / 1024.0),
            format!("{:.1}", table::median(&samples.idle)),
            format!("{:.1}", table::median(&samples.used)),
            table::thousands(table::median(&samples.after) / 1024.0),
        ];
        table.row([kind.name().to_string()].into_iter().chain(figures));
    }
    table.print(&format!(
        "Resident memory of the server, {} idle connections",
        table::thousands(count as f64)
    ));

    let mut guard = Guard::new()?;
    for (_, samples) in kinds.iter().zip(&samples).filter(|(kind, _)| **kind == Kind::Twistor) {
        guard.limit("bytes of an idle connection", table::median(&samples.idle))?;
    }
    guard.finish(&options)
}

fn sample(kind: Kind, count: usize, samples: &mut Samples) -> support::Result<()> {
    let pattern = Pattern::new();
    let server = Server::start(kind)?;
    server.settled_cpu()?; // it may still open descriptors of its own
    let own = server.open_descriptors()?;
    let mut warm_up = open(&server, own, WARM_UP)?;
    exchange(&mut warm_up, &pattern)?;
    drop(warm_up);
    let before = at_rest(&server, own)?;

    let mut connections = open(&server, own, count)?;
    let idle = at_rest(&server, own + count)?;
    exchange(&mut connections, &pattern)?;
    let used = at_rest(&server, own + count)?;
    drop(connections);
    let after = at_rest(&server, own)?;
    server.stop()?;

    samples.before.push(before);
    samples.idle.push((idle - before) / count as f64);
    samples.used.push((used - before) / count as f64);
    samples.after.push(after);
    Ok(())
}

fn open(server: &Server, own: usize, count: usize) -> support::Result<Vec<TcpStream>> {
    let address: SocketAddr = server.address;
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        for _ in 0..GROUP.min(count - connections.len()) {
            connections.push(TcpStream::connect(address)?);
        }
        wait_for_descriptors(server, own + connections.len())?;
    }
    Ok(connections)
}

fn exchange(connections: &mut [TcpStream], pattern: &Pattern) -> support::Result<()> {
    for group in connections.chunks_mut(GROUP) {
        for stream in group.iter_mut() {
            stream.write_all(pattern.at(0, MESSAGE))?;
        }
        for stream in group {
            let mut echo = [0; MESSAGE];
            stream.read_exact(&mut echo)?;
            pattern.compare(0, &echo)?;
        }
    }
    Ok(())
}

/// Resident bytes, once the server has so many descriptors and sleeps.
fn at_rest(server: &Server, descriptors: usize) -> support::Result<f64> {
    wait_for_descriptors(server, descriptors)?;
    server.settled_cpu()?;
    Ok(server.resident()? as f64)
}

fn wait_for_descriptors(server: &Server, count: usize) -> support::Result<()> {
    let start = Instant::now();
    while server.open_descriptors()? != count {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{count} descriptors expected, {} open", server.open_descriptors()?).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
