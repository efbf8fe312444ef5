//! The `twistor` command; all of it is in [`twistor::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    twistor::cli::main()
}
