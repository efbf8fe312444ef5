//! Conditional requests and ranges (RFC 9110, 13 and 14).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::request::Request;
use crate::files::Metadata;

/// The conditions of a request.
pub(super) struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<String>,
    range: Option<String>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// The first byte, and the length.
    Range(u64, u64),
    /// No body of the file.
    Status(u16),
}

impl Conditions {
    pub(super) fn of(request: &Request<'_>) -> Conditions {
        let text = |name: &str| request.header(name).map(str::to_owned);
        let time = |name: &str| httpdate::parse_http_date(request.header(name)?).ok();
        Conditions {
            if_match: text("If-Match"),
            if_none_match: text("If-None-Match"),
            if_modified_since: time("If-Modified-Since"),
            if_unmodified_since: time("If-Unmodified-Since"),
            if_range: text("If-Range"),
            range: text("Range").filter(|_| request.method() == "GET"),
        }
    }

    /// Evaluates the conditions in the order of RFC 9110, 13.2.2.
    pub(super) fn outcome(&self, file: &Metadata, etag: &str) -> Outcome {
        let modified = whole_seconds(file.modified);
        let failed = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => !names(tags, etag, false),
            (None, Some(since)) => modified > since,
            (None, None) => false,
        };
        if failed {
            return Outcome::Status(412);
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => names(tags, etag, true),
            (None, Some(since)) => modified <= since,
            (None, None) => false,
        };
        if unchanged {
            return Outcome::Status(304);
        }
        let Some(range) = &self.range else { return Outcome::Whole };
        let same = match &self.if_range {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == etag,
            Some(date) => httpdate::parse_http_date(date).is_ok_and(|date| date == modified),
        };
        match same {
            true => parse_range(range, file.length),
            false => Outcome::Whole,
        }
    }
}

/// Whether a list of entity tags names this one.
fn names(tags: &str, etag: &str, weak: bool) -> bool {
    tags.trim() == "*"
        || tags.split(',').map(str::trim).any(|tag| {
            let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            tag == etag
        })
}

/// Parses a range. One that is malformed, of another unit, or of several parts is ignored.
fn parse_range(range: &str, length: u64) -> Outcome {
    let Some((unit, spec)) = range.split_once('=') else { return Outcome::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Outcome::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Outcome::Whole;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || first.is_empty() && last.is_empty() {
        return Outcome::Whole;
    }
    // Digits that are no u64 are beyond every file.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (begin, end) = match (first.is_empty(), last.is_empty()) {
        (true, _) => (length.saturating_sub(number(last)), length),
        (false, true) => (number(first), length),
        (false, false) if number(last) < number(first) => return Outcome::Whole,
        (false, false) => (number(first), number(last).saturating_add(1).min(length)),
    };
    match begin < end && begin < length {
        true => Outcome::Range(begin, end - begin),
        false => Outcome::Status(416),
    }
}

/// The entity tag of a file: it changes with the length and the time of the last change.
pub(super) fn etag(file: &Metadata) -> String {
    let since = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("\"{:x}-{:x}-{:x}\"", since.as_secs(), since.subsec_nanos(), file.length)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_the_file() {
        let cases = [
            ("bytes=0-0", Outcome::Range(0, 1)),
            ("bytes=0-9", Outcome::Range(0, 10)),
            ("bytes=0-10", Outcome::Range(0, 10)),
            ("bytes=9-", Outcome::Range(9, 1)),
            ("bytes=10-", Outcome::Status(416)),
            ("bytes=10-20", Outcome::Status(416)),
            ("bytes=-1", Outcome::Range(9, 1)),
            ("bytes=-10", Outcome::Range(0, 10)),
            ("bytes=-11", Outcome::Range(0, 10)),
            ("bytes=-0", Outcome::Status(416)),
            ("Bytes=2-3", Outcome::Range(2, 2)),
            ("bytes=99999999999999999999-", Outcome::Status(416)),
            ("bytes=0-99999999999999999999", Outcome::Range(0, 10)),
            ("bytes=3-2", Outcome::Whole),
            ("bytes=0-1,3-4", Outcome::Whole),
            ("bytes=-", Outcome::Whole),
            ("bytes=+1-2", Outcome::Whole),
            ("bytes=a-b", Outcome::Whole),
            ("bytes 0-1", Outcome::Whole),
            ("lines=0-1", Outcome::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(parse_range(range, 10), expected, "{range}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Outcome::Status(416));
        assert_eq!(parse_range("bytes=-5", 0), Outcome::Status(416));
    }

    #[test]
    fn entity_tags_are_compared_as_a_list() {
        assert!(names("\"a\", W/\"b\"", "\"b\"", true));
        assert!(!names("\"a\", W/\"b\"", "\"b\"", false));
        assert!(names(" * ", "\"b\"", false));
        assert!(!names("\"ab\"", "\"b\"", true));
    }
}
