//! Rounds over all workloads. Servers take turns within each cell, in an order that rotates.

use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::cores::Cores;
use super::run::{Latency, Memory, Missing, Sample};
use super::support::Result;
use super::support::cell::Cell;
use super::support::delayed::{Heap, Tokio, Twistor};
use super::support::hold;
use super::support::load;
use super::support::server::Kind;
use super::support::timing;
use super::workload::{Task, Workload};

/// One server in one cell and round; timers have one for each operation.
struct Measurement {
    /// Appended to the name of the cell.
    operation: Option<&'static str>,
    count: u64,
    elapsed: f64,
    cpu: f64,
    latency: Option<Latency>,
    memory: Option<Memory>,
}

/// Measures until everything is done or the time limit is reached, with progress on stderr. A
/// failure does not end the run; `missing` are the failures before it.
pub fn run(
    arguments: &Arguments,
    kinds: &[Kind],
    missing: Vec<Missing>,
    cores: &Cores,
) -> (Vec<Sample>, Vec<Missing>) {
    let workloads = arguments.workloads();
    let (rounds, count) = (arguments.options.rounds(5), workloads.len());
    let start = Instant::now();
    let mut runner =
        Runner { arguments, kinds, cores, start, results: Results { samples: Vec::new(), missing } };
    let mut durations = vec![Duration::ZERO; count]; // of the round before
    for round in 0..rounds {
        let mut skipped = 0;
        let due = |workload: &Workload| round < workload.rounds(rounds, arguments.mode);
        for (index, workload) in workloads.iter().enumerate().filter(|(_, workload)| due(workload)) {
            let begin = Instant::now();
            if runner.has_time_for(durations[index]) {
                eprint!("round {}/{rounds} {}/{count} {}:", round + 1, index + 1, workload.task);
                runner.measure(workload, round);
                eprintln!();
                durations[index] = begin.elapsed();
            } else if round > 0 {
                skipped += 1;
            } else {
                let names: Vec<&str> =
                    runner.contenders(workload.task).into_iter().map(Contender::name).collect();
                names.into_iter().for_each(|name| runner.results.fail(workload, name, round, NO_TIME));
            }
        }
        if skipped > 0 {
            eprintln!("round {}/{rounds}: no time for {skipped} of {count} cells", round + 1);
        }
    }
    (runner.results.samples, runner.results.missing)
}

/// A run in progress.
struct Runner<'run> {
    arguments: &'run Arguments,
    kinds: &'run [Kind],
    cores: &'run Cores,
    start: Instant,
    results: Results,
}

impl Runner<'_> {
    /// At least this time is left.
    fn has_time_for(&self, needed: Duration) -> bool {
        self.arguments.time_limit().is_none_or(|limit| self.start.elapsed() + needed < limit)
    }

    fn contenders(&self, task: Task) -> Vec<Contender> {
        match task {
            Task::Load(_) | Task::Hold(_) => self.kinds.iter().copied().map(Contender::Server).collect(),
            Task::Timers(_) => Contender::TIMERS.to_vec(),
        }
    }

    fn measure(&mut self, workload: &Workload, round: usize) {
        let contenders = self.contenders(workload.task);
        for turn in 0..contenders.len() {
            let contender = contenders[(round + turn) % contenders.len()];
            let name = contender.name();
            if self.results.failed_twice(workload, name) {
                continue;
            }
            if !self.has_time_for(Duration::ZERO) {
                if round == 0 {
                    self.results.fail(workload, name, round, NO_TIME);
                }
                continue;
            }
            match contender.sample(workload.task, self.arguments.options.sample, self.cores) {
                Ok(figures) => {
                    eprint!("  {name} {}", summary(&figures));
                    self.results.add(workload, name, round, &figures);
                }
                Err(error) => {
                    eprint!("  {name} failed: {error}");
                    self.results.fail(workload, name, round, &error.to_string());
                }
            }
        }
    }
}

/// A server, or a timer structure.
#[derive(Clone, Copy)]
enum Contender {
    Server(Kind),
    /// A binary heap.
    HeapTimers,
    TwistorTimers,
    TokioTimers,
}

impl Contender {
    /// The heap is the baseline.
    const TIMERS: [Contender; 3] = [Contender::HeapTimers, Contender::TwistorTimers, Contender::TokioTimers];

