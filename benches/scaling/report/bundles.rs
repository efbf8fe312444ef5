//! Cells of a section below each other, as bars: bulk, churn and timers.

use super::super::support::table::Table;
use super::bars::{Bars, Group};
use super::contents::{Chapter, heads, written};
use super::frame::Heading;
use super::metric::Metric;
use super::statistics::Statistics;
use super::words;

/// Cells of a section below each other.
pub struct Bundle {
    section: &'static str,
    metric: Metric,
    file: &'static str,
    title: &'static str,
    note: &'static str,
    drawn: bool,
}

pub const BUNDLES: [Bundle; 7] = [
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

impl Bundle {
    pub fn chapter(&self, statistics: &Statistics<'_>) -> Option<Chapter> {
        let (mut cells, servers) = (statistics.cells(self.section), statistics.servers(self.section));
        // From few to many; those that differ in a word stay as they were measured.
        cells.sort_by_key(|cell| words::extent(cell));
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
        let note = format!("{} {}", self.note, words::rounds(statistics.rounds(self.section), "thin lines"));
        let heading = Heading { title: self.title, note: note.trim_start(), run: statistics.run };
        let picture = if self.drawn { Bars { heading, unit, groups }.draw() } else { None };
        let picture = picture.map(|picture| (format!("{}.svg", self.file), picture));
        Some(Chapter { title: self.title.into(), text: self.note.into(), picture, table })
    }
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
