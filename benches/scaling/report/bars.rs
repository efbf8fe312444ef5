//! Bars from zero, in groups: what few figures cost. A thin line over the end of a bar goes from the lowest round to the
//! highest, the figure behind it is the median.

use super::drawing::{Anchor, Drawing, EDGE, Ink, Picture, WIDTH};
use super::frame::Heading;
use super::palette::{self, Look};
use super::scale::Scale;
use super::statistics::Spread;
use super::unit::Unit;

pub struct Bars<'a> {
    pub heading: Heading<'a>,
    pub unit: Unit,
    pub groups: Vec<Group<'a>>,
}

pub struct Group<'a> {
    pub name: String,
    /// By server; those without figures keep their place.
    pub bars: Vec<(&'a str, Option<Spread>)>,
}

impl Bars<'_> {
    /// `None` where there is nothing to draw.
    pub fn draw(&self) -> Option<Picture> {
        let top = self.heading.height() + 4.0;
        let bottom = top + self.groups.iter().map(Group::height).sum::<f64>();
        let bars = || self.groups.iter().flat_map(|group| group.bars.iter());
        let names = bars().map(|(server, _)| Ink::Strong.width(palette::name(server))).fold(0.0, f64::max);
        let left = EDGE + names + 10.0;
        let figures = bars().filter_map(|(_, spread)| *spread).map(|spread| spread.highest);
        let across = Scale::linear(figures, (left, WIDTH - EDGE - VALUES))?;

        let mut drawing = Drawing::new(self.heading.title, &self.description(), bottom + BELOW);
        self.heading.draw(&mut drawing);
        for tick in across.ticks(self.unit, 70.0) {
            let x = across.place(tick);
            let class = if tick == 0.0 { "axis" } else { "grid" };
            // Beside the bars alone: the names of groups are read without lines through them.
            let mut y = top;
            for group in &self.groups {
                drawing.line(class, (x, y + GROUP_NAME), (x, y + group.height() - GROUP_GAP));
                y += group.height();
            }
            let text = if tick == 0.0 { "0".into() } else { self.unit.tick(tick) };
            drawing.text(Ink::Label, Anchor::Middle, (x, bottom + 17.0), &text);
        }
        let mut y = top;
        for group in &self.groups {
            drawing.text(Ink::Strong, Anchor::Start, (EDGE, y + 18.0), &group.name);
            for (index, (server, spread)) in group.bars.iter().enumerate() {
                let middle = y + GROUP_NAME + (index as f64 + 0.5) * BAR;
                self.bar(&mut drawing, &across, (server, *spread), (left, middle));
            }
            y += group.height();
        }
        let looks: Vec<Look> = bars().map(|(server, _)| Look::of(server)).collect();
        Some(drawing.finish(&looks))
    }

    fn bar(
        &self,
        drawing: &mut Drawing,
        across: &Scale,
        (server, spread): (&str, Option<Spread>),
        (left, y): (f64, f64),
    ) {
        let look = Look::of(server);
        drawing.text(look.ink(), Anchor::End, (left - 8.0, y + 4.3), palette::name(server));
        let Some(spread) = spread else {
            drawing.text(Ink::Faint, Anchor::Start, (left + 8.0, y + 4.0), "no figure");
            return;
        };
        let [lowest, median, highest] =
            [spread.lowest, spread.median, spread.highest].map(|figure| across.place(figure));
        let (above, below) = (y - THICKNESS / 2.0, y + THICKNESS / 2.0);
        drawing.group(&format!("{}: {}", palette::name(server), spread.written(self.unit)));
        let corners = [(left, above), (median, above), (median, below), (left, below)];
        drawing.area(&format!("bar {}", look.classes()), &corners);
        if highest > lowest {
            drawing.line("whisker", (lowest, y), (highest, y));
            for end in [lowest, highest] {
                drawing.line("whisker", (end, y - 3.0), (end, y + 3.0));
            }
        }
        drawing.end_group();
        let end = median.max(highest) + 7.0;
        drawing.colored_text(
            look.ink(),
            Anchor::Start,
            (end, y + 4.3),
            &self.unit.figure(spread.median),
            "clear",
        );
    }

    fn description(&self) -> String {
        let groups = self.groups.iter().map(|group| {
            let figures = group.bars.iter().filter_map(|(server, spread)| {
                Some(format!("{} {}", palette::name(server), self.unit.figure((*spread)?.median)))
            });
            format!("{}: {}.", group.name, figures.collect::<Vec<_>>().join(", "))
        });
        format!("{} {}", self.heading.note, groups.collect::<Vec<_>>().join(" "))
    }
}

impl Group<'_> {
    fn height(&self) -> f64 {
        GROUP_NAME + self.bars.len() as f64 * BAR + GROUP_GAP
    }
}

const GROUP_NAME: f64 = 26.0;

/// From a bar to the next.
const BAR: f64 = 21.0;

const GROUP_GAP: f64 = 6.0;

const THICKNESS: f64 = 14.0;

const BELOW: f64 = 28.0;

/// Room for the figures behind the longest bar.
const VALUES: f64 = 84.0;
