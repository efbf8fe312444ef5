//! The measuring itself: rounds over all the work, servers in turn within each cell, in an order that rotates.

use std::time::{Duration, Instant};

use super::choices::Choices;
use super::cores::Cores;
use super::figures::{Latency, Memory, Missing, Sample};
use super::support::Result;
use super::support::cell::Cell;
use super::support::delayed::{Heap, Tokio, Twistor};
use super::support::hold;
use super::support::load;
use super::support::server::Kind;
use super::support::timing;
use super::work::{Task, Work};

/// What one server did in one cell, in one round; the delayed calls have one of these for each operation.
struct Figures {
    /// Follows the name of the cell.
    operation: Option<&'static str>,
    count: u64,
    elapsed: f64,
    cpu: f64,
    latency: Option<Latency>,
    memory: Option<Memory>,
}

/// Runs until all is measured or the time is up, and tells on stderr how far it is. Failures end nothing; `missing` are those
/// that are known before.
pub fn run(
    choices: &Choices,
    kinds: &[Kind],
    missing: Vec<Missing>,
    cores: &Cores,
) -> (Vec<Sample>, Vec<Missing>) {
    let work = choices.work();
    let (rounds, count) = (choices.options.rounds(5), work.len());
    let start = Instant::now();
    let mut rest = Rest { choices, kinds, cores, start, results: Results { samples: Vec::new(), missing } };
    let mut took = vec![Duration::ZERO; count]; // in the round before
    for round in 0..rounds {
        let mut left_out = 0;
        for (index, work) in
            work.iter().enumerate().filter(|(_, work)| round < work.rounds(rounds, choices.extent))
        {
            let begin = Instant::now();
            if rest.suffices_for(took[index]) {
                eprint!("round {}/{rounds} {}/{count} {}:", round + 1, index + 1, work.task);
                rest.measure(work, round);
                eprintln!();
                took[index] = begin.elapsed();
            } else if round > 0 {
                left_out += 1;
            } else {
                let names: Vec<&str> = rest.contenders(work.task).into_iter().map(Contender::name).collect();
                names.into_iter().for_each(|name| rest.results.fail(work, name, round, NO_TIME));
            }
        }
        if left_out > 0 {
            eprintln!("round {}/{rounds}: there was no time for {left_out} of {count} cells", round + 1);
        }
    }
    (rest.results.samples, rest.results.missing)
}

/// The run from here on.
struct Rest<'run> {
    choices: &'run Choices,
    kinds: &'run [Kind],
    cores: &'run Cores,
    start: Instant,
    results: Results,
}

impl Rest<'_> {
    /// Whether there is so much time left.
    fn suffices_for(&self, needed: Duration) -> bool {
        self.choices.time_limit().is_none_or(|limit| self.start.elapsed() + needed < limit)
    }

    fn contenders(&self, task: Task) -> Vec<Contender> {
        match task {
            Task::Load(_) | Task::Hold(_) => self.kinds.iter().copied().map(Contender::Server).collect(),
            Task::Timers(_) => Contender::TIMERS.to_vec(),
        }
    }

    fn measure(&mut self, work: &Work, round: usize) {
        let contenders = self.contenders(work.task);
        for turn in 0..contenders.len() {
            let contender = contenders[(round + turn) % contenders.len()];
            let name = contender.name();
            if self.results.given_up(work, name) {
                continue;
            }
            if !self.suffices_for(Duration::ZERO) {
                if round == 0 {
                    self.results.fail(work, name, round, NO_TIME);
                }
                continue;
            }
            match contender.sample(work.task, self.choices.options.sample, self.cores) {
                Ok(figures) => {
                    eprint!("  {name} {}", told(&figures));
                    self.results.add(work, name, round, &figures);
                }
                Err(error) => {
                    eprint!("  {name} failed: {error}");
                    self.results.fail(work, name, round, &error.to_string());
                }
            }
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy)]
enum Contender {
    Server(Kind),
    /// A binary heap.
    HeapTimers,
    TwistorTimers,
    TokioTimers,
}

