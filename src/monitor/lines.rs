//! One line for each event, for people, and a table at the end.

use super::cause::DownCause;
use super::reporter::{Event, Reporter, Summary, describe};
use super::track::Change;
use crate::escape::Escaped;
use crate::monitor::grid::{self, Cell};
use crate::report::HumanDuration;
use crate::report::Palette;
use crate::report::clock::Clock;
use std::io::{self, Write};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Writes events as lines:
///
/// ```text
/// 2026-11-21 03:17:12.345  tcp://localhost:80  up    connected in 0.21 ms
/// 2026-11-21 03:17:22.351  tcp://localhost:80  down  connection refused after 0.08 ms; was up for 10 s
/// ```
#[derive(Debug)]
pub struct TextReporter<W> {
    out: W,
    clock: Clock,
    palette: Palette,
    names: usize,
}

impl<W: Write> TextReporter<W> {
    /// Writes to `out`, with the targets' names in a column that is `names` wide.
    pub fn new(out: W, clock: Clock, palette: Palette, names: usize) -> TextReporter<W> {
        TextReporter { out, clock, palette, names }
    }
}

impl<W: Write + 'static> Reporter for TextReporter<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let cells = event_cells(event, &self.clock, &self.palette, self.names);
        writeln!(self.out, "{}", grid::join(&cells, usize::MAX))?;
        self.out.flush()
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let headings = grid::headings(&self.palette);
        let rows: Vec<_> = summary.rows.iter().map(|row| grid::cells(row, &self.palette)).collect();
        let widths = grid::widths(std::iter::once(&headings).chain(&rows));
        writeln!(self.out)?;
        for cells in std::iter::once(&headings).chain(&rows) {
            writeln!(self.out, "{}", grid::row(cells, &widths).trim_end())?;
        }
        self.out.flush()
    }
}

/// An event as cells: time, name (in `names` columns), state, what happened, and what came before.
pub(super) fn event_cells(event: &Event<'_>, clock: &Clock, palette: &Palette, names: usize) -> [Cell; 5] {
    let (word, style) = match event.change {
        change if change.is_up() => ("up     ", palette.good),
        change if change.is_unknown() => ("unknown  ", palette.unknown),
        _ => ("down   ", palette.bad),
    };
    let name = Escaped(event.target.name()).to_string();
    let padding = names.saturating_sub(name.width());
    let (what, before) = story(event);
    [
        Cell { text: clock.show(event.wall), style: palette.faint },
        Cell::plain(format!("  {name}{:padding$}  ", "")),
        Cell { text: word.into(), style },
        Cell::plain(what),
        Cell { text: before, style: palette.faint },
    ]
}

/// What happened, why and how long it took; and how long it was otherwise.
fn story(event: &Event<'_>) -> (String, String) {
    match event.change {
        Change::Up { took, down_for, unknown_for } => {
            (format!("connected in {}", HumanDuration(took)), before(None, down_for, unknown_for))
        }
        Change::Reconnected { after, idle, gap, count, .. } => {
            let idle = if idle { " idle" } else { "" };
            let what = format!(
                "closed by the peer after {}{idle}, reconnected in {}",
                HumanDuration(after),
                HumanDuration(gap)
            );
            (what, if count > 1 { format!("; {count} times") } else { String::new() })
        }
        Change::StillUp { took: Some(took), up_for } => (
            format!("still, connected in {}", HumanDuration(took)),
            format!("; up for {}", HumanDuration(up_for)),
        ),
        Change::StillUp { took: None, up_for } => {
            (format!("still, held for {}", HumanDuration(up_for)), String::new())
        }
        Change::Down { cause, took, up_for, unknown_for } => {
            let mut what = describe(cause, event.reason);
            // A time-out says itself how long it took.
            if let Some(took) = took.filter(|_| cause != DownCause::TimedOut) {
                what.push_str(&format!(" after {}", HumanDuration(took)));
            }
            (what, before(up_for, None, unknown_for))
        }
        Change::StillDown { cause, new_cause, down_for, .. } => {
            let cause = describe(cause, event.reason);
            let what = if new_cause { format!("{cause} now") } else { format!("still {cause}") };
            (what, format!("; down for {}", HumanDuration(down_for)))
        }
        Change::Unknown { cause, up_for, down_for, .. } => {
            let why = describe(cause, event.reason);
            (format!("not checked: {why}"), before(up_for, down_for, None))
        }
        Change::StillUnknown { cause, unknown_for, .. } => {
            let why = describe(cause, event.reason);
            (format!("still not checked: {why}"), format!("; unknown for {}", HumanDuration(unknown_for)))
        }
    }
}

/// How long the state before lasted; nothing for a first result.
fn before(up: Option<Duration>, down: Option<Duration>, unknown: Option<Duration>) -> String {
    [("up", up), ("down", down), ("unknown", unknown)]
        .iter()
        .filter_map(|(state, lasted)| Some(format!("; was {state} for {}", HumanDuration((*lasted)?))))
        .collect()
}
