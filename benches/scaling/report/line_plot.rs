//! A metric over connections or message sizes, a line for each server.
//!
//! Points are medians, and a light band goes from the lowest to the highest round. Both axes are
//! logarithmic. The legend is beside the ends of the lines. A cell without a figure is a gap.

use plotters::prelude::*;

use super::super::support::Result;
use super::axis::Axis;
use super::canvas::{self, FAINT, GRID, Heading, INK, MARGIN};
use super::servers;
use super::statistics::Spread;
use super::unit::Unit;

pub struct LinePlot<'a> {
    pub heading: Heading<'a>,
    /// Name and unit of the horizontal axis, and the places of the points.
    pub along: (&'a str, Unit, Vec<f64>),
    pub unit: Unit,
    /// A server, and a figure for each place.
    pub lines: Vec<(&'a str, Vec<Option<Spread>>)>,
}

impl LinePlot<'_> {
    /// The SVG text. `None` if no figure is above zero.
    pub fn draw(mut self) -> Result<Option<String>> {
        // The subject comes last: no other line covers it.
        self.lines.sort_by_key(|(server, _)| servers::is_subject(server));
        let spreads = self.lines.iter().flat_map(|(_, figures)| figures.iter().flatten());
        let figures = spreads.flat_map(|spread| [spread.lowest, spread.highest]);
        match (Axis::spanning(self.along.2.iter().copied()), Axis::spanning(figures)) {
            (Some(x), Some(y)) => self.draw_on(x, y).map(Some),
            _ => Ok(None),
        }
    }

    fn draw_on(&self, x: Axis, y: Axis) -> Result<String> {
        let (name, along, places) = &self.along;
        self.heading.draw(HEIGHT, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_left(MARGIN)
                .margin_right(LEGEND)
                .margin_bottom(8)
                .x_label_area_size(42)
                .y_label_area_size(60)
                .build_cartesian_2d(x.coordinate(places), y.coordinate(&y.ticks(self.unit, 13)))?;
            chart
                .configure_mesh()
                .bold_line_style(GRID)
                .axis_style(GRID)
                .x_labels(places.len())
                .x_label_formatter(&|at| along.tick(*at))
                .y_label_formatter(&|figure| self.unit.tick(*figure))
                .x_desc(format!("{name} (both axes are logarithmic)"))
                .label_style(canvas::text(15, INK))
                .axis_desc_style(canvas::text(14, FAINT))
                .draw()?;
            let lines: Vec<_> =
                self.lines.iter().map(|(server, figures)| (*server, segments(places, figures))).collect();
            let bands =
                lines.iter().flat_map(|(server, line)| line.iter().map(move |segment| (server, segment)));
            for (server, segment) in bands {
                let above = segment.iter().map(|(at, spread)| (*at, spread.highest));
                let below = segment.iter().rev().map(|(at, spread)| (*at, y.clamp(spread.lowest)));
                let opacity = if servers::is_subject(server) { 0.2 } else { 0.08 };
                let band: Vec<_> = above.chain(below).collect();
                chart.draw_series([Polygon::new(band, servers::color(server).mix(opacity))])?;
            }
            let mut ends = Vec::new();
            for (server, segments) in &lines {
                for segment in segments {
                    let points: Vec<_> = segment.iter().map(|(at, spread)| (*at, spread.median)).collect();
                    chart
                        .draw_series([PathElement::new(points.clone(), servers::line_style(server, 1.0))])?;
                    chart.draw_series(points.into_iter().map(|point| {
                        let (edge, marker) = canvas::marker(server, (0, 0));
                        EmptyElement::at(point) + edge + marker
                    }))?;
                }
                let end = segments.last().and_then(|segment| segment.last());
                ends.extend(end.map(|(at, spread)| (*server, (*at, spread.median))));
            }
            // An entry of the legend is placed in pixels relative to the last point of its line.
            ends.sort_by_key(|(_, point)| chart.backend_coord(point).1);
            let (columns, rows) = chart.plotting_area().get_pixel_range();
            let wanted = ends.iter().map(|(_, point)| chart.backend_coord(point).1).collect();
            for ((server, point), row) in ends.into_iter().zip(spaced(wanted, rows.end)) {
                let (x, y) = chart.backend_coord(&point);
                let (right, down) = (columns.end - x, row - y);
                let leader = vec![(7, 0), (right + 4, 0), (right + 22, down), (right + 30, down)];
                let leader = PathElement::new(leader, servers::color(server).mix(0.6));
                let (edge, marker) = canvas::marker(server, (right + 38, down));
                let mut entry = format!("{} {}", servers::name(server), self.unit.figure(point.1));
                if places.last() != Some(&point.0) {
                    entry += &format!(" at {}", along.tick(point.0));
                }
                let name = Text::new(entry, (right + 48, down), canvas::name_style(server));
                chart.draw_series([EmptyElement::at(point) + leader + edge + marker + name])?;
            }
            Ok(())
        })
    }
}

/// Runs of points that a logarithmic axis can show, without a gap.
pub fn segments(places: &[f64], figures: &[Option<Spread>]) -> Vec<Vec<(f64, Spread)>> {
    let mut segments = vec![Vec::new()];
    for (at, spread) in places.iter().zip(figures) {
        match (spread.filter(|spread| spread.median > 0.0), segments.last_mut()) {
            (Some(spread), Some(segment)) => segment.push((*at, spread)),
            _ => segments.push(Vec::new()),
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// The ascending positions, moved until they are a row apart and above the bottom.
fn spaced(mut rows: Vec<i32>, bottom: i32) -> Vec<i32> {
    for index in 1..rows.len() {
        rows[index] = rows[index].max(rows[index - 1] + ROW); // both are in the range
    }
    let mut limit = bottom;
    for row in rows.iter_mut().rev() {
        *row = limit.min(*row);
        limit = *row - ROW;
    }
    rows
}

const HEIGHT: u32 = 410;

/// Room for the legend at the right.
const LEGEND: i32 = 240;

/// From an entry of the legend to the next.
const ROW: i32 = 18;
