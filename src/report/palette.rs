//! Colours by meaning, with a plain palette for output without colours.

use anstyle::{AnsiColor, Style};
use std::fmt;

/// The styles that reports use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    /// Up, or an improvement.
    pub good: Style,
    /// Down, or an error.
    pub bad: Style,
    /// State not known yet.
    pub unknown: Style,
    /// Secondary text: times, units, headings.
    pub faint: Style,
    /// Emphasised text.
    pub strong: Style,
    /// Curves and changed values.
    pub accent: Style,
}

impl Palette {
    /// Returns a palette without colours, for pipes, files and `NO_COLOR`.
    pub fn plain() -> Palette {
        Palette::default()
    }

    /// Returns the colours of the terminal's own theme.
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

/// Text with a style.
pub(crate) struct Painted<T>(pub(crate) Style, pub(crate) T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Painted(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}
