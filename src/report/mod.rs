//! Presentation shared by monitor, traffic and commands: durations, wall-clock times, colours,
//! tables and JSON lines.
//!
//! [`HumanDuration`] prints a duration for people, a [`TimeFormat`] prints points in time, and a
//! [`Palette`] holds the colours of the output. [`Schedule`] spreads periodic work over its
//! interval.

mod human_duration;
pub(crate) mod json_line;
mod palette;
pub(crate) mod schedule;
pub(crate) mod time_format;
pub(crate) mod warning;
mod width;

pub use self::human_duration::HumanDuration;
pub(crate) use self::palette::Painted;
pub use self::palette::Palette;
pub use self::schedule::Schedule;
pub use self::time_format::TimeFormat;
pub(crate) use self::width::fit;
