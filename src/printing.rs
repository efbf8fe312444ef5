//! Output of lines to standard output, for programs in a pipeline.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints a line to standard output like `println!`, and ends the process if that fails.
///
/// `println!` panics instead. In a callback the reactor catches that panic, so that a program in
/// `program | head -1` continues and reports a panic for each line. This macro exits:
///
/// - with code 0 if the reader has closed the pipe, because it has all that it wanted;
/// - with code 1 after any other error, such as a full disk, and with a message on standard error.
///
/// It calls [`std::process::exit`]: no destructor and no shutdown trigger runs. A server that has
/// to continue without its reader can use `writeln!` and ignore the error.
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

/// The implementation of [`println_or_exit`].
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
