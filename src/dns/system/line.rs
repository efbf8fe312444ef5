//! Lines of configuration files: their words, their addresses, and those that were skipped.

use std::fmt;
use std::net::SocketAddr;

use crate::escape::Escaped;
use crate::net::zone::Literal;

/// A line, or a part of it, that a parser did not understand and left out.
///
/// ```
/// use twistor::dns::system::{ResolvConf, no_interfaces};
///
/// let conf = ResolvConf::parse(b"nameserver one\n", no_interfaces);
/// assert_eq!(conf.skipped[0].to_string(), "line 1: not an IP address: one");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLine {
    /// The number of the line, from 1. 0 for a variable of the environment.
    pub line: usize,
    /// The reason.
    pub why: &'static str,
    /// The text, cut after 80 characters.
    pub text: String,
}

impl fmt::Display for SkippedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.why, Escaped(&self.text))
    }
}

/// A look-up of interface names that knows none. An address with the name of an interface as its
/// zone is then skipped. One with a number, such as `fe80::1%2`, is not.
pub fn no_interfaces(_: &str) -> Option<u32> {
    None
}

/// The lines that a parser has skipped, at most [`MAX_SKIPPED`].
#[derive(Default)]
pub(super) struct Skipped {
    pub(super) lines: Vec<SkippedLine>,
    /// The number of the current line.
    pub(super) line: usize,
}

impl Skipped {
    pub(super) fn note(&mut self, why: &'static str, text: &str) {
        if self.lines.len() < MAX_SKIPPED {
            let text = text.chars().take(MAX_TEXT).collect();
            self.lines.push(SkippedLine { line: self.line, why, text });
        }
    }
}

/// Splits at spaces, tabs and carriage returns.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '\t', '\r']).filter(|word| !word.is_empty())
}

/// Parses an IP address with an optional zone. A link-local address needs a zone.
pub(super) fn address(
    text: &str,
    port: u16,
    interface_index: impl FnOnce(&str) -> Option<u32>,
) -> Result<SocketAddr, &'static str> {
    let literal = Literal::read(text).ok_or("not an IP address")?;
    let address = literal.and_then(Literal::with_its_zone);
    address.and_then(|literal| literal.with_port(port, interface_index)).map_err(|zone| zone.why())
}

/// A domain name as text, in lower case and without the dot at its end. `None` for the root, a
/// name of more than 253 characters, a label of none or more than 63, and for characters that
/// are not printable ASCII. Names with other letters are written in their ASCII form (`xn--`).
pub(super) fn domain_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| (1..=63).contains(&label.len());
    let is_name = name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && name.split('.').all(is_label);
    is_name.then(|| name.to_ascii_lowercase())
}

/// Max characters of a domain name as text, without the dot at its end. (RFC 1035, 2.3.4.)
pub(super) const MAX_NAME: usize = 253;

/// Limit on skipped lines that are reported for a file. The others are skipped silently.
const MAX_SKIPPED: usize = 16;

const MAX_TEXT: usize = 80;
