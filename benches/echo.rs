//! What an echoed message costs the server: twistor against the same loop by hand, on mio and in C on bare epoll.
//!
//! `cargo bench --bench echo` needs no other program; with a C compiler the C loop is the baseline, else mio.
//! The figure to read is the **ratio of CPU time per message** to the baseline in the same round: it stands when
//! neighbours use the machine, where rates do not. Every sample has a server process of its own, the servers take
//! turns within a round, and the order rotates. A message in a bulk cell is 16 KiB, in a churn cell a connection.

mod support;

use std::process::ExitCode;

use support::cell::Cell;
use support::load::{self, Until};
use support::options::Options;
use support::server::{Kind, Server};
use support::table::{self, Table};

/// What one server did in one cell, round by round.
#[derive(Default)]
struct Samples {
    /// CPU microseconds of the server per message.
    cost: Vec<f64>,
    /// Messages per second.
    rate: Vec<f64>,
}

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let kinds = Kind::with_baseline(&options.servers);
    let mut samples: Vec<Vec<Samples>> = // by cell, then by server
        options.cells.iter().map(|_| kinds.iter().map(|_| Samples::default()).collect()).collect();
    for round in 0..options.rounds(5) {
        for (cell, samples) in options.cells.iter().zip(&mut samples) {
            for turn in 0..kinds.len() {
                let index = (round + turn) % kinds.len();
                let (kind, samples) = (kinds[index], &mut samples[index]);
                sample(kind, *cell, &options, samples)
                    .map_err(|error| format!("{}, {cell}: {error}", kind.name()))?;
            }
        }
        eprintln!("round {} of {}", round + 1, options.rounds(5));
    }
    report(&options.cells, &kinds, &samples);
    Ok(())
}

fn sample(kind: Kind, cell: Cell, options: &Options, samples: &mut Samples) -> support::Result<()> {
    let server = Server::start(kind)?;
    let outcome = load::run(&server, cell, Until::Elapsed(options.sample))?;
    server.stop()?;
    samples.cost.push(outcome.cpu.as_secs_f64() * 1e6 / outcome.count as f64);
    samples.rate.push(outcome.count as f64 / outcome.elapsed.as_secs_f64());
    Ok(())
}

fn report(cells: &[Cell], kinds: &[Kind], samples: &[Vec<Samples>]) {
    let heads = || ["cell"].into_iter().chain(kinds.iter().map(|kind| kind.name()));
    let mut ratios = Table::new(heads());
    let mut costs = Table::new(heads().chain(["unit"]));
    let mut medians = vec![Vec::new(); kinds.len()];
    for (cell, samples) in cells.iter().zip(samples) {
        let baseline = &samples[0].cost; // the baseline is the first server
        let to_baseline =
            |cost: &[f64]| cost.iter().zip(baseline).map(|(own, base)| own / base).collect::<Vec<_>>();
        let of_servers: Vec<Vec<f64>> = samples.iter().map(|samples| to_baseline(&samples.cost)).collect();
        for (medians, ratio) in medians.iter_mut().zip(&of_servers) {
            medians.push(table::median(ratio));
        }
        ratios.row([cell.to_string()].into_iter().chain(of_servers.iter().map(|ratio| table::spread(ratio))));
        let cost = samples.iter().map(|Samples { cost, rate }| {
            format!("{:.2} us, {}/s", table::median(cost), table::thousands(table::highest(rate)))
        });
        costs.row([cell.to_string()].into_iter().chain(cost).chain([cell.unit().to_string()]));
    }
    let means = medians.iter().map(|medians| format!("{:.3}", table::geometric_mean(medians)));
    ratios.row(["geometric mean".to_string()].into_iter().chain(means));
    ratios.print(&format!(
        "Server CPU per message as a ratio to {} in the same round: median [lowest..highest]",
        kinds[0].name()
    ));
    costs.print("Server CPU per message (median) and the best rate of any round");
}
