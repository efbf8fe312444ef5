//! The lines of a frame: title, table, latest events, help.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::monitor::grid::{self, COLUMNS, Cell, Column};
use crate::monitor::reporter::{Row, Summary};
use crate::monitor::sparkline::sparkline;
use crate::monitor::track::TargetState;
use crate::monitor::view::View;
use crate::report::time_format::TimeFormat;
use crate::report::{Painted, Palette, fit};

/// Renders the lines of a frame: at most one fewer than the terminal has rows, each at most as wide
/// as the terminal.
pub(super) fn render(
    summary: &Summary<'_>,
    news: &[[Cell; 5]],
    (columns, rows): (u16, u16),
    clock: &TimeFormat,
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

fn title(summary: &Summary<'_>, columns: usize, clock: &TimeFormat, palette: &Palette) -> String {
    let count =
        |wanted: fn(TargetState) -> bool| summary.rows.iter().filter(|row| wanted(row.state())).count();
    let down = count(|state| matches!(state, TargetState::Down(_)));
    let not_yet = count(|state| state == TargetState::Unknown(None));
    let unknown = count(|state| matches!(state, TargetState::Unknown(Some(_))));
    let up = count(|state| state == TargetState::Up);
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
        order.sort_by_key(|row| match row.state() {
            TargetState::Down(_) => 0,
            TargetState::Unknown(Some(_)) => 1,
            _ => 2,
        });
        let above = view.first(order.len(), room - 1);
        let mut hidden = order.split_off(above + room - 1);
        let below = hidden.len();
        let shown = order.split_off(above);
        hidden.append(&mut order);
        order = shown;
        let down = hidden.iter().filter(|row| matches!(row.state(), TargetState::Down(_))).count();
        let down = if down == 0 { "none".to_owned() } else { down.to_string() };
        more = Some(match above {
            0 => format!("  … and {below} more, {down} of them down"),
            _ => format!("  … {above} above and {below} below, {down} of them down"),
        });
    }
    let headings = grid::headings(palette);
    let cells: Vec<_> = order.iter().map(|row| grid::cells(row, summary.wall, palette)).collect();
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
            line.push_str(&sparkline(row.history(), row.target.kind(), curve, palette));
        }
        lines.push(line);
    }
    lines.extend(more.map(|text| Painted(palette.faint, fit(&text, columns)).to_string()));
    lines
}

/// Chooses the width of each column (0: hidden) and of the curve.
fn layout(mut widths: [usize; COLUMNS], columns: usize) -> ([usize; COLUMNS], usize) {
    let total = |widths: &[usize; COLUMNS]| {
        widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>()
    };
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
        widths = [0; COLUMNS];
        widths[0] = columns.saturating_sub(2);
    }
    let left = columns.saturating_sub(total(&widths) + 4);
    (widths, if left < MIN_CURVE { 0 } else { left.min(MAX_CURVE) })
}

/// Columns that a narrow terminal omits, in order of removal.
const OPTIONAL_COLUMNS: [Column; 8] = [
    Column::Connects,
    Column::Longest,
    Column::Reconnects,
    Column::Losses,
    Column::Uptime,
    Column::Certificate,
    Column::Median,
    Column::Since,
];
const MIN_NAME: usize = 8;
const MIN_CURVE: usize = 8;
const MAX_CURVE: usize = 40;
pub(super) const MIN_SPACIOUS_ROWS: usize = 8;

const HELP: &str = "
  ↑ ↓  or  k j         a target up, down
  PgUp PgDn  or  b ␣   a screen up, down
  Home End  or  g G    the first, the last target
  Ctrl-L               draw anew
  Ctrl-Z               stop; fg goes on
  q  or  Ctrl-C        quit
  ?                    back";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Instant;
    use crate::monitor::track::TargetTracker;
    use crate::monitor::{DownCause, Target};
    use std::time::{Duration, SystemTime};

    pub(in crate::monitor::page) const MS: Duration = Duration::from_millis(1);

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    /// Of every four targets, one is down and one unknown.
    pub(in crate::monitor::page) fn targets(count: usize) -> Vec<(Target, TargetTracker)> {
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

    pub(in crate::monitor::page) fn summary(targets: &[(Target, TargetTracker)], last: bool) -> Summary<'_> {
        let rows =
            targets.iter().map(|(target, track)| Row { target, track, now: at(11), tls: None }).collect();
        Summary { wall: SystemTime::UNIX_EPOCH, rows, last }
    }

    pub(in crate::monitor::page) fn frame(
        size: (u16, u16),
        targets: &[(Target, TargetTracker)],
        news: &[[Cell; 5]],
    ) -> Vec<String> {
        let clock = TimeFormat { zone: jiff::tz::TimeZone::UTC, date: false };
        render(&summary(targets, false), news, size, &clock, &Palette::plain(), &View::new(size))
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
