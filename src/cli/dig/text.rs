//! The answer as text for people.

use super::Answered;
use crate::dns::{Record, RecordType, Response, ResponseCode, Transport};
use crate::report::{HumanDuration, Painted, Palette};
use std::fmt::{self, Write as _};

/// A response with its question. `Display` prints it in at most `columns` columns, where words
/// allow. Without a number, no line is broken.
pub(super) struct Text<'a> {
    pub(super) answered: &'a Answered,
    pub(super) palette: Palette,
    pub(super) columns: Option<usize>,
}

/// A record as cells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    ttl: String,
    record_type: String,
    data: String,
}

impl Row {
    fn new(record: &Record<'_>) -> Row {
        Row {
            name: record.name().to_string(),
            ttl: ttl(record.ttl()),
            record_type: record.record_type().to_string(),
            data: record.data().to_string(),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answered { name, record_type, response } = self.answered;
        let outcome = outcome(response, self.answered.records());
        let style = if self.answered.records() > 0 { self.palette.good } else { self.palette.bad };
        let (name, record_type) = (name.to_string(), record_type.to_string());
        let width = name.len() + 2 + record_type.len() + 2 + outcome.len();
        let gap = if self.columns.is_some_and(|columns| width > columns) { "\n" } else { "" };
        let head = Painted(self.palette.strong, name);
        writeln!(f, "{head}  {record_type}{gap}  {}", Painted(style, outcome))?;
        let is_edns = |record: &Record<'_>| record.record_type() == RecordType::OPT;
        let rows = |records: &mut dyn Iterator<Item = Record<'_>>| {
            records.filter(|record| !is_edns(record)).map(|record| Row::new(&record)).collect::<Vec<_>>()
        };
        let sections = [
            ("answer", rows(&mut response.answers())),
            ("authority", rows(&mut response.authorities())),
            ("additional", rows(&mut response.additionals())),
        ];
        // The usual response has an answer only, which needs no heading.
        let has_headings = sections.iter().skip(1).any(|(_, rows)| !rows.is_empty());
        let table = Table::of(sections.iter().flat_map(|(_, rows)| rows), self.columns);
        for (heading, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
            writeln!(f)?;
            if has_headings {
                writeln!(f, "  {}", Painted(self.palette.faint, heading))?;
            }
            for row in rows {
                table.write(f, row, &self.palette)?;
            }
        }
        writeln!(f)?;
        for line in broken(&origin(response), self.columns.map(|columns| columns.saturating_sub(2))) {
            writeln!(f, "  {}", Painted(self.palette.faint, line))?;
        }
        Ok(())
    }
}

/// The outcome in words.
pub(super) fn outcome(response: &Response, records: usize) -> String {
    match response.code() {
        ResponseCode::NOERROR if records == 1 => "1 record".to_owned(),
        ResponseCode::NOERROR if records > 1 => format!("{records} records"),
        ResponseCode::NOERROR if response.answers().next().is_some() => {
            "the name is an alias of one without such records".to_owned()
        }
        ResponseCode::NOERROR => "the name has no such records".to_owned(),
        ResponseCode::NXDOMAIN if response.answers().next().is_some() => {
            "the name is an alias of one that does not exist (NXDOMAIN)".to_owned()
        }
        code => match meaning(code) {
            Some(meaning) => format!("{meaning} ({code})"),
            None => format!("the server answered {code}"),
        },
    }
}

fn meaning(code: ResponseCode) -> Option<&'static str> {
    match code {
        ResponseCode::NXDOMAIN => Some("the name does not exist"),
        ResponseCode::SERVFAIL => Some("the server failed to find an answer"),
        ResponseCode::REFUSED => Some("the server refuses to answer"),
        ResponseCode::FORMERR => Some("the server could not read the question"),
        ResponseCode::NOTIMP => Some("the server does not support this question"),
        _ => None,
    }
}

/// Where the response came from, and its flags.
fn origin(response: &Response) -> String {
    let mut text = format!(
        "{} from {} over {} in {}, {} bytes",
        response.code(),
        response.server(),
        transport(response.transport()),
        HumanDuration(response.took()),
        response.message().len(),
    );
    let flags = response.flags();
    let notes = [
        (flags.authoritative, "authoritative"),
        (flags.authentic_data, "validated by the server"),
        (flags.truncated, "truncated"),
        (!flags.recursion_available, "without recursion"),
    ];
    for (is_set, note) in notes {
        if is_set {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {note}");
        }
    }
    text
}

