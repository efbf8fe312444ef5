//! Figures along an axis: how a metric goes over the connections, or over the size of a message.

use super::super::support::table::Table;
use super::contents::{Chapter, heads, written};
use super::frame::Heading;
use super::lines::{Line, Lines};
use super::metric::{Coordinate, Metric};
use super::palette;
use super::statistics::Statistics;
use super::words;

/// A metric along a coordinate; cells that differ in anything else are in pictures of their own.
pub struct Course {
    section: &'static str,
    along: Coordinate,
    metric: Metric,
    file: &'static str,
    title: &'static str,
    drawn: bool,
}

pub const COURSES: [Course; 12] = [
    course("connections", Coordinate::Connections, Metric::Rate, "throughput", "Messages per second"),
    course("connections", Coordinate::Connections, Metric::Cost, "cpu", "Server CPU per message"),
    course(
        "connections",
        Coordinate::Connections,
        Metric::CostRatio,
        "cpu-ratio",
        "Server CPU per message, relative to",
    ),
    course("connections", Coordinate::Connections, Metric::Median, "latency-p50", "Latency, median"),
    course("connections", Coordinate::Connections, Metric::Slow, "latency-p99", "Latency, 99th percentile"),
    course("connections", Coordinate::Connections, Metric::Slowest, "", "Latency, 99.9th percentile"),
    course("hold", Coordinate::Connections, Metric::IdleMemory, "memory-idle", "Memory per idle connection"),
    course(
        "hold",
        Coordinate::Connections,
        Metric::UsedMemory,
        "memory-used",
        "Memory per connection after a message on each",
    ),
    course(
        "hold",
        Coordinate::Connections,
        Metric::LeftMemory,
        "",
        "Memory per connection that stays when all are closed",
    ),
    course(
        "hold",
        Coordinate::Connections,
        Metric::Cost,
        "hold-cpu",
        "Server CPU for a message on each held connection, per message",
    ),
    course("sizes", Coordinate::Size, Metric::Cost, "cpu-over-size", "Server CPU per message over its size"),
    course(
        "sizes",
        Coordinate::Size,
        Metric::CostRatio,
        "cpu-ratio-over-size",
        "Server CPU per message over its size, relative to",
    ),
];

impl Course {
    pub fn chapters(&self, statistics: &Statistics<'_>) -> Vec<Chapter> {
        let cells = statistics.cells(self.section);
        let cells = cells.into_iter().filter(|cell| self.along.of(cell).is_some());
        let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
        for cell in cells {
            let kind = self.along.removed_from(cell);
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, cells)) => cells.push(cell),
                None => kinds.push((kind, vec![cell])),
            }
        }
        kinds.iter().filter_map(|(kind, cells)| self.chapter(statistics, kind, cells)).collect()
    }

    /// Of cells that differ in one coordinate alone.
    fn chapter(&self, statistics: &Statistics<'_>, kind: &str, cells: &[&str]) -> Option<Chapter> {
        let mut cells = cells.to_vec();
        let at = |cell: &str| self.along.of(cell).unwrap_or_default();
        cells.sort_by(|one, other| at(one).total_cmp(&at(other)));
        let servers = statistics.servers(self.section);
        let lines: Vec<Line<'_>> = servers
            .iter()
            .map(|&server| Line {
                server,
                points: cells
                    .iter()
                    .map(|cell| (at(cell), statistics.spread(self.section, cell, server, self.metric)))
                    .collect(),
            })
            .collect();
        lines.iter().flat_map(|line| &line.points).find_map(|(_, spread)| *spread)?;

        let unit = self.metric.unit();
        let mut table = Table::new(heads(&servers));
        for (index, cell) in cells.iter().enumerate() {
            let figures = lines.iter().map(|line| written(line.points[index].1, unit)); // every line has all the cells
            table.row([cell.to_string()].into_iter().chain(figures));
        }
        let baseline = statistics.baseline(self.section);
        let ratio = match self.metric {
            Metric::CostRatio => format!(" {}", words::baseline(baseline)),
            _ => String::new(),
        };
        let title = match words::variant(kind) {
            Some(variant) => format!("{}{ratio}, {variant}", self.title),
            None => format!("{}{ratio}", self.title),
        };
        let mut text = words::workload(kind, self.along);
        if self.metric == Metric::CostRatio {
            text += &format!(" To {} in the same round.", words::the_baseline(baseline));
        }
        let rounds = words::rounds(statistics.rounds(self.section), "bands");
        let mut note = format!("{text} {rounds}");
        let is_memory = matches!(self.metric, Metric::IdleMemory | Metric::UsedMemory);
        if is_memory {
            note += " Shaded: less than a page of 4 KiB in all; zero is not on the axis.";
        }
        let silent = |line: &&Line<'_>| line.points.iter().all(|(_, spread)| spread.is_none());
        let silent: Vec<&str> = lines.iter().filter(silent).map(|line| line.server).collect();
        if !silent.is_empty() {
            note += &words::no_figures(&silent);
        }
        let zero = |line: &&Line<'_>| {
            let mut figures = line.points.iter().filter_map(|(_, spread)| *spread).peekable();
            figures.peek().is_some() && figures.all(|spread| spread.median <= 0.0)
        };
        let zero: Vec<&str> = lines.iter().filter(zero).map(|line| palette::name(line.server)).collect();
        if !zero.is_empty() {
            note += &format!(" Zero everywhere: {}.", zero.join(", "));
        }
        let picture = Lines {
            heading: Heading { title: &title, note: &note, run: statistics.run },
            along: words::along(self.along),
            units: (self.along.unit(), unit),
            lines,
            floor: is_memory.then_some(|connections| PAGE / connections),
        };
        // A single place is no axis.
        let picture = if self.drawn && cells.len() > 1 { picture.draw() } else { None };
        let picture = picture.map(|picture| (format!("{}{}.svg", self.file, words::suffix(kind)), picture));
        Some(Chapter { title, text, picture, table })
    }
}

const fn course(
    section: &'static str,
    along: Coordinate,
    metric: Metric,
    file: &'static str,
    title: &'static str,
) -> Course {
    Course { section, along, metric, file, title, drawn: !file.is_empty() }
}

/// Memory becomes resident page by page.
const PAGE: f64 = 4096.0;