    fn name(self) -> &'static str {
        match self {
            Contender::Server(kind) => kind.name(),
            Contender::HeapTimers => "heap",
            Contender::TwistorTimers => "twistor",
            Contender::TokioTimers => "tokio",
        }
    }

    fn sample(self, task: Task, length: Duration, cores: &Cores) -> Result<Vec<Measurement>> {
        match (self, task) {
            (Contender::Server(kind), Task::Load(cell)) => Ok(vec![measure_load(kind, cell, length, cores)?]),
            (Contender::Server(kind), Task::Hold(count)) => Ok(vec![measure_hold(kind, count, cores)?]),
            (Contender::HeapTimers, Task::Timers(size)) => {
                measure_timers(size, timing::measure::<Heap>(size)?)
            }
            (Contender::TwistorTimers, Task::Timers(size)) => {
                measure_timers(size, timing::measure::<Twistor>(size)?)
            }
            (Contender::TokioTimers, Task::Timers(size)) => {
                measure_timers(size, timing::measure::<Tokio>(size)?)
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn measure_load(kind: Kind, cell: Cell, length: Duration, cores: &Cores) -> Result<Measurement> {
    let server = cores.start(kind)?;
    let outcome = load::run_timed(&server, cell, length)?;
    server.stop()?;
    if outcome.count == 0 {
        return Err("nothing was answered".into());
    }
    let latency = outcome.latencies.map(|latencies| Latency {
        p50: latencies.quantile(0.5),
        p90: latencies.quantile(0.9),
        p99: latencies.quantile(0.99),
        p999: latencies.quantile(0.999),
        max: latencies.max(),
    });
    let (elapsed, cpu) = (outcome.elapsed.as_secs_f64(), outcome.cpu.as_secs_f64());
    Ok(Measurement { operation: None, count: outcome.count, elapsed, cpu, latency, memory: None })
}

fn measure_hold(kind: Kind, count: usize, cores: &Cores) -> Result<Measurement> {
    let server = cores.start(kind)?;
    let hold::Held { before, idle, used, after, elapsed, cpu } = hold::run(&server, count, 0)?;
    server.stop()?;
    let (elapsed, cpu) = (elapsed.as_secs_f64(), cpu.as_secs_f64());
    let memory = Some(Memory { before, idle, used, after });
    Ok(Measurement { operation: None, count: count as u64, elapsed, cpu, latency: None, memory })
}

/// Measured with the CPU clock, so the elapsed time is the CPU time.
fn measure_timers(size: usize, nanoseconds: timing::Figures) -> Result<Vec<Measurement>> {
    let figures = OPERATIONS.into_iter().zip(nanoseconds).map(|(operation, nanoseconds)| {
        let cpu = nanoseconds * size as f64 / 1e9;
        let operation = Some(operation);
        Measurement { operation, count: size as u64, elapsed: cpu, cpu, latency: None, memory: None }
    });
    Ok(figures.collect())
}

/// For one line of progress: CPU time per count, or memory per connection.
fn summary(figures: &[Measurement]) -> String {
    let texts = figures.iter().map(|figures| {
        let each = figures.cpu / figures.count as f64;
        match figures.memory {
            Some(Memory { before, idle, .. }) => {
                format!("{:.0} B", (idle as f64 - before as f64) / figures.count as f64)
            }
            None if figures.operation.is_some() => format!("{:.0}", each * 1e9),
            None => format!("{:.2}", each * 1e6),
        }
    });
    let unit = match figures {
        [Measurement { memory: Some(_), .. }, ..] => "",
        [Measurement { operation: Some(_), .. }, ..] => " ns",
        _ => " us",
    };
    texts.collect::<Vec<_>>().join("/") + unit
}

struct Results {
    samples: Vec<Sample>,
    missing: Vec<Missing>,
}

impl Results {
    fn add(&mut self, workload: &Workload, server: &str, round: usize, figures: &[Measurement]) {
        for section in &workload.sections {
            for &Measurement { operation, count, elapsed, cpu, latency, memory } in figures {
                let cell = match operation {
                    Some(operation) => format!("{} {operation}", workload.task),
                    None => workload.task.to_string(),
                };
                let (section, server) = (section.clone(), server.to_string());
                self.samples.push(Sample {
                    section,
                    cell,
                    server,
                    round,
                    count,
                    elapsed,
                    cpu,
                    latency,
                    memory,
                });
            }
        }
    }

    fn fail(&mut self, workload: &Workload, server: &str, round: usize, reason: &str) {
        for section in &workload.sections {
            self.missing.push(Missing {
                section: section.clone(),
                cell: workload.task.to_string(),
                server: server.to_string(),
                round,
                reason: reason.to_string(),
            });
        }
    }

    /// A server that failed twice in a cell is not tried again: a failure may take half a minute.
    fn failed_twice(&self, workload: &Workload, server: &str) -> bool {
        let cell = workload.task.to_string();
        let failures = self.missing.iter().filter(|missing| {
            missing.cell == cell && missing.server == server && missing.section == workload.sections[0]
        });
        failures.count() >= 2
    }
}

const NO_TIME: &str = "no time left";

/// Names of [`timing::OPERATIONS`] in cells.
const OPERATIONS: [&str; 6] = ["set", "set-cancel", "reset", "put-off", "cancel", "fire"];
