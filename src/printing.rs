//! Lines on standard output, for programs that may be piped into others.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints a line to standard output, as `println!` does, and ends the process when it cannot.
///
/// `println!` panics there. In a callback the reactor catches that panic, so that a program in `program | head -1` goes on
/// and reports a panic for each line. This macro ends the process:
///
/// - with exit code 0 when the reader has closed the pipe: it has what it wanted;
/// - with exit code 1 after any other error, such as a full disk, and a line about it on standard error.
///
/// The process ends by [`std::process::exit`]: no destructor runs, and no shutdown trigger. A server that is to go on
/// without its reader writes with `writeln!` and ignores the error.
///
/// ```
/// twistor::println_or_exit!("connected to {}", "127.0.0.1:7007");
/// twistor::println_or_exit!();
/// ```
#[macro_export]
macro_rules! println_or_exit {
    () => { $crate::__print_line(::std::format_args!("")) };
    ($($line:tt)+) => { $crate::__print_line(::std::format_args!($($line)+)) };
}

/// What [`println_or_exit`] calls.
#[doc(hidden)]
pub fn print_line(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{line}") {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        // There is no other place to report it.
        let _ = writeln!(io::stderr(), "cannot write to stdout: {error}");
        std::process::exit(1);
    }
}
