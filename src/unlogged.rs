//! Errors and warnings, for the program's logger; for standard error where the program has set none.
//!
//! Trouble that the framework can only log (a connect that failed, a panic in a callback, an unhandled failure)
//! would otherwise be lost on a program without a logger, which then seems to hang. Such a program is known by
//! [`log::max_level`], which is `Off` until a logger is set. One that wants silence sets a logger with another level
//! and drops the records.

use std::fmt;
use std::io::{self, Write};

use crate::escape::Escaped;

/// Logs a warning, with key-values before the text if there are any: `log_warn!([peer:% = peer] "lost {peer}")`.
macro_rules! log_warn {
    ([$($pairs:tt)+] $($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write("warning", ::std::format_args!($($text)+));
        } else {
            ::log::warn!($($pairs)+; $($text)+);
        }
    };
    ($($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write("warning", ::std::format_args!($($text)+));
        } else {
            ::log::warn!($($text)+);
        }
    };
}

/// Logs an error, as [`log_warn`] does a warning.
macro_rules! log_error {
    ([$($pairs:tt)+] $($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write("error", ::std::format_args!($($text)+));
        } else {
            ::log::error!($($pairs)+; $($text)+);
        }
    };
    ($($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write("error", ::std::format_args!($($text)+));
        } else {
            ::log::error!($($text)+);
        }
    };
}

/// Writes one line. A standard error that cannot be written to is no error here.
#[cold]
pub(crate) fn write(level: &str, text: fmt::Arguments<'_>) {
    let line = format!("twistor: {level}: {}\n", Escaped(text));
    let _ = io::stderr().write_all(line.as_bytes());
}
