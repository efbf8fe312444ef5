//! How servers scale: throughput, CPU, latency and memory over connections, sizes and depths, beside other loops.

mod figures;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use figures::{Latency, Machine, Memory, Missing, Pinning, Run, Sample};

fn main() -> ExitCode {
    support::main(|_| round_trip())
}

/// What is saved is what is loaded.
fn round_trip() -> support::Result<()> {
    let words = |word: &str| word.to_string();
    let run = Run {
        machine: Machine {
            processor: words("a processor"),
            cores: 2,
            memory: 24 << 30,
            kernel: words("6.1"),
            rustc: words("1.88"),
            load_before: 0.1,
            pinning: Some(Pinning { servers: 1, load: 0 }),
        },
        date: words("2026-01-01T00:00:00Z"),
        command: words("cargo bench --bench scaling"),
        samples: vec![Sample {
            section: words("hold"),
            cell: words("hold c64"),
            server: words("twistor"),
            round: 0,
            count: 64,
            elapsed: 0.1 + 0.2,
            cpu: 1e-7 / 3.0,
            latency: Some(Latency { p50: 1e-5, p90: 2e-5, p99: 3e-5, p999: 1.0 / 3.0, max: 0.7 }),
            memory: Some(Memory { before: 1, idle: 2, used: 3, after: u64::MAX }),
        }],
        missing: vec![Missing {
            section: words("ten"),
            cell: words("bulk c1"),
            server: words("uvloop"),
            round: 1,
            reason: words("not \"installed\""),
        }],
    };
    run.save(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("scaling-round-trip.json"))
}
