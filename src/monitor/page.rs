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
    /// How wide the column of names is in the news.
    names: usize,
    size: Size,
    /// The size for which the last frame was drawn, and how many lines it had; none before the first.
    drawn: Option<((u16, u16), usize)>,
    news: VecDeque<[Cell; 5]>,
}

impl<W: Write> Page<W> {
    /// Draws on `out`, a terminal of `size`; the news have the targets' names in a column that is `names` wide.
    pub fn new(out: W, clock: Clock, palette: Palette, names: usize, size: Size) -> Page<W> {
        Page { out, clock, palette, names, size, drawn: None, news: VecDeque::new() }
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
        self.news.push_front(event_cells(event, &self.clock, &self.palette, self.names));
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
    let mut lines = vec![title(summary, columns, clock, palette)];
    // A terminal of a few lines has no room for air and news.
    let airy = height >= SHORTEST_AIRY;
    let news_room = if airy { height.saturating_sub(4 + summary.rows.len()).max(height / 4) } else { 0 };
    let news_room = news_room.min(news.len());
    // Besides the title and the headings there is an empty line, and one above the news.
    let room = height.saturating_sub(if airy { 4 + news_room } else { 2 }).max(1);
    if airy {
        lines.push(String::new());
    }
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
    let not_yet = count(|state| state == State::Unknown(None));
    let unknown = count(|state| matches!(state, State::Unknown(Some(_))));
    let up = count(|state| state == State::Up);
    let mut cells = vec![Cell { text: "  twistor monitor".into(), style: palette.strong }];
    for (number, text, style) in [
        (up, "● {} up", palette.good),
        (down, "✗ {} down", palette.bad),
        (unknown, "? {} unknown", palette.unknown),
        (not_yet, "○ {} not yet", palette.unknown),
    ] {
        if number > 0 {
            cells.push(Cell::plain("   "));
            cells.push(Cell { text: text.replace("{}", &number.to_string()), style });
        }
    }
    let time = clock.show_time(summary.wall);
    let mut used: usize = cells.iter().map(|cell| cell.text.width()).sum();
    if used > columns {
        // The counts matter more than the name.
        used -= cells.remove(0).text.width();
    }
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
        order.sort_by_key(|row| match row.track.state() {
            State::Down(_) => 0,
            State::Unknown(Some(_)) => 1,
            _ => 2,
        });
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
            line.push_str(&sparkline(row.track.recent(), row.target.kind(), curve, palette));
        }
        lines.push(line);
    }
    lines.extend(more.map(|text| Painted(palette.faint, grid::fit(&text, columns)).to_string()));
    lines
}

/// Which columns are shown how wide (0: not at all), and how wide the curve is.
fn layout(mut widths: [usize; 9], columns: usize) -> ([usize; 9], usize) {
    let total =
        |widths: &[usize; 9]| widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>();
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
    if total(&widths) > columns {
        widths = [columns.saturating_sub(2), 0, 0, 0, 0, 0, 0, 0, 0];
    }
    let left = columns.saturating_sub(total(&widths) + 4);
    (widths, if left < SHORTEST_CURVE { 0 } else { left.min(LONGEST_CURVE) })
}

/// The columns that a narrow terminal does without, the first to go first.
const DISPENSABLE: [Column; 7] = [
    Column::Connects,
    Column::Longest,
    Column::Reconnects,
    Column::Losses,
    Column::Uptime,
    Column::Median,
    Column::Since,
];
const SHORTEST_NAME: usize = 8;
const SHORTEST_CURVE: usize = 8;
const LONGEST_CURVE: usize = 40;
const MOST_NEWS: usize = 12;
const SHORTEST_AIRY: usize = 8;

