//! Errors and warnings, for the program's logger; for standard error where the program has set none.
//!
//! Trouble that the framework can only log (a connect that failed, a panic in a callback, an unhandled failure)
//! would otherwise be lost on a program without a logger, which then seems to hang. Such a program is known by
//! [`log::max_level`], which is `Off` until a logger is set. One that wants silence sets a logger with another level
//! and drops the records.
//!
//! In a simulation such a line is part of the run, not news of this process: it goes into the simulation's trace, where
//! the host and the virtual time stand beside it, and a test stays quiet. It is not in the hash of the trace, which is the
//! same with a logger and without.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use crate::escape::Escaped;

/// Logs a warning, with key-values before the text if there are any: `log_warn!([peer:% = peer] "lost {peer}")`.
macro_rules! log_warn {
    ($($record:tt)+) => { log_or_write!(Warn, "warning", $($record)+) };
}

/// Logs an error, as [`log_warn`] does a warning.
macro_rules! log_error {
    ($($record:tt)+) => { log_or_write!(Error, "error", $($record)+) };
}

/// A record of this level, or a line with this word before it.
macro_rules! log_or_write {
    ($level:ident, $word:literal, [$($pairs:tt)+] $($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write($word, ::std::format_args!($($text)+));
        } else {
            ::log::log!(::log::Level::$level, $($pairs)+; $($text)+);
        }
    };
    ($level:ident, $word:literal, $($text:tt)+) => {
        if ::log::max_level() == ::log::LevelFilter::Off {
            $crate::unlogged::write($word, ::std::format_args!($($text)+));
        } else {
            ::log::log!(::log::Level::$level, $($text)+);
        }
    };
}

/// Writes one line, or [keeps](kept) it. A standard error that cannot be written to is no error here.
#[cold]
pub(crate) fn write(level: &str, text: fmt::Arguments<'_>) {
    let line = format!("{level}: {}", Escaped(text));
    let unkept = KEPT.with_borrow_mut(|kept| match kept {
        Some(lines) => {
            lines.push(line);
            None
        }
        None => Some(line),
    });
    if let Some(line) = unkept {
        write_line(&line);
    }
}

fn write_line(line: &str) {
    let _ = io::stderr().write_all(format!("twistor: {line}\n").as_bytes());
}

/// Keeps what `call` would write on this thread. If it panics, the lines are written after all: a test that fails
/// shows them.
pub(crate) fn kept<R>(call: impl FnOnce() -> R) -> (R, Vec<String>) {
    let before = KEPT.replace(Some(Vec::new()));
    let mut keeping = Keeping { before };
    let result = call();
    (result, keeping.end())
}

/// Ends with what was kept before.
struct Keeping {
    before: Option<Vec<String>>,
}

impl Keeping {
    fn end(&mut self) -> Vec<String> {
        KEPT.replace(self.before.take()).unwrap_or_default()
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end().iter().for_each(|line| write_line(line));
        }
    }
}

thread_local! {
    /// The lines of a simulated turn. `None`: they are written.
    static KEPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_by_the_innermost_call() {
        let (inner, outer) = kept(|| {
            write("error", format_args!("one\n"));
            let ((), inner) = kept(|| write("warning", format_args!("two")));
            write("error", format_args!("three"));
            inner
        });
        assert_eq!(
            (inner, outer),
            (vec!["warning: two".to_owned()], vec!["error: one\\n".to_owned(), "error: three".to_owned()])
        );
        assert!(KEPT.with_borrow(Option::is_none));
    }
}
