//! Text output: one line for each reading, for people.

use super::age::Age;
use super::feed::Pointer;
use super::observer::{FeedError, FeedEvent, FeedObserver};
use super::reading::{Difference, Reading, Value};
use crate::escape::{Escaped, EscapedJson};
use crate::http::FetchError;
use crate::report::{HumanDuration, Painted, Palette, TextReporter, fit};
use std::fmt::Write as _;
use std::io::{self, Write};

impl<W: Write + 'static> FeedObserver for TextReporter<W> {
    fn event(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        let palette = &self.palette;
        let mut line = String::new();
        let latency = HumanDuration(event.latency);
        match event.result {
            Ok(reading) => {
                // Writing to a String cannot fail, here and below.
                let _ = write!(line, "{}     ", Painted(palette.good, "ok"));
                write_reading(&mut line, reading, palette);
                let _ = write!(line, "{}", Painted(palette.faint, format_args!("took {latency}")));
            }
            Err(error) => {
                let word = Painted(palette.bad, "error");
                let _ = write!(line, "{word}  {}", Escaped(error));
                if !matches!(error, FeedError::Fetch(FetchError::TimedOut(..))) {
                    let _ = write!(line, "{}", Painted(palette.faint, format_args!(" after {latency}")));
                }
            }
        }
        self.line(event.wall, &event.feed.name, line)
    }
}

fn write_reading(line: &mut String, reading: &Reading, palette: &Palette) {
    for (pointer, value, difference) in &reading.values {
        let name = name(pointer);
        let value = format_value(value);
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
                write!(line, "{name} {} -> {}  ", format_value(before), Painted(palette.accent, value))
            }
        };
    }
    for pointer in &reading.missing {
        let text = format!("{} is missing", fit(&Escaped(pointer.as_str()).to_string(), MAX_NAME));
        let _ = write!(line, "{}  ", Painted(palette.bad, text));
    }
    for (pointer, problem) in &reading.problems {
        let text = format!("{} {}", name(pointer), Escaped(problem));
        let _ = write!(line, "{}  ", Painted(palette.bad, text));
    }
    if let Some(age) = reading.age {
        let _ = write!(line, "{}  ", Painted(palette.faint, format_age(age)));
    }
}

/// Formats a pointer without its leading slash, cut to the maximum width.
fn name(pointer: &Pointer) -> String {
    fit(&Escaped(pointer.as_str().trim_start_matches('/')).to_string(), MAX_NAME)
}

/// Formats a value as JSON, cut to the maximum width.
fn format_value(value: &Value) -> String {
    fit(&EscapedJson(value).to_string(), MAX_VALUE)
}

/// Formats as `1.2 s old (payload)` or `in the future by 2 min 3 s (payload, clock differs?)`.
fn format_age(age: Age) -> String {
    let source = age.source.code();
    let zone = if age.zone_assumed { ", no zone: taken as UTC" } else { "" };
    match age.future {
        false => format!("{} old ({source}{zone})", HumanDuration(age.age)),
        true => format!("in the future by {} ({source}{zone}, clock differs?)", HumanDuration(age.age)),
    }
}

fn signed(number: &serde_json::Number) -> String {
    let text = number.to_string();
    if text.starts_with('-') { text } else { format!("+{text}") }
}

/// Maximum widths of a name and of a value, in columns.
const MAX_NAME: usize = 40;
const MAX_VALUE: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::AgeSource;
    use std::time::Duration;

    #[test]
    fn an_age_shows_if_it_is_in_the_future_or_lacks_a_zone() {
        let age = |seconds, future, zone_assumed| Age {
            age: Duration::from_secs(seconds),
            future,
            zone_assumed,
            source: AgeSource::Payload,
        };
        assert_eq!(format_age(age(4, false, false)), "4.0 s old (payload)");
        assert_eq!(format_age(age(123, true, false)), "in the future by 2 min 3 s (payload, clock differs?)");
        assert_eq!(format_age(age(4, false, true)), "4.0 s old (payload, no zone: taken as UTC)");
    }

    #[test]
    fn names_and_values_are_cut_by_their_width() {
        let pointer: Pointer = format!("/{}", "日".repeat(100)).parse().unwrap();
        assert_eq!(name(&pointer), format!("{}…", "日".repeat(19)));
        assert_eq!(format_value(&Value::from("x".repeat(100))), format!("\"{}…", "x".repeat(58)));
        // An escape is six columns wide and is never cut.
        let escapes = "\u{1b}".repeat(100);
        let pointer: Pointer = format!("/{escapes}").parse().unwrap();
        assert_eq!(name(&pointer), format!("{}…", r"\u{1b}".repeat(6)));
        assert_eq!(format_value(&Value::from(escapes)), format!("\"{}…", r"\u001b".repeat(9)));
        // JSON writes these characters as surrogate pairs.
        assert_eq!(
            format_value(&Value::from("\u{e0041}".repeat(100))),
            format!("\"{}…", r"\udb40\udc41".repeat(4))
        );
    }
}
