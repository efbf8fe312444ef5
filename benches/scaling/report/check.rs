//! The check of a smoke run: reports of sample runs have all plots, tables and missing figures.

use super::super::arguments::Mode;
use super::super::run::{Latency, Machine, Memory, Missing, Run, Sample};
use super::super::support::Result;
use super::super::workload::{SECTIONS, Workload};
use super::line_plot;
use super::statistics::Spread;
use super::unit::Unit;
use super::{chapters, markdown};

/// Errors: the first difference from what is expected.
pub fn check() -> Result<()> {
    check_units()?;
    check_gaps()?;
    for servers in [0, 1, 2, SERVERS.len()] {
        for (name, cost) in COSTS {
            check_report(servers, cost)
                .map_err(|error| format!("{servers} servers with {name} costs: {error}"))?;
        }
    }
    Ok(())
}

fn check_units() -> Result<()> {
    let expected = [
        (Unit::Seconds, 3.724e-6, "3.72 µs"),
        (Unit::Seconds, 50e-6, "50.0 µs"),
        (Unit::Seconds, 0.99999e-3, "1.00 ms"),
        (Unit::PerSecond, 254_321.0, "254 k/s"),
        (Unit::Bytes, 168.0, "168 B"),
        (Unit::Bytes, 16384.0, "16.0 KiB"),
        (Unit::Ratio, 0.9534, "0.95"),
    ];
    for (unit, figure, text) in expected {
        ensure(unit.figure(figure) == text, || format!("{figure} is {}", unit.figure(figure)))?;
    }
    let ticks = [Unit::Seconds.tick(50e-6), Unit::Count.tick(8192.0), Unit::Ratio.tick(1.5)];
    ensure(ticks == ["50 µs", "8 Ki", "1.5"], || format!("the ticks are {ticks:?}"))
}

/// The line of a server that failed in a cell is interrupted there.
fn check_gaps() -> Result<()> {
    let places = [1.0, 4.0, 16.0, 64.0, 256.0];
    let figures = places.map(|at| Spread::of(&[at]).filter(|_| at != 16.0));
    let lengths: Vec<usize> = line_plot::segments(&places, &figures).iter().map(Vec::len).collect();
    ensure(lengths == [2, 2], || format!("a gap leaves segments of {lengths:?} points"))
}

fn check_report(servers: usize, cost: Cost) -> Result<()> {
    let run = sample_run(servers, cost);
    let chapters = chapters::chapters(&run)?;
    let markdown = markdown::render(&run, &chapters);
    let plots: Vec<&(String, String)> = chapters.iter().filter_map(|chapter| chapter.plot.as_ref()).collect();
    for (name, svg) in &plots {
        ensure(!svg.contains("NaN") && !svg.contains("inf"), || format!("{name} has a figure that is none"))?;
        ensure(markdown.contains(&format!("]({name})")), || format!("{name} is not in the text"))?;
    }
    let names: Vec<&str> = plots.iter().map(|(name, _)| name.as_str()).collect();
    let complete = servers < 2 || cost(0.5) == 0.0 || names == PLOTS;
    ensure(complete, || format!("the plots are {names:?}"))?;
    for missing in &run.missing {
        let place = match missing.cell.as_str() {
            "all" => "not measured".to_owned(),
            cell => format!("`{cell}` (round"),
        };
        let is_named = markdown.contains(&place) && markdown.contains(&missing.reason);
        ensure(is_named, || format!("{} of {} is missing without a line", missing.cell, missing.server))?;
    }
    Ok(())
}

/// A run of the first servers in three rounds, without one of the other servers.
fn sample_run(servers: usize, cost: Cost) -> Run {
    let machine = Machine { processor: "Some Processor".into(), cores: 2, ..Machine::default() };
    let mut run = Run { machine, date: "2026-11-21T15:40:12Z".into(), ..Run::default() };
    run.missing.push(failure("all", "all", "absent", 0));
    for workload in Workload::of_sections(&SECTIONS.map(str::to_owned), Mode::Quick, &[]) {
        for section in &workload.sections {
            for server in &SERVERS[..servers] {
                for round in 0..3 {
                    let cell = workload.task.to_string();
                    match *server == "another" && cell.contains("c16384") {
                        true => run.missing.push(failure(section, &cell, server, round)),
                        false => {
                            let random = (run.samples.len() as f64 * 0.618).fract();
                            run.samples.push(sample(section, cell, server, round, cost(random)));
                        }
                    }
                }
            }
        }
    }
    run
}

fn sample(section: &str, cell: String, server: &str, round: usize, cpu: f64) -> Sample {
    let (p99, p999, max) = (cpu * 2.0, cpu * 3.0, cpu * 9.0);
    Sample {
        section: section.to_owned(),
        cell,
        server: server.to_owned(),
        round,
        count: 1,
        elapsed: cpu,
        cpu,
        latency: Some(Latency { p50: cpu, p90: cpu, p99, p999, max }),
        memory: Some(Memory { before: 1 << 20, idle: 2 << 20, used: 3 << 20, after: 1 << 20 }),
    }
}

fn failure(section: &str, cell: &str, server: &str, round: usize) -> Missing {
    let reason = "accept: too many open files".to_owned();
    Missing { section: section.to_owned(), cell: cell.to_owned(), server: server.to_owned(), round, reason }
}

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("the report: {}", fault()).into()) }
}

/// The last one is unknown to the report, and fails in cells with 16,384 connections.
const SERVERS: [&str; 9] =
    ["c", "twistor", "mio", "tokio", "streams", "uvloop", "asyncio", "twisted", "another"];

/// Seconds of CPU from a random number from 0 to 1.
type Cost = fn(f64) -> f64;

const COSTS: [(&str, Cost); 4] = [
    ("usual", |random| 5e-6 * (0.85 + 0.3 * random)),
    ("equal", |_| 1e-6),
    ("no", |_| 0.0),
    ("distant", |random| 1e-3 * 1e-9_f64.powf(random)),
];

/// Of two servers or more.
#[rustfmt::skip]
const PLOTS: [&str; 16] = [
    "ratio-ten.svg", "throughput.svg", "cpu.svg", "cpu-ratio.svg", "latency-p50.svg", "latency-p99.svg",
    "memory-idle.svg", "memory-used.svg", "hold-cpu.svg", "cpu-over-size.svg", "cpu-over-size-d16.svg",
    "cpu-ratio-over-size.svg", "cpu-ratio-over-size-d16.svg", "bulk.svg", "churn.svg", "timers.svg",
];
