//! What is wrong with the text of an endpoint, and where.

use crate::escape::Escaped;
use std::fmt;

/// Why a text is no endpoint: one type for everything that can be wrong with it, from an unknown prefix to a bad
/// value. (Twisted: `ValueError`, `TypeError`, `KeyError`, as it comes.)
///
/// ```
/// let wrong = twistor::endpoint::server_from_string("tcp:80:backlgo=5").err().unwrap();
/// assert_eq!((wrong.key.as_deref(), wrong.position), (Some("backlgo"), 7));
/// let said = wrong.to_string();
/// assert!(said.starts_with("bad endpoint \"tcp:80:backlgo=5\" at column 8: backlgo: "), "{said}");
/// assert!(said.contains("did you mean backlog?"), "{said}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The whole text, as it was given.
    pub text: String,
    /// Where in the text it is wrong: a count of bytes, from 0. Columns as they are printed begin with 1.
    pub position: usize,
    /// The argument that is wrong, by its name, if it is about one.
    pub key: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad endpoint \"{}\" at column {}: ", Escaped(&self.text), self.position + 1)?;
        // An empty word has no name to say.
        if let Some(key) = self.key.as_deref().filter(|key| !key.is_empty()) {
            write!(f, "{}: ", Escaped(key))?;
        }
        Escaped(&self.why).fmt(f)
    }
}

impl std::error::Error for ParseError {}

/// "What there is, and what was probably meant": the end of a message about an unknown word.
pub(super) fn known<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let list = known.clone().collect::<Vec<_>>().join(", ");
    match known.map(|one| (distance(word, one), one)).min() {
        Some((distance, nearest)) if is_typo(word, distance) => {
            format!("did you mean {nearest}? Known are: {list}")
        }
        Some(_) => format!("known are: {list}"),
        None => "it has none".to_owned(),
    }
}

/// Whether a word is probably a mistyped `name`.
pub(crate) fn is_near(word: &str, name: &str) -> bool {
    is_typo(word, distance(word, name))
}

/// Whether so many letters are few enough: of a short word they would be all.
fn is_typo(word: &str, distance: usize) -> bool {
    distance <= 2 && distance < word.chars().count()
}

/// How many letters are to be changed, added or left out to make one word of the other; case does not count.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().map(|c| c.to_ascii_lowercase()).collect();
    // One place more than the word has letters: every index below is in it.
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, letter) in from.chars().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (at, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_said() {
        let names = || ["backlog", "interface", "mode"].into_iter();
        assert!(known("baklog", names()).starts_with("did you mean backlog?"));
        assert!(known("Mode", names()).starts_with("did you mean mode?"));
        assert_eq!(known("colour", names()), "known are: backlog, interface, mode");
        assert_eq!(known("x", [].into_iter()), "it has none");
        // Two letters make any word of two letters: that says nothing.
        for word in ["", "x", "xy"] {
            assert_eq!(known(word, ["fd", "tcp"].into_iter()), "known are: fd, tcp");
        }
    }

    #[test]
    fn letters_are_counted() {
        for (from, to, count) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("tpc", "tcp", 2), ("tcp6", "tcp", 1)]
        {
            assert_eq!(distance(from, to), count, "{from} {to}");
        }
    }
}
