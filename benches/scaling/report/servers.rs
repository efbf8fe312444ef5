//! Name, order, colour and marker of each server: the same in all plots and tables.
//!
//! The colours are the palette of Okabe and Ito, which colour-blind people can tell apart. The
//! markers tell the servers apart without any colour.

use plotters::style::{Color, RGBColor, ShapeStyle};

/// Name in the option `--servers` (`heap` is among the timers), name in the report, colour, and
/// corners of the marker in pixels.
type Look = (&'static str, &'static str, RGBColor, Marker);

/// The name in plots and tables. An unknown server keeps its own.
pub fn name(server: &str) -> &str {
    if look(server).1.is_empty() { server } else { look(server).1 }
}

/// The position in plots and tables: twistor, loops, runtimes, Python, unknown servers.
pub fn rank(server: &str) -> usize {
    SERVERS.iter().position(|(known, ..)| *known == server).unwrap_or(SERVERS.len())
}

/// The server that the report is about is emphasized: a thick line, a bold name.
pub fn is_subject(server: &str) -> bool {
    server == "twistor"
}

pub fn color(server: &str) -> RGBColor {
    look(server).2
}

pub fn line_style(server: &str, opacity: f64) -> ShapeStyle {
    color(server).mix(opacity).stroke_width(if is_subject(server) { 3 } else { 2 })
}

pub fn marker(server: &str) -> Marker {
    look(server).3
}

fn look(server: &str) -> &'static Look {
    SERVERS.iter().find(|(known, ..)| *known == server).unwrap_or(&UNKNOWN)
}

#[rustfmt::skip]
const SERVERS: [Look; 11] = [
    ("twistor", "twistor", RGBColor(0, 114, 178), CIRCLE),
    ("streams", "twistor streams", RGBColor(86, 180, 233), &[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
    ("spin", "twistor, busy-poll", RGBColor(51, 34, 136), HEXAGON),
    ("c", "C epoll", RGBColor(0, 0, 0), PLUS),
    ("control", "C epoll again", RGBColor(90, 90, 90), PLUS),
    ("mio", "mio loop", RGBColor(150, 150, 150), CROSS),
    ("tokio", "tokio", RGBColor(213, 94, 0), &[(0, -5), (5, 4), (-5, 4)]),
    ("uvloop", "uvloop", RGBColor(230, 159, 0), &[(0, -6), (5, 0), (0, 6), (-5, 0)]),
    ("asyncio", "asyncio", RGBColor(0, 158, 115), &[(0, 5), (5, -4), (-5, -4)]),
    ("twisted", "Twisted", RGBColor(204, 121, 167), HEXAGON),
    ("heap", "binary heap", RGBColor(150, 150, 150), CROSS),
];

const UNKNOWN: Look = ("", "", RGBColor(140, 86, 75), HEXAGON);

type Marker = &'static [(i32, i32)];
const HEXAGON: Marker = &[(-3, -5), (3, -5), (5, 0), (3, 5), (-3, 5), (-5, 0)];
#[rustfmt::skip]
const CIRCLE: Marker = &[
    (5, 0), (4, 3), (3, 4), (0, 5), (-3, 4), (-4, 3), (-5, 0), (-4, -3), (-3, -4), (0, -5), (3, -4), (4, -3),
];
#[rustfmt::skip]
const PLUS: Marker = &[
    (-1, -5), (1, -5), (1, -1), (5, -1), (5, 1), (1, 1), (1, 5), (-1, 5), (-1, 1), (-5, 1), (-5, -1), (-1, -1),
];
#[rustfmt::skip]
const CROSS: Marker = &[
    (-5, -3), (-3, -5), (0, -2), (3, -5), (5, -3), (2, 0), (5, 3), (3, 5), (0, 2), (-3, 5), (-5, 3), (-2, 0),
];
