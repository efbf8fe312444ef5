//! Presentation shared by monitor, traffic and commands: durations, wall-clock times, colours,
//! tables and JSON lines.
//!
//! [`HumanDuration`] prints a duration for people, [`Clock`] a point in time, and a [`Palette`]
//! holds the colours of the output. [`Schedule`] spreads periodic work over its interval.

pub(crate) mod clock;
mod human_duration;
pub(crate) mod json_line;
mod palette;
pub(crate) mod schedule;
pub(crate) mod warning;
mod width;

pub use self::clock::Clock;
pub use self::human_duration::HumanDuration;
pub(crate) use self::palette::Painted;
pub use self::palette::Palette;
pub use self::schedule::Schedule;
pub(crate) use self::width::fit;
