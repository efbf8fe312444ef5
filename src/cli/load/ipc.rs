//! What the processes of a load say to the one that started them: one JSON object on a line of standard output. The other
//! way there are two words.

use crate::cli::writer;
use crate::load::{Totals, totals_json};
use serde_json::{Value, json};
use std::io::Write;

/// What a process of a load has to say.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// Its connections are made, as many as could be: so many stand.
    Opened(u64),
    /// How far it is: connections that stand, messages, errors, milliseconds.
    Progress([u64; 4]),
    /// A trouble, for people.
    Trouble(String),
    /// It has ended: where the load went, and what it came to.
    Ended(String, Box<Totals>),
    /// It cannot go on.
    Failed(String),
}

/// Lets a process begin to run, when all are opened.
pub(super) const GO: &str = "go";
/// Ends it before its time, with its tally.
pub(super) const STOP: &str = "stop";

impl News {
    pub(super) fn say(&self) {
        // Whoever does not listen is gone, and that is told by the other pipe. Progress may be dropped, and nothing else.
        let mut out = writer::stdout();
        let mut say = || writeln!(out, "{}", self.to_value());
        let _ = match self {
            News::Progress(_) => say(),
            _ => writer::keep(say),
        };
    }

    fn to_value(&self) -> Value {
        match self {
            News::Opened(standing) => json!({ "opened": standing }),
            News::Progress(figures) => json!({ "progress": figures }),
            News::Trouble(text) => json!({ "trouble": text }),
            News::Ended(endpoint, tally) => json!({ "ended": endpoint, "tally": totals_json::pack(tally) }),
            News::Failed(why) => json!({ "failed": why }),
        }
    }

    /// What a line says; `None` for one that says nothing.
    pub(super) fn read(line: &str) -> Option<News> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let opened = || value["opened"].as_u64().map(News::Opened);
        let progress = || {
            let figures: Vec<u64> = value["progress"].as_array()?.iter().filter_map(Value::as_u64).collect();
            figures.try_into().ok().map(News::Progress)
        };
        let trouble = || text("trouble").map(News::Trouble);
        let ended = || Some(News::Ended(text("ended")?, Box::new(totals_json::unpack(&value["tally"])?)));
        let failed = || text("failed").map(News::Failed);
        opened().or_else(progress).or_else(trouble).or_else(ended).or_else(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_said() {
        for news in [
            News::Opened(7),
            News::Progress([1, 2, 3, 4]),
            News::Trouble("a \"line\"\nand another".into()),
            News::Ended("tcp:h:7".into(), Box::default()),
            News::Failed("no".into()),
        ] {
            let line = news.to_value().to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(News::read(&line), Some(news));
        }
        assert_eq!(News::read("hello"), None);
        assert_eq!(News::read("{}"), None);
    }
}
