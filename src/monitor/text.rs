//! Text output: one line for each event, for people, and a table at the end.

use super::cause::DownCause;
use super::grid::{self, Cell};
use super::reporter::{Event, Reporter, Summary, describe};
use super::tls_facts;
use super::track::Change;
use crate::report::time_format::rfc3339;
use crate::report::{HumanDuration, Palette, TextReporter};
use std::io::{self, Write};
use std::time::Duration;

impl<W: Write + 'static> Reporter for TextReporter<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let cells = event_cells(event, &self.palette);
        self.line(event.wall, event.target.name(), grid::join(&cells, usize::MAX))
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let headings = grid::headings(&self.palette);
        let rows: Vec<_> =
            summary.rows.iter().map(|row| grid::cells(row, summary.wall, &self.palette)).collect();
        let rows = || std::iter::once(&headings).chain(&rows);
        let widths = grid::widths(rows());
        let lines: String =
            rows().map(|cells| format!("{}\n", grid::row(cells, &widths).trim_end())).collect();
        self.text(&format!("\n{lines}"))
    }
}

/// Formats an event as cells: state, description, and the previous state.
pub(super) fn event_cells(event: &Event<'_>, palette: &Palette) -> [Cell; 3] {
    let (word, style) = match event.change {
        change if change.is_warning() => ("warning  ", palette.unknown),
        change if change.is_up() => ("up     ", palette.good),
        change if change.is_unknown() => ("unknown  ", palette.unknown),
        _ => ("down   ", palette.bad),
    };
    let (text, previous_state) = describe_change(event);
    [
        Cell { text: word.into(), style },
        Cell::plain(text),
        Cell { text: previous_state, style: palette.faint },
    ]
}

/// Describes the event (with its cause and duration), and the previous state.
fn describe_change(event: &Event<'_>) -> (String, String) {
    match event.change {
        Change::Up { took, down_for, unknown_for } => {
            let text = format!("connected in {}{}", HumanDuration(took), tls_text(event));
            (text, previous_state(None, down_for, unknown_for))
        }
        Change::CertificateExpires { days, not_after } => {
            let date = rfc3339(not_after);
            let date = date.get(..DATE).unwrap_or_default();
            (format!("the certificate expires in {}, on {date}", tls_facts::days(days)), String::new())
        }
        Change::Reconnected { after, idle, gap, count, .. } => {
            let idle = if idle { " idle" } else { "" };
            let text = format!(
                "closed by the peer after {}{idle}, reconnected in {}",
                HumanDuration(after),
                HumanDuration(gap)
            );
            (text, if count > 1 { format!("; {count} times") } else { String::new() })
        }
        Change::StillUp { took: Some(took), up_for } => (
            format!("still, connected in {}{}", HumanDuration(took), tls_text(event)),
            format!("; up for {}", HumanDuration(up_for)),
        ),
        Change::StillUp { took: None, up_for } => {
            (format!("still, held for {}", HumanDuration(up_for)), String::new())
        }
        Change::Down { cause, took, up_for, unknown_for } => {
            let mut text = describe(cause, event.reason);
            // The text of a timeout already names its duration.
            if let Some(took) = took.filter(|_| cause != DownCause::TimedOut) {
                text.push_str(&format!(" after {}", HumanDuration(took)));
            }
            (text, previous_state(up_for, None, unknown_for))
        }
        Change::StillDown { cause, new_cause, down_for, .. } => {
            let cause = describe(cause, event.reason);
            let text = if new_cause { format!("{cause} now") } else { format!("still {cause}") };
            (text, format!("; down for {}", HumanDuration(down_for)))
        }
        Change::Unknown { cause, up_for, down_for, .. } => {
            let why = describe(cause, event.reason);
            (format!("not checked: {why}"), previous_state(up_for, down_for, None))
        }
        Change::StillUnknown { cause, unknown_for, .. } => {
            let why = describe(cause, event.reason);
            (format!("still not checked: {why}"), format!("; unknown for {}", HumanDuration(unknown_for)))
        }
    }
}

/// Describes the TLS of a connection, if it has any.
fn tls_text(event: &Event<'_>) -> String {
    let Some(facts) = event.tls else { return String::new() };
    let left = facts.days_left(event.wall).map(|left| format!(", certificate for {}", tls_facts::days(left)));
    format!(", TLS {}{}", facts.version, left.unwrap_or_default())
}

/// Length of a date, in front of the time.
const DATE: usize = "2026-12-01".len();

/// Describes the duration of the previous state. Empty for a first result.
fn previous_state(up: Option<Duration>, down: Option<Duration>, unknown: Option<Duration>) -> String {
    [("up", up), ("down", down), ("unknown", unknown)]
        .iter()
        .filter_map(|(state, lasted)| Some(format!("; was {state} for {}", HumanDuration((*lasted)?))))
        .collect()
}
