//! The visible part of a live table: the size, the scroll position and the list of keys.

use std::cell::Cell;
use std::rc::Rc;

/// A handle that scrolls a [`LiveTable`](super::LiveTable). A clone is another handle to the same
/// view.
#[derive(Clone, Debug)]
pub struct View(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// Columns and rows of the terminal.
    size: Cell<(u16, u16)>,
    /// Number of targets above the first row.
    offset: Cell<usize>,
    /// Number of rows of targets in the last frame.
    rows: Cell<usize>,
    /// Whether keys can be pressed.
    keys: Cell<bool>,
    help: Cell<bool>,
    /// Whether the table is on the screen.
    shown: Cell<bool>,
}

impl View {
    /// Creates a view of the first targets, on a terminal of this many columns and rows.
    pub fn new(size: (u16, u16)) -> View {
        View(Rc::new(State { size: Cell::new(size), ..State::default() }))
    }

    /// Sets the columns and rows of the terminal, for the next frame.
    pub fn resize(&self, size: (u16, u16)) {
        self.0.size.set(size);
    }

    pub(super) fn size(&self) -> (u16, u16) {
        self.0.size.get()
    }

    /// Scrolls by this number of rows, down if positive. The position is limited to the table.
    pub fn scroll(&self, rows: isize) {
        self.0.offset.set(self.0.offset.get().saturating_add_signed(rows));
    }

    /// Scrolls by this number of screens, down if positive.
    pub fn scroll_pages(&self, pages: isize) {
        let rows = isize::try_from(self.0.rows.get().max(1)).unwrap_or(isize::MAX);
        self.scroll(rows.saturating_mul(pages));
    }

    /// Scrolls to the first target.
    pub fn home(&self) {
        self.0.offset.set(0);
    }

    /// Scrolls to the last target.
    pub fn end(&self) {
        self.0.offset.set(usize::MAX);
    }

    /// Switches between the list of keys and the targets.
    pub fn toggle_help(&self) {
        self.0.help.set(!self.0.help.get());
    }

    /// Sets whether the table shows a footer with the keys.
    pub fn set_keys(&self, keys: bool) {
        self.0.keys.set(keys);
    }

    /// Marks the screen as left. Returns the escape sequence to write for that, or `None` if the
    /// table is not on the screen. The next frame enters it again.
    pub fn leave(&self) -> Option<&'static str> {
        self.0.help.set(false);
        self.0.shown.replace(false).then_some(LEAVE)
    }

    /// Marks the screen as entered. Returns the escape sequence for that, or `None` if it was
    /// entered already.
    pub(super) fn enter(&self) -> Option<&'static str> {
        (!self.0.shown.replace(true)).then_some(ENTER)
    }

    pub(super) fn has_keys(&self) -> bool {
        self.0.keys.get()
    }

    pub(super) fn shows_help(&self) -> bool {
        self.0.help.get()
    }

    /// Returns the index of the first of `count` targets shown in `rows` rows.
    pub(super) fn first(&self, count: usize, rows: usize) -> usize {
        self.0.rows.set(rows);
        let first = self.0.offset.get().min(count.saturating_sub(rows));
        self.0.offset.set(first);
        first
    }
}

/// Enters the alternate screen and hides the cursor. The previous contents return when it is left.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stays_between_its_ends() {
        let view = View::new((80, 24));
        assert_eq!(view.first(30, 10), 0);
        view.scroll(-1);
        assert_eq!(view.first(30, 10), 0);
        view.scroll_pages(1);
        view.scroll(1);
        assert_eq!(view.first(30, 10), 11);
        view.end();
        assert_eq!(view.first(30, 10), 20);
        view.scroll_pages(-1);
        assert_eq!(view.first(30, 10), 10);
        // With fewer targets or a larger screen, the position moves back.
        assert_eq!(view.first(30, 25), 5);
        assert_eq!(view.first(3, 10), 0);
        view.home();
        assert_eq!(view.first(30, 10), 0);
    }

    #[test]
    fn the_screen_is_taken_and_given_back_once() {
        let view = View::new((80, 24));
        assert_eq!(view.leave(), None);
        assert_eq!((view.enter(), view.enter()), (Some(ENTER), None));
        assert_eq!((view.leave(), view.leave()), (Some(LEAVE), None));
        assert_eq!(view.enter(), Some(ENTER));
    }
}
