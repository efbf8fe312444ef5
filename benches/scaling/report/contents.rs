//! What is in a report, in reading order: chapters of a text, a picture and a table, each from one section of the run.

use super::super::support::table::Table;
use super::bars::{Bars, Group};
use super::dots::{Dots, Row};
use super::drawing::Picture;
use super::frame::Heading;
use super::lines::{Line, Lines};
use super::metric::{Coordinate, Metric};
use super::palette;
use super::statistics::{Spread, Statistics};
use super::unit::Unit;
use super::words;

pub struct Chapter {
    pub title: String,
    pub text: String,
    /// The name of its file, and the picture; some chapters are tables alone.
    pub picture: Option<(String, Picture)>,
    pub table: Table,
}

/// Sections that the run does not have leave their chapters out.
pub fn chapters(statistics: &Statistics<'_>) -> Vec<Chapter> {
    let mut chapters = Vec::new();
    for section in ["ten", "cells"] {
        chapters.extend(ratios(statistics, section));
        chapters.extend(costs(statistics, section));
    }
    for course in &COURSES {
        chapters.extend(course.chapters(statistics));
    }
    for group in &GROUPS {
        chapters.extend(group.chapter(statistics));
    }
    chapters
}

/// A metric along a coordinate; cells that differ in anything else are in pictures of their own.
struct Course {
    section: &'static str,
    along: Coordinate,
    metric: Metric,
    file: &'static str,
    title: &'static str,
    drawn: bool,
}

/// Cells of a section below each other.
struct Bundle {
    section: &'static str,
    metric: Metric,
    file: &'static str,
    title: &'static str,
    note: &'static str,
    drawn: bool,
}

