//! What an echoed message costs a server on streams: beside the same loop's callbacks, and beside tokio's current-thread
//! runtime.
//!
//! The figure to read is **messages per second of the server's CPU, as a ratio to the callbacks'** in the same round. The servers
//! are child processes that take turns, in the ten cells of `benches/scaling`. User instructions are counted where there is
//! valgrind; `benches/instructions` guards them.

mod support;

use std::process::ExitCode;

use support::cell::Cell;
use support::load::{self, Until};
use support::options::Options;
use support::server::{Kind, Server};
use support::table::{self, Table};
use support::tool;

/// The first is what the others are compared with.
const KINDS: [Kind; 3] = [Kind::Twistor, Kind::Streams, Kind::Tokio];

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    // CPU microseconds per message: by cell, by server, by round.
    let mut costs = vec![vec![Vec::new(); KINDS.len()]; options.cells.len()];
    for round in 0..options.rounds(5) {
        for (cell, costs) in options.cells.iter().zip(&mut costs) {
            for turn in 0..KINDS.len() {
                let index = (round + turn) % KINDS.len();
                let kind = KINDS[index];
                let cost = sample(kind, *cell, &options)
                    .map_err(|error| format!("{}, {cell}: {error}", kind.name()))?;
                costs[index].push(cost);
            }
        }
        eprintln!("round {} of {}", round + 1, options.rounds(5));
    }
    report(&options.cells, &costs);
    count_instructions(&options)
}

fn sample(kind: Kind, cell: Cell, options: &Options) -> support::Result<f64> {
    let server = Server::start(kind)?;
    let outcome = load::run(&server, cell, Until::Elapsed(options.sample))?;
    server.stop()?;
    Ok(outcome.cpu.as_secs_f64() * 1e6 / outcome.count as f64)
}

fn report(cells: &[Cell], costs: &[Vec<Vec<f64>>]) {
    let heads = || ["cell"].into_iter().chain(KINDS.iter().map(|kind| kind.name()));
    let (mut ratios, mut table) = (Table::new(heads()), Table::new(heads().chain(["unit"])));
    let mut medians = vec![Vec::new(); KINDS.len()];
    for (cell, costs) in cells.iter().zip(costs) {
        let callbacks = &costs[0];
        let mut row = vec![cell.to_string()];
        for (medians, costs) in medians.iter_mut().zip(costs) {
            let ratio: Vec<f64> = callbacks.iter().zip(costs).map(|(base, own)| base / own).collect();
            medians.push(table::median(&ratio));
            row.push(table::spread(&ratio));
        }
        ratios.row(row);
        let cost = costs.iter().map(|costs| format!("{:.2} us", table::median(costs)));
        table.row([cell.to_string()].into_iter().chain(cost).chain([cell.unit().to_string()]));
    }
    let means = medians.iter().map(|medians| format!("{:.3}", table::geometric_mean(medians)));
    ratios.row(["geometric mean".to_string()].into_iter().chain(means));
    ratios
        .print("Messages per CPU second as a ratio to callbacks in the same round: median [lowest..highest]");
    table.print("Server CPU per message (median)");
}

fn count_instructions(options: &Options) -> support::Result<()> {
    if !tool::present("valgrind") {
        println!("\nno valgrind here: instructions are not counted");
        return Ok(());
    }
    let counts = if options.smoke { [200, 600] } else { [2_000, 12_000] };
    let cell = Cell::PingPong { connections: 64, size: 64, depth: 1 };
    let mut table = Table::new(["server", "user instructions per message"]);
    for kind in KINDS {
        let instructions = tool::instructions(kind, cell, counts)?;
        table.row([kind.name().to_string(), format!("{instructions:.0}")]);
    }
    table.print(&format!("User instructions, {cell}"));
    Ok(())
}
