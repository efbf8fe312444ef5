//! The terminal's colours and size, and the handling of failed writes.

use super::{Outcome, writer};
use crate::Reactor;
use crate::cli::Failure;
use crate::escape::Escaped;
use crate::report::{Palette, TimeFormat};
use jiff::tz::TimeZone;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;
use unicode_width::UnicodeWidthStr;

/// Returns the palette for stdout: colours if it shows them.
pub(super) fn palette() -> Palette {
    if colours(&io::stdout()) { Palette::coloured() } else { Palette::plain() }
}

/// Whether a stream shows colours: it is a terminal that supports them, and `NO_COLOR` or
/// `CLICOLOR=0` is not set. `CLICOLOR_FORCE` turns colours on for any stream. (no-color.org,
/// bixense.com/clicolors)
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if variable("NO_COLOR").is_some() || is_dumb() {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    stream.is_terminal() && variable("CLICOLOR").is_none_or(|value| value != "0")
}

/// Whether a stream is a terminal that supports escape sequences.
pub(super) fn is_screen(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !is_dumb()
}

/// Whether `TERM` is unset or names a terminal without escape sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Returns a clock in the system's time zone.
pub(super) fn clock(date: bool) -> TimeFormat {
    TimeFormat { zone: TimeZone::system(), date }
}

/// Returns columns and rows of the terminal, 80 x 24 if unknown.
pub(super) fn size() -> (u16, u16) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0))
}

/// Returns the columns of a stream's terminal, 80 if unknown.
pub(super) fn columns(stream: impl AsFd) -> u16 {
    terminal_size::terminal_size_of(stream).map_or(80, |(width, _)| width.0)
}

/// Returns the width of a column of these names when escaped, at most 40. A longer name only shifts
/// its own line.
pub(super) fn width_of<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| Escaped(name).to_string().width()).max().unwrap_or(0).min(40)
}

/// Ends a reactor when stdout cannot be written to. With `serves`, a reader that goes away is
/// ignored.
pub(super) fn end_with_stdout(reactor: &Reactor, serves: bool) {
    let remote = reactor.remote();
    writer::on_stdout_error(move |error| {
        if !(serves && error.kind() == io::ErrorKind::BrokenPipe) {
            // A reactor that is gone has ended already.
            let _ = remote.call_from_thread(|reactor| {
                reactor.stop_gracefully();
            });
        }
    });
}

/// Returns the outcome after a write error. A reader that went away is not a failure.
pub(super) fn outcome(error: Option<io::Error>, code: ExitCode) -> Outcome {
    match error {
        None => Ok(code),
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Some(error) => Err(Failure::Run(format!("cannot write to stdout: {error}"))),
    }
}

/// Formats `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
