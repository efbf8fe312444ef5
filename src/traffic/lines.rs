//! One line for each reading, for people.

use super::observer::{FeedEvent, News, Observer};
use super::reading::{Difference, Reading, Value};
use crate::escape::{Escaped, EscapedJson};
use crate::monitor::{Clock, Painted, Palette, Span};
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Writes readings as lines:
///
/// ```text
/// 2026-11-21 03:17:12.345  roads  ok     congestion/level 0.42 (+0.05)  1.2 s old (payload)  took 1.9 ms
/// 2026-11-21 03:17:22.351  roads  error  connection refused after 0.21 ms
/// ```
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    clock: Clock,
    palette: Palette,
    names: usize,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`, with the feeds' names in a column of `names` columns.
    pub fn new(out: W, clock: Clock, palette: Palette, names: usize) -> Lines<W> {
        Lines { out, clock, palette, names }
    }
}

impl<W: Write + 'static> Observer for Lines<W> {
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        let palette = &self.palette;
        let name = Escaped(&event.feed.name).to_string();
        let padding = self.names.saturating_sub(name.width());
        let time = Painted(palette.faint, self.clock.show(event.wall));
        let mut line = format!("{time}  {name}{:padding$}  ", "");
        let latency = Span(event.latency);
        match event.news {
            News::Reading(reading) => {
                // Writing to a String cannot fail, here and below.
                let _ = write!(line, "{}     ", Painted(palette.good, "ok"));
                say(&mut line, reading, palette);
                let _ = write!(line, "{}", Painted(palette.faint, format_args!("took {latency}")));
            }
            News::Error(error) => {
                let word = Painted(palette.bad, "error");
                let _ = write!(line, "{word}  {}", Escaped(error));
                if error.code() != "timed_out" {
                    let _ = write!(line, "{}", Painted(palette.faint, format_args!(" after {latency}")));
                }
            }
        }
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }
}

fn say(line: &mut String, reading: &Reading, palette: &Palette) {
    for (pointer, value, difference) in &reading.values {
        let name = Escaped(pointer.as_str().trim_start_matches('/'));
        let value = shown(value);
        let _ = match difference {
            Difference::First | Difference::Same => write!(line, "{name} {value}  "),
            Difference::Added(number) => {
                write!(
                    line,
                    "{name} {value} {}  ",
                    Painted(palette.accent, format_args!("({})", signed(number)))
                )
            }
            Difference::Was(before) => {
                write!(line, "{name} {} -> {}  ", shown(before), Painted(palette.accent, value))
            }
        };
    }
    for pointer in &reading.missing {
        let _ = write!(line, "{}  ", Painted(palette.bad, format_args!("{pointer} is missing")));
    }
    if let Some(age) = reading.age {
        let text = format!("{} old ({})", Span(age.age), age.source.code());
        let _ = write!(line, "{}  ", Painted(palette.faint, text));
    }
}

/// A value as JSON, cut after 60 characters.
fn shown(value: &Value) -> String {
    let text = EscapedJson(value).to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn signed(number: &serde_json::Number) -> String {
    let text = number.to_string();
    if text.starts_with('-') { text } else { format!("+{text}") }
}

const LONGEST_VALUE: usize = 60;
