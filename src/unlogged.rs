//! Errors and warnings, for the program's logger, or for standard error if the program has set
//! none.
//!
//! Some errors can only be logged: a failed connect, a panic in a callback, an unhandled failure.
//! In a program without a logger they would be lost, and the program would seem to hang.
//! [`log::max_level`] is `Off` until a logger is set. A program that wants silence sets a logger
//! with another level and drops the records.
//!
//! In a simulation such a line is part of the run, not of this process's output. It goes into the
//! simulation's trace, with the host and the virtual time, and a test stays quiet. It is not part
//! of the trace's hash, which is the same with and without a logger.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use crate::escape::Escaped;

/// Logs a warning, with optional key-values before the text:
/// `log_warn!([peer:% = peer] "lost {peer}")`.
macro_rules! log_warn {
    ($($record:tt)+) => { log_or_write!(Warn, "warning", $($record)+) };
}

/// Logs an error, with the same syntax as [`log_warn`].
macro_rules! log_error {
    ($($record:tt)+) => { log_or_write!(Error, "error", $($record)+) };
}

/// Logs a record of this level, or writes a line with this word before it.
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

/// Writes one line, or [collects](collect) it. A failed write to standard error is ignored.
#[cold]
pub(crate) fn write(level: &str, text: fmt::Arguments<'_>) {
    let line = format!("{level}: {}", Escaped(text));
    let uncollected = COLLECTED.with_borrow_mut(|lines| match lines {
        Some(lines) => {
            lines.push(line);
            None
        }
        None => Some(line),
    });
    if let Some(line) = uncollected {
        write_line(&line);
    }
}

fn write_line(line: &str) {
    let _ = io::stderr().write_all(format!("twistor: {line}\n").as_bytes());
}

/// Collects the lines that `call` would write on this thread. If it panics, they are written after
/// all, so that a failing test shows them.
#[cfg(any(feature = "sim", test))]
pub(crate) fn collect<R>(call: impl FnOnce() -> R) -> (R, Vec<String>) {
    let before = COLLECTED.replace(Some(Vec::new()));
    let mut collection = Collection { before };
    let result = call();
    (result, collection.end())
}

/// Restores the previous collection when the current one ends.
#[cfg(any(feature = "sim", test))]
struct Collection {
    before: Option<Vec<String>>,
}

#[cfg(any(feature = "sim", test))]
impl Collection {
    fn end(&mut self) -> Vec<String> {
        COLLECTED.replace(self.before.take()).unwrap_or_default()
    }
}

#[cfg(any(feature = "sim", test))]
impl Drop for Collection {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end().iter().for_each(|line| write_line(line));
        }
    }
}

thread_local! {
    /// The lines of a simulated turn. `None`: lines are written at once.
    static COLLECTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_by_the_innermost_call() {
        let (inner, outer) = collect(|| {
            write("error", format_args!("one\n"));
            let ((), inner) = collect(|| write("warning", format_args!("two")));
            write("error", format_args!("three"));
            inner
        });
        assert_eq!(
            (inner, outer),
            (vec!["warning: two".to_owned()], vec!["error: one\\n".to_owned(), "error: three".to_owned()])
        );
        assert!(COLLECTED.with_borrow(Option::is_none));
    }
}
