//! A jar of cookies, each for the host that has set it (RFC 6265, restricted to host-only cookies).

use super::headers::Headers;
use super::url::Url;
use std::time::{Duration, SystemTime};

/// The cookies of a client. A cookie is sent back to the host that has set it, and to no other: a
/// `Domain` attribute that would widen it is ignored.
#[derive(Debug, Default)]
pub(super) struct Cookies {
    /// In the order in which they were first set.
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
    secure: bool,
    expires: Option<SystemTime>,
}

impl Cookies {
    /// Keeps the cookies of a response.
    pub(super) fn store(&mut self, url: &Url, headers: &Headers, now: SystemTime) {
        for value in headers.all("Set-Cookie") {
            let Some(cookie) = std::str::from_utf8(value).ok().and_then(|text| Cookie::parse(text, url, now))
            else {
                continue;
            };
            let same = |known: &Cookie| {
                (&known.host, &known.path, &known.name) == (&cookie.host, &cookie.path, &cookie.name)
            };
            let place = self.cookies.iter().position(same);
            let expired = cookie.is_expired(now);
            match place {
                Some(place) if expired => drop(self.cookies.remove(place)),
                // A cookie of plain text cannot replace one that was set in private (RFC 6265bis).
                Some(place) => {
                    if let Some(known) =
                        self.cookies.get_mut(place).filter(|known| !known.secure || url.is_https())
                    {
                        *known = cookie;
                    }
                }
                None if expired => {}
                None => self.add(cookie, now),
            }
        }
    }

