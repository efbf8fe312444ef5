//! The live table: all targets on one screen, redrawn in place, with the latest news below.
//!
//! It is a [`Reporter`] whose summaries are frames: who wants movement asks the monitor for a
//! summary a few times a second. A frame is one write between the marks of a synchronized update,
//! line over line, so that nothing flickers; the last frame stays and the cursor comes back.

use super::grid::{self, Cell, Column};
use super::lines::event_cells;
use super::paint::{Painted, Palette};
use super::reporter::{Event, Reporter, Row, Summary};
use super::sparkline::sparkline;
use super::stamp::Clock;
use super::track::State;
use std::cell::Cell as Shared;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::rc::Rc;
use unicode_width::UnicodeWidthStr;

/// The size of a terminal in columns and rows. Who watches the terminal sets it anew.
pub type Size = Rc<Shared<(u16, u16)>>;

/// Draws frames on a terminal.
#[derive(Debug)]
pub struct Page<W: Write> {
    out: W,
    clock: Clock,
    palette: Palette,
    size: Size,
    /// The size for which the last frame was drawn, and how many lines it had; none before the first.
    drawn: Option<((u16, u16), usize)>,
    news: VecDeque<[Cell; 5]>,
}

impl<W: Write> Page<W> {
    /// Draws on `out`, a terminal of `size`.
    pub fn new(out: W, clock: Clock, palette: Palette, size: Size) -> Page<W> {
        Page { out, clock, palette, size, drawn: None, news: VecDeque::new() }
    }

    fn draw(&mut self, lines: &[String], last: bool) -> io::Result<()> {
        let size = self.size.get();
        let mut frame = String::from(BEGIN);
        match self.drawn {
            Some((drawn, lines)) if drawn == size => {
                let _ = write!(frame, "\x1b[{lines}A\r");
            }
            // What the terminal made of the old lines in its new size is anybody's guess.
            Some(_) => frame.push_str("\x1b[2J\x1b[H"),
            None => frame.push_str(HIDE_CURSOR),
        }
        for line in lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        frame.push_str(END);
        if last {
            frame.push_str(SHOW_CURSOR);
        }
        self.drawn = (!last).then_some((size, lines.len()));
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + 'static> Reporter for Page<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.news.push_front(event_cells(event, &self.clock, &self.palette, 0));
        self.news.truncate(MOST_NEWS);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let lines = render(summary, self.news.make_contiguous(), self.size.get(), &self.clock, &self.palette);
        self.draw(&lines, summary.last)
    }
}

