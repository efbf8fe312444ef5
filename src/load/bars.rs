//! A distribution as bars: steps that grow with the times, so that fast and slow ones are seen on one page.

use super::distribution::Distribution;
use super::figures;
use std::fmt::Write as _;
use std::time::Duration;

/// The times longer than `from` and not longer than `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) count: u64,
}

/// A distribution in at most 24 steps without gaps, from the shortest time to the longest; none when it is empty.
pub(super) fn bars(times: &Distribution) -> Vec<Bar> {
    let (Some(min), Some(max)) = (times.min(), times.max()) else { return Vec::new() };
    let bounds = STEPS
        .iter()
        .map(|steps| bounds(steps, min, max))
        .find(|bounds| bounds.len() <= MOST + 1)
        .unwrap_or_else(|| bounds(&[10], min, max));
    let bar = |pair: &[Duration]| match *pair {
        [from, to] => Bar { from, to, count: times.count_between(from, to) },
        _ => Bar { from: min, to: max, count: times.count() },
    };
    bounds.windows(2).map(bar).collect()
}

/// The bars as lines of at most 80 columns.
pub(super) fn draw(times: &Distribution) -> String {
    let bars = bars(times);
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for Bar { from, to, count } in bars {
        let share = 100.0 * count as f64 / times.count().max(1) as f64;
        let share = if count > 0 && share < 0.01 { "<0.01".into() } else { format!("{share:.2}") };
        let line = format!(
            "  {:>7} - {:<7} {:>13} {share:>6} %  {}",
            step(from),
            step(to),
            figures::count(count),
            blocks(count as f64 / most as f64)
        );
        // A string takes everything.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A bar of this share of the width; what is there at all is seen.
fn blocks(share: f64) -> String {
    let eighths = (share * WIDTH as f64 * 8.0).round().max(if share > 0.0 { 1.0 } else { 0.0 }) as usize;
    let mut bar = "█".repeat(eighths / 8);
    // A remainder is below eight.
    bar.push_str(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]);
    bar
}

/// A bound has no more digits than it needs: `1.5 µs`, `200 ns`.
fn step(time: Duration) -> String {
    let text = figures::time(time);
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number} {unit}")
}

/// Bounds (in tenths of a power of ten) around everything from `min` to `max`.
fn bounds(steps: &[u64], min: Duration, max: Duration) -> Vec<Duration> {
    let mut bounds = vec![Duration::ZERO];
    for power in 0..POWERS {
        for step in steps {
            let bound = Duration::from_nanos(step * 10_u64.pow(power));
            // The last bound that all are beyond is the first of the bars.
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

/// Fine where they are few, coarser where they would be many.
const STEPS: [&[u64]; 3] =
    [&[10, 12, 15, 20, 25, 30, 40, 50, 60, 80], &[10, 15, 20, 30, 50, 70], &[10, 20, 50]];

/// From ten nanoseconds to more than an hour.
const POWERS: u32 = 13;

/// What fits on a page beside the rest.
const MOST: usize = 24;

/// Columns of the longest bar.
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
