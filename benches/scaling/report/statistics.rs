//! Figures of a run by section, cell, server and metric; several rounds become one [`Spread`].

use super::super::run::{Memory, Run, Sample};
use super::super::support::table;
use super::servers;
use super::unit::Unit;

/// A figure of a sample. With [`Unit::Ratio`] it is divided by that of the baseline in the same cell and round.
#[derive(Clone, Copy)]
pub struct Metric {
    pub unit: Unit,
    of: fn(&Sample) -> Option<f64>,
}

/// Counts per second.
pub const RATE: Metric = metric(Unit::PerSecond, |sample| Some(count(sample) / sample.elapsed));
/// CPU time of the server per count.
pub const COST: Metric = metric(Unit::Seconds, |sample| Some(sample.cpu / count(sample)));
pub const COST_RATIO: Metric = Metric { unit: Unit::Ratio, ..COST };
pub const LATENCY_P50: Metric = metric(Unit::Seconds, |sample| Some(sample.latency?.p50));
pub const LATENCY_P99: Metric = metric(Unit::Seconds, |sample| Some(sample.latency?.p99));
pub const LATENCY_P999: Metric = metric(Unit::Seconds, |sample| Some(sample.latency?.p999));
/// Resident memory per connection: before a message, after a message on each, when all are closed.
pub const MEMORY_IDLE: Metric = metric(Unit::Bytes, |sample| added(sample, |memory| memory.idle));
pub const MEMORY_USED: Metric = metric(Unit::Bytes, |sample| added(sample, |memory| memory.used));
pub const MEMORY_CLOSED: Metric = metric(Unit::Bytes, |sample| added(sample, |memory| memory.after));

/// The figures of all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub lowest: f64,
    pub median: f64,
    pub highest: f64,
}

impl Spread {
    /// `None` without figures.
    pub fn of(figures: &[f64]) -> Option<Spread> {
        (!figures.is_empty()).then(|| Spread {
            lowest: table::lowest(figures),
            median: table::median(figures),
            highest: table::highest(figures),
        })
    }

    /// `3.72 [3.61..4.02] µs`, `0.95 [0.93..0.98]`; each figure has its unit if the units differ.
    pub fn format(&self, unit: Unit) -> String {
        let [lowest, median, highest] =
            [self.lowest, self.median, self.highest].map(|figure| unit.figure(figure));
        let parts = [&lowest, &median, &highest].map(|text| text.split_once(' ').unwrap_or((text, "")));
        match parts {
            _ if lowest == highest => median,
            [(low, below), (middle, name), (high, above)] if name == below && name == above => {
                format!("{middle} [{low}..{high}] {name}").trim_end().to_owned()
            }
            _ => format!("{median} [{lowest}..{highest}]"),
        }
    }
}

/// The samples of one section.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    pub run: &'a Run,
    pub name: &'static str,
}

impl<'a> Section<'a> {
    fn samples(self) -> impl Iterator<Item = &'a Sample> {
        self.run.samples.iter().filter(move |sample| sample.section == self.name)
    }

    /// The cells with a sample of any server, in the order of their first samples.
    pub fn cells(self) -> Vec<&'a str> {
        let mut cells: Vec<&str> = Vec::new();
        for sample in self.samples() {
            if !cells.contains(&sample.cell.as_str()) {
                cells.push(&sample.cell);
            }
        }
        cells
    }

    /// The servers with a sample, and those that failed here, in the order of the plots.
    pub fn servers(self) -> Vec<&'a str> {
        let missing = self.run.missing.iter().filter(|missing| missing.section == self.name);
        let missing = missing.map(|missing| missing.server.as_str()).filter(|server| *server != EVERY);
        let mut servers: Vec<&str> =
            self.samples().map(|sample| sample.server.as_str()).chain(missing).collect();
        servers.sort_by_key(|server| (servers::rank(server), *server));
        servers.dedup();
        servers
    }

    /// The server that ratios compare with: C, or mio in a run without C.
    pub fn baseline(self) -> &'static str {
        if self.samples().any(|sample| sample.server == "c") { "c" } else { "mio" }
    }

    pub fn rounds(self) -> usize {
        self.samples().map(|sample| sample.round + 1).max().unwrap_or(0)
    }

    pub fn spread(self, cell: &str, server: &str, metric: Metric) -> Option<Spread> {
        let of = |server| self.samples().filter(move |sample| sample.cell == cell && sample.server == server);
        let baseline = self.baseline();
        let figure = |sample: &Sample| {
            let base = match metric.unit {
                Unit::Ratio => (metric.of)(of(baseline).find(|base| base.round == sample.round)?)?,
                _ => 1.0,
            };
            Some((metric.of)(sample)? / base).filter(|figure| figure.is_finite())
        };
        Spread::of(&of(server).filter_map(figure).collect::<Vec<_>>())
    }

    /// The geometric mean of the median ratios. `None` if a cell has none: a mean of fewer cells is another figure.
    pub fn mean_ratio(self, server: &str) -> Option<f64> {
        let medians =
            self.cells().into_iter().map(|cell| Some(self.spread(cell, server, COST_RATIO)?.median));
        Some(table::geometric_mean(&medians.collect::<Option<Vec<f64>>>()?))
    }
}

fn count(sample: &Sample) -> f64 {
    sample.count as f64
}

fn added(sample: &Sample, of: fn(&Memory) -> u64) -> Option<f64> {
    let memory = sample.memory?;
    Some(of(&memory).saturating_sub(memory.before) as f64 / count(sample))
}

const fn metric(unit: Unit, of: fn(&Sample) -> Option<f64>) -> Metric {
    Metric { unit, of }
}

/// The name in [`Run::missing`] of every section, every cell or every server.
pub const EVERY: &str = "all";
