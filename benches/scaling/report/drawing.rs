//! One picture on its way to an SVG file: places texts, lines and marks, and knows what went wrong with them.
//!
//! The file stands for itself: no scripts, no fonts to load, and it is light or dark as its reader is. Colours come from
//! the classes of [`super::palette`] by way of `currentColor`. Every coordinate goes through one place, which notices
//! what is not a number; every text leaves its box, so that two on the same spot, or one off the paper, are noticed too.

use std::fmt::Write as _;

use super::palette::{self, Look};

/// The width of every picture, about that of a README's column.
pub const WIDTH: f64 = 860.0;

/// What is left free at the edges.
pub const EDGE: f64 = 16.0;

/// From one line of small text to the next.
pub const ROW: f64 = 17.0;

pub struct Drawing {
    height: f64,
    title: String,
    description: String,
    body: String,
    texts: Vec<Placed>,
    faults: Vec<String>,
}

/// A finished drawing.
pub struct Picture {
    pub svg: String,
    /// Coordinates that are not numbers, texts that overlap or leave the paper. Empty for a good picture.
    pub faults: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks: its class in the style sheet.
#[derive(Clone, Copy, PartialEq)]
pub enum Ink {
    Title,
    /// Below the title: what is drawn.
    Note,
    /// Machine, date, command; names of axes.
    Faint,
    /// At ticks and lines.
    Label,
    /// A label that is to be seen first.
    Strong,
}

struct Placed {
    text: String,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Drawing {
    /// The description is for readers who cannot see the picture.
    pub fn new(title: &str, description: &str, height: f64) -> Drawing {
        Drawing {
            height,
            title: title.into(),
            description: description.into(),
            body: String::new(),
            texts: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub fn text(&mut self, ink: Ink, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        self.colored_text(ink, anchor, (x, y), text, "");
    }

    /// A text in the colour of a class.
    pub fn colored_text(&mut self, ink: Ink, anchor: Anchor, (x, y): (f64, f64), text: &str, color: &str) {
        let width = ink.width(text);
        let left = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        let (top, bottom) = (y - 0.75 * ink.size(), y + 0.2 * ink.size());
        self.texts.push(Placed { text: text.into(), left, right: left + width, top, bottom });
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " middle",
            Anchor::End => " end",
        };
        let space = if color.is_empty() { "" } else { " " };
        let (x, y, text) = (self.number(x), self.number(y), escaped(text));
        let class = ink.class();
        let _ = writeln!(
            self.body,
            "<text class=\"{class}{anchor}{space}{color}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        );
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.path(class, "", &[from, to]);
    }

    /// A line through the points; the attributes come as they are to stand in the file.
    pub fn path(&mut self, class: &str, attributes: &str, points: &[(f64, f64)]) {
        let data = self.data(points);
        let _ = writeln!(self.body, "<path class=\"{class}\"{attributes} d=\"{data}\"/>");
    }

    /// The area that the points go around.
    pub fn area(&mut self, class: &str, points: &[(f64, f64)]) {
        let data = self.data(points);
        let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{data}z\"/>");
    }

    pub fn mark(&mut self, look: &Look, at: (f64, f64)) {
        let data = self.data(&look.mark(at));
        let _ = writeln!(self.body, "<path class=\"mark {}\" d=\"{data}z\"/>", look.class);
    }

    /// Shows what it describes when a pointer rests on it: the marks that follow, until the group ends.
    pub fn group(&mut self, description: &str) {
        let _ = writeln!(self.body, "<g><title>{}</title>", escaped(description));
    }

    pub fn end_group(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// `looks` are those that the picture uses.
    pub fn finish(mut self, looks: &[Look]) -> Picture {
        let paper = Placed { text: String::new(), left: 0.0, right: WIDTH, top: 0.0, bottom: self.height };
        for (index, one) in self.texts.iter().enumerate() {
            if !one.is_within(&paper) {
                self.faults.push(format!("`{}` leaves the paper", one.text));
            }
            for other in self.texts[..index].iter().filter(|other| other.overlaps(one)) {
                self.faults.push(format!("`{}` and `{}` overlap", other.text, one.text));
            }
        }
        let height = self.number(self.height);
        let (title, description) = (escaped(&self.title), escaped(&self.description));
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" role=\"img\">\n\
             <title>{title}</title>\n<desc>{description}</desc>\n\
             {}<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{}</svg>\n",
            palette::style_sheet(looks),
            self.body
        );
        Picture { svg, faults: self.faults }
    }

    fn data(&mut self, points: &[(f64, f64)]) -> String {
        let mut data = String::new();
        for (index, &(x, y)) in points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(data, "{letter}{} {}", self.number(x), self.number(y));
        }
        data
    }

    /// A coordinate as it stands in the file, to a tenth.
    fn number(&mut self, number: f64) -> String {
        if !number.is_finite() {
            self.faults.push(format!("a coordinate is {number}"));
            return "0".into();
        }
        let text = format!("{number:.1}");
        text.strip_suffix(".0").unwrap_or(&text).into()
    }
}

impl Ink {
    /// Pixels; the same as in the style sheet.
    pub fn size(self) -> f64 {
        match self {
            Ink::Title => 17.0,
            Ink::Note | Ink::Label | Ink::Strong => 12.5,
            Ink::Faint => 11.0,
        }
    }

    /// How wide a text becomes at most: which font it will be is the reader's choice, and few are wider than this.
    pub fn width(self, text: &str) -> f64 {
        let per_letter = match self {
            Ink::Title | Ink::Strong => 0.66,
            Ink::Note | Ink::Faint | Ink::Label => 0.6,
        };
        text.chars().count() as f64 * self.size() * per_letter
    }

    pub fn class(self) -> &'static str {
        match self {
            Ink::Title => "title",
            Ink::Note => "note",
            Ink::Faint => "faint",
            Ink::Label => "label",
            Ink::Strong => "strong",
        }
    }
}

impl Placed {
    fn overlaps(&self, other: &Placed) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, paper: &Placed) -> bool {
        self.left >= paper.left
            && self.right <= paper.right
            && self.top >= paper.top
            && self.bottom <= paper.bottom
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
