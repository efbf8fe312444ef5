//! Sparklines: a curve of a few characters.

use crate::monitor::recent::{History, Sample};
use crate::monitor::target::TargetKind;
use crate::report::{Painted, Palette};
use std::time::Duration;

/// Draws the last results in at most `width` columns, oldest first.
///
/// For probes the height is the connect time, from zero to the longest one shown. A held connection
/// is a line that starts where it was made. `×` is a target that is down, `?` one that is unknown.
pub(crate) fn sparkline(recent: &History, kind: TargetKind, width: usize, palette: &Palette) -> String {
    let mut shown: Vec<Sample> = recent.samples().rev().take(width).collect();
    shown.reverse();
    let longest = shown.iter().filter_map(time).max().unwrap_or_default();
    let mut line = String::new();
    let mut rest = shown.as_slice();
    // Consecutive characters of one style share one escape sequence, which keeps the line short.
    while let Some(first) = rest.first() {
        let down = *first == Sample::Down;
        let run = rest.iter().take_while(|sample| (**sample == Sample::Down) == down).count();
        let (now, later) = rest.split_at(run);
        let text: String = now.iter().map(|sample| symbol(sample, kind, longest)).collect();
        let style = if down { palette.bad } else { palette.accent };
        line.push_str(&Painted(style, text).to_string());
        rest = later;
    }
    line
}

fn time(sample: &Sample) -> Option<Duration> {
    match sample {
        Sample::Connected(took) => Some(*took),
        _ => None,
    }
}

fn symbol(sample: &Sample, kind: TargetKind, longest: Duration) -> char {
    match sample {
        Sample::Down => '×',
        Sample::Unknown => '?',
        Sample::Held => '─',
        Sample::Connected(_) if kind == TargetKind::Hold => '├',
        Sample::Connected(took) => {
            let share = took.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
            // 0 to 7: a share is at most 1.
            let height = (share * 8.0).ceil().clamp(1.0, 8.0) as usize - 1;
            BARS.get(height).copied().unwrap_or('█')
        }
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_shares_of_the_longest_time() {
        let mut recent = History::default();
        assert_eq!(sparkline(&recent, TargetKind::Probe, 8, &Palette::plain()), "");
        for millis in [80, 10, 40] {
            recent.push(Sample::Connected(Duration::from_millis(millis)));
        }
        recent.push(Sample::Down);
        recent.push(Sample::Held);
        recent.push(Sample::Connected(Duration::ZERO));
        assert_eq!(sparkline(&recent, TargetKind::Probe, 8, &Palette::plain()), "█▁▄×─▁");
        recent.push(Sample::Unknown);
        assert_eq!(sparkline(&recent, TargetKind::Probe, 8, &Palette::plain()), "█▁▄×─▁?");
        assert_eq!(sparkline(&recent, TargetKind::Probe, 6, &Palette::plain()), "▂█×─▁?");
    }

    #[test]
    fn a_held_connection_is_a_line() {
        let mut recent = History::default();
        let made = Sample::Connected(Duration::from_millis(3));
        for sample in [made, Sample::Held, Sample::Held, Sample::Down, made, Sample::Held] {
            recent.push(sample);
        }
        assert_eq!(sparkline(&recent, TargetKind::Hold, 8, &Palette::plain()), "├──×├─");
    }
}
