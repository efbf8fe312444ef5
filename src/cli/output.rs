//! The terminal, if there is one: its colours and its size; and what a failed write means.

use super::Outcome;
use crate::cli::Failure;
use crate::escape::Escaped;
use crate::monitor::{Clock, Palette};
use jiff::tz::TimeZone;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use unicode_width::UnicodeWidthStr;

/// Colours when stdout is a terminal that shows them and `NO_COLOR` (no-color.org) is not set.
pub(super) fn palette() -> Palette {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match io::stdout().is_terminal() && !set("NO_COLOR") && !dumb {
        true => Palette::coloured(),
        false => Palette::plain(),
    }
}

/// The time in the system's zone.
pub(super) fn clock(date: bool) -> Clock {
    Clock { zone: TimeZone::system(), date }
}

/// Columns and rows of the terminal; 80 x 24 when it does not say.
pub(super) fn size() -> (u16, u16) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0))
}

/// How wide a column of these names is when they are escaped. A longer one than 40 pushes its own line aside, and no other.
pub(super) fn width_of<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| Escaped(name).to_string().width()).max().unwrap_or(0).min(40)
}

/// What it means that a report could not be written. A reader that had enough is nothing bad.
pub(super) fn outcome(error: Option<io::Error>, code: ExitCode) -> Outcome {
    match error {
        None => Ok(code),
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Some(error) => Err(Failure::Run(format!("cannot write to stdout: {error}"))),
    }
}
