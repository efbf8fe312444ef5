//! Cells of every kind side by side: what they cost in relation to the baseline, and in CPU time.

use super::super::support::table::Table;
use super::contents::{ABSENT, Chapter, heads, written};
use super::dots::{Dots, Row};
use super::frame::Heading;
use super::metric::Metric;
use super::statistics::{Spread, Statistics};
use super::unit::Unit;
use super::words;

pub fn ratios(statistics: &Statistics<'_>, section: &str) -> Option<Chapter> {
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
    table.row([mean_of(section, cells.len())].into_iter().chain(servers.iter().map(mean)));

    // The baseline is the line at 1.
    let has_figures = |server: &&str| statistics.geometric_mean(section, server).is_some();
    let others = servers.iter().copied().filter(|server| *server != baseline);
    let (drawn, silent): (Vec<&str>, Vec<&str>) = others.partition(has_figures);
    let row = |cell: &&str| Row {
        name: cell.to_string(),
        ratios: drawn.iter().map(|server| spread(cell, server)).collect(),
        is_mean: false,
    };
    let means = drawn.iter().map(|server| {
        let (mean, count) = statistics.geometric_mean(section, server)?;
        (count == cells.len()).then_some(mean).and_then(|mean| Spread::of(&[mean]))
    });
    let mean = Row { name: mean_of(section, cells.len()), ratios: means.collect(), is_mean: true };
    let title = match section {
        "ten" => "The ten cells: server CPU per message, relative to",
        _ => "Other cells: server CPU per message, relative to",
    };
    let title = format!("{title} {}", words::baseline(baseline));
    let mut note = format!(
        "As a ratio to {} in the same round. {}",
        words::the_baseline(baseline),
        words::rounds(statistics.rounds(section), "lines")
    );
    if !silent.is_empty() {
        note += &words::no_figures(&silent);
    }
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

/// Whoever compares means must know when it is not the ten.
fn mean_of(section: &str, cells: usize) -> String {
    match (section, cells) {
        ("ten", 10) => "geometric mean".into(),
        _ => format!("geometric mean of {cells}"),
    }
}

/// What the ratios are made of.
pub fn costs(statistics: &Statistics<'_>, section: &str) -> Option<Chapter> {
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
