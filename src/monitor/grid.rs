//! Rows and columns of text on a terminal, with the widths of cells and columns.

use super::reporter::Row;
use super::track::TargetState;
use crate::escape::Escaped;
use crate::report::{HumanDuration, Painted, Palette, fit};
use anstyle::Style;
use std::fmt::Write;
use std::time::SystemTime;
use unicode_width::UnicodeWidthStr;

/// Text with its style.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), style: Style::new() }
    }
}

/// A column of the table of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Target,
    TargetState,
    Since,
    Uptime,
    Losses,
    Reconnects,
    Connects,
    Median,
    Longest,
    Certificate,
}

/// The number of columns.
pub(crate) const COLUMNS: usize = Column::ALL.len();

impl Column {
    pub(crate) const ALL: [Column; 10] = [
        Column::Target,
        Column::TargetState,
        Column::Since,
        Column::Uptime,
        Column::Losses,
        Column::Reconnects,
        Column::Connects,
        Column::Median,
        Column::Longest,
        Column::Certificate,
    ];

    pub(crate) fn heading(self) -> &'static str {
        match self {
            Column::Target => "target",
            Column::TargetState => "state",
            Column::Since => "for",
            Column::Uptime => "uptime",
            Column::Losses => "losses",
            Column::Reconnects => "reconnects",
            Column::Connects => "connects",
            Column::Median => "median",
            Column::Longest => "max",
            Column::Certificate => "cert",
        }
    }

    /// The cells of a column that is omitted while all its cells are like this.
    fn nothing(self) -> Option<&'static str> {
        match self {
            Column::Reconnects => Some("0"),
            Column::Certificate => Some("-"),
            _ => None,
        }
    }

    /// Whether cells are right-aligned, as numbers are.
    pub(crate) fn right(self) -> bool {
        !matches!(self, Column::Target | Column::TargetState)
    }
}

/// Returns the cells of one target at this time, in the order of [`Column::ALL`].
pub(crate) fn cells(row: &Row<'_>, wall: SystemTime, palette: &Palette) -> [Cell; COLUMNS] {
    let summary = row.summary();
    let cell = |text: String| Cell::plain(text);
    let faint = |text: &str| Cell { text: text.to_owned(), style: palette.faint };
    let (state, lasted) = match summary.state {
        TargetState::Unknown(None) => (Cell { text: "○ not yet".into(), style: palette.unknown }, faint("-")),
        TargetState::Unknown(Some(_)) => (
            Cell { text: "? unknown".into(), style: palette.unknown },
            cell(HumanDuration(summary.lasted).to_string()),
        ),
        TargetState::Up => (
            Cell { text: "● up".into(), style: palette.good },
            cell(HumanDuration(summary.lasted).to_string()),
        ),
        TargetState::Down(cause) => (
            Cell { text: format!("✗ {cause}"), style: palette.bad },
            cell(HumanDuration(summary.lasted).to_string()),
        ),
    };
    let time = |time: Option<_>| time.map_or(faint("-"), |time| cell(HumanDuration(time).to_string()));
    let losses = match summary.losses {
        0 => faint("0"),
        losses => Cell { text: losses.to_string(), style: palette.strong },
    };
    [
        cell(Escaped(row.target.name()).to_string()),
        state,
        lasted,
        summary.uptime.map_or(faint("-"), |share| cell(percent(share))),
        losses,
        faint(&summary.reconnects.to_string()),
        cell(summary.connects.to_string()),
        time(summary.median),
        time(summary.max),
        row.tls.map_or(faint("-"), |facts| match facts.days_left(wall) {
            Some(days) => cell(format!("{days} d")),
            None => faint("-"),
        }),
    ]
}

/// Returns the column headings.
pub(crate) fn headings(palette: &Palette) -> [Cell; COLUMNS] {
    Column::ALL.map(|column| Cell { text: column.heading().into(), style: palette.faint })
}

/// Returns the width that each column needs. The reconnects column has width 0 while all counts are
/// 0, and the column of certificates while there are none.
pub(crate) fn widths<'a>(rows: impl IntoIterator<Item = &'a [Cell; COLUMNS]>) -> [usize; COLUMNS] {
    let mut widths = [0; COLUMNS];
    let mut filled = [false; COLUMNS];
    for cells in rows {
        for (((width, filled), cell), column) in
            widths.iter_mut().zip(&mut filled).zip(cells).zip(Column::ALL)
        {
            *width = cell.text.width().max(*width);
            *filled |= cell.text != column.heading() && Some(cell.text.as_str()) != column.nothing();
        }
    }
    for (width, filled) in widths.iter_mut().zip(filled) {
        if !filled {
            *width = 0;
        }
    }
    widths
}

/// Formats one row, with two spaces before each column. Columns of width 0 are omitted.
pub(crate) fn row(cells: &[Cell; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for ((column, cell), width) in Column::ALL.iter().zip(cells).zip(widths) {
        if *width > 0 {
            line.push_str("  ");
            push(&mut line, cell, *width, column.right());
        }
    }
    line
}

/// Joins cells without gaps, in at most `width` columns.
pub(crate) fn join(cells: &[Cell], width: usize) -> String {
    let mut line = String::new();
    let mut left = width;
    for cell in cells.iter().filter(|cell| !cell.text.is_empty()) {
        let room = cell.text.width().min(left);
        push(&mut line, cell, room, false);
        left -= room;
    }
    line
}

/// Appends a cell of exactly `width` columns, padded or cut with an ellipsis.
pub(crate) fn push(line: &mut String, cell: &Cell, width: usize, right: bool) {
    let text = fit(&cell.text, width);
    let padding = width.saturating_sub(text.width());
    let (before, after) = if right { (padding, 0) } else { (0, padding) };
    // Writing to a String cannot fail.
    let _ = write!(line, "{:before$}{}{:after$}", "", Painted(cell.style, &text), "");
}

/// Formats a share. Only exactly 1 is shown as 100 %; 99.999 % is not rounded up.
fn percent(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100 %".into(),
        share => format!("{:.2} %", (share * 1e4).floor() / 1e2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_never_rounded_up_to_all() {
        assert_eq!([1.0, 0.99999, 0.5, 0.0].map(percent), ["100 %", "99.99 %", "50.00 %", "0.00 %"]);
    }

    #[test]
    fn a_cell_fills_its_width() {
        let mut line = String::new();
        push(&mut line, &Cell::plain("ab"), 4, true);
        push(&mut line, &Cell::plain("ü"), 3, false);
        push(&mut line, &Cell::plain("long text"), 5, false);
        assert_eq!(line, "  abü  long…");
    }
}
