//! Presentation shared by monitor, traffic and commands: durations, wall-clock times, colours,
//! tables and JSON lines.
//!
//! [`TextReporter`] and [`JsonReporter`] write the results of a [`monitor`](crate::monitor) and of
//! [`traffic`](crate::traffic) feeds as lines.
//! [`HumanDuration`] prints a duration for people, a [`TimeFormat`] prints points in time, and a
//! [`Palette`] holds the colours of the output.

mod human_duration;
pub(crate) mod json_line;
pub(crate) mod json_reporter;
mod palette;
pub(crate) mod rounds;
pub(crate) mod schedule;
mod text_reporter;
pub(crate) mod time_format;
pub(crate) mod warning;
mod width;

pub use self::human_duration::HumanDuration;
pub use self::json_reporter::JsonReporter;
pub(crate) use self::palette::Painted;
pub use self::palette::Palette;
#[cfg(feature = "cli")]
pub(crate) use self::schedule::Schedule;
pub use self::text_reporter::TextReporter;
pub use self::time_format::TimeFormat;
pub(crate) use self::width::fit;
