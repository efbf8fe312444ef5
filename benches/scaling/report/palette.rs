//! How each server looks: the same colour, mark and dashes in every picture, and the style sheet that says so.
//!
//! The colours are told apart by people who see red and green alike, on white and on black; marks and dashes tell the
//! servers apart without any colour. twistor's lines are thick, its streams have the same hue.

use std::fmt::Write as _;

use super::drawing::Ink;

/// How one server is drawn.
#[derive(Clone, Copy)]
pub struct Look {
    /// Its class in the style sheet.
    pub class: &'static str,
    /// As pictures and tables call it.
    name: &'static str,
    light: &'static str,
    dark: &'static str,
    /// An SVG dash array; empty for a solid line.
    pub dashes: &'static str,
    shape: Shape,
    pub emphasis: Emphasis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Emphasis {
    /// The one that the picture is about.
    Main,
    /// The peers.
    Calm,
}

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Plus,
    Cross,
    Hexagon,
    Star,
}

impl Look {
    /// Servers that are not in the list share what is left over, by their names.
    pub fn of(server: &str) -> Look {
        let known = KNOWN.iter().find(|(name, _)| *name == server).map(|(_, look)| *look);
        known.unwrap_or_else(|| {
            let sum: usize = server.bytes().map(usize::from).sum();
            SPARE[sum % SPARE.len()]
        })
    }

    /// The classes of its lines and bars.
    pub fn classes(&self) -> String {
        match self.emphasis {
            Emphasis::Main => format!("main {}", self.class),
            Emphasis::Calm => self.class.to_owned(),
        }
    }

    /// Of its name.
    pub fn ink(&self) -> Ink {
        match self.emphasis {
            Emphasis::Main => Ink::Strong,
            Emphasis::Calm => Ink::Label,
        }
    }

    /// Corners of the mark around a point.
    pub fn mark(&self, (x, y): (f64, f64)) -> Vec<(f64, f64)> {
        let radius = match self.emphasis {
            Emphasis::Main => 4.6,
            Emphasis::Calm => 3.9,
        };
        let corner = |share: f64, reach: f64| {
            let angle = std::f64::consts::TAU * share;
            (x + radius * reach * angle.sin(), y - radius * reach * angle.cos())
        };
        let regular = |corners: u32, turn: f64, reach: f64| -> Vec<(f64, f64)> {
            (0..corners).map(|index| corner(f64::from(index) / f64::from(corners) + turn, reach)).collect()
        };
        // A plus goes around its twelve corners: three for each arm.
        let plus = |turn: f64| -> Vec<(f64, f64)> {
            let arm = |index: u32| {
                let middle = f64::from(index) / 4.0 + turn;
                [(middle - 0.055, 1.2), (middle + 0.055, 1.2), (middle + 0.125, 0.55)]
            };
            (0..4).flat_map(arm).map(|(share, reach)| corner(share, reach)).collect()
        };
        match self.shape {
            Shape::Circle => regular(24, 0.0, 1.0),
            Shape::Square => regular(4, 0.125, 1.2),
            Shape::Diamond => regular(4, 0.0, 1.3),
            Shape::Up => regular(3, 0.0, 1.3),
            Shape::Down => regular(3, 0.5, 1.3),
            Shape::Plus => plus(0.0),
            Shape::Cross => plus(0.125),
            Shape::Hexagon => regular(6, 0.0, 1.15),
            Shape::Star => (0..10)
                .map(|index| corner(f64::from(index) / 10.0, if index % 2 == 0 { 1.5 } else { 0.65 }))
                .collect(),
        }
    }
}

/// As pictures and tables call the server; its own name where it is not in the list.
pub fn name(server: &str) -> &str {
    match KNOWN.iter().find(|(known, _)| *known == server) {
        Some((_, look)) => look.name,
        None => server,
    }
}

/// Where the server stands among others: twistor first, then the loops, runtimes, those in Python, and the unknown.
pub fn rank(server: &str) -> usize {
    KNOWN.iter().position(|(known, _)| *known == server).unwrap_or(KNOWN.len())
}

