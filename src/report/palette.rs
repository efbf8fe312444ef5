//! Colours by meaning, and none of them where none are wanted.

use anstyle::{AnsiColor, Style};
use std::fmt;

/// The styles that reports use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    /// Up, better.
    pub good: Style,
    /// Down, an error.
    pub bad: Style,
    /// Not known yet.
    pub unknown: Style,
    /// What matters less: times, units, headings.
    pub faint: Style,
    /// What the eye should find.
    pub strong: Style,
    /// Curves, and values that changed.
    pub accent: Style,
}

impl Palette {
    /// No colours: for pipes, files and `NO_COLOR`.
    pub fn plain() -> Palette {
        Palette::default()
    }

    /// The colours of the terminal's own theme.
    pub fn coloured() -> Palette {
        Palette {
            good: AnsiColor::Green.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            unknown: AnsiColor::Yellow.on_default(),
            faint: Style::new().dimmed(),
            strong: Style::new().bold(),
            accent: AnsiColor::Cyan.on_default(),
        }
    }
}

/// Text in a style.
pub(crate) struct Painted<T>(pub(crate) Style, pub(crate) T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Painted(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}
