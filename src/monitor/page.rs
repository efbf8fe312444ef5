//! The live table: all targets on one screen, redrawn in place, with the latest events below.
//!
//! It is a [`Reporter`] whose summaries are frames. For a live display, the caller requests a
//! summary from the monitor a few times a second.
//!
//! Frames are drawn on the terminal's alternate screen with the cursor hidden. Each frame covers
//! the whole screen, so the writer may drop an outdated frame. A frame is written line by line
//! between the marks of a synchronized update, which avoids flicker. At the end the terminal's
//! previous contents are restored, and a final table of all targets is printed below.

use super::lines::event_cells;
use super::reporter::{Event, Reporter, Row, Summary};
use super::track::State;
use super::view::View;
use crate::monitor::grid::{self, Cell, Column};
use crate::monitor::sparkline::sparkline;
use crate::report::clock::Clock;
use crate::report::{Painted, Palette, fit};
use std::cell::Cell as Shared;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::rc::Rc;
use unicode_width::UnicodeWidthStr;

/// The size of a terminal in columns and rows. The owner of the terminal updates it on a resize.
pub type Size = Rc<Shared<(u16, u16)>>;

/// The output of a live table. Every `io::Write` implements it.
pub trait Screen {
    /// Shows a whole frame in place of the previous one. It may be dropped if another frame follows
    /// before it was shown.
    fn frame(&mut self, frame: &str) -> io::Result<()>;

    /// Writes text after all previous frames.
    fn text(&mut self, text: &str) -> io::Result<()>;
}

impl<W: Write> Screen for W {
    fn frame(&mut self, frame: &str) -> io::Result<()> {
        self.text(frame)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.write_all(text.as_bytes())?;
        self.flush()
    }
}

/// A [`Reporter`] that draws a live table on a terminal.
#[derive(Debug)]
pub struct LiveTable<S: Screen> {
    out: S,
    clock: Clock,
    palette: Palette,
    /// Width of the column of names in the event list.
    names: usize,
    size: Size,
    view: View,
    news: VecDeque<[Cell; 5]>,
}

impl<S: Screen> LiveTable<S> {
    /// Creates a live table on `out`, a terminal of `size`. The column of target names in the event
    /// list is `names` wide.
    pub fn new(out: S, clock: Clock, palette: Palette, names: usize, size: Size) -> LiveTable<S> {
        LiveTable { out, clock, palette, names, size, view: View::default(), news: VecDeque::new() }
    }

    /// Sets the view, with which the caller scrolls the table.
    pub fn with_view(mut self, view: View) -> LiveTable<S> {
        self.view = view;
        self
    }

    fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        if let Some(enter) = self.view.enter() {
            self.out.text(enter)?;
        }
        let mut frame = String::from(BEGIN);
        for line in lines {
            // Clear the line before it is written: after text that fills the line, the cursor is on
            // its last column.
            let _ = write!(frame, "\x1b[2K{line}\r\n");
        }
        frame.push_str(END);
        self.out.frame(&frame)
    }

    /// Leaves the alternate screen and prints all targets and the latest events.
    fn leave(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = self.view.leave().unwrap_or_default().to_owned();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.out.text(&text)
    }
}

impl<S: Screen + 'static> Reporter for LiveTable<S> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let mut cells = event_cells(event, &self.clock, &self.palette, self.names);
        // Padded when drawn, to the column width at that time.
        cells[1].text = cells[1].text.trim().to_owned();
        self.news.push_front(cells);
        self.news.truncate(MOST_NEWS);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let (columns, rows) = self.size.get();
        let rows = if summary.last { u16::MAX } else { rows };
        let news = self.news.make_contiguous();
        let mut lines = render(summary, news, (columns, rows), &self.clock, &self.palette, &self.view);
        match summary.last {
            true => self.leave(&lines),
            false => {
                self.pin_footer(&mut lines);
                self.draw(&lines)
            }
        }
    }
}

impl<S: Screen> LiveTable<S> {
    /// Puts the list of keys into the last row.
    fn pin_footer(&self, lines: &mut Vec<String>) {
        let (columns, rows) = self.size.get();
        let last = usize::from(rows).saturating_sub(1);
        if self.view.has_keys() && last >= MIN_SPACIOUS_ROWS && lines.len() < last {
            lines.resize(last - 1, String::new());
            let keys = fit(FOOTER, usize::from(columns));
            lines.push(Painted(self.palette.faint, keys).to_string());
        }
    }
}

/// Restores the terminal, so that the cursor never stays hidden.
impl<S: Screen> Drop for LiveTable<S> {
    fn drop(&mut self) {
        if let Some(leave) = self.view.leave() {
            let _ = self.out.text(leave);
        }
    }
}

