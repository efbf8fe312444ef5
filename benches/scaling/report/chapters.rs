//! The chapters of a report, in reading order: a text, a plot and a table, each from one section of the run.

use super::super::run::Run;
use super::super::support::Result;
use super::super::support::table::Table;
use super::canvas::Heading;
use super::dot_plot::DotPlot;
use super::line_plot::LinePlot;
use super::servers;
use super::statistics::*;
use super::unit::Unit;

pub struct Chapter {
    pub section: &'static str,
    pub title: String,
    pub text: String,
    /// File name and SVG text; some chapters have a table alone.
    pub plot: Option<(String, String)>,
    pub table: Table,
}

/// A metric of a section, the name of the plot (empty: a table alone), and the title.
struct Spec(&'static str, Layout, Metric, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A line for each server along a number in the names of the cells; a chapter for each depth.
    Along { letter: char, name: &'static str, unit: Unit },
    /// Cells one below the other.
    Rows,
}

/// Sections that the run does not have are left out.
pub fn chapters(run: &Run) -> Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    for spec in &SPECS {
        let cells = Section { run, name: spec.0 }.cells();
        let depth = |cell: &str| if spec.1 == Layout::Rows { 1.0 } else { number(cell, 'd').unwrap_or(1.0) };
        let mut depths: Vec<f64> = cells.iter().map(|cell| depth(cell)).collect();
        depths.sort_by(f64::total_cmp);
        depths.dedup();
        for one in depths {
            let cells = cells.iter().copied().filter(|cell| depth(cell) == one).collect();
            chapters.extend(spec.chapter(run, one, cells)?);
        }
    }
    Ok(chapters)
}

impl Spec {
    fn chapter(&self, run: &Run, depth: f64, mut cells: Vec<&str>) -> Result<Option<Chapter>> {
        let &Spec(name, layout, metric, file, title) = self;
        let section = Section { run, name };
        let (servers, baseline) = (section.servers(), section.baseline());
        let is_ratio = metric.unit == Unit::Ratio;
        let has_mean = is_ratio && layout == Layout::Rows;
        cells.sort_by(|one, other| layout.position(one).total_cmp(&layout.position(other)));
        let column = |server: &str| -> Vec<_> {
            let mean = || section.mean_ratio(server).and_then(|mean| Spread::of(&[mean]));
            let figures = cells.iter().map(|cell| section.spread(cell, server, metric));
            figures.chain(has_mean.then(mean)).collect()
        };
        let columns: Vec<(&str, Vec<Option<Spread>>)> =
            servers.iter().map(|server| (*server, column(server))).collect();
        if columns.iter().all(|(_, figures)| figures.iter().all(Option::is_none)) {
            return Ok(None);
        }

        let mean_name = format!("geometric mean of {}", cells.len());
        let rows: Vec<&str> = cells.iter().copied().chain(has_mean.then_some(mean_name.as_str())).collect();
        let names = servers.iter().map(|server| servers::name(server));
        let mut table = Table::new(["cell"].into_iter().chain(names));
        for (row, name) in rows.iter().enumerate() {
            let spreads = columns.iter().map(|(_, spreads)| spreads[row]); // as many as there are rows
            let figures = spreads.map(|spread| match spread {
                Some(mean) if row == cells.len() => format!("{:.3}", mean.median),
                Some(spread) => spread.format(metric.unit),
                None => "–".to_owned(),
            });
            table.row([name.to_string()].into_iter().chain(figures));
        }

        let (mut title, mut text) = (title.to_owned(), workload(name, metric.unit, depth));
        if is_ratio {
            title += if baseline == "c" { " C" } else { " mio" };
            let baseline = if baseline == "c" { "the epoll loop in C" } else { "the mio loop" };
            text += &format!(" Ratios to {baseline} in the same round.");
        }
        if depth > 1.0 {
            title += &format!(", depth {depth}");
        }
        let text = text.trim().to_owned();
        let rounds = match section.rounds() {
            1 => "One round.".to_owned(),
            count => format!("Medians of {count} rounds, with their ranges from lowest to highest."),
        };
        let notes = if text.is_empty() { [rounds, text.clone()] } else { [text.clone(), rounds] };
        let (heading, unit) = (Heading { title: &title, notes, run }, metric.unit);
        let svg = match layout {
            _ if file.is_empty() => None,
            // A single place is no axis.
            Layout::Along { .. } if cells.len() < 2 => None,
            Layout::Along { name, unit: along, .. } => {
                let places = cells.iter().map(|cell| layout.position(cell)).collect();
                LinePlot { heading, along: (name, along, places), unit, lines: columns }.draw()?
            }
            // The baseline of ratios is the line at 1.
            Layout::Rows => {
                let columns = columns.into_iter().filter(|(server, _)| !is_ratio || *server != baseline);
                DotPlot { heading, unit, rows, columns: columns.collect() }.draw()?
            }
        };
        let suffix = if depth > 1.0 { format!("-d{depth}") } else { String::new() };
        let plot = svg.map(|svg| (format!("{file}{suffix}.svg"), svg));
        Ok(Some(Chapter { section: name, title, text, plot, table }))
    }
}