pub(super) fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    }
}

/// A number of seconds in the largest units, without loss: `1d`, `1h30m`, `59s`.
fn ttl(seconds: u32) -> String {
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The widths of the columns.
struct Table {
    name: usize,
    ttl: usize,
    record_type: usize,
    columns: Option<usize>,
}

impl Table {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>, columns: Option<usize>) -> Table {
        let mut table = Table { name: 0, ttl: 0, record_type: 0, columns };
        // A longer name takes a line of its own.
        let limit = columns.map_or(MAX_NAME, |columns| columns * 2 / 5);
        for row in rows {
            if row.name.len() <= limit {
                table.name = table.name.max(row.name.len());
            }
            table.ttl = table.ttl.max(row.ttl.len());
            table.record_type = table.record_type.max(row.record_type.len());
        }
        table
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, row: &Row, palette: &Palette) -> fmt::Result {
        let mut name = row.name.as_str();
        if name.len() > self.name && self.columns.is_some() {
            writeln!(f, "  {name}")?;
            name = "";
        }
        let (ttl, record_type) = (&row.ttl, &row.record_type);
        let (names, ttls, types) = (self.name, self.ttl, self.record_type);
        let ttl = format!("{ttl:>ttls$}");
        write!(f, "  {name:names$}  {}  {record_type:types$}  ", Painted(palette.faint, ttl))?;
        let indent = 2 + names + 2 + ttls + 2 + types + 2;
        let room = self.columns.map(|columns| columns.saturating_sub(indent).max(MIN_DATA));
        let mut lines = broken(&row.data, room).into_iter();
        writeln!(f, "{}", lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| writeln!(f, "{:indent$}{line}", ""))
    }
}

/// Breaks a text into lines at spaces. A word that is too long is not broken, so that it can be
/// copied. `Text` is printable ASCII.
fn broken(text: &str, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Max width of the column of names where lines are not broken.
const MAX_NAME: usize = 48;

/// Min width of the column of data.
const MIN_DATA: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, data: &str) -> Row {
        Row {
            name: name.to_owned(),
            ttl: "1h".to_owned(),
            record_type: "TXT".to_owned(),
            data: data.to_owned(),
        }
    }

    /// Prints the rows of a table.
    struct Rows(Vec<Row>, Option<usize>);

    impl fmt::Display for Rows {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let table = Table::of(self.0.iter(), self.1);
            self.0.iter().try_for_each(|row| table.write(f, row, &Palette::plain()))
        }
    }

    #[test]
    fn a_ttl_has_its_exact_value() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (300, "5m"),
            (5400, "1h30m"),
            (86_399, "23h59m59s"),
            (86_400, "1d"),
        ] {
            assert_eq!(ttl(seconds), text);
        }
        assert_eq!(ttl(u32::MAX), "49710d6h28m15s");
    }

    #[test]
    fn data_is_broken_at_words_and_indented() {
        let rows = vec![
            row("example.org.", "\"one two three four five six seven\""),
            row("a.example.org.", "\"x\""),
        ];
        let text = Rows(rows.clone(), Some(50)).to_string();
        let expected = "  example.org.    1h  TXT  \"one two three four five\n                           six seven\"\n  a.example.org.  1h  TXT  \"x\"\n";
        assert_eq!(text, expected);
        let text = Rows(rows, None).to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_long_name_takes_a_line_of_its_own() {
        let long = format!("{}.example.org.", "x".repeat(40));
        let rows = vec![row(&long, "\"one\""), row("short.", "\"two\"")];
        let text = Rows(rows.clone(), Some(80)).to_string();
        assert_eq!(text, format!("  {long}\n          1h  TXT  \"one\"\n  short.  1h  TXT  \"two\"\n"));
        // In a pipe, a record is a line.
        assert_eq!(Rows(rows, None).to_string().lines().count(), 2);
    }

    #[test]
    fn a_long_word_is_not_broken() {
        let word = "y".repeat(300);
        let text = Rows(vec![row("a.", &format!("before {word} after"))], Some(60)).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["a.  1h  TXT  before", &word, "after"]);
    }
}