/// Colours go by `currentColor`: what follows a server takes its class, what follows the reader has its own.
pub fn style_sheet(looks: &[Look]) -> String {
    let colors = |color: fn(&Look) -> &'static str| {
        let mut classes: Vec<String> =
            looks.iter().map(|look| format!(".{} {{ color: {}; }}\n", look.class, color(look))).collect();
        classes.sort();
        classes.dedup();
        classes.concat()
    };
    let mut sheet = String::from("<style>\n");
    let _ = write!(
        sheet,
        "{LAYOUT}{LIGHT}{}@media (prefers-color-scheme: dark) {{\n{DARK}{}}}\n</style>\n",
        colors(|look| look.light),
        colors(|look| look.dark)
    );
    sheet
}

const fn look(
    (class, name): (&'static str, &'static str),
    (light, dark): (&'static str, &'static str),
    dashes: &'static str,
    shape: Shape,
) -> Look {
    Look { class, name, light, dark, dashes, shape, emphasis: Emphasis::Calm }
}

/// By the names that the options know.
const KNOWN: [(&str, Look); 10] = [
    (
        "twistor",
        Look {
            emphasis: Emphasis::Main,
            ..look(("twistor", "twistor"), ("#0969da", "#58a6ff"), "", Shape::Circle)
        },
    ),
    ("streams", look(("streams", "twistor streams"), ("#3f9bd8", "#9ecbff"), "7 3", Shape::Square)),
    ("c", look(("c", "C epoll"), ("#24292f", "#e6edf3"), "", Shape::Plus)),
    ("control", look(("control", "C epoll again"), ("#57606a", "#c9d1d9"), "1 2", Shape::Plus)),
    ("mio", look(("mio", "mio loop"), ("#8c959f", "#8b949e"), "5 2 1 2", Shape::Cross)),
    ("tokio", look(("tokio", "tokio"), ("#b03a08", "#ec7a2c"), "", Shape::Up)),
    ("uvloop", look(("uvloop", "uvloop"), ("#b99300", "#ecd25c"), "2 2", Shape::Diamond)),
    ("asyncio", look(("asyncio", "asyncio"), ("#0b7d5c", "#35ad86"), "6 3", Shape::Down)),
    ("twisted", look(("twisted", "Twisted"), ("#96276f", "#f58fcb"), "", Shape::Hexagon)),
    ("heap", look(("heap", "binary heap"), ("#8c959f", "#8b949e"), "5 2 1 2", Shape::Cross)),
];

const SPARE: [Look; 3] = [
    look(("spare-a", ""), ("#7d4e2d", "#c9a27e"), "8 2 2 2", Shape::Star),
    look(("spare-b", ""), ("#6e40c9", "#b392f0"), "3 3", Shape::Star),
    look(("spare-c", ""), ("#4d5b1f", "#b5c46f"), "10 3", Shape::Star),
];

const LAYOUT: &str = "\
text { font-size: 12.5px; }
.title { font-size: 17px; font-weight: 600; }
.strong { font-weight: 600; }
.faint { font-size: 11px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
path { fill: none; }
.grid, .axis, .unity { stroke-width: 1; }
.leader { stroke: currentColor; stroke-width: 1; opacity: .55; }
.line { stroke: currentColor; stroke-width: 1.7; stroke-linejoin: round; }
.main { stroke-width: 3.2; }
.halo { stroke-width: 5.6; stroke-linejoin: round; }
.band { fill: currentColor; opacity: .08; }
.band.main { opacity: .2; }
.range { stroke: currentColor; stroke-width: 1.6; opacity: .5; }
.range.main { stroke-width: 2.6; }
.bar { fill: currentColor; opacity: .55; }
.bar.main { opacity: 1; }
.clear { paint-order: stroke; stroke-width: 4; stroke-linejoin: round; }
.own { fill: currentColor; }
.mark { fill: currentColor; stroke-width: 1; }
.whisker { stroke-width: 1.2; }
";

const LIGHT: &str = "\
.paper { fill: #ffffff; }
text { fill: #1f2328; }
.note { fill: #424a53; }
.faint { fill: #59636e; }
.grid { stroke: #e4e8ec; }
.axis { stroke: #c4ccd4; }
.unity, .whisker { stroke: #424a53; }
.halo, .mark, .clear { stroke: #ffffff; }
.shade { fill: #f3f5f7; }
";

const DARK: &str = "\
.paper { fill: #0d1117; }
text { fill: #e6edf3; }
.note { fill: #c3cad2; }
.faint { fill: #9198a1; }
.grid { stroke: #232a33; }
.axis { stroke: #3d4650; }
.unity, .whisker { stroke: #c3cad2; }
.halo, .mark, .clear { stroke: #0d1117; }
.shade { fill: #151b23; }
";