impl Layout {
    /// The position of a cell along the axis, or among the rows: from few connections to many.
    fn position(self, cell: &str) -> f64 {
        let position = match self {
            Layout::Along { letter, .. } => number(cell, letter),
            Layout::Rows if cell.starts_with("pp") => None,
            Layout::Rows => number(cell, 'c').or(number(cell, 'p')),
        };
        position.unwrap_or_default()
    }
}

/// A number in the name of a cell: connections, size and depth in `pp c64 s1024 d16`.
fn number(cell: &str, letter: char) -> Option<f64> {
    cell.split(' ').find_map(|word| word.strip_prefix(letter)?.parse::<u32>().ok()).map(f64::from)
}

/// A sentence on what the cells have in common.
fn workload(section: &str, unit: Unit, depth: f64) -> String {
    match section {
        "ten" | "cells" if unit != Unit::Ratio => {
            "Per message; in bulk per 16 KiB, in churn per connection.".into()
        }
        "connections" => format!("Echo of messages of 64 B, {depth} in flight on each connection."),
        "sizes" => format!("Echo on 64 connections, {depth} in flight on each."),
        "hold" if unit == Unit::Bytes => {
            "Memory becomes resident in pages of 4 KiB, so figures of few connections are coarse.".into()
        }
        "hold" => "Connections are held; then each is sent a message.".into(),
        "bulk" => "Each connection is written to as fast as it accepts bytes, and the echo read.".into(),
        "churn" => "Each connection echoes 64 bytes and is closed.".into(),
        _ => String::new(),
    }
}

const ROWS: Layout = Layout::Rows;
const CONNECTIONS: Layout = Layout::Along { letter: 'c', name: "connections", unit: Unit::Count };
const SIZES: Layout = Layout::Along { letter: 's', name: "size of a message", unit: Unit::Bytes };

#[rustfmt::skip]
const SPECS: [Spec; 25] = [
    Spec("ten", ROWS, COST_RATIO, "ratio-ten", "The ten cells: server CPU per message, relative to"),
    Spec("ten", ROWS, COST, "", "The ten cells: server CPU per message"),
    Spec("ten", ROWS, RATE, "", "The ten cells: messages per second"),
    Spec("cells", ROWS, COST_RATIO, "ratio-cells", "Other cells: server CPU per message, relative to"),
    Spec("cells", ROWS, COST, "", "Other cells: server CPU per message"),
    Spec("cells", ROWS, RATE, "", "Other cells: messages per second"),
    Spec("connections", CONNECTIONS, RATE, "throughput", "Messages per second"),
    Spec("connections", CONNECTIONS, COST, "cpu", "Server CPU per message"),
    Spec("connections", CONNECTIONS, COST_RATIO, "cpu-ratio", "Server CPU per message, relative to"),
    Spec("connections", CONNECTIONS, LATENCY_P50, "latency-p50", "Latency, median"),
    Spec("connections", CONNECTIONS, LATENCY_P99, "latency-p99", "Latency, 99th percentile"),
    Spec("connections", CONNECTIONS, LATENCY_P999, "", "Latency, 99.9th percentile"),
    Spec("hold", CONNECTIONS, MEMORY_IDLE, "memory-idle", "Memory per idle connection"),
    Spec("hold", CONNECTIONS, MEMORY_USED, "memory-used", "Memory per connection after a message on each"),
    Spec("hold", CONNECTIONS, MEMORY_CLOSED, "", "Memory per connection that stays when all are closed"),
    Spec("hold", CONNECTIONS, COST, "hold-cpu", "Server CPU for a message on each held connection, per message"),
    Spec("sizes", SIZES, COST, "cpu-over-size", "Server CPU per message over its size"),
    Spec("sizes", SIZES, COST_RATIO, "cpu-ratio-over-size", "Server CPU per message over its size, relative to"),
    Spec("bulk", ROWS, COST, "bulk", "Server CPU of a bulk transfer, per 16 KiB"),
    Spec("bulk", ROWS, RATE, "", "Bulk transfer: units of 16 KiB per second"),
    Spec("churn", ROWS, COST, "churn", "Server CPU to accept, echo once and close, per connection"),
    Spec("churn", ROWS, RATE, "", "Connections made, used and closed per second"),
    Spec("churn", ROWS, LATENCY_P50, "", "Latency of a new connection, from connecting to its echo, median"),
    Spec("churn", ROWS, LATENCY_P99, "", "Latency of a new connection, from connecting to its echo, 99th percentile"),
    Spec("timers", ROWS, COST, "timers", "CPU of timers, per operation"),
];
