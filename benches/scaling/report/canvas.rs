//! The heading of a plot, and the styles that both kinds of plots share.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::run::Run;
use super::super::support::Result;
use super::servers;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The text above a plot.
pub struct Heading<'a> {
    pub title: &'a str,
    /// Describe the workload and the marks.
    pub notes: [String; 2],
    pub run: &'a Run,
}

impl Heading<'_> {
    /// The SVG text of a plot: the heading, and below it what `body` draws.
    pub fn draw(&self, height: u32, body: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
        let machine = format!("{} · {}", self.run.machine, self.run.minute());
        let [note, faint] = [text(15, NOTE), text(13, FAINT)];
        let lines = [
            (self.notes[0].as_str(), &note),
            (&self.notes[1], &note),
            (&machine, &faint),
            (&self.run.command, &faint),
        ];
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, TOP + height)).into_drawing_area();
            root.fill(&WHITE)?;
            root.draw(&Text::new(self.title, (MARGIN, 24), bold(22, INK)))?;
            let lines = lines.into_iter().filter(|(line, _)| !line.is_empty());
            for ((line, style), y) in lines.zip((48..).step_by(18)) {
                root.draw(&Text::new(line, (MARGIN, y), style))?;
            }
            body(&root.split_vertically(TOP).1)?;
            root.present()?;
        }
        Ok(svg)
    }
}

type Pixels = (i32, i32);

/// A server's marker around a point: its white edge, and the shape.
pub fn marker(server: &str, (x, y): Pixels) -> (PathElement<Pixels>, Polygon<Pixels>) {
    let corners: Vec<_> = servers::marker(server).iter().map(|(right, down)| (x + right, y + down)).collect();
    let edge: Vec<_> = corners.iter().chain(corners.first()).copied().collect();
    (PathElement::new(edge, WHITE.stroke_width(2)), Polygon::new(corners, servers::color(server)))
}

/// Text that starts at its position, vertically centred.
pub fn text(size: u32, color: RGBColor) -> TextStyle<'static> {
    let font = ("sans-serif", size).into_font();
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(HPos::Left, VPos::Center) }
}

pub fn bold(size: u32, color: RGBColor) -> TextStyle<'static> {
    let style = text(size, color);
    TextStyle { font: style.font.style(FontStyle::Bold), ..style }
}

/// The style of a server's name.
pub fn name_style(server: &str) -> TextStyle<'static> {
    if servers::is_subject(server) { bold(15, INK) } else { text(15, INK) }
}

/// Pixels, as all lengths here.
pub const WIDTH: u32 = 900;
pub const MARGIN: i32 = 18;
/// The height of the heading.
const TOP: u32 = 122;

pub const INK: RGBColor = RGBColor(31, 35, 40);
const NOTE: RGBColor = RGBColor(66, 74, 83);
pub const FAINT: RGBColor = RGBColor(89, 99, 110);
pub const GRID: RGBColor = RGBColor(228, 232, 236);
pub const SHADE: RGBColor = RGBColor(246, 247, 249);