impl Contender {
    /// The plain structure is what the others are compared with.
    const TIMERS: [Contender; 3] = [Contender::HeapTimers, Contender::TwistorTimers, Contender::TokioTimers];

    fn name(self) -> &'static str {
        match self {
            Contender::Server(kind) => kind.name(),
            Contender::HeapTimers => "heap",
            Contender::TwistorTimers => "twistor",
            Contender::TokioTimers => "tokio",
        }
    }

    fn sample(self, task: Task, length: Duration, cores: &Cores) -> Result<Vec<Figures>> {
        match (self, task) {
            (Contender::Server(kind), Task::Load(cell)) => Ok(vec![of_load(kind, cell, length, cores)?]),
            (Contender::Server(kind), Task::Hold(count)) => Ok(vec![of_hold(kind, count, cores)?]),
            (Contender::HeapTimers, Task::Timers(size)) => of_timers(size, timing::measure::<Heap>(size)?),
            (Contender::TwistorTimers, Task::Timers(size)) => {
                of_timers(size, timing::measure::<Twistor>(size)?)
            }
            (Contender::TokioTimers, Task::Timers(size)) => of_timers(size, timing::measure::<Tokio>(size)?),
            _ => Ok(Vec::new()),
        }
    }
}

fn of_load(kind: Kind, cell: Cell, length: Duration, cores: &Cores) -> Result<Figures> {
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
    Ok(Figures { operation: None, count: outcome.count, elapsed, cpu, latency, memory: None })
}

fn of_hold(kind: Kind, count: usize, cores: &Cores) -> Result<Figures> {
    let server = cores.start(kind)?;
    let hold::Held { before, idle, used, after, elapsed, cpu } = hold::run(&server, count, 0)?;
    server.stop()?;
    let (elapsed, cpu) = (elapsed.as_secs_f64(), cpu.as_secs_f64());
    let memory = Some(Memory { before, idle, used, after });
    Ok(Figures { operation: None, count: count as u64, elapsed, cpu, latency: None, memory })
}

/// By the CPU clock: that is the elapsed time too.
fn of_timers(size: usize, nanoseconds: timing::Figures) -> Result<Vec<Figures>> {
    let figures = OPERATIONS.into_iter().zip(nanoseconds).map(|(operation, nanoseconds)| {
        let cpu = nanoseconds * size as f64 / 1e9;
        let operation = Some(operation);
        Figures { operation, count: size as u64, elapsed: cpu, cpu, latency: None, memory: None }
    });
    Ok(figures.collect())
}

/// For one line: the CPU time of one of what is counted, or the memory.
fn told(figures: &[Figures]) -> String {
    let told = figures.iter().map(|figures| {
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
        [Figures { memory: Some(_), .. }, ..] => "",
        [Figures { operation: Some(_), .. }, ..] => " ns",
        _ => " us",
    };
    told.collect::<Vec<_>>().join("/") + unit
}

struct Results {
    samples: Vec<Sample>,
    missing: Vec<Missing>,
}

impl Results {
    fn add(&mut self, work: &Work, server: &str, round: usize, figures: &[Figures]) {
        for section in &work.sections {
            for &Figures { operation, count, elapsed, cpu, latency, memory } in figures {
                let cell = match operation {
                    Some(operation) => format!("{} {operation}", work.task),
                    None => work.task.to_string(),
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

    fn fail(&mut self, work: &Work, server: &str, round: usize, reason: &str) {
        for section in &work.sections {
            self.missing.push(Missing {
                section: section.clone(),
                cell: work.task.to_string(),
                server: server.to_string(),
                round,
                reason: reason.to_string(),
            });
        }
    }

    /// Who failed twice in a cell fails for a reason, and may have taken half a minute for it.
    fn given_up(&self, work: &Work, server: &str) -> bool {
        let cell = work.task.to_string();
        let failures = self.missing.iter().filter(|missing| {
            missing.cell == cell && missing.server == server && missing.section == work.sections[0]
        });
        failures.count() >= 2
    }
}

const NO_TIME: &str = "there was no time left";

/// What [`timing::OPERATIONS`] are called here.
const OPERATIONS: [&str; 6] = ["set", "set-cancel", "reset", "put-off", "cancel", "fire"];