/// Synchronized update: terminals that know it show the frame at once, others ignore it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::monitor::{Cause, Change, Target, Track};
    use std::time::{Duration, SystemTime};

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    /// Of every four targets one is down and one not known.
    fn targets(count: usize) -> Vec<(Target, Track)> {
        (0..count)
            .map(|number| {
                let mut track = Track::new();
                match number % 4 {
                    0 => drop(track.failed(at(1), Cause::TimedOut, MS)),
                    1 => {}
                    _ => drop(track.connected(at(1), MS * 2)),
                }
                (format!("tcp://service-{number}.example:80").parse().unwrap(), track)
            })
            .collect()
    }

    fn summary(targets: &[(Target, Track)], last: bool) -> Summary<'_> {
        let rows = targets.iter().map(|(target, track)| Row { target, track, now: at(11) }).collect();
        Summary { wall: SystemTime::UNIX_EPOCH, rows, last }
    }

    fn page(size: (u16, u16)) -> Page<Vec<u8>> {
        let clock = Clock { zone: jiff::tz::TimeZone::UTC, date: false };
        Page::new(Vec::new(), clock, Palette::plain(), 12, Rc::new(Shared::new(size)))
    }

    fn frame(size: (u16, u16), targets: &[(Target, Track)], news: &[[Cell; 5]]) -> Vec<String> {
        let clock = Clock { zone: jiff::tz::TimeZone::UTC, date: false };
        render(&summary(targets, false), news, size, &clock, &Palette::plain())
    }

    #[test]
    fn a_frame_fits_into_every_terminal() {
        let targets = targets(30);
        for columns in [1, 10, 24, 40, 66, 80, 120, 300] {
            for rows in [1, 2, 5, 9, 24, 60] {
                let mut page = page((columns, rows));
                let change = Change::Up { took: MS, down_for: None, unknown_for: None };
                for (target, _) in targets.iter().take(6) {
                    let event = Event { wall: SystemTime::UNIX_EPOCH, target, change, reason: None };
                    page.event(&event).unwrap();
                }
                let lines = frame((columns, rows), &targets, page.news.make_contiguous());
                assert!(lines.len() < usize::from(rows), "{} lines of {rows}", lines.len());
                for line in &lines {
                    assert!(line.width() <= usize::from(columns), "{columns} columns: {line:?}");
                }
            }
        }
    }

    #[test]
    fn targets_that_are_down_come_first_when_not_all_fit() {
        let targets = targets(30);
        let lines = frame((80, 12), &targets, &[]);
        assert!(lines[3].contains("service-0.example") && lines[3].contains("✗ no answer"), "{lines:#?}");
        assert!(lines[4].contains("service-4.example"), "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "  … and 24 more, 2 of them down");
        let all = frame((80, 60), &targets, &[]);
        assert!(all[4].contains("service-1.example") && all[4].contains("○ not yet"), "{all:#?}");
    }

    #[test]
    fn unknown_is_told_from_not_yet() {
        let mut targets = targets(4);
        let _ = targets[3].1.failed(at(2), Cause::Local, MS);
        let lines = frame((80, 24), &targets, &[]);
        assert!(lines[0].contains("● 1 up   ✗ 1 down   ? 1 unknown   ○ 1 not yet"), "{lines:#?}");
        assert!(lines[4].contains("○ not yet        -"), "{lines:#?}");
        assert!(lines[6].contains("? unknown    9.0 s"), "{lines:#?}");
    }

    #[test]
    fn reconnects_have_a_column_when_there_are_some() {
        let mut targets = targets(4);
        assert!(!frame((120, 24), &targets, &[])[2].contains("reconnects"));
        let _ = targets[2].1.closed(at(5), Duration::from_secs(4), true);
        let _ = targets[2].1.connected(at(5), MS);
        let lines = frame((120, 24), &targets, &[]);
        assert!(lines[2].contains("  losses  reconnects  connects  "), "{lines:#?}");
        assert!(lines[5].contains("       0           1         2  "), "{lines:#?}");
    }

    #[test]
    fn a_frame_is_drawn_over_the_one_before_until_the_size_changes() {
        let targets = targets(2);
        let mut page = page((80, 24));
        let drawn = |page: &mut Page<Vec<u8>>, last| {
            page.out.clear();
            page.summary(&summary(&targets, last)).unwrap();
            String::from_utf8(page.out.clone()).unwrap()
        };
        assert!(drawn(&mut page, false).starts_with("\x1b[?2026h\x1b[?25l"));
        assert!(drawn(&mut page, false).starts_with("\x1b[?2026h\x1b[5A\r"));
        page.size.set((60, 24));
        assert!(drawn(&mut page, false).starts_with("\x1b[?2026h\x1b[2J\x1b[H"));
        assert!(drawn(&mut page, true).ends_with("\x1b[?2026l\x1b[?25h"));
    }
}
