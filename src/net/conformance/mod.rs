//! What every network has to answer: one suite at the level of the seam, run on each driver.
//!
//! A case is a transcript, in the manner of packetdrill: each line is a call on a socket that the transcript names, and
//! behind the arrow what was observed. The real kernel is the specification. What it answers was written down, and every other
//! driver has to give the same answers. So that all can, a transcript leaves out what may differ: numbers of ports
//! (an address shows the socket that has the port), amounts that fit into a buffer, when and how often
//! readiness is told. What has to be told is not left out: a call that waits is made only after a report, as the
//! reactor makes it, so a missing report fails the case. `script` lists the calls.
//!
//! A driver joins by one entry in [`drivers`].

mod bench;
mod flow;
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

use std::fmt::Write;
use std::sync::mpsc;
use std::time::Duration;

use signal_hook::consts::signal as number;
use signal_hook::low_level;

use self::bench::Bench;
use super::os::{Os, Sizes};
use super::sim::{Host, Link, Network, SimNet};
use super::{Net, Signal};

/// A machine whose processes each have a [`Net`]. They reach each other through its loopback.
trait Driver {
    fn name(&self) -> &'static str;

    /// One more process, with [`JOB_THREADS`] and [`JOB_QUEUE`].
    fn process(&mut self) -> Box<dyn Net>;

    /// Gives a process a job that occupies its thread until what is returned is called; or, where jobs
    /// take virtual time, until the next poll that waits.
    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send>;

    /// Sends a signal to all processes of the machine.
    fn signal(&mut self, signal: Signal);
}

/// A fresh machine of each kind.
fn drivers() -> Vec<Box<dyn Driver>> {
    vec![Box::new(Real), Box::new(Simulated::new(false)), Box::new(Simulated::new(true))]
}

struct Real;

impl Driver for Real {
    fn name(&self) -> &'static str {
        "os"
    }

    fn process(&mut self) -> Box<dyn Net> {
        let patience = Duration::from_secs(5);
        let sizes = Sizes { threads: JOB_THREADS, thread_queue: JOB_QUEUE, thread_patience: patience };
        Box::new(Os::new(&sizes).expect("a poll and its waker"))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        let (release, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let job = move || {
            drop(begin);
            // It ends when the other end is dropped.
            let _ = held.recv();
        };
        assert!(net.offload(Box::new(job)).is_ok(), "the thread was idle");
        // It ends when the job drops the other end.
        let _ = begun.recv();
        Box::new(move || drop(release))
    }

    fn signal(&mut self, signal: Signal) {
        let signal = match signal {
            Signal::WindowChange => number::SIGWINCH,
            Signal::Child => number::SIGCHLD,
            _ => panic!("{signal} could end the whole test run"),
        };
        // To this thread, so that no other case's poll is interrupted; the handlers are the whole process's.
        low_level::raise(signal).expect("a signal to this thread");
    }
}

/// A host of a simulated network whose loopback takes no time, as the system's.
struct Simulated {
    network: Network,
    host: Host,
    name: &'static str,
}

impl Simulated {
    /// One that tells of readiness as Linux does, or as little as the seam's contract allows.
    fn new(minimal_edges: bool) -> Simulated {
        let network = Network::new(1);
        network.in_order();
        network.minimal_edges(minimal_edges);
        network.set_loopback(Link::instant());
        let host = network.host("here");
        let name = if minimal_edges { "sim, minimal edges" } else { "sim" };
        Simulated { network, host, name }
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn process(&mut self) -> Box<dyn Net> {
        Box::new(SimNet::alone(&self.network, self.host, JOB_THREADS, JOB_QUEUE))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        assert!(net.offload(Box::new(|| {})).is_ok(), "the thread was idle");
        Box::new(|| {})
    }

    fn signal(&mut self, signal: Signal) {
        self.network.signal(self.host, signal);
    }
}

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
fn the_cases_are_counted() {
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
    ]);
    assert!(cases >= 120, "only {cases}");
}

const JOB_THREADS: usize = 1;
const JOB_QUEUE: usize = 2;
