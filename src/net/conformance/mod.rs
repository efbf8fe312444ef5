//! What every network has to answer: one suite at the level of the seam, run on each driver.
//!
//! A case is a transcript, in the manner of packetdrill: each line is a call on a socket that the transcript names, and
//! behind the arrow what was observed. The real kernel is the specification. What it answers was written down, and every other
//! driver has to give the same answers. So that all can, a transcript leaves out what may differ: numbers of ports
//! (an address shows the socket that has the port), amounts that fit into a buffer, when and how often
//! readiness is told. What has to be told is not left out: a call that waits is made only after a report, as the
//! reactor makes it, so a missing report fails the case. `script` lists the calls.
//!
//! A driver joins by one entry in `drivers`.

mod bench;
mod drivers;
mod flow;
mod mail;
mod script;
mod sockets;
mod words;

mod clock;
mod closing;
mod connecting;
mod jobs;
mod listening;
mod names;
mod options;
mod polling;
mod readiness;
mod resetting;
mod signals;
mod stream;
mod udp;
mod unix;
mod unix_datagrams;

use std::fmt::Write;

use self::bench::Bench;
use self::drivers::drivers;

/// What a case says when it fails.
type Played = Result<(), String>;

/// Plays one case on each driver.
fn on_every_driver(case: &str, play: impl Fn(&mut Bench) -> Played) {
    on_every_driver_each(case, [("", play)]);
}

/// Plays the rows of a table on each driver; all that fail are told of together.
fn on_every_driver_each<'a, P>(case: &str, rows: impl IntoIterator<Item = (&'a str, P)>)
where
    P: Fn(&mut Bench) -> Played,
{
    let mut failures = String::new();
    for (row, play) in rows {
        for driver in drivers() {
            let name = driver.name();
            if let Err(why) = play(&mut Bench::new(driver)) {
                writeln!(failures, "{case}, {row} on {name}:\n{why}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// Cases that are a transcript each, and how many they are.
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

/// Families of cases: a transcript with holes, and rows of what fills them, the row's name first.
macro_rules! tables {
    ($($(#[$attribute:meta])* $name:ident($($hole:ident),*): $text:literal { $($row:literal: $($value:literal),*;)* })*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                let holes = [$(concat!("{", stringify!($hole), "}")),*];
                let rows = [$(($row, [$($value),*])),*];
                crate::net::conformance::on_every_driver_each(stringify!($name), rows.map(|(row, values)| {
                    let mut text = $text.to_owned();
                    for (hole, value) in holes.iter().zip(values) {
                        text = text.replace(hole, value);
                    }
                    (row, move |bench: &mut crate::net::conformance::Bench| bench.play(&text))
                }));
            }
        )*

        pub(super) const ROWS: usize = crate::net::conformance::sum(&[$($(#[$attribute])* [$($row),*].len()),*]);
    };
}

/// Cases that are a function each, and how many they are.
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
fn there_are_four_hundred_and_forty_cases_and_more() {
    let cases = sum(&[
        clock::PROGRAMS,
        jobs::PROGRAMS,
        polling::PROGRAMS,
        signals::PROGRAMS,
        closing::TRANSCRIPTS,
        closing::ROWS,
        connecting::TRANSCRIPTS,
        connecting::ROWS,
        listening::TRANSCRIPTS,
        listening::ROWS,
        names::TRANSCRIPTS,
        names::ROWS,
        options::ROWS,
        readiness::TRANSCRIPTS,
        readiness::ROWS,
        resetting::TRANSCRIPTS,
        resetting::ROWS,
        stream::TRANSCRIPTS,
        stream::ROWS,
        udp::TRANSCRIPTS,
        udp::ROWS,
        unix::TRANSCRIPTS,
        unix::ROWS,
        unix_datagrams::TRANSCRIPTS,
        unix_datagrams::ROWS,
    ]);
    assert!(cases >= 440, "only {cases}");
}
