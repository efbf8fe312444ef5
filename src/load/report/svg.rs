//! A report as a picture: the latencies by percentile.
//!
//! The horizontal axis is that of HdrHistogram's plots: each nine of the percentile has the same
//! width. The vertical axis is logarithmic. The SVG is self-contained (no scripts, no external
//! fonts) and follows the viewer's light or dark theme.

use super::{Report, number_format};
use crate::escape::Escaped;
use crate::load::totals::Distribution;
use std::fmt::Write as _;
use std::time::Duration;

impl Report {
    /// Draws the latencies as the text of an SVG file.
    ///
    /// ```
    /// # use twistor::load::{LoadConfig, Report, Totals};
    /// let report = Report::new("tcp:h:7".into(), LoadConfig::default(), Totals::default());
    /// assert!(report.to_svg().starts_with("<svg "));
    /// ```
    pub fn to_svg(&self) -> String {
        let totals = &self.totals;
        let curves: Vec<Curve<'_>> =
            [("latency", "due", &totals.latencies), ("since sent", "sent", &totals.since_sent)]
                .into_iter()
                .filter(|(.., times)| !times.is_empty())
                .map(|(name, class, times)| Curve { name, class, times })
                .collect();
        let mut svg = String::from(HEAD);
        let title = self.to_string();
        let title = title.lines().next().unwrap_or_default();
        text(&mut svg, "title", LEFT, 28.0, title);
        text(&mut svg, "faint", LEFT, 48.0, &subtitle(self));
        match Frame::around(&curves) {
            None => text(&mut svg, "faint", LEFT, TOP + 40.0, "No message was due."),
            Some(frame) => {
                frame.axes(&mut svg);
                for curve in curves.iter().rev() {
                    frame.curve(&mut svg, curve);
                }
                legend(&mut svg, &curves);
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

struct Curve<'a> {
    name: &'a str,
    class: &'a str,
    times: &'a Distribution,
}

/// The ranges of the axes.
struct Frame {
    /// Limits in nanoseconds, each a power of ten times 1, 2 or 5.
    low: f64,
    high: f64,
    /// Number of nines at the right end.
    nines: f64,
}

impl Frame {
    fn around(curves: &[Curve<'_>]) -> Option<Frame> {
        let nanoseconds = |time: Option<Duration>| time.map(|time| time.as_nanos().max(1) as f64);
        let min = curves.iter().filter_map(|curve| nanoseconds(curve.times.min())).reduce(f64::min)?;
        let max = curves.iter().filter_map(|curve| nanoseconds(curve.times.max())).reduce(f64::max)?;
        let count = curves.iter().map(|curve| curve.times.count()).max().unwrap_or(1);
        let low = ticks().take_while(|tick| *tick <= min).last().unwrap_or(1.0);
        let high = ticks().find(|tick| *tick >= max && *tick > low).unwrap_or(max);
        // Half a nine more, so that the slowest message is visible.
        Some(Frame { low, high, nines: ((count as f64).log10() + 0.3).max(1.3) })
    }

    fn x(&self, nines: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (nines / self.nines).min(1.0)
    }

    fn y(&self, nanoseconds: f64) -> f64 {
        let share = (nanoseconds.max(1.0) / self.low).ln() / (self.high / self.low).ln();
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share.clamp(0.0, 1.0)
    }

    fn axes(&self, svg: &mut String) {
        for tick in ticks().filter(|tick| (self.low..=self.high * 1.001).contains(tick)) {
            let y = self.y(tick);
            line(svg, "grid", (LEFT, y), (WIDTH - RIGHT, y));
            let label =
                number_format::time(Duration::from_nanos(tick as u64)).replace(".00", "").replace(".0 ", " ");
            text(svg, "label end", LEFT - 8.0, y + 4.0, &label);
        }
        let percentiles = (0..=(self.nines as u32)).map(|nines| {
            let name = match nines {
                0 => "0 %".to_owned(),
                1 => "90 %".to_owned(),
                2 => "99 %".to_owned(),
                more => format!("99.{} %", "9".repeat(more as usize - 2)),
            };
            (f64::from(nines), name)
        });
        for (nines, name) in percentiles.chain([(0.5_f64.recip().log10(), "50 %".to_owned())]) {
            let x = self.x(nines);
            line(svg, "grid", (x, TOP), (x, HEIGHT - BOTTOM));
            text(svg, "label middle", x, HEIGHT - BOTTOM + 18.0, &name);
        }
        text(
            svg,
            "faint middle",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 12.0,
            "share of the messages that took no longer",
        );
    }

    /// Draws steps between the recorded times. Steps that would fall on the same spot are omitted.
    fn curve(&self, svg: &mut String, curve: &Curve<'_>) {
        let mut path = String::new();
        let mut drawn = (f64::NEG_INFINITY, f64::INFINITY);
        let mut from = self.x(0.0);
        for (share, time) in curve.times.curve() {
            let to = match share < 1.0 {
                true => self.x(-(1.0 - share).log10()),
                false => self.x(self.nines),
            };
            let y = self.y(time.as_nanos() as f64);
            if to - drawn.0 >= 0.5 || drawn.1 - y >= 0.5 || share >= 1.0 {
                let letter = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{from:.1} {y:.1}L{to:.1} {y:.1}");
                drawn = (to, y);
            }
            from = to;
        }
        let _ = writeln!(svg, "<path class=\"curve {}\" d=\"{path}\"/>", curve.class);
        let last = (self.x(self.nines), self.y(curve.times.max().unwrap_or_default().as_nanos() as f64));
        let _ = writeln!(
            svg,
            "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
            curve.class, last.0, last.1
        );
    }
}

fn subtitle(report: &Report) -> String {
    let totals = &report.totals;
    let due = totals.latencies.count();
    let messages = match totals.messages == due {
        true => number_format::counted(due, "message"),
        false => {
            format!("{} of {}", number_format::count(totals.messages), number_format::counted(due, "message"))
        }
    };
    let percentile = |percent| number_format::time_or_none(totals.latencies.percentile(percent));
    format!(
        "{messages} in {}, {} a second; p50 {}, p99 {}, p99.9 {}, max {}",
        number_format::time(totals.elapsed),
        number_format::rate(totals.rate()),
        percentile(50.0),
        percentile(99.0),
        percentile(99.9),
        percentile(100.0)
    )
}

/// Draws a legend for two curves. A single curve is named by the title.
fn legend(svg: &mut String, curves: &[Curve<'_>]) {
    if curves.len() < 2 {
        return;
    }
    for (index, curve) in curves.iter().enumerate() {
        let (x, y) = (LEFT + 14.0, TOP + 18.0 + 20.0 * index as f64);
        line(svg, &format!("curve {}", curve.class), (x, y - 4.0), (x + 22.0, y - 4.0));
        let what = match curve.class {
            "due" => "latency: from when the message was due",
            _ => curve.name,
        };
        text(svg, "label", x + 30.0, y, what);
    }
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let text = Escaped(text).to_string();
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

/// Returns 1, 2, 5, 10, 20, 50.. nanoseconds, up to more than an hour.
fn ticks() -> impl Iterator<Item = f64> {
    (0..13).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 68.0;
const BOTTOM: f64 = 56.0;

/// The size is that of the constants above.
const HEAD: &str = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"480\" viewBox=\"0 0 860 480\" \
font-family=\"system-ui, sans-serif\">
<style>
.paper { fill: #ffffff; }
text { fill: #1f2328; font-size: 12px; }
.title { font-size: 16px; font-weight: 600; }
.faint, .label { fill: #59636e; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.due { stroke: #0969da; }
.sent { stroke: #bc4c00; stroke-dasharray: 5 3; }
.dot { stroke: none; }
.dot.due { fill: #0969da; }
.dot.sent { fill: #bc4c00; }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117; }
text { fill: #e6edf3; }
.faint, .label { fill: #9198a1; }
.grid { stroke: #2b323b; }
.due { stroke: #58a6ff; }
.sent { stroke: #f0883e; }
.dot.due { fill: #58a6ff; }
.dot.sent { fill: #f0883e; }
}
</style>
<rect class=\"paper\" width=\"860\" height=\"480\"/>
";