const COURSES: [Course; 12] = [
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

const GROUPS: [Bundle; 7] = [
    bundle(
        "bulk",
        Metric::Cost,
        "bulk",
        "Server CPU of a bulk transfer, per 16 KiB",
        "Written to as fast as it goes, and the echo is read.",
    ),
    bundle("bulk", Metric::Rate, "", "Bulk transfer: units of 16 KiB per second", ""),
    bundle(
        "churn",
        Metric::Cost,
        "churn",
        "Server CPU to accept, echo once and close, per connection",
        "64 bytes there and back on each connection.",
    ),
    bundle("churn", Metric::Rate, "", "Connections made, used and closed per second", ""),
    bundle(
        "churn",
        Metric::Median,
        "",
        "Latency of a new connection, from connecting to its echo, median",
        "",
    ),
    bundle(
        "churn",
        Metric::Slow,
        "",
        "Latency of a new connection, from connecting to its echo, 99th percentile",
        "",
    ),
    bundle("timers", Metric::Cost, "timers", "CPU of timers, per operation", ""),
];

const fn course(
    section: &'static str,
    along: Coordinate,
    metric: Metric,
    file: &'static str,
    title: &'static str,
) -> Course {
    Course { section, along, metric, file, title, drawn: !file.is_empty() }
}

const fn bundle(
    section: &'static str,
    metric: Metric,
    file: &'static str,
    title: &'static str,
    note: &'static str,
) -> Bundle {
    Bundle { section, metric, file, title, note, drawn: !file.is_empty() }
}

fn ratios(statistics: &Statistics<'_>, section: &str) -> Option<Chapter> {
    let cells = statistics.cells(section);
    let servers = statistics.servers(section);
    let baseline = statistics.baseline(section);
    let spread = |cell: &str, server: &str| statistics.spread(section, cell, server, Metric::CostRatio);
    let mut table = Table::new(heads(&servers));
    for cell in &cells {
        let ratios = servers.iter().map(|server| written(spread(cell, server), Unit::Ratio));
        table.row([cell.to_string()].into_iter().chain(ratios));
    }
    let mean = |server: &&str| match statistics.geometric_mean(section, server) {
        None => String::new(),
        Some((mean, count)) if count == cells.len() => format!("{mean:.3}"),
        Some((mean, count)) => format!("{mean:.3} ({count} of {} cells)", cells.len()),
    };
    table.row(["geometric mean".to_string()].into_iter().chain(servers.iter().map(mean)));

    // The baseline is the line at 1.
    let drawn: Vec<&str> = servers.iter().copied().filter(|server| *server != baseline).collect();
    let row = |cell: &&str| Row {
        name: cell.to_string(),
        ratios: drawn.iter().map(|server| spread(cell, server)).collect(),
        is_mean: false,
    };
    let means = drawn.iter().map(|server| {
        let (mean, count) = statistics.geometric_mean(section, server)?;
        (count == cells.len()).then_some(mean).and_then(|mean| Spread::of(&[mean]))
    });
    let mean = Row { name: "geometric mean".into(), ratios: means.collect(), is_mean: true };
    let title = match section {
        "ten" => "The ten cells: server CPU per message, relative to",
        _ => "Other cells: server CPU per message, relative to",
    };
    let title = format!("{title} {}", words::baseline(baseline));
    let note = format!(
        "As a ratio to {} in the same round. Medians of {}, lines from lowest to highest.",
        words::the_baseline(baseline),
        words::rounds(statistics.rounds(section))
    );
    let dots = Dots {
        heading: Heading { title: &title, note: &note, run: statistics.run },
        servers: drawn.clone(),
        rows: cells.iter().map(row).chain([mean]).collect(),
    };
    let picture = dots.draw().map(|picture| (format!("ratio-{section}.svg"), picture));
    let text = format!(
        "As a ratio to {} in the same round: median [lowest..highest].",
        words::the_baseline(baseline)
    );
    (!cells.is_empty()).then_some(Chapter { title, text, picture, table })
}

/// What the ratios are made of.
fn costs(statistics: &Statistics<'_>, section: &str) -> Option<Chapter> {
    let (cells, servers) = (statistics.cells(section), statistics.servers(section));
    let mut table = Table::new(heads(&servers).chain(["unit".to_string()]));
    for cell in &cells {
        let figures = servers.iter().map(|server| {
            let cost = statistics.spread(section, cell, server, Metric::Cost)?;
            let rate = statistics.spread(section, cell, server, Metric::Rate)?;
            let (cost, rate) = (Unit::Seconds.figure(cost.median), Unit::PerSecond.figure(rate.median));
            Some(format!("{cost}, {rate}"))
        });
        let figures = figures.map(|figure| figure.unwrap_or_else(|| ABSENT.into()));
        let unit = words::unit(cell).to_string();
        table.row([cell.to_string()].into_iter().chain(figures).chain([unit]));
    }
    let title = match section {
        "ten" => "The ten cells: CPU and rate",
        _ => "Other cells: CPU and rate",
    };
    let text = "Server CPU per unit, and units per second: medians of the rounds.";
    (!cells.is_empty()).then(|| Chapter { title: title.into(), text: text.into(), picture: None, table })
}

impl Course {
    fn chapters(&self, statistics: &Statistics<'_>) -> Vec<Chapter> {
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
        let rounds = words::rounds(statistics.rounds(self.section));
        let mut note = format!("{text} Medians of {rounds}, bands from lowest to highest.");
        let is_memory = matches!(self.metric, Metric::IdleMemory | Metric::UsedMemory);
        if is_memory {
            note += " Shaded: less than a page of 4 KiB in all; zero is not on the axis.";
        }
        let silent = |line: &&Line<'_>| line.points.iter().all(|(_, spread)| spread.is_none());
        let silent: Vec<&str> = lines.iter().filter(silent).map(|line| palette::name(line.server)).collect();
        if !silent.is_empty() {
            note += &format!(" No figures: {}.", silent.join(", "));
        }
        let picture = Lines {
            heading: Heading { title: &title, note: &note, run: statistics.run },
            along: words::along(self.along),
            units: (self.along.unit(), unit),
            lines,
            floor: is_memory.then_some(|connections| PAGE / connections),
        };
        let picture = if self.drawn { picture.draw() } else { None };
        let picture = picture.map(|picture| (format!("{}{}.svg", self.file, words::suffix(kind)), picture));
        Some(Chapter { title, text, picture, table })
    }
}

impl Bundle {
    fn chapter(&self, statistics: &Statistics<'_>) -> Option<Chapter> {
        let (cells, servers) = (statistics.cells(self.section), statistics.servers(self.section));
        let unit = self.metric.unit();
        let mut table = Table::new(heads(&servers));
        let mut groups = Vec::new();
        for cell in cells {
            let spread = |server: &&'_ str| statistics.spread(self.section, cell, server, self.metric);
            table.row(
                [cell.to_string()]
                    .into_iter()
                    .chain(servers.iter().map(|server| written(spread(server), unit))),
            );
            let bars = servers.iter().map(|server| (*server, spread(server))).collect();
            groups.push(Group { name: words::cell(cell), bars });
        }
        groups.iter().flat_map(|group| &group.bars).find_map(|(_, spread)| *spread)?;
        let note = format!(
            "{} Medians of {}, thin lines from lowest to highest.",
            self.note,
            words::rounds(statistics.rounds(self.section))
        );
        let heading = Heading { title: self.title, note: note.trim_start(), run: statistics.run };
        let picture = if self.drawn { Bars { heading, unit, groups }.draw() } else { None };
        let picture = picture.map(|picture| (format!("{}.svg", self.file), picture));
        Some(Chapter { title: self.title.into(), text: self.note.into(), picture, table })
    }
}

fn heads(servers: &[&str]) -> impl Iterator<Item = String> {
    let names: Vec<String> = servers.iter().map(|server| palette::name(server).to_owned()).collect();
    ["cell".to_string()].into_iter().chain(names)
}

fn written(spread: Option<Spread>, unit: Unit) -> String {
    spread.map_or_else(|| ABSENT.into(), |spread| spread.written(unit))
}

/// Memory becomes resident page by page.
const PAGE: f64 = 4096.0;

/// Where a server has no figure.
const ABSENT: &str = "–";