    fn add(&mut self, cookie: Cookie, now: SystemTime) {
        self.cookies.retain(|known| !known.is_expired(now));
        let of_host = self.cookies.iter().filter(|known| known.host == cookie.host).count();
        if of_host >= MAX_PER_HOST
            && let Some(oldest) = self.cookies.iter().position(|known| known.host == cookie.host)
        {
            self.cookies.remove(oldest);
        }
        if self.cookies.len() >= MAX_COOKIES {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }

    /// Returns the value of the `Cookie` header of a request: longer paths first.
    pub(super) fn header(&self, url: &Url, now: SystemTime) -> Option<String> {
        let sent = |cookie: &&Cookie| {
            cookie.host == url.host()
                && (!cookie.secure || url.is_https())
                && path_matches(&cookie.path, url.path())
                && !cookie.is_expired(now)
        };
        let mut sent: Vec<&Cookie> = self.cookies.iter().filter(sent).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> =
            sent.into_iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    fn parse(text: &str, url: &Url, now: SystemTime) -> Option<Cookie> {
        if text.len() > MAX_LENGTH || text.chars().any(char::is_control) {
            return None;
        }
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return None;
        }
        let mut path = default_path(url.path()).to_owned();
        let (mut secure, mut max_age, mut expires) = (false, None, None);
        for attribute in attributes.split(';') {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (key, value) = (key.trim(), value.trim());
            match () {
                () if key.eq_ignore_ascii_case("secure") => secure = true,
                () if key.eq_ignore_ascii_case("path") && value.starts_with('/') => path = value.to_owned(),
                () if key.eq_ignore_ascii_case("max-age") => max_age = value.parse::<i64>().ok().or(max_age),
                () if key.eq_ignore_ascii_case("expires") => expires = date(value).or(expires),
                () if key.eq_ignore_ascii_case("domain") => {
                    let domain = value.trim_start_matches('.');
                    // Set for a host that this is not part of.
                    let of_host = url.host().strip_suffix(&*domain.to_ascii_lowercase());
                    if !domain.is_empty()
                        && !of_host.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    {
                        return None;
                    }
                }
                () => {}
            }
        }
        if secure && !url.is_https() {
            return None;
        }
        // Max-Age has precedence over Expires.
        let expires = match max_age {
            Some(age) if age <= 0 => Some(SystemTime::UNIX_EPOCH),
            Some(age) => now.checked_add(Duration::from_secs(age.unsigned_abs())),
            None => expires,
        };
        let host = url.host().to_owned();
        Some(Cookie { host, path, name: name.to_owned(), value: value.to_owned(), secure, expires })
    }

    fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The folder of a path (RFC 6265, 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(end) if end > 0 => path.get(..end).unwrap_or("/"),
        _ => "/",
    }
}

fn path_matches(cookie: &str, path: &str) -> bool {
    match path.strip_prefix(cookie) {
        Some(rest) => rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// Parses a date with the tolerance of RFC 6265, 5.1.1: its parts in any order.
fn date(text: &str) -> Option<SystemTime> {
    let delimiter = |character: char| !(character.is_ascii_alphanumeric() || character == ':');
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(delimiter).filter(|token| !token.is_empty()) {
        if time.is_none() && token.contains(':') {
            let mut parts = token.splitn(3, ':').map(|part| part.parse::<u64>().ok());
            if let (Some(Some(hour)), Some(Some(minute)), Some(Some(second))) =
                (parts.next(), parts.next(), parts.next())
                && hour < 24
                && minute < 60
                && second < 60
            {
                time = Some(hour * 3600 + minute * 60 + second);
            }
            continue;
        }
        let digits = token.bytes().take_while(u8::is_ascii_digit).count();
        let number = token.get(..digits).and_then(|digits| digits.parse::<i64>().ok());
        match number {
            Some(number) if day.is_none() && digits <= 2 => day = Some(number),
            Some(number) if year.is_none() && (2..=4).contains(&digits) => year = Some(number),
            _ if month.is_none() && digits == 0 => {
                let start = token.get(..3).unwrap_or_default().to_ascii_lowercase();
                month = MONTHS.iter().position(|name| *name == start);
            }
            _ => {}
        }
    }
    let (time, day, month) = (time?, day?, i64::try_from(month?).ok()? + 1);
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    if year < 1601 || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970-01-01 in the Gregorian calendar, with years that begin in March.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = shifted_year.div_euclid(400);
    let of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    let seconds = days.checked_mul(86_400)?.checked_add(i64::try_from(time).ok()?)?;
    // A date before 1970 has passed all the same.
    let since = u64::try_from(seconds).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// The limits that RFC 6265, 6.1 asks for at least; a jar that is full drops the oldest.
const MAX_LENGTH: usize = 4096;
const MAX_PER_HOST: usize = 50;
const MAX_COOKIES: usize = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn jar(url: &str, set: &[&str]) -> Cookies {
        let mut headers = Headers::default();
        for cookie in set {
            headers.append("Set-Cookie", cookie).unwrap();
        }
        let mut jar = Cookies::default();
        jar.store(&url.parse().unwrap(), &headers, at(1000));
        jar
    }

    fn sent(jar: &Cookies, url: &str, seconds: u64) -> String {
        jar.header(&url.parse().unwrap(), at(seconds)).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_back_to_its_own_host_only() {
        let jar = jar("http://a.example/x/y", &["k=v", "w=1; Domain=example", "o=1; Domain=b.example"]);
        assert_eq!(sent(&jar, "http://a.example/x/z", 1000), "k=v; w=1");
        assert_eq!(sent(&jar, "http://a.example:81/x", 1000), "k=v; w=1");
        for other in
            ["http://b.example/x/z", "http://b.a.example/x/", "http://example/x/", "http://a.example/"]
        {
            assert_eq!(sent(&jar, other, 1000), "", "{other}");
        }
    }

    #[test]
    fn a_cookie_has_a_path_and_an_end() {
        let jar = jar(
            "http://a/",
            &["p=1; Path=/x", "q=2; path=/", "m=3; Max-Age=10; Path=/", "gone=4; Max-Age=0"],
        );
        assert_eq!(sent(&jar, "http://a/x/y", 1000), "p=1; q=2; m=3");
        assert_eq!(sent(&jar, "http://a/xy", 1009), "q=2; m=3");
        assert_eq!(sent(&jar, "http://a/", 1010), "q=2");
    }

    #[test]
    fn a_secure_cookie_stays_in_private() {
        let mut jar = jar("https://a/", &["s=1; Secure"]);
        assert_eq!(sent(&jar, "http://a/", 1000), "");
        assert_eq!(sent(&jar, "https://a/", 1000), "s=1");
        let mut headers = Headers::default();
        headers.append("Set-Cookie", "s=2").unwrap();
        headers.append("Set-Cookie", "t=2; Secure").unwrap();
        jar.store(&"http://a/".parse().unwrap(), &headers, at(1000));
        assert_eq!(sent(&jar, "https://a/", 1000), "s=1");
    }

    #[test]
    fn dates_are_read_with_tolerance() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(date(text), Some(at(784_111_777)), "{text}");
        }
        assert_eq!(date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(at(1_709_164_800)));
        assert_eq!(date("Wed, 01 Jan 1601 00:00:00 GMT"), Some(at(0)));
        for text in ["", "tomorrow", "06 Nov 1994", "06 Nov 1994 24:00:00", "99 Nov 1994 08:49:37"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn the_jar_keeps_its_limits() {
        let set: Vec<String> = (0..=MAX_PER_HOST).map(|number| format!("k{number}=v")).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let full = jar("http://a/", &set);
        assert_eq!(full.cookies.len(), MAX_PER_HOST);
        assert!(!sent(&full, "http://a/", 1000).contains("k0="));
        let long = |length: usize| format!("k={}", "v".repeat(length - 2));
        assert_eq!(jar("http://a/", &[&long(MAX_LENGTH)]).cookies.len(), 1);
        assert_eq!(jar("http://a/", &[&long(MAX_LENGTH + 1)]).cookies.len(), 0);
    }
}
