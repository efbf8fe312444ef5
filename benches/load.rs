//! What the load generator keeps up with: its message rate and its CPU per message against a plain mio client.
//!
//! Both put the same load on the same echo server process (in C where there is a compiler, else on mio), in turns within
//! a round, and the order rotates. The plain client is the one of the other benches: edge-triggered, one thread, every byte
//! compared, no latencies. The figures to read are the **ratios**: of rates (1 is a draw, more is faster) and of this
//! thread's CPU per message (1 is a draw, less is cheaper), which stands when the server is the limit of both.

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use twistor::Reactor;
use twistor::endpoint::client_from_string;
use twistor::load::{LoadConfig, Workload};

use support::cell::{CHURN_SIZE, Cell};
use support::load::{Load, Until};
use support::options::Options;
use support::server::{Kind, Server};
use support::table::{self, Table};

/// What one client did in one cell, round by round.
#[derive(Default)]
struct Samples {
    /// Messages, or connections, per second.
    rate: Vec<f64>,
    /// CPU microseconds of the client per message.
    cost: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Client {
    Plain,
    Twistor,
}

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let server = Server::start(Kind::with_baseline(&options.servers)[0])?; // the baseline is there
    let cells: Vec<Cell> =
        options.cells.iter().copied().filter(|cell| !matches!(cell, Cell::Bulk { .. })).collect();
    let mut table = Table::new([
        "cell",
        "rate, twistor to mio",
        "CPU, twistor to mio",
        "mio, best",
        "twistor, best",
        "mio CPU",
        "twistor CPU",
    ]);
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for cell in cells {
        let mut samples = [Samples::default(), Samples::default()];
        for round in 0..options.rounds(7) {
            let mut turns = [(0, Client::Plain), (1, Client::Twistor)];
            turns.rotate_left(round % 2);
            for (index, client) in turns {
                sample(client, &server, cell, options.sample, &mut samples[index])
                    .map_err(|error| format!("{cell}: {error}"))?;
            }
        }
        let [plain, own] = &samples;
        let ratio = |own: &[f64], plain: &[f64]| -> Vec<f64> {
            own.iter().zip(plain).map(|(own, plain)| own / plain).collect()
        };
        let (rate, cost) = (ratio(&own.rate, &plain.rate), ratio(&own.cost, &plain.cost));
        table.row([
            cell.to_string(),
            table::spread(&rate),
            table::spread(&cost),
            format!("{}/s", table::thousands(table::highest(&plain.rate))),
            format!("{}/s", table::thousands(table::highest(&own.rate))),
            format!("{:.2} us", table::median(&plain.cost)),
            format!("{:.2} us", table::median(&own.cost)),
        ]);
        rates.push(table::median(&rate));
        costs.push(table::median(&cost));
        eprintln!("{cell}");
    }
    let mean = |figures: &[f64]| format!("{:.3}", table::geometric_mean(figures));
    table.row(["geometric mean".to_owned(), mean(&rates), mean(&costs)]);
    table.print("The load generator against a plain mio client, in the same round: median [lowest..highest]");
    server.stop()
}

fn sample(
    client: Client,
    server: &Server,
    cell: Cell,
    length: Duration,
    samples: &mut Samples,
) -> support::Result<()> {
    let before = cpu();
    let (count, elapsed, cpu) = match (client, cell) {
        (Client::Twistor, _) => {
            let (count, elapsed, cpu) = generate(server, cell, length)?;
            (count, elapsed, cpu.unwrap_or(self::cpu() - before))
        }
        (Client::Plain, Cell::PingPong { connections, size, depth }) => {
            let mut load = Load::open(server.address, connections, size, size * depth)?;
            let (before, start) = (self::cpu(), Instant::now());
            let count = load.run(Until::Elapsed(length), None)?;
            (count, start.elapsed(), self::cpu() - before)
        }
        (Client::Plain, Cell::Churn { parallel }) => {
            let start = Instant::now();
            let count = support::churn::run(server.address, parallel, Until::Elapsed(length), None)?;
            (count, start.elapsed(), self::cpu() - before)
        }
        (Client::Plain, Cell::Bulk { .. }) => return Err("a bulk cell has no messages".into()),
    };
    samples.rate.push(count as f64 / elapsed.as_secs_f64());
    samples.cost.push(cpu.as_secs_f64() * 1e6 / count as f64);
    Ok(())
}

/// Messages, the time they took, and the CPU from when the connections stood.
fn generate(
    server: &Server,
    cell: Cell,
    length: Duration,
) -> support::Result<(u64, Duration, Option<Duration>)> {
    let plan = LoadConfig { duration: length, ..LoadConfig::default() };
    let plan = match cell {
        Cell::PingPong { connections, size, depth } => LoadConfig { connections, size, depth, ..plan },
        Cell::Churn { parallel } => {
            LoadConfig { work: Workload::Churn, connections: parallel, size: CHURN_SIZE, ..plan }
        }
        Cell::Bulk { .. } => return Err("a bulk cell has no messages".into()),
    };
    let mut reactor = Reactor::new()?;
    let endpoint = client_from_string(&format!("tcp:{}", server.address))?;
    let load = twistor::load::LoadTest::start(&mut reactor, endpoint, plan)?;
    let mut began = None;
    while !load.is_finished() {
        reactor.iterate(None)?;
        if began.is_none() && load.progress(reactor.now()).running.is_some() {
            began = Some(cpu());
        }
    }
    let used = began.filter(|_| !matches!(cell, Cell::Churn { .. })).map(|began| cpu() - began);
    let report = load.report();
    match report.is_success() {
        true => Ok((report.totals.messages, report.totals.elapsed, used)),
        false => Err(report.to_string().into()),
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
