//! The messages between the processes of a load and their parent.
//!
//! A child sends one JSON object a line on its standard output. The parent sends one of two words a
//! line.

use crate::cli::writer;
use crate::load::{Totals, totals_json};
use serde_json::{Value, json};
use std::io::Write;

/// A message of a child process.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// All connections that could be made are open; their number.
    Opened(u64),
    /// Progress: open connections, messages, errors, milliseconds.
    Progress([u64; 4]),
    /// The text of an error.
    Trouble(String),
    /// The end of the child's load: the endpoint and the totals.
    Ended(String, Box<Totals>),
    /// The child cannot continue; the reason.
    Failed(String),
}

/// Command of the parent: start to run, because all connections are made.
pub(super) const GO: &str = "go";
/// Command of the parent: end early, with the totals so far.
pub(super) const STOP: &str = "stop";

impl Message {
    pub(super) fn send(&self) {
        // A write error is ignored: if the parent is gone, the other pipe reports it. Only progress
        // may be dropped.
        let mut out = writer::stdout();
        let mut write = || writeln!(out, "{}", self.to_value());
        let _ = match self {
            Message::Progress(_) => write(),
            _ => writer::prioritize(write),
        };
    }

    fn to_value(&self) -> Value {
        match self {
            Message::Opened(open) => json!({ "opened": open }),
            Message::Progress(figures) => json!({ "progress": figures }),
            Message::Trouble(text) => json!({ "trouble": text }),
            Message::Ended(endpoint, totals) => {
                json!({ "ended": endpoint, "totals": totals_json::pack(totals) })
            }
            Message::Failed(why) => json!({ "failed": why }),
        }
    }

    /// Parses a line; `None` if it is not a message.
    pub(super) fn read(line: &str) -> Option<Message> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let opened = || value["opened"].as_u64().map(Message::Opened);
        let progress = || {
            let figures: Vec<u64> = value["progress"].as_array()?.iter().filter_map(Value::as_u64).collect();
            figures.try_into().ok().map(Message::Progress)
        };
        let trouble = || text("trouble").map(Message::Trouble);
        let ended = || Some(Message::Ended(text("ended")?, Box::new(totals_json::unpack(&value["totals"])?)));
        let failed = || text("failed").map(Message::Failed);
        opened().or_else(progress).or_else(trouble).or_else(ended).or_else(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_said() {
        for message in [
            Message::Opened(7),
            Message::Progress([1, 2, 3, 4]),
            Message::Trouble("a \"line\"\nand another".into()),
            Message::Ended("tcp:h:7".into(), Box::default()),
            Message::Failed("no".into()),
        ] {
            let line = message.to_value().to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Message::read(&line), Some(message));
        }
        assert_eq!(Message::read("hello"), None);
        assert_eq!(Message::read("{}"), None);
    }
}
