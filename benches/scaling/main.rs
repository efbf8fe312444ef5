//! How servers scale: throughput, CPU, latency and memory over connections, sizes and depths, beside
//! other loops.
//!
//! `cargo bench --bench scaling` measures, prints the ten cells, and writes `scaling.json`, tables and
//! plots to `target/scaling/`; `--report` writes tables and plots of a saved run again. It needs no
//! other program: with a C compiler a plain epoll loop in C is the baseline, else one on mio. With
//! `--python` asyncio, uvloop and Twisted take part. `--quick` measures fewer cells and ends within two
//! minutes.
//!
//! **Method.** Every sample has a server process of its own, pinned to one core while the load runs on
//! another. The servers take turns within a round, and the order rotates. The figure to read is the
//! ratio of the server's CPU time per message to the baseline's in the same round and cell: it holds
//! when other programs use the machine, where rates and latencies do not. Every byte that returns is
//! compared.
//!
//! **Latencies** are measured from just before the write of a message until the read of its last byte.
//! The load waits for its echoes (a closed loop), so it leaves out the messages that a stalled server
//! kept it from sending (coordinated omission). A percentile is one of the messages that were sent
//! under full load, and no forecast for clients that come at times of their own. An echo also waits for
//! its turn in the load, which is one thread; that is the same for every server.
//!
//! A server that fails in a cell is listed as missing there, with the reason. The run goes on.

mod arguments;
mod cores;
mod machine;
mod report;
mod rounds;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod workload;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use cores::Cores;
use run::Run;
use support::Result;

fn main() -> ExitCode {
    support::ended(support::server::requested().unwrap_or_else(bench))
}

fn bench() -> Result<()> {
    let arguments = Arguments::parse()?;
    if let Some(file) = &arguments.saved_run {
        let run = Run::load(file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        report::write(&run, folder)?;
        println!("\nWritten again: {}", folder.join("scaling.md").display());
        return Ok(());
    }
    if arguments.smoke() {
        report::check()?;
    }
    let begin = Instant::now();
    let directory = arguments.directory();
    fs::create_dir_all(&directory).map_err(|error| format!("creating {}: {error}", directory.display()))?;
    let (kinds, missing) = arguments.servers();
    let mut machine = machine::describe();
    machine.load_before = machine::background_load(arguments.smoke())?;
    let cores = Cores::choose();
    machine.pinning = cores.pinning;
    cores::print_pinning(&machine);

    let date = machine::date();
    let (samples, missing) = rounds::run(&arguments, &kinds, missing, &cores);
    let run = Run { machine, date, command: arguments.command.clone(), samples, missing };
    let file = directory.join("scaling.json");
    run.save(&file)?;
    report::write(&run, &directory)?;
    println!("\n{} samples in {:.0} s: {}", run.samples.len(), begin.elapsed().as_secs_f64(), file.display());
    if arguments.smoke() {
        println!("A smoke run: it shows that the bench works, and its figures mean nothing.");
    }
    match run.missing.len() {
        count @ 1.. if arguments.options.check => Err(format!("{count} samples are missing").into()),
        _ => Ok(()),
    }
}