/// Renders the lines of a frame: at most one fewer than the terminal has rows, each at most as wide
/// as the terminal.
fn render(
    summary: &Summary<'_>,
    news: &[[Cell; 5]],
    (columns, rows): (u16, u16),
    clock: &Clock,
    palette: &Palette,
    view: &View,
) -> Vec<String> {
    let (columns, height) = (usize::from(columns), usize::from(rows).saturating_sub(1));
    let mut lines = vec![title(summary, columns, clock, palette)];
    if view.shows_help() && !summary.last {
        lines.extend(HELP.lines().map(|line| fit(line, columns)));
        lines.truncate(height);
        return lines;
    }
    // A terminal of a few lines has no room for empty lines and events.
    let spacious = height >= MIN_SPACIOUS_ROWS;
    // The last row holds the list of keys.
    let height = if spacious && view.has_keys() && !summary.last { height - 1 } else { height };
    let event_rows = if spacious { height.saturating_sub(4 + summary.rows.len()).max(height / 4) } else { 0 };
    let event_rows = event_rows.min(news.len());
    // The other rows are the title, the headings, an empty line, and an empty line above the
    // events.
    let room = height.saturating_sub(if spacious { 4 + event_rows } else { 2 }).max(1);
    if spacious {
        lines.push(String::new());
    }
    lines.extend(table(summary, room, columns, palette, view));
    if event_rows > 0 {
        lines.push(String::new());
        // Limit long names, so that the description of the event fits.
        let news = news.iter().take(event_rows);
        let names = news.clone().map(|cells| cells[1].text.width()).max().unwrap_or(0).min(columns / 3);
        lines.extend(news.map(|[time, name, state, what, before]| {
            let text = fit(&name.text, names);
            let padding = names.saturating_sub(text.width());
            let name = Cell { text: format!("  {text}{:padding$}  ", ""), style: name.style };
            let cells = [&Cell::plain("  "), time, &name, state, what, before].map(Cell::clone);
            grid::join(&cells, columns)
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
    let width = |cells: &[Cell]| cells.iter().map(|cell| cell.text.width()).sum::<usize>();
    if width(&cells) > columns {
        // The counts matter more than the name, and the numbers more than the words.
        cells.remove(0);
    }
    if width(&cells) > columns {
        for cell in &mut cells {
            let mut words = cell.text.split_whitespace();
            if let (Some(mark), Some(number)) = (words.next(), words.next()) {
                cell.text = format!("{mark}{number}");
            }
        }
    }
    let used = width(&cells);
    let gap = columns.saturating_sub(used + time.width() + 2);
    cells.push(Cell::plain(" ".repeat(gap)));
    if gap > 0 {
        cells.push(Cell { text: time, style: palette.faint });
    }
    grid::join(&cells, columns)
}

/// Renders the headings and at most `room` lines of targets. If not all targets fit, those that are
/// down come first.
fn table(summary: &Summary<'_>, room: usize, columns: usize, palette: &Palette, view: &View) -> Vec<String> {
    let mut order: Vec<&Row<'_>> = summary.rows.iter().collect();
    let mut more = None;
    if order.len() > room {
        order.sort_by_key(|row| match row.track.state() {
            State::Down(_) => 0,
            State::Unknown(Some(_)) => 1,
            _ => 2,
        });
        let above = view.first(order.len(), room - 1);
        let mut hidden = order.split_off(above + room - 1);
        let below = hidden.len();
        let shown = order.split_off(above);
        hidden.append(&mut order);
        order = shown;
        let down = hidden.iter().filter(|row| matches!(row.track.state(), State::Down(_))).count();
        let down = if down == 0 { "none".to_owned() } else { down.to_string() };
        more = Some(match above {
            0 => format!("  … and {below} more, {down} of them down"),
            _ => format!("  … {above} above and {below} below, {down} of them down"),
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
    lines.extend(more.map(|text| Painted(palette.faint, fit(&text, columns)).to_string()));
    lines
}

/// Chooses the width of each column (0: hidden) and of the curve.
fn layout(mut widths: [usize; 9], columns: usize) -> ([usize; 9], usize) {
    let total =
        |widths: &[usize; 9]| widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>();
    // A long name would push out all other columns: its width is limited to a share unless there is
    // room.
    let name = widths[0];
    if total(&widths) + MIN_CURVE + 4 > columns {
        widths[0] = name.min((columns * 2 / 5).max(MIN_NAME));
    }
    for optional in OPTIONAL_COLUMNS {
        if total(&widths) + MIN_CURVE + 4 <= columns {
            break;
        }
        if let Some(at) = Column::ALL.iter().position(|column| *column == optional) {
            widths[at] = 0;
        }
    }
    let spare = columns.saturating_sub(total(&widths) + MIN_CURVE + 4);
    widths[0] = name.min(widths[0] + spare);
    // The target's name shrinks last.
    let over = total(&widths).saturating_sub(columns.saturating_sub(1));
    widths[0] = widths[0].saturating_sub(over).max(MIN_NAME.min(widths[0]));
    let over = total(&widths).saturating_sub(columns);
    widths[1] = widths[1].saturating_sub(over);
    if total(&widths) > columns {
        widths = [columns.saturating_sub(2), 0, 0, 0, 0, 0, 0, 0, 0];
    }
    let left = columns.saturating_sub(total(&widths) + 4);
    (widths, if left < MIN_CURVE { 0 } else { left.min(MAX_CURVE) })
}

/// Columns that a narrow terminal omits, in order of removal.
const OPTIONAL_COLUMNS: [Column; 7] = [
    Column::Connects,
    Column::Longest,
    Column::Reconnects,
    Column::Losses,
    Column::Uptime,
    Column::Median,
    Column::Since,
];
const MIN_NAME: usize = 8;
const MIN_CURVE: usize = 8;
const MAX_CURVE: usize = 40;
const MOST_NEWS: usize = 12;
const MIN_SPACIOUS_ROWS: usize = 8;

/// Start of a synchronized update: terminals that support it show the frame at once, others ignore
/// it. The frame starts at the first row, and the end of the update clears the rows below it.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";

const FOOTER: &str = "  q quit   ↑ ↓ PgUp PgDn scroll   ? all keys";
const HELP: &str = "
  ↑ ↓  or  k j         a target up, down
  PgUp PgDn  or  b ␣   a screen up, down
  Home End  or  g G    the first, the last target
  Ctrl-L               draw anew
  Ctrl-Z               stop; fg goes on
  q  or  Ctrl-C        quit
  ?                    back";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::monitor::{Change, DownCause, Target, TargetTracker};
    use std::cell::RefCell;
    use std::time::{Duration, SystemTime};

    const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    /// Of every four targets, one is down and one unknown.
    fn targets(count: usize) -> Vec<(Target, TargetTracker)> {
        (0..count)
            .map(|number| {
                let mut track = TargetTracker::new();
                match number % 4 {
                    0 => drop(track.failed(at(1), DownCause::TimedOut, MS)),
                    1 => {}
                    _ => drop(track.connected(at(1), MS * 2)),
                }
                (format!("tcp://service-{number}.example:80").parse().unwrap(), track)
            })
            .collect()
    }

    fn summary(targets: &[(Target, TargetTracker)], last: bool) -> Summary<'_> {
        let rows = targets.iter().map(|(target, track)| Row { target, track, now: at(11) }).collect();
        Summary { wall: SystemTime::UNIX_EPOCH, rows, last }
    }

    fn page(size: (u16, u16)) -> LiveTable<Vec<u8>> {
        let clock = Clock { zone: jiff::tz::TimeZone::UTC, date: false };
        LiveTable::new(Vec::new(), clock, Palette::plain(), 12, Rc::new(Shared::new(size)))
    }

    fn frame(size: (u16, u16), targets: &[(Target, TargetTracker)], news: &[[Cell; 5]]) -> Vec<String> {
        let clock = Clock { zone: jiff::tz::TimeZone::UTC, date: false };
        render(&summary(targets, false), news, size, &clock, &Palette::plain(), &View::default())
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

    fn drawn(page: &mut LiveTable<Vec<u8>>, targets: &[(Target, TargetTracker)], last: bool) -> String {
        page.out.clear();
        page.summary(&summary(targets, last)).unwrap();
        String::from_utf8(page.out.clone()).unwrap()
    }

    #[test]
    fn unknown_is_told_from_not_yet() {
        let mut targets = targets(4);
        let _ = targets[3].1.failed(at(2), DownCause::Local, MS);
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
        let _ = targets[2].1.settled(at(6));
        let lines = frame((120, 24), &targets, &[]);
        assert!(lines[2].contains("  losses  reconnects  connects  "), "{lines:#?}");
        assert!(lines[5].contains("       0           1         2  "), "{lines:#?}");
    }

    #[test]
    fn each_frame_has_the_whole_screen_and_the_last_one_stays() {
        let targets = targets(2);
        let mut page = page((80, 24));
        // The alternate screen is entered once, and each frame starts at its first row.
        assert!(
            drawn(&mut page, &targets, false)
                .starts_with(&format!("\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J{BEGIN}"))
        );
        let second = drawn(&mut page, &targets, false);
        assert!(second.starts_with(BEGIN) && second.ends_with(END), "{second:?}");
        page.size.set((60, 24));
        assert_eq!(drawn(&mut page, &targets, false).lines().count(), second.lines().count());
        let last = drawn(&mut page, &targets, true);
        let (leave, table) = last.split_at("\x1b[?25h\x1b[?1049l".len());
        assert_eq!(leave, "\x1b[?25h\x1b[?1049l");
        assert!(!table.contains('\x1b') && table.contains("service-1.example"), "{table:?}");
    }

    #[test]
    fn the_last_frame_shows_all_targets_on_any_screen() {
        let targets = targets(300);
        let mut page = page((80, 10));
        drawn(&mut page, &targets, false);
        let last = drawn(&mut page, &targets, true);
        assert_eq!(last.lines().filter(|line| line.contains("service-")).count(), 300);
    }

    #[test]
    fn a_page_that_is_dropped_gives_the_cursor_back() {
        struct Out(Rc<RefCell<String>>);
        impl Screen for Out {
            fn frame(&mut self, frame: &str) -> io::Result<()> {
                self.text(frame)
            }
            fn text(&mut self, text: &str) -> io::Result<()> {
                self.0.borrow_mut().push_str(text);
                Ok(())
            }
        }
        let (shown, targets) = (Rc::new(RefCell::new(String::new())), targets(2));
        let clock = Clock { zone: jiff::tz::TimeZone::UTC, date: false };
        let size = Rc::new(Shared::new((80, 24)));
        let mut page = LiveTable::new(Out(Rc::clone(&shown)), clock, Palette::plain(), 12, size);
        page.summary(&summary(&targets, false)).unwrap();
        drop(page);
        assert!(shown.borrow().ends_with("\x1b[?25h\x1b[?1049l"));
    }

    #[test]
    fn keys_move_a_page_over_all_targets() {
        let targets = targets(30);
        let view = View::default();
        view.set_keys(true);
        let mut page = page((80, 16)).with_view(view.clone());
        let mut shown = || -> Vec<String> {
            let frame = drawn(&mut page, &targets, false);
            frame
                .lines()
                .map(|line| line.trim_start_matches(BEGIN).trim_start_matches("\x1b[2K").to_owned())
                .collect()
        };
        let first = shown();
        assert_eq!(first[14], FOOTER, "{first:#?}");
        assert!(
            first[3].contains("service-0.") && first[12].contains("… and 21 more, none of them down"),
            "{first:#?}"
        );
        view.scroll_pages(1);
        let second = shown();
        assert!(second[12].contains("… 9 above and 12 below, 8 of them down"), "{second:#?}");
        view.end();
        let last = shown();
        assert!(last[11].contains("service-29.") && last[12].contains("21 above and 0 below"), "{last:#?}");
        view.toggle_help();
        let help = shown();
        assert!(
            help.iter().any(|line| line.contains("Home End")) && !help.concat().contains("service"),
            "{help:#?}"
        );
        view.toggle_help();
        view.home();
        let again = shown();
        assert_eq!(again[1..], first[1..]);
    }

    #[test]
    fn a_long_name_leaves_room_for_the_other_columns() {
        let mut targets = targets(4);
        let long = format!("{}.example:80", "日本".repeat(15));
        targets.push((format!("{}=tcp://h:1", &long[..60]).parse().unwrap(), TargetTracker::new()));
        for (columns, wanted) in
            [(60, &["state", "for"][..]), (80, &["state", "for", "median"]), (20, &["state"])]
        {
            let lines = frame((columns, 24), &targets, &[]);
            for heading in wanted {
                assert!(lines[2].contains(heading), "{columns} columns: {lines:#?}");
            }
            assert!(lines.iter().any(|line| line.contains('…')), "{columns} columns: {lines:#?}");
            assert!(lines.iter().all(|line| line.width() <= usize::from(columns)), "{lines:#?}");
        }
        let wide = frame((300, 24), &targets, &[]);
        assert!(wide.iter().all(|line| !line.contains('…')), "{wide:#?}");
    }

    #[test]
    fn twenty_columns_and_five_rows_show_counts_and_states() {
        let targets = targets(12);
        let lines = frame((20, 5), &targets, &[]);
        assert_eq!(lines[0], "   ●6   ✗3   ○3", "{lines:#?}");
        assert!(lines[2].contains("tcp://s…") && lines[2].contains('✗'), "{lines:#?}");
        assert_eq!(lines.len(), 4);
    }
}
