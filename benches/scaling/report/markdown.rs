//! The report as one Markdown file: machine and command, how to read it, the chapters, missing figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::run::Run;
use super::chapters::Chapter;
use super::servers;
use super::statistics::EVERY;

pub fn render(run: &Run, chapters: &[Chapter]) -> String {
    let mut text = format!("# How servers scale\n\n{}\n{}", origin(run), include_str!("how_to_read.md"));
    for chapter in chapters {
        let _ = write!(text, "\n## {}\n", chapter.title);
        if !chapter.text.is_empty() {
            let _ = write!(text, "\n{}\n", chapter.text);
        }
        if let Some((file, _)) = &chapter.plot {
            let _ = write!(text, "\n![{}]({file})\n", chapter.title);
        }
        let _ = write!(text, "\n{}", chapter.table);
    }
    text + &missing(run)
}

fn origin(run: &Run) -> String {
    let (machine, load) = (&run.machine, run.machine.load_before);
    let pinning = match machine.pinning {
        Some(pinning) => format!("servers on core {}, the load on core {}", pinning.servers, pinning.load),
        None => "nothing was pinned".into(),
    };
    let warning = match load > MAX_QUIET_LOAD {
        true => "\n  **The machine was not quiet: rates and latencies mean little, ratios less than usual.**",
        false => "",
    };
    format!(
        "- Machine: {machine}, {}; {pinning}.\n- Date: {}.\n- Command: `{}`.\n\
         - Just before the run, other programs used {:.1} % of a core.{warning}\n",
        machine.rustc,
        run.minute(),
        run.command,
        load * 100.0
    )
}

/// A line for each server and reason. A cell of two sections is listed once.
pub fn missing(run: &Run) -> String {
    let mut text = String::new();
    let mut failures: BTreeMap<(&str, &str), BTreeMap<&str, BTreeSet<usize>>> = BTreeMap::new();
    for missing in &run.missing {
        let cells = failures.entry((&missing.server, &missing.reason)).or_default();
        cells.entry(&missing.cell).or_default().insert(missing.round + 1);
    }
    if !failures.is_empty() {
        text.push_str("\n## Missing figures\n\nPlots have gaps here, tables a dash.\n\n");
    }
    for ((server, reason), cells) in failures {
        let name = if server == EVERY { "every server" } else { servers::name(server) };
        let cells = cells.iter().map(|(cell, rounds)| {
            let rounds: Vec<String> = rounds.iter().map(usize::to_string).collect();
            match *cell {
                EVERY => "not measured".to_owned(),
                cell if rounds.len() == 1 => format!("`{cell}` (round {})", rounds[0]), // there is one
                cell => format!("`{cell}` (rounds {})", rounds.join(", ")),
            }
        });
        let cells: Vec<String> = cells.collect();
        let reason: Vec<&str> = reason.split_whitespace().collect();
        let _ = writeln!(text, "- {name}: {}. {}.", reason.join(" "), cells.join(", "));
    }
    text
}

/// Share of a core in use by other programs above which the report warns.
const MAX_QUIET_LOAD: f64 = 0.05;
