//! What is watched, and how: `hold://HOST:PORT` or `tcp://HOST:PORT`, with a name in front if it has one.

use crate::{ConnectTcp, Error};
use std::fmt;
use std::str::FromStr;

/// One thing to watch.
///
/// ```
/// use twistor::monitor::{Kind, Target};
///
/// let target: Target = "door=hold://[::1]:22".parse()?;
/// assert_eq!((target.kind(), target.host(), target.port()), (Kind::Hold, "::1", 22));
/// assert_eq!((target.name(), target.url()), ("door", "hold://[::1]:22"));
/// # Ok::<(), twistor::monitor::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name, `=`, and the URL; or the URL alone. One allocation, as there may be thousands.
    text: Box<str>,
    /// Where in `text` the URL starts.
    url: u16,
    port: u16,
    kind: Kind,
}

/// How a target is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One connection is held open, and its loss is the event.
    Hold,
    /// A connection is made and closed on an interval, and its making is timed.
    Tcp,
}

/// Why a text is no [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// The text.
    pub target: String,
    /// What is wrong with it.
    pub why: String,
}

impl Target {
    /// Its own name if it was given one (`NAME=URL`), else its URL.
    pub fn name(&self) -> &str {
        match self.url {
            0 => &self.text,
            url => &self.text[..usize::from(url) - 1],
        }
    }

    /// `hold://HOST:PORT` or `tcp://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.text[usize::from(self.url)..]
    }

    /// How it is watched.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        let url = self.url();
        // `parse` has seen both separators.
        let from = url.find("://").map_or(0, |at| at + 3);
        let until = url.rfind(':').unwrap_or(url.len());
        url[from..until].trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let error = |why: String| TargetError { target: text.to_owned(), why };
        let (before, rest) = text.split_once("://").ok_or_else(|| error(FORMS.to_owned()))?;
        let (name, scheme) =
            before.rsplit_once('=').map_or((None, before), |(name, scheme)| (Some(name), scheme));
        let kind = match scheme {
            "hold" => Kind::Hold,
            "tcp" => Kind::Tcp,
            _ => return Err(error(format!("unknown scheme {scheme:?}: {FORMS}"))),
        };
        if name.is_some_and(|name| {
            name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control)
        }) {
            return Err(error(format!("a name has 1 to {LONGEST_NAME} bytes and no control characters")));
        }
        let connect: ConnectTcp = rest.parse().map_err(|wrong| match wrong {
            Error::BadAddress(bad) => error(bad.why.to_owned()),
            other => error(other.to_string()),
        })?;
        // A name is at most LONGEST_NAME bytes.
        let url = name.map_or(0, |name| name.len() as u16 + 1);
        Ok(Target { text: text.into(), url, port: connect.port, kind })
    }
}

/// As it was given.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad target \"{}\": {}", self.target.escape_debug(), self.why)
    }
}

impl std::error::Error for TargetError {}

const FORMS: &str = "a target is hold://HOST:PORT or tcp://HOST:PORT";
/// Longer names would push everything else out of a table.
const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_falls_into_its_parts() {
        for (text, kind, host, port, name) in [
            ("tcp://localhost:80", Kind::Tcp, "localhost", 80, "tcp://localhost:80"),
            ("hold://[::1]:22", Kind::Hold, "::1", 22, "hold://[::1]:22"),
            ("a=b=tcp://10.0.0.1:1", Kind::Tcp, "10.0.0.1", 1, "a=b"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.kind(), target.host(), target.port(), target.name()),
                (kind, host, port, name)
            );
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_target() {
        for (text, why) in [
            ("", FORMS),
            ("localhost:80", FORMS),
            ("tcp:/localhost:80", FORMS),
            ("tcp://localhost", "the port is missing"),
            ("tcp://:80", "the host is missing"),
            ("tcp://", "the port is missing"),
            ("tcp://h:0", "port 0 cannot be connected to"),
            ("tcp://h:70000", "the port is above 65535"),
            ("tcp://h:80/x", "the port is no number"),
            ("=tcp://h:80", "a name has 1 to 64 bytes and no control characters"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err().why, why, "{text}");
        }
        let error = "udp://h:80\n".parse::<Target>().unwrap_err().to_string();
        assert_eq!(error, format!("bad target \"udp://h:80\\n\": unknown scheme \"udp\": {FORMS}"));
    }
}
