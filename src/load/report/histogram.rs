//! A distribution as a histogram of bars. The bounds grow with the times, so that fast and slow
//! ones fit on one page.

use super::number_format;
use crate::load::totals::Distribution;
use std::fmt::Write as _;
use std::time::Duration;

/// The number of times longer than `from` and at most `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) count: u64,
}

/// Splits a distribution into at most 24 adjacent bars, from the shortest time to the longest.
/// Returns none if it is empty.
pub(super) fn bars(times: &Distribution) -> Vec<Bar> {
    let (Some(min), Some(max)) = (times.min(), times.max()) else { return Vec::new() };
    let bounds = STEPS
        .iter()
        .map(|steps| bounds(steps, min, max))
        .find(|bounds| bounds.len() <= MAX_BARS + 1)
        .unwrap_or_else(|| bounds(&[10], min, max));
    let bar = |pair: &[Duration]| match *pair {
        [from, to] => Bar { from, to, count: times.count_between(from, to) },
        _ => Bar { from: min, to: max, count: times.count() },
    };
    bounds.windows(2).map(bar).collect()
}

/// Draws the bars as lines of at most 80 columns.
pub(super) fn draw(times: &Distribution) -> String {
    let bars = bars(times);
    let max_count = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for Bar { from, to, count } in bars {
        let share = 100.0 * count as f64 / times.count().max(1) as f64;
        let share = if count > 0 && share < 0.01 { "<0.01".into() } else { format!("{share:.2}") };
        let line = format!(
            "  {:>7} - {:<7} {:>13} {share:>6} %  {}",
            format_bound(from),
            format_bound(to),
            number_format::count(count),
            draw_bar(count as f64 / max_count as f64)
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Draws a bar of this fraction of the width. Any fraction above zero is visible.
fn draw_bar(share: f64) -> String {
    let eighths = (share * WIDTH as f64 * 8.0).round().max(if share > 0.0 { 1.0 } else { 0.0 }) as usize;
    let mut bar = "█".repeat(eighths / 8);
    // In bounds: a remainder of a division by eight.
    bar.push_str(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]);
    bar
}

/// Formats a bound without trailing zeros: `1.5 µs`, `200 ns`.
fn format_bound(time: Duration) -> String {
    let text = number_format::time(time);
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number} {unit}")
}

/// Returns bounds (steps are tenths of a power of ten) that enclose `min` to `max`.
fn bounds(steps: &[u64], min: Duration, max: Duration) -> Vec<Duration> {
    let mut bounds = vec![Duration::ZERO];
    for power in 0..POWERS {
        for step in steps {
            let bound = Duration::from_nanos(step * 10_u64.pow(power));
            // The last bound below all times is the first one of the bars.
            if bound < min {
                bounds.clear();
            }
            bounds.push(bound);
            if bound >= max && bounds.len() > 1 {
                return bounds;
            }
        }
    }
    bounds
}

/// Step sizes from fine to coarse. The first that gives few enough bars is used.
const STEPS: [&[u64]; 3] =
    [&[10, 12, 15, 20, 25, 30, 40, 50, 60, 80], &[10, 15, 20, 30, 50, 70], &[10, 20, 50]];

/// Number of powers of ten, from ten nanoseconds to more than an hour.
const POWERS: u32 = 13;

/// Maximum number of bars, so that the report fits on a page.
const MAX_BARS: usize = 24;

/// Width of the longest bar in columns.
const WIDTH: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanoseconds: &[(u64, u64)]) -> Distribution {
        let mut times = Distribution::new();
        for &(time, count) in nanoseconds {
            times.record(Duration::from_nanos(time), count);
        }
        times
    }

    #[test]
    fn every_time_is_in_exactly_one_bar() {
        for times in [
            &[(1, 3)][..],
            &[(10, 1)],
            &[(98_000, 100), (99_000, 30), (1_000_000, 5)],
            &[(50, 1), (3_600_000_000_000, 1)],
            &[(1_000, 7), (1_000_000_000, 2)],
        ] {
            let times = of(times);
            let bars = bars(&times);
            assert!((1..=3 * POWERS as usize).contains(&bars.len()), "{bars:?}");
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), times.count(), "{bars:?}");
            assert!(bars.windows(2).all(|pair| pair[0].to == pair[1].from), "{bars:?}");
        }
        assert_eq!(bars(&of(&[])), []);
    }

    #[test]
    fn a_line_fits_on_a_page_and_what_is_rare_is_seen() {
        let text = draw(&of(&[(98_000, 3_000_000_000), (2_000_000, 1)]));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.lines().last().is_some_and(|line| line.ends_with('▏') && line.contains("<0.01 %")),
            "{text}"
        );
    }
}
