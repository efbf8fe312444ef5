//! What surrounds every plot: title, what it shows, where and when it was measured, and the rest of the paper for it.

use super::super::figures::Run;
use super::drawing::{Anchor, Drawing, EDGE, Ink, WIDTH};
use super::palette::{self, Look};

/// What stands above a plot.
pub struct Heading<'a> {
    pub title: &'a str,
    /// What is drawn and how, in a line or two.
    pub note: &'a str,
    pub run: &'a Run,
}

impl Heading<'_> {
    /// How much of the paper the heading takes.
    pub fn height(&self) -> f64 {
        FIRST_LINE + self.lines().iter().map(|(ink, _)| ink.size() * LEADING).sum::<f64>() + EDGE
    }

    pub fn draw(&self, drawing: &mut Drawing) {
        drawing.text(Ink::Title, Anchor::Start, (EDGE, FIRST_LINE), self.title);
        let mut y = FIRST_LINE + 3.0;
        for (ink, line) in self.lines() {
            y += ink.size() * LEADING;
            drawing.text(ink, Anchor::Start, (EDGE, y), &line);
        }
    }

    fn lines(&self) -> Vec<(Ink, String)> {
        let note = wrapped(Ink::Note, self.note, " ").into_iter().map(|line| (Ink::Note, line));
        let origin = wrapped(Ink::Faint, &origin(self.run), " · ").into_iter().map(|line| (Ink::Faint, line));
        note.chain(origin).collect()
    }
}

/// Machine, date and command in one line.
pub fn origin(run: &Run) -> String {
    let machine = &run.machine;
    let memory = machine.memory as f64 / (1_u64 << 30) as f64;
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    format!(
        "{}, {} {cores}, {memory:.0} GiB, Linux {} · {} · {}",
        machine.processor,
        machine.cores,
        machine.kernel.trim_start_matches("Linux "),
        day(&run.date),
        run.command
    )
}

/// `2026-11-21 15:40 UTC`.
pub fn day(date: &str) -> String {
    match date.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.get(..5).unwrap_or(time)),
        None => date.to_owned(),
    }
}

/// Marks and names in rows below the heading, for plots whose parts have no names beside them.
pub struct Legend<'a> {
    rows: Vec<Vec<(f64, &'a str)>>,
}

impl<'a> Legend<'a> {
    pub fn of(servers: &[&'a str]) -> Legend<'a> {
        let mut rows = vec![Vec::new()];
        let mut x = EDGE;
        for &server in servers {
            let width = MARK_ROOM + Ink::Strong.width(palette::name(server));
            if x + width > WIDTH - EDGE {
                rows.push(Vec::new());
                x = EDGE;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, server));
            }
            x += width + ENTRY_GAP;
        }
        Legend { rows }
    }

    pub fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW
    }

    /// From `top` on.
    pub fn draw(&self, drawing: &mut Drawing, top: f64) {
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + index as f64 * ROW + 10.0;
            for &(x, server) in row {
                let look = Look::of(server);
                drawing.mark(&look, (x + 6.0, y - 4.2));
                drawing.text(look.ink(), Anchor::Start, (x + MARK_ROOM, y), palette::name(server));
            }
        }
    }
}

/// Lines that fit on the paper, broken at separators; a word that is too long for a line is cut.
fn wrapped(ink: Ink, text: &str, separator: &str) -> Vec<String> {
    let room = WIDTH - 2.0 * EDGE;
    let mut lines: Vec<String> = Vec::new();
    for part in text.split(separator) {
        let longer = lines.last().map(|line| format!("{line}{separator}{part}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if ink.width(&longer) <= room => *line = longer,
            _ => lines.push(cut(ink, part, room)),
        }
    }
    lines
}

/// The text, or as much of it as there is room for, and an ellipsis.
pub fn cut(ink: Ink, text: &str, room: f64) -> String {
    let letters = (room / ink.width("m")) as usize;
    match text.chars().count() > letters {
        true => text.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

const FIRST_LINE: f64 = 30.0;

/// From a line of text to the next, in sizes of its letters.
const LEADING: f64 = 1.5;

const MARK_ROOM: f64 = 17.0;

const ENTRY_GAP: f64 = 14.0;

const ROW: f64 = 20.0;
