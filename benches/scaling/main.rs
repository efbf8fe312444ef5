//! How servers scale: throughput, CPU, latency and memory over connections, sizes and depths, beside other loops.
//!
//! `cargo bench --bench scaling` measures, prints the ten cells, and writes everything to `target/scaling/`: `scaling.json`,
//! and tables and plots that are made from it; `--report` makes them again. It needs no other program: with a C compiler a
//! plain epoll loop in C is the baseline, else one on mio. With `--python` asyncio, uvloop and Twisted take part. `--quick`
//! measures less of everything and ends within two minutes.
//!
//! **How it measures.** Every sample has a server process of its own, held on one core while the load runs on another. The
//! servers take turns within a round, and the order rotates. The figure to read is the ratio of the server's CPU time per
//! message to the baseline's in the same round and cell: it stands when neighbours use the machine, where rates and
//! latencies do not. Every byte that returns is compared.
//!
//! **What the latencies are.** From just before the write of a message until the read of its last byte, by a load that waits:
//! a closed loop. It leaves out the messages that a stalling server kept it from sending (coordinated omission), so that a
//! percentile is one of the messages that were sent, under as much load as the server takes, and no forecast for clients who
//! come at times of their own. An echo also waits for its turn in the load, which is one thread; that is the same for every
//! server.
//!
//! A server that fails in a cell is missing there, with the reason, in the results; the run goes on.

mod choices;
mod cores;
mod figures;
mod machine;
mod report;
mod rounds;
mod summary;
#[path = "../support/mod.rs"]
mod support;
mod work;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use choices::Choices;
use cores::Cores;
use figures::Run;
use support::Result;

fn main() -> ExitCode {
    support::ended(support::server::requested().unwrap_or_else(bench))
}

fn bench() -> Result<()> {
    let choices = Choices::from_arguments()?;
    if let Some(file) = &choices.saved {
        let run = Run::load(file)?;
        summary::print(&run);
        let folder = file.parent().unwrap_or(Path::new(""));
        report::write(&run, folder)?;
        println!("\nDrawn again: {}", folder.join("scaling.md").display());
        return Ok(());
    }
    if choices.smoke() {
        report::check()?;
    }
    let begin = Instant::now();
    let directory = choices.directory();
    fs::create_dir_all(&directory).map_err(|error| format!("making {}: {error}", directory.display()))?;
    let (kinds, absent) = choices.servers();
    let mut machine = machine::describe();
    machine.load_before = machine::foreign_load(choices.smoke())?;
    let cores = Cores::choose();
    machine.pinning = cores.pinning;
    cores::tell(&machine);

    let date = machine::date();
    let (samples, missing) = rounds::run(&choices, &kinds, absent, &cores);
    let run = Run { machine, date, command: choices.command.clone(), samples, missing };
    let file = directory.join("scaling.json");
    run.save(&file)?;
    report::write(&run, &directory)?;
    summary::print(&run);
    println!("\n{} samples in {:.0} s: {}", run.samples.len(), begin.elapsed().as_secs_f64(), file.display());
    if choices.smoke() {
        println!("A smoke run: it shows that the bench works, and its figures mean nothing.");
    }
    match run.missing.len() {
        count @ 1.. if choices.options.check => Err(format!("{count} samples are missing").into()),
        _ => Ok(()),
    }
}
