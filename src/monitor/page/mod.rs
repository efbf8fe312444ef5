//! The live table: all targets on one screen, redrawn in place, with the latest events below.
//!
//! It is a [`Reporter`] whose summaries are frames. For a live display, the caller requests a
//! summary from the monitor a few times a second.
//!
//! Frames are drawn on the terminal's alternate screen with the cursor hidden. Each frame covers
//! the whole screen, so the writer may drop an outdated frame. A frame is written line by line
//! between the marks of a synchronized update, which avoids flicker. At the end the terminal's
//! previous contents are restored, and a final table of all targets is printed below.

mod frame;

use self::frame::{MIN_SPACIOUS_ROWS, render};
use super::reporter::{Event, Reporter, Summary};
use super::text::event_cells;
use super::view::View;
use crate::escape::Escaped;
use crate::monitor::grid::Cell;
use crate::report::time_format::TimeFormat;
use crate::report::{Painted, Palette, fit};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};

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
    clock: TimeFormat,
    palette: Palette,
    view: View,
    news: VecDeque<[Cell; 5]>,
}

impl<S: Screen> LiveTable<S> {
    /// Creates a live table on `out`, a terminal. With a clone of the view, the caller scrolls and
    /// resizes the table.
    pub fn new(out: S, clock: TimeFormat, palette: Palette, view: View) -> LiveTable<S> {
        LiveTable { out, clock, palette, view, news: VecDeque::new() }
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
        let time = Cell { text: self.clock.show(event.wall), style: self.palette.faint };
        // Padded when drawn, to the column width at that time.
        let name = Cell::plain(Escaped(event.target.name()).to_string().trim());
        let [state, text, previous_state] = event_cells(event, &self.palette);
        self.news.push_front([time, name, state, text, previous_state]);
        self.news.truncate(MOST_NEWS);
        Ok(())
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        let (columns, rows) = self.view.size();
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
        let (columns, rows) = self.view.size();
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

const MOST_NEWS: usize = 12;

/// Start of a synchronized update: terminals that support it show the frame at once, others ignore
/// it. The frame starts at the first row, and the end of the update clears the rows below it.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";

const FOOTER: &str = "  q quit   ↑ ↓ PgUp PgDn scroll   ? all keys";
#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::page::frame::tests::{MS, frame, summary, targets};
    use crate::monitor::track::TargetTracker;
    use crate::monitor::{Change, Target};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::SystemTime;
    use unicode_width::UnicodeWidthStr;

    fn page(size: (u16, u16)) -> LiveTable<Vec<u8>> {
        let clock = TimeFormat { zone: jiff::tz::TimeZone::UTC, date: false };
        LiveTable::new(Vec::new(), clock, Palette::plain(), View::new(size))
    }

    #[test]
    fn a_frame_fits_into_every_terminal() {
        let targets = targets(30);
        for columns in [1, 10, 24, 40, 66, 80, 120, 300] {
            for rows in [1, 2, 5, 9, 24, 60] {
                let mut page = page((columns, rows));
                let change = Change::Up { took: MS, down_for: None, unknown_for: None };
                for (target, _) in targets.iter().take(6) {
                    let event =
                        Event { wall: SystemTime::UNIX_EPOCH, target, change, reason: None, tls: None };
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

    fn drawn(page: &mut LiveTable<Vec<u8>>, targets: &[(Target, TargetTracker)], last: bool) -> String {
        page.out.clear();
        page.summary(&summary(targets, last)).unwrap();
        String::from_utf8(page.out.clone()).unwrap()
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
        page.view.resize((60, 24));
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
        let clock = TimeFormat { zone: jiff::tz::TimeZone::UTC, date: false };
        let mut page = LiveTable::new(Out(Rc::clone(&shown)), clock, Palette::plain(), View::new((80, 24)));
        page.summary(&summary(&targets, false)).unwrap();
        drop(page);
        assert!(shown.borrow().ends_with("\x1b[?25h\x1b[?1049l"));
    }

    #[test]
    fn keys_move_a_page_over_all_targets() {
        let targets = targets(30);
        let mut page = page((80, 16));
        let view = page.view.clone();
        view.set_keys(true);
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
}
