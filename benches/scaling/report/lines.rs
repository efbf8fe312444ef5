//! Figures along an axis, a line for each server: medians, with a light band from the lowest to the highest round.
//!
//! Both axes are logarithmic. The name of a server stands at the end of its line, beside the last figure. A cell without
//! figures is a gap in the line.

use super::drawing::{Anchor, Drawing, EDGE, Ink, Picture, WIDTH};
use super::frame::Heading;
use super::palette::{self, Emphasis, Look};
use super::scale::Scale;
use super::statistics::Spread;
use super::unit::Unit;
use super::{drawing, labels};

pub struct Lines<'a> {
    pub heading: Heading<'a>,
    /// What the horizontal axis counts.
    pub along: &'a str,
    pub units: (Unit, Unit),
    pub lines: Vec<Line<'a>>,
    /// What lies below is finer than can be measured, and shaded: a figure for each place along the axis.
    pub floor: Option<fn(f64) -> f64>,
}

/// One server; every line has the same places along the axis, ascending.
pub struct Line<'a> {
    pub server: &'a str,
    pub points: Vec<(f64, Option<Spread>)>,
}

impl Lines<'_> {
    /// `None` where there is nothing above zero to draw.
    pub fn draw(&self) -> Option<Picture> {
        let top = self.heading.height() + 12.0;
        let bottom = top + PLOT_HEIGHT;
        let places = || self.lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at));
        let spreads =
            || self.lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, spread)| *spread));
        let labels: Vec<Label> = self.lines.iter().filter_map(|line| self.label(line)).collect();
        let widest = labels.iter().map(|label| label.ink.width(&label.text)).fold(0.0, f64::max);
        let right = WIDTH - EDGE / 2.0 - widest - LEADER;
        let across = Scale::logarithmic(places(), (LEFT, right))?;
        let up = Scale::logarithmic(
            spreads().flat_map(|spread| [spread.lowest, spread.median, spread.highest]),
            (bottom, top),
        )?;
        let plot = Plot { across, up, right, top, bottom };

        let mut drawing = Drawing::new(self.heading.title, &self.description(), bottom + BELOW);
        self.heading.draw(&mut drawing);
        self.axes(&mut drawing, &plot);
        // twistor comes last: nothing covers it.
        let mut order: Vec<&Line<'_>> = self.lines.iter().collect();
        order.sort_by_key(|line| Look::of(line.server).emphasis == Emphasis::Main);
        for line in &order {
            band(&mut drawing, &plot, line);
        }
        for line in &order {
            curve(&mut drawing, &plot, line);
        }
        for line in &order {
            self.marks(&mut drawing, &plot, line);
        }
        names(&mut drawing, &plot, &labels);
        let looks: Vec<Look> = self.lines.iter().map(|line| Look::of(line.server)).collect();
        Some(drawing.finish(&looks))
    }

    /// The name at the end of a line, with its last figure, and where that is if not at the end of the axis.
    fn label(&self, line: &Line<'_>) -> Option<Label> {
        let (at, spread) = drawn(line).last()?;
        let end = line.points.last().map(|(at, _)| *at);
        let figure = self.units.1.figure(spread.median);
        let mut text = format!("{} {figure}", palette::name(line.server));
        if end.is_some_and(|end| end > at) {
            text += &format!(" at {}", self.units.0.tick(at));
        }
        let look = Look::of(line.server);
        Some(Label { text, ink: look.ink(), look, at, figure: spread.median })
    }

    fn description(&self) -> String {
        let ends = self.lines.iter().filter_map(|line| self.label(line)).map(|label| label.text);
        format!("{} At the right end: {}.", self.heading.note, ends.collect::<Vec<_>>().join(", "))
    }

    fn axes(&self, drawing: &mut Drawing, plot: &Plot) {
        self.shade(drawing, plot);
        for tick in plot.up.ticks(self.units.1, 24.0) {
            let y = plot.up.place(tick);
            drawing.line("grid", (LEFT, y), (plot.right, y));
            drawing.text(Ink::Label, Anchor::End, (LEFT - 8.0, y + 4.0), &self.units.1.tick(tick));
        }
        // The places where something was measured are the ticks: each point stands above its name.
        let places: Vec<f64> = self
            .lines
            .first()
            .map(|line| line.points.iter().map(|(at, _)| *at).collect())
            .unwrap_or_default();
        for tick in plot.across.thinned(&places, |at| Ink::Label.width(&self.units.0.tick(at))) {
            let x = plot.across.place(tick);
            drawing.line("grid", (x, plot.top), (x, plot.bottom));
            drawing.text(Ink::Label, Anchor::Middle, (x, plot.bottom + 18.0), &self.units.0.tick(tick));
        }
        drawing.line("axis", (LEFT, plot.bottom), (plot.right, plot.bottom));
        let middle = (LEFT + plot.right) / 2.0;
        drawing.text(
            Ink::Faint,
            Anchor::Middle,
            (middle, plot.bottom + 36.0),
            &format!("{} · both axes are logarithmic", self.along),
        );
    }

    /// Below the floor.
    fn shade(&self, drawing: &mut Drawing, plot: &Plot) {
        let Some(floor) = self.floor else { return };
        let place = |at: f64| (plot.across.place(at), plot.up.place(floor(at)));
        // On two logarithmic axes a floor of equal parts is a straight line: its corners are where it leaves the plot.
        let steps = (-8..=80).map(|step| 2_f64.powf(f64::from(step) / 4.0));
        let edge: Vec<(f64, f64)> = steps.filter(|at| plot.across.contains(*at)).map(place).collect();
        let (Some(&first), Some(&last)) = (edge.first(), edge.last()) else { return };
        if edge.iter().all(|(_, y)| *y >= plot.bottom - 1.0) {
            return;
        }
        let corners = [(last.0, plot.bottom), (first.0, plot.bottom)];
        drawing.area("shade", &edge.iter().copied().chain(corners).collect::<Vec<_>>());
    }

    fn marks(&self, drawing: &mut Drawing, plot: &Plot, line: &Line<'_>) {
        for (at, spread) in drawn(line) {
            let (along, figure) = (self.units.0.tick(at), spread.written(self.units.1));
            drawing.group(&format!("{}, {along}: {figure}", palette::name(line.server)));
            drawing.mark(&Look::of(line.server), plot.place(at, spread.median));
            drawing.end_group();
        }
    }
}

