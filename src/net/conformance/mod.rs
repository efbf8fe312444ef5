//! The conformance suite of the driver interface, run on every driver.
//!
//! A case is a transcript, in the manner of packetdrill. Each line is a call on a named socket; the
//! observed result follows the arrow. The real kernel is the specification: its results were
//! recorded, and every other driver has to give the same. A transcript leaves out what may differ
//! between drivers:
//! - port numbers (an address shows the name of the socket that has the port)
//! - byte counts that fit into a buffer
//! - the time and number of readiness reports
//!
//! Required reports are covered: a waiting call is made only after a report, as the reactor does
//! it, so a missing report fails the case. `bench/script` lists the calls.
//!
//! A driver is added by one entry in `bench/drivers`.

mod bench;

mod datagram;
mod files;
mod process;
mod stream;

use std::fmt::Write;

use self::bench::Bench;
use self::bench::drivers::drivers;

/// The result of a case. The error is the transcript.
type CaseResult = Result<(), String>;

/// Runs one case on each driver.
fn on_every_driver(case: &str, play: impl Fn(&mut Bench) -> CaseResult) {
    on_every_driver_each(case, [("", play)]);
}

/// Runs the rows of a table on each driver, and reports all failures together.
fn on_every_driver_each<'a, P>(case: &str, rows: impl IntoIterator<Item = (&'a str, P)>)
where
    P: Fn(&mut Bench) -> CaseResult,
{
    let mut failures = String::new();
    for (row, play) in rows {
        for driver in drivers() {
            let name = driver.name();
            if let Err(transcript) = play(&mut Bench::new(driver)) {
                writeln!(failures, "{case}, {row} on {name}:\n{transcript}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Declares cases that are one transcript each, and their count.
macro_rules! transcripts {
    ($($(#[$attribute:meta])* $name:ident: $text:literal;)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                crate::net::conformance::on_every_driver(stringify!($name), |bench| bench.play($text));
            }
        )*

        pub(super) const TRANSCRIPTS: usize = [$($(#[$attribute])* stringify!($name)),*].len();
    };
}

/// Declares families of cases: a transcript with placeholders, and rows of a name and values.
macro_rules! tables {
    ($($(#[$attribute:meta])* $name:ident($($placeholder:ident),*): $text:literal { $($row:literal: $($value:literal),*;)* })*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                let placeholders = [$(concat!("{", stringify!($placeholder), "}")),*];
                let rows = [$(($row, [$($value),*])),*];
                crate::net::conformance::on_every_driver_each(stringify!($name), rows.map(|(row, values)| {
                    let mut text = $text.to_owned();
                    for (placeholder, value) in placeholders.iter().zip(values) {
                        text = text.replace(placeholder, value);
                    }
                    (row, move |bench: &mut crate::net::conformance::Bench| bench.play(&text))
                }));
            }
        )*

        pub(super) const ROWS: usize = crate::net::conformance::sum(&[$($(#[$attribute])* [$($row),*].len()),*]);
    };
}

/// Declares cases that are one function each, and their count.
macro_rules! programs {
    ($($name:ident),* $(,)?) => {
        mod programs {
            $(
                #[test]
                fn $name() {
                    crate::net::conformance::on_every_driver(stringify!($name), |bench| {
                        super::$name(bench);
                        Ok(())
                    });
                }
            )*
        }

        pub(super) const PROGRAMS: usize = [$(stringify!($name)),*].len();
    };
}

use {programs, tables, transcripts};

const fn sum(counts: &[usize]) -> usize {
    match counts {
        [] => 0,
        [first, rest @ ..] => *first + sum(rest),
    }
}

#[test]
fn there_are_five_hundred_cases_and_more() {
    let cases = stream::CASES + datagram::CASES + files::CASES + process::CASES;
    assert!(cases >= 510, "only {cases}");
}
