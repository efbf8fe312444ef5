//! Cells below each other, a dot for each server: the cost as a ratio to the baseline, which is the line at 1.
//!
//! A dot is the median of the rounds, the line through it goes from the lowest to the highest. The axis is logarithmic:
//! half as much and twice as much are equally far from 1. The last row is the geometric mean over the cells.

use super::drawing::{Anchor, Drawing, EDGE, Ink, Picture, WIDTH};
use super::frame::{Heading, Legend};
use super::palette::{self, Emphasis, Look};
use super::scale::Scale;
use super::statistics::Spread;
use super::unit::Unit;

pub struct Dots<'a> {
    pub heading: Heading<'a>,
    pub servers: Vec<&'a str>,
    pub rows: Vec<Row>,
}

/// A cell; or the mean of all, which has no range.
pub struct Row {
    pub name: String,
    /// By server.
    pub ratios: Vec<Option<Spread>>,
    pub is_mean: bool,
}

impl Dots<'_> {
    /// `None` where there is nothing to draw.
    pub fn draw(&self) -> Option<Picture> {
        let legend = Legend::of(&self.servers);
        let legend_top = self.heading.height() + 4.0;
        let top = legend_top + legend.height() + 12.0;
        let row_height = self.servers.len() as f64 * LANE + ROW_GAP;
        let bottom = top + self.rows.len() as f64 * row_height;
        let names = self.rows.iter().map(|row| Ink::Strong.width(&row.name)).fold(0.0, f64::max);
        let (left, right) = (EDGE + names + 14.0, WIDTH - EDGE - VALUES);
        let spreads = self.rows.iter().flat_map(|row| row.ratios.iter().flatten());
        let ratios = spreads.flat_map(|spread| [spread.lowest, spread.highest]).chain([1.0]);
        let across = Scale::logarithmic(ratios, (left, right))?;
        if self.rows.iter().all(|row| row.ratios.iter().all(Option::is_none)) {
            return None;
        }

        let mut drawing = Drawing::new(self.heading.title, &self.description(), bottom + BELOW);
        self.heading.draw(&mut drawing);
        legend.draw(&mut drawing, legend_top);
        for (index, _) in self.rows.iter().enumerate().filter(|(index, _)| index % 2 == 0) {
            let y = top + index as f64 * row_height;
            let (start, end) = (EDGE - 8.0, WIDTH - EDGE + 8.0);
            let below = y + row_height;
            drawing.area("shade", &[(start, y), (end, y), (end, below), (start, below)]);
        }
        for tick in across.ticks(Unit::Ratio, 36.0) {
            let x = across.place(tick);
            let class = if tick == 1.0 { "unity" } else { "grid" };
            drawing.line(class, (x, top), (x, bottom));
            drawing.text(Ink::Label, Anchor::Middle, (x, bottom + 17.0), &Unit::Ratio.tick(tick));
        }
        let (unity, below) = (across.place(1.0), bottom + 35.0);
        drawing.text(Ink::Faint, Anchor::End, (unity - 8.0, below), "← cheaper");
        drawing.text(Ink::Faint, Anchor::Start, (unity + 8.0, below), "dearer →");
        for server in self.servers.iter().filter(|server| Look::of(server).emphasis == Emphasis::Main) {
            let class = format!("own {}", Look::of(server).class);
            let at = (WIDTH - EDGE, bottom + 17.0);
            drawing.colored_text(Ink::Strong, Anchor::End, at, palette::name(server), &class);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + index as f64 * row_height;
            let ink = if row.is_mean { Ink::Strong } else { Ink::Label };
            drawing.text(ink, Anchor::Start, (EDGE, y + row_height / 2.0 + 4.0), &row.name);
            self.row(&mut drawing, &across, row, y + ROW_GAP / 2.0);
        }
        let looks: Vec<Look> = self.servers.iter().map(|server| Look::of(server)).collect();
        Some(drawing.finish(&looks))
    }

    fn row(&self, drawing: &mut Drawing, across: &Scale, row: &Row, top: f64) {
        for (index, (server, ratio)) in self.servers.iter().zip(&row.ratios).enumerate() {
            let Some(ratio) = ratio else { continue };
            let look = Look::of(server);
            let y = top + (index as f64 + 0.5) * LANE;
            let digits = if row.is_mean { 3 } else { 2 };
            let figure = match row.is_mean {
                true => format!("{:.digits$}", ratio.median),
                false => ratio.written(Unit::Ratio),
            };
            drawing.group(&format!("{}, {}: {figure}", palette::name(server), row.name));
            let (lowest, highest) = (across.place(ratio.lowest), across.place(ratio.highest));
            drawing.line(&format!("range {}", look.classes()), (lowest, y), (highest, y));
            drawing.mark(&look, (across.place(ratio.median), y));
            drawing.end_group();
            // The one that the picture is about has its figure beside the row.
            if look.emphasis == Emphasis::Main {
                let figure = format!("{:.digits$}", ratio.median);
                let middle = top + self.servers.len() as f64 * LANE / 2.0;
                let at = (WIDTH - EDGE, middle + 4.0);
                drawing.colored_text(Ink::Strong, Anchor::End, at, &figure, &format!("own {}", look.class));
            }
        }
    }

    fn description(&self) -> String {
        let mean = self.rows.iter().filter(|row| row.is_mean).flat_map(|row| {
            let pairs = self.servers.iter().zip(&row.ratios);
            pairs.filter_map(|(server, ratio)| {
                Some(format!("{} {:.3}", palette::name(server), (*ratio)?.median))
            })
        });
        format!("{} Geometric means: {}.", self.heading.note, mean.collect::<Vec<_>>().join(", "))
    }
}

/// The height of one server in a row.
const LANE: f64 = 8.8;

const ROW_GAP: f64 = 10.0;

const BELOW: f64 = 46.0;

/// Room for the figures at the right.
const VALUES: f64 = 72.0;