/// A cursor that stayed hidden is the worst that a program can leave behind.
impl<W: Write> Drop for Page<W> {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = self.out.write_all(SHOW_CURSOR.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

/// The lines of a frame: at most one fewer than the terminal has rows, none wider than it.
fn render(
    summary: &Summary<'_>,
    news: &[[Cell; 5]],
    (columns, rows): (u16, u16),
    clock: &Clock,
    palette: &Palette,
) -> Vec<String> {
    let (columns, height) = (usize::from(columns), usize::from(rows).saturating_sub(1));
    let mut lines = vec![title(summary, columns, clock, palette), String::new()];
    // Title, blank, headings; blank, news: the targets get what is left, and at least a few lines.
    let news_room = news.len().min(height.saturating_sub(4 + summary.rows.len()).max(height / 4));
    let room = height.saturating_sub(4 + news_room).max(1);
    lines.extend(table(summary, room, columns, palette));
    if news_room > 0 {
        lines.push(String::new());
        lines.extend(news.iter().take(news_room).map(|cells| {
            let mut indented = vec![Cell::plain("  ")];
            indented.extend_from_slice(cells);
            grid::join(&indented, columns)
        }));
    }
    lines.truncate(height);
    lines
}

fn title(summary: &Summary<'_>, columns: usize, clock: &Clock, palette: &Palette) -> String {
    let count =
        |wanted: fn(State) -> bool| summary.rows.iter().filter(|row| wanted(row.track.state())).count();
    let down = count(|state| matches!(state, State::Down(_)));
    let unknown = count(|state| state == State::Unknown);
    let up = summary.rows.len() - down - unknown;
    let mut cells = vec![Cell { text: "  twistor monitor".into(), style: palette.strong }];
    for (number, text, style) in [
        (up, "● {} up", palette.good),
        (down, "✗ {} down", palette.bad),
        (unknown, "○ {} not yet", palette.unknown),
    ] {
        if number > 0 {
            cells.push(Cell::plain("   "));
            cells.push(Cell { text: text.replace("{}", &number.to_string()), style });
        }
    }
    let time = clock.show_time(summary.wall);
    let used: usize = cells.iter().map(|cell| cell.text.width()).sum();
    let gap = columns.saturating_sub(used + time.width() + 2);
    cells.push(Cell::plain(" ".repeat(gap)));
    if gap > 0 {
        cells.push(Cell { text: time, style: palette.faint });
    }
    grid::join(&cells, columns)
}

/// The headings and up to `room` lines of targets; when they do not fit, those that are down come first.
fn table(summary: &Summary<'_>, room: usize, columns: usize, palette: &Palette) -> Vec<String> {
    let mut order: Vec<&Row<'_>> = summary.rows.iter().collect();
    let mut more = None;
    if order.len() > room {
        order.sort_by_key(|row| !matches!(row.track.state(), State::Down(_)));
        let hidden = order.split_off(room - 1);
        let down = hidden.iter().filter(|row| matches!(row.track.state(), State::Down(_))).count();
        more = Some(match down {
            0 => format!("  … and {} more, none of them down", hidden.len()),
            _ => format!("  … and {} more, {down} of them down", hidden.len()),
        });
    }
    let headings = grid::headings(palette);
    let cells: Vec<_> = order.iter().map(|row| grid::cells(row, palette)).collect();
    let (widths, curve) = layout(grid::widths(std::iter::once(&headings).chain(&cells)), columns);
    let mut heading = grid::row(&headings, &widths);
    if curve > 0 {
        let _ = write!(heading, "  {}", Painted(palette.faint, "recent"));
    }
    let mut lines = vec![heading];
    for (row, cells) in order.iter().zip(&cells) {
        let mut line = grid::row(cells, &widths);
        if curve > 0 {
            line.push_str("  ");
            line.push_str(&sparkline(row.track.recent(), curve, palette));
        }
        lines.push(line);
    }
    lines.extend(more.map(|text| Painted(palette.faint, grid::fit(&text, columns)).to_string()));
    lines
}

/// Which columns are shown how wide (0: not at all), and how wide the curve is.
fn layout(mut widths: [usize; 8], columns: usize) -> ([usize; 8], usize) {
    let total =
        |widths: &[usize; 8]| widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>();
    for dispensable in DISPENSABLE {
        if total(&widths) + SHORTEST_CURVE + 4 <= columns {
            break;
        }
        if let Some(at) = Column::ALL.iter().position(|column| *column == dispensable) {
            widths[at] = 0;
        }
    }
    // The first column is the target's name: it gives way last.
    let over = total(&widths).saturating_sub(columns.saturating_sub(1));
    widths[0] = widths[0].saturating_sub(over).max(SHORTEST_NAME.min(widths[0]));
    let over = total(&widths).saturating_sub(columns);
    widths[1] = widths[1].saturating_sub(over);
    let left = columns.saturating_sub(total(&widths) + 4);
    (widths, if left < SHORTEST_CURVE { 0 } else { left.min(LONGEST_CURVE) })
}

/// The columns that a narrow terminal does without, the first to go first.
const DISPENSABLE: [Column; 6] =
    [Column::Connects, Column::Longest, Column::Losses, Column::Uptime, Column::Median, Column::Since];
const SHORTEST_NAME: usize = 8;
const SHORTEST_CURVE: usize = 8;
const LONGEST_CURVE: usize = 40;
const MOST_NEWS: usize = 12;

/// Synchronized update: terminals that know it show the frame at once, others ignore it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
