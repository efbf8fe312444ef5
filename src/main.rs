//! The `twistor` command.
#![forbid(unsafe_code)]
fn main() {}
