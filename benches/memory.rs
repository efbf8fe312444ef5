//! What an idle accepted connection costs in memory, and what is left when all of them have closed.
//!
//! Resident bytes of the server process, read while it sleeps: growth over 10,000 connections that have said nothing,
//! growth after one message of 64 bytes on each, and all of it after the last close. The protocol has no state of its
//! own, so the growth is the framework's. The kernel's sockets are not in it. With `--check` the bench exits with 1
//! when a connection of twistor's is over its limit in `benches/baselines.txt`.

mod support;

use std::process::ExitCode;

use support::baselines::Guard;
use support::hold;
use support::options::Options;
use support::server::{Kind, Server};
use support::table::{self, Table};

const CONNECTIONS: usize = 10_000;
const SMOKE_CONNECTIONS: usize = 500;

/// What a server is warmed up with, so that what it allocates once is not counted as a connection's.
const WARM_UP: usize = 64;

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
    let server = Server::start(kind)?;
    let held = hold::run(&server, count, WARM_UP)?;
    server.stop()?;

    let each = |bytes: u64| (bytes as f64 - held.before as f64) / count as f64;
    samples.before.push(held.before as f64);
    samples.idle.push(each(held.idle));
    samples.used.push(each(held.used));
    samples.after.push(held.after as f64);
    Ok(())
}
