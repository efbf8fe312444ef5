//! What a delayed call costs with a million of them outstanding, and with ten thousand.
//!
//! Nanoseconds per operation by the CPU clock of the thread, so that neighbours do not count, the median of the rounds
//! (default 3); next to the plain structure that one writes first, a binary heap with lazy cancellation. Delays are
//! uniform in a minute and every call carries a closure. At a million nearly every operation is a cache miss, at ten
//! thousand it is the structure itself.

mod support;

use std::process::ExitCode;

use support::delayed::{Heap, Twistor};
use support::options::Options;
use support::table::{self, Table};
use support::timing::{Figures, OPERATIONS, measure};

const OUTSTANDING: [usize; 2] = [10_000, 1_000_000];
const SMOKE_OUTSTANDING: [usize; 1] = [1_000];

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let sizes: &[usize] = if options.smoke { &SMOKE_OUTSTANDING } else { &OUTSTANDING };
    for &size in sizes {
        let mut rounds: Vec<[Figures; 2]> = Vec::new();
        for _ in 0..options.rounds(3) {
            rounds.push([measure::<Heap>(size)?, measure::<Twistor>(size)?]);
        }
        let mut table = Table::new(["ns per operation", "binary heap", "twistor", "ratio"]);
        for (index, operation) in OPERATIONS.iter().enumerate() {
            let figures = |which: usize| rounds.iter().map(|round| round[which][index]).collect::<Vec<_>>();
            let ratios: Vec<f64> = rounds.iter().map(|[heap, own]| own[index] / heap[index]).collect();
            let cost = |which| format!("{:.0}", table::median(&figures(which)));
            table.row([operation.to_string(), cost(0), cost(1), table::spread(&ratios)]);
        }
        table.print(&format!("{} delayed calls outstanding", table::thousands(size as f64)));
    }
    Ok(())
}
