//! Text output for people, one line for each event.

use super::{Painted, Palette, TimeFormat};
use crate::escape::Escaped;
use std::fmt;
use std::io::{self, Write};
use std::time::SystemTime;
use unicode_width::UnicodeWidthStr;

/// A reporter that writes lines for people. It is a
/// [`monitor::Reporter`](crate::monitor::Reporter), which also writes a table at the end, and a
/// [`traffic::FeedObserver`](crate::traffic::FeedObserver):
///
/// ```text
/// 2026-11-21 03:17:12.345  tcp://localhost:80  up    connected in 0.21 ms
/// 2026-11-21 03:17:22.351  tcp://localhost:80  down  connection refused after 0.08 ms; was up for 10 s
/// ```
///
/// ```text
/// 2026-11-21 03:17:12.345  roads  ok     congestion/level 0.42 (+0.05)  1.2 s old (payload)  took 1.9 ms
/// 2026-11-21 03:17:22.351  roads  error  connection refused after 0.21 ms
/// ```
#[derive(Debug)]
pub struct TextReporter<W> {
    out: W,
    clock: TimeFormat,
    pub(crate) palette: Palette,
    names: usize,
}

impl<W: Write> TextReporter<W> {
    /// Creates a reporter that writes to `out`. The column of names is `names` wide.
    pub fn new(out: W, clock: TimeFormat, palette: Palette, names: usize) -> TextReporter<W> {
        TextReporter { out, clock, palette, names }
    }

    /// Writes a line: time, name, text.
    pub(crate) fn line(&mut self, wall: SystemTime, name: &str, text: impl fmt::Display) -> io::Result<()> {
        let time = Painted(self.palette.faint, self.clock.show(wall));
        let name = Escaped(name).to_string();
        let padding = self.names.saturating_sub(name.width());
        self.text(&format!("{time}  {name}{:padding$}  {text}\n", ""))
    }

    /// Writes text as it is, line by line.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        for line in text.split_inclusive('\n') {
            self.out.write_all(line.as_bytes())?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_padded_to_their_width() {
        let clock = TimeFormat { zone: jiff::tz::TimeZone::UTC, date: false };
        let mut reporter = TextReporter::new(Vec::new(), clock, Palette::plain(), 6);
        for name in ["日本", "a\nb", "long name"] {
            reporter.line(SystemTime::UNIX_EPOCH, name, "up").unwrap();
        }
        let text = String::from_utf8(reporter.out).unwrap();
        let names: Vec<_> = text.lines().map(|line| line.trim_start_matches("00:00:00.000")).collect();
        assert_eq!(names, ["  日本    up", "  a\\nb    up", "  long name  up"]);
    }
}
