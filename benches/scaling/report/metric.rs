//! What is read out of a sample: one figure per metric, in its unit.

use super::super::figures::Sample;
use super::unit::Unit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Counts per second.
    Rate,
    /// CPU time of the server per count.
    Cost,
    /// The cost of the sample as a ratio to that of the baseline in the same cell and round.
    CostRatio,
    Median,
    Slow,
    Slowest,
    /// Resident memory of the server per connection that says nothing.
    IdleMemory,
    /// And after a message on each.
    UsedMemory,
    /// What stays when they are closed.
    LeftMemory,
}

impl Metric {
    pub fn unit(self) -> Unit {
        match self {
            Metric::Rate => Unit::PerSecond,
            Metric::CostRatio => Unit::Ratio,
            Metric::Cost | Metric::Median | Metric::Slow | Metric::Slowest => Unit::Seconds,
            Metric::IdleMemory | Metric::UsedMemory | Metric::LeftMemory => Unit::Bytes,
        }
    }

    /// `None` where the sample says nothing about it. A ratio needs two samples: [`super::statistics`] makes it.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        let count = (sample.count > 0).then_some(sample.count as f64)?;
        let per_connection = |memory: u64, before: u64| {
            let connections = Coordinate::Connections.of(&sample.cell).unwrap_or(count);
            memory.saturating_sub(before) as f64 / connections
        };
        let figure = match self {
            Metric::Rate => count / sample.elapsed,
            Metric::Cost => sample.cpu / count,
            Metric::CostRatio => return None,
            Metric::Median => sample.latency?.p50,
            Metric::Slow => sample.latency?.p99,
            Metric::Slowest => sample.latency?.p999,
            Metric::IdleMemory => sample.memory.map(|memory| per_connection(memory.idle, memory.before))?,
            Metric::UsedMemory => sample.memory.map(|memory| per_connection(memory.used, memory.before))?,
            Metric::LeftMemory => sample.memory.map(|memory| per_connection(memory.after, memory.before))?,
        };
        figure.is_finite().then_some(figure)
    }
}

/// A number in the name of a cell, which an axis may run along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinate {
    Connections,
    /// Of a message.
    Size,
    /// Messages under way on each connection.
    Depth,
}

impl Coordinate {
    pub const ALL: [Coordinate; 3] = [Coordinate::Connections, Coordinate::Size, Coordinate::Depth];

    pub fn unit(self) -> Unit {
        match self {
            Coordinate::Size => Unit::Bytes,
            Coordinate::Connections | Coordinate::Depth => Unit::Count,
        }
    }

    /// As the name of a cell has it before the number: `c64 s1024 d16`.
    pub fn letter(self) -> char {
        match self {
            Coordinate::Connections => 'c',
            Coordinate::Size => 's',
            Coordinate::Depth => 'd',
        }
    }

    /// Its number in the name of a cell. A depth that is not written is 1.
    pub fn of(self, cell: &str) -> Option<f64> {
        let written = cell.split(' ').find_map(|word| self.number(word));
        match self {
            Coordinate::Depth => written.or(Some(1.0)),
            Coordinate::Connections | Coordinate::Size => written,
        }
    }

    /// The name of the cell without it: cells that differ in it alone have this in common.
    pub fn removed_from(self, cell: &str) -> String {
        cell.split(' ').filter(|word| self.number(word).is_none()).collect::<Vec<_>>().join(" ")
    }

    fn number(self, word: &str) -> Option<f64> {
        word.strip_prefix(self.letter())?.parse::<u32>().ok().filter(|number| *number > 0).map(f64::from)
    }
}