/// Where the plot is, and what it spans.
struct Plot {
    across: Scale,
    up: Scale,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Plot {
    fn place(&self, at: f64, figure: f64) -> (f64, f64) {
        (self.across.place(at), self.up.place(figure))
    }
}

struct Label {
    text: String,
    ink: Ink,
    look: Look,
    at: f64,
    figure: f64,
}

/// The points that have a place on a logarithmic axis.
fn drawn<'a>(line: &'a Line<'a>) -> impl Iterator<Item = (f64, Spread)> + 'a {
    line.points
        .iter()
        .filter_map(|(at, spread)| spread.filter(|spread| spread.median > 0.0).map(|spread| (*at, spread)))
}

/// Runs of neighbours without a gap.
fn runs<'a>(line: &'a Line<'a>) -> Vec<Vec<(f64, Spread)>> {
    let gap = |(_, spread): &(f64, Option<Spread>)| spread.is_none_or(|spread| spread.median <= 0.0);
    let runs = line
        .points
        .split(gap)
        .map(|run| run.iter().filter_map(|(at, spread)| Some((*at, (*spread)?))).collect());
    runs.filter(|run: &Vec<_>| !run.is_empty()).collect()
}

fn band(drawing: &mut Drawing, plot: &Plot, line: &Line<'_>) {
    for run in runs(line).iter().filter(|run| run.len() > 1) {
        let above = run.iter().map(|(at, spread)| plot.place(*at, spread.highest));
        let below = run.iter().rev().map(|(at, spread)| plot.place(*at, spread.lowest));
        let class = format!("band {}", Look::of(line.server).classes());
        drawing.area(&class, &above.chain(below).collect::<Vec<_>>());
    }
}

fn curve(drawing: &mut Drawing, plot: &Plot, line: &Line<'_>) {
    let look = Look::of(line.server);
    for run in runs(line) {
        let points: Vec<(f64, f64)> = run.iter().map(|(at, spread)| plot.place(*at, spread.median)).collect();
        if look.emphasis == Emphasis::Main {
            drawing.path("halo", "", &points);
        }
        let dashes = match look.dashes {
            "" => String::new(),
            dashes => format!(" stroke-dasharray=\"{dashes}\""),
        };
        drawing.path(&format!("line {}", look.classes()), &dashes, &points);
    }
}

fn names(drawing: &mut Drawing, plot: &Plot, names: &[Label]) {
    let wishes: Vec<f64> = names.iter().map(|label| plot.up.place(label.figure)).collect();
    let places = labels::pushed_apart(&wishes, LABEL_ROOM, plot.top, plot.bottom);
    for (label, y) in names.iter().zip(places) {
        let from = plot.place(label.at, label.figure);
        let knee = (plot.right + 4.0, plot.up.place(label.figure));
        let end = plot.right + LEADER - 4.0;
        drawing.path(
            &format!("leader {}", label.look.class),
            "",
            &[(from.0 + 6.0, from.1), knee, (end - 5.0, y), (end, y)],
        );
        drawing.text(label.ink, Anchor::Start, (plot.right + LEADER, y + 4.3), &label.text);
    }
}

const LEFT: f64 = 74.0;

const PLOT_HEIGHT: f64 = 340.0;

/// Room for the names of the ticks and of the axis.
const BELOW: f64 = 48.0;

/// Between the plot and the names: room for the lines that lead to them.
const LEADER: f64 = 34.0;

/// From a name to the next.
const LABEL_ROOM: f64 = drawing::ROW;
