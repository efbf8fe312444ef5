//! The visible part of a page: which targets, when there are more than rows, and the list of keys.

use std::cell::Cell;
use std::rc::Rc;

/// Moves a [`LiveTable`](super::LiveTable) about. A clone is another handle to the same view.
#[derive(Clone, Debug, Default)]
pub struct View(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// Targets above the first row.
    offset: Cell<usize>,
    /// Rows of targets in the last frame.
    rows: Cell<usize>,
    /// Somebody can press keys.
    keys: Cell<bool>,
    help: Cell<bool>,
    /// The page has the screen.
    shown: Cell<bool>,
}

impl View {
    /// Moves by so many rows: down, or up when negative. The page stops at its ends.
    pub fn scroll(&self, rows: isize) {
        self.0.offset.set(self.0.offset.get().saturating_add_signed(rows));
    }

    /// Moves by so many screens.
    pub fn scroll_pages(&self, pages: isize) {
        let rows = isize::try_from(self.0.rows.get().max(1)).unwrap_or(isize::MAX);
        self.scroll(rows.saturating_mul(pages));
    }

    /// Moves to the first target.
    pub fn home(&self) {
        self.0.offset.set(0);
    }

    /// Moves to the last target.
    pub fn end(&self) {
        self.0.offset.set(usize::MAX);
    }

    /// Shows the list of keys in place of the targets, or the targets again.
    pub fn toggle_help(&self) {
        self.0.help.set(!self.0.help.get());
    }

    /// Whether the page says which keys there are.
    pub fn set_keys(&self, keys: bool) {
        self.0.keys.set(keys);
    }

    /// Gives the screen back: the sequence to write for it, if the page has the screen. The next frame takes it again.
    pub fn leave(&self) -> Option<&'static str> {
        self.0.help.set(false);
        self.0.shown.replace(false).then_some(LEAVE)
    }

    /// The sequence that takes the screen, if the page does not have it.
    pub(super) fn enter(&self) -> Option<&'static str> {
        (!self.0.shown.replace(true)).then_some(ENTER)
    }

    pub(super) fn has_keys(&self) -> bool {
        self.0.keys.get()
    }

    pub(super) fn shows_help(&self) -> bool {
        self.0.help.get()
    }

    /// The first of `count` targets that are shown in `rows` rows.
    pub(super) fn first(&self, count: usize, rows: usize) -> usize {
        self.0.rows.set(rows);
        let first = self.0.offset.get().min(count.saturating_sub(rows));
        self.0.offset.set(first);
        first
    }
}

/// The alternate screen without a cursor: what was on the terminal comes back when it is left.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stays_between_its_ends() {
        let view = View::default();
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
        // Fewer targets, or a larger screen.
        assert_eq!(view.first(30, 25), 5);
        assert_eq!(view.first(3, 10), 0);
        view.home();
        assert_eq!(view.first(30, 10), 0);
    }

    #[test]
    fn the_screen_is_taken_and_given_back_once() {
        let view = View::default();
        assert_eq!(view.leave(), None);
        assert_eq!((view.enter(), view.enter()), (Some(ENTER), None));
        assert_eq!((view.leave(), view.leave()), (Some(LEAVE), None));
        assert_eq!(view.enter(), Some(ENTER));
    }
}
