//! Parse errors of endpoints, with suggestions for misspelled words.

use crate::escape::Escaped;
use std::fmt;

/// Error of parsing an endpoint from text. One type covers all faults, from an unknown prefix to an
/// invalid value. (Twisted raises `ValueError`, `TypeError` or `KeyError`.)
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
    /// The whole text.
    pub text: String,
    /// Position of the error in the text, as a byte offset from 0. Printed columns start at 1.
    pub position: usize,
    /// Name of the invalid argument, if the error is about an argument.
    pub key: Option<String>,
    /// Description of the error.
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad endpoint \"{}\" at column {}: ", Escaped(&self.text), self.position + 1)?;
        // An empty name is not printed.
        if let Some(key) = self.key.as_deref().filter(|key| !key.is_empty()) {
            write!(f, "{}: ", Escaped(key))?;
        }
        Escaped(&self.why).fmt(f)
    }
}

impl std::error::Error for ParseError {}

/// Returns the end of a message about an unknown word: the likely intended word, and all known
/// words.
pub(super) fn known<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let list = known.clone().collect::<Vec<_>>().join(", ");
    match nearest(word, known) {
        Some(nearest) => format!("did you mean {nearest}? Known are: {list}"),
        None if list.is_empty() => "it has none".to_owned(),
        None => format!("known are: {list}"),
    }
}

/// Returns the name that a word is probably a misspelling of.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = names.map(|name| (distance(word, name), name)).min()?;
    is_typo(word, nearest).then_some(nearest.1)
}

/// Returns whether a word is probably a misspelling of `name`.
pub(crate) fn is_near(word: &str, name: &str) -> bool {
    is_typo(word, (distance(word, name), name))
}

/// Returns whether the edit distance is small enough. Changing half of a short word can turn it
/// into any other.
fn is_typo(word: &str, (distance, name): (usize, &str)) -> bool {
    let letters = word.chars().count().max(name.chars().count());
    distance <= 2 && 2 * distance < letters
}

/// Optimal string alignment distance, ignoring case: the number of letters changed, added or
/// omitted, and of neighbouring letters exchanged.
fn distance(from: &str, to: &str) -> usize {
    let letters = |word: &str| word.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<char>>();
    let (from, to) = (letters(from), letters(to));
    // Each row has one entry more than `to` has letters, so all indices below are valid.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, letter) in from.iter().enumerate() {
        let mut next = vec![done + 1];
        for (at, other) in to.iter().enumerate() {
            let changed = row[at] + usize::from(letter != other);
            let mut least = changed.min(row[at + 1] + 1).min(next[at] + 1);
            if done > 0 && at > 0 && letter == &to[at - 1] && other == &from[done - 1] {
                least = least.min(before[at - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
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
        // Changing half of the letters can turn a word into any other.
        for word in ["", "x", "xy", "udp", "fx"] {
            assert_eq!(known(word, ["fd", "tcp"].into_iter()), "known are: fd, tcp");
        }
    }

    #[test]
    fn letters_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("tpc", "tcp", 1),
            ("tcp6", "tcp", 1),
            ("hodl", "hold", 1),
            ("Ho", "oh", 1),
            ("abc", "ca", 3),
        ] {
            assert_eq!(distance(from, to), count, "{from} {to}");
        }
    }
}
