//! Wall-clock times as text: local time with milliseconds for people, RFC 3339 in UTC for machines.
//!
//! The caller passes the time zone; this module does not query the system.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::SystemTime;

/// The format of wall-clock times in reports for people.
#[derive(Clone, Debug)]
pub struct TimeFormat {
    /// The time zone, usually `TimeZone::system()`.
    pub zone: TimeZone,
    /// Whether the date is shown before the time.
    pub date: bool,
}

impl TimeFormat {
    /// Formats as `2026-11-21 03:17:12.345`, or without the date.
    pub fn show(&self, wall: SystemTime) -> String {
        let format = if self.date { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
        timestamp(wall).to_zoned(self.zone.clone()).strftime(format).to_string()
    }

    /// Formats as `03:17:12`, for a headline.
    pub(crate) fn show_time(&self, wall: SystemTime) -> String {
        timestamp(wall).to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }
}

/// Formats as `2026-11-21T03:17:12.345678Z`, always with six decimals.
pub(crate) fn rfc3339(wall: SystemTime) -> String {
    format!("{:.6}", timestamp(wall))
}

/// Parses RFC 3339 text, an HTTP date (RFC 9110, 5.6.7: IMF-fixdate), or Unix seconds.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return from_unix_seconds(seconds);
    }
    let parsed = text.parse::<Timestamp>().ok();
    let parsed = parsed.or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()));
    parsed.map(SystemTime::from)
}

/// Returns `None` if the number is not finite or outside the supported years.
pub(crate) fn from_unix_seconds(seconds: f64) -> Option<SystemTime> {
    let whole = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(whole).ok().map(SystemTime::from)
}

/// Converts a wall-clock time. A time outside the years -9999 to 9999 becomes the epoch.
fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_shown_in_its_zone_with_milliseconds() {
        let wall = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 45_678_901);
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let clock = TimeFormat { zone, date: true };
        assert_eq!(clock.show(wall), "2023-11-14 23:13:20.045");
        assert_eq!(TimeFormat { date: false, ..clock.clone() }.show(wall), "23:13:20.045");
        assert_eq!(clock.show_time(wall), "23:13:20");
        assert_eq!(rfc3339(wall), "2023-11-14T22:13:20.045678Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn times_are_read_in_three_forms() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for text in [
            "2023-11-14T22:13:20Z",
            "2023-11-14T23:13:20+01:00",
            "Tue, 14 Nov 2023 22:13:20 GMT",
            "1700000000",
        ] {
            assert_eq!(parse(text), Some(wall), "{text}");
        }
        for text in ["", "yesterday", "NaN", "1e300", "2023-11-14T22:13:20"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
