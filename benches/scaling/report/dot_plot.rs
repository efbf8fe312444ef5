//! Cells one below the other, a marker for each server in each cell.
//!
//! A marker is the median of the rounds, the line through it goes from the lowest to the highest.
//! The axis is logarithmic: half of a figure and twice the figure are equally far from it.

use plotters::prelude::*;

use super::super::support::Result;
use super::axis::Axis;
use super::canvas::{self, FAINT, GRID, Heading, INK, MARGIN, SHADE, WIDTH};
use super::servers;
use super::statistics::Spread;
use super::unit::Unit;

pub struct DotPlot<'a> {
    pub heading: Heading<'a>,
    pub unit: Unit,
    pub rows: Vec<&'a str>,
    /// A server, and a figure for each row.
    pub columns: Vec<(&'a str, Vec<Option<Spread>>)>,
}

impl DotPlot<'_> {
    /// The SVG text. `None` if no figure is above zero.
    pub fn draw(&self) -> Result<Option<String>> {
        let spreads = self.columns.iter().flat_map(|(_, figures)| figures.iter().flatten());
        let figures = spreads.flat_map(|spread| [spread.lowest, spread.highest]);
        let baseline = (self.unit == Unit::Ratio && !self.columns.is_empty()).then_some(1.0);
        match Axis::spanning(figures.chain(baseline)) {
            Some(axis) => self.draw_on(axis, baseline).map(Some),
            None => Ok(None),
        }
    }

    fn draw_on(&self, axis: Axis, baseline: Option<f64>) -> Result<String> {
        let rows = self.rows.len() as i32;
        let row_height = self.columns.len() as i32 * LANE + ROW_GAP;
        let entries_per_row = ((WIDTH as i32 - 2 * MARGIN) / ENTRY) as usize;
        let legend = self.columns.len().div_ceil(entries_per_row) as i32 * 20 + 10;
        let height = legend + rows * row_height + BELOW as i32;
        self.heading.draw(height as u32, |area| {
            for (index, (server, _)) in self.columns.iter().enumerate() {
                let column = (index % entries_per_row) as i32;
                let (x, y) = (MARGIN + column * ENTRY, (index / entries_per_row) as i32 * 20 + 8);
                let (edge, marker) = canvas::marker(server, (x + 6, y));
                area.draw(&edge)?;
                area.draw(&marker)?;
                area.draw(&Text::new(servers::name(server), (x + 18, y), canvas::name_style(server)))?;
            }
            let (_, area) = area.split_vertically(legend);
            for row in (0..rows).step_by(2) {
                let (top, end) = (row * row_height, WIDTH as i32 - 10);
                area.draw(&Rectangle::new([(10, top), (end, top + row_height)], SHADE.filled()))?;
            }
            let ticks = axis.ticks(self.unit, 9);
            let mut chart = ChartBuilder::on(&area)
                .margin_left(MARGIN + NAMES)
                .margin_right(FIGURES)
                .margin_bottom(8)
                .x_label_area_size(BELOW - 8)
                .build_cartesian_2d(axis.coordinate(&ticks), rows * row_height..0)?;
            chart
                .configure_mesh()
                .disable_y_mesh()
                .disable_y_axis()
                .bold_line_style(GRID)
                .axis_style(GRID)
                .x_labels(ticks.len())
                .x_label_formatter(&|figure| self.unit.tick(*figure))
                .x_desc(match baseline {
                    Some(_) => "ratio (logarithmic): left of 1 is cheaper than the baseline",
                    None => "logarithmic",
                })
                .label_style(canvas::text(15, INK))
                .axis_desc_style(canvas::text(14, FAINT))
                .draw()?;
            let one = baseline.map(|one| PathElement::new(vec![(one, 0), (one, rows * row_height)], INK));
            chart.draw_series(one)?;
            for (row, name) in self.rows.iter().enumerate() {
                let top = row as i32 * row_height;
                let middle = top + row_height / 2;
                area.draw(&Text::new(*name, (MARGIN, middle), canvas::text(15, INK)))?;
                for (lane, (server, figures)) in self.columns.iter().enumerate() {
                    let Some(spread) = figures[row].filter(|spread| spread.median > 0.0) else { continue };
                    let y = top + ROW_GAP / 2 + LANE / 2 + lane as i32 * LANE;
                    let range = vec![(axis.clamp(spread.lowest), y), (spread.highest, y)];
                    chart.draw_series([PathElement::new(range, servers::line_style(server, 0.5))])?;
                    let (edge, marker) = canvas::marker(server, (0, 0));
                    chart.draw_series([EmptyElement::at((spread.median, y)) + edge + marker])?;
                    // The figure of the subject is beside the row.
                    if servers::is_subject(server) {
                        let style = canvas::bold(15, servers::color(server));
                        let at = (WIDTH as i32 - FIGURES + 12, middle);
                        area.draw(&Text::new(self.unit.figure(spread.median), at, style))?;
                    }
                }
            }
            Ok(())
        })
    }
}

/// The height of one server in a row.
const LANE: i32 = 10;

const ROW_GAP: i32 = 10;

/// Room for the ticks and the name of the axis.
const BELOW: u32 = 52;

/// Room for the names of the cells.
const NAMES: i32 = 170;

/// Room for the figures at the right.
const FIGURES: i32 = 85;

/// The width of an entry of the legend.
const ENTRY: i32 = 144;
