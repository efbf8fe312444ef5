//! Feeds and the pointers to the values to read.

use crate::escape::Escaped;
use crate::http::Url;
use std::fmt;
use std::str::FromStr;

/// A JSON feed at a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The feed's name in reports. Default: the URL.
    pub name: String,
    /// The feed's URL.
    pub url: Url,
}

impl Feed {
    /// Creates a feed with the URL as its name.
    pub fn new(url: Url) -> Feed {
        Feed { name: url.to_string(), url }
    }
}

/// A JSON pointer (RFC 6901), such as `/congestion/level` or `/roads/0/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(Box<str>);

/// The error of parsing a [`Pointer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerError(String);

impl Pointer {
    /// Returns the pointer's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the unescaped member names and indexes along the path.
    pub(super) fn tokens(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
    }

    /// Creates a pointer to a member of the outermost object.
    pub(super) fn to_member(name: &str) -> Pointer {
        Pointer(format!("/{}", name.replace('~', "~0").replace('/', "~1")).into())
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Pointer, PointerError> {
        // "~0" stands for "~" and "~1" for "/"; no other escape is valid.
        let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        match (text.is_empty() || text.starts_with('/')) && escapes {
            true => Ok(Pointer(text.into())),
            false => Err(PointerError(text.to_owned())),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Display for PointerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad JSON pointer \"{}\": it looks like /congestion/level", Escaped(&self.0))
    }
}

impl std::error::Error for PointerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_starts_with_a_slash() {
        for good in ["", "/", "/a/0", "/a~0b~1c"] {
            assert!(good.parse::<Pointer>().is_ok(), "{good}");
        }
        for bad in ["a", "congestion.level", "/a~", "/a~2"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad}");
        }
        assert_eq!(Pointer::to_member("a/b~c").as_str(), "/a~1b~0c");
        let tokens = |text: &str| text.parse::<Pointer>().unwrap().tokens().collect::<Vec<_>>();
        assert_eq!(tokens("/a~1b~0c/3/~01"), ["a/b~c", "3", "~1"]);
        assert_eq!((tokens(""), tokens("/")), (vec![], vec![String::new()]));
    }
}
