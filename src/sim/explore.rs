//! Runs one scenario with many seeds.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Simulation;
use crate::sim::Coverage;

/// The totals of an exploration.
#[derive(Clone, Debug, Default)]
pub struct Exploration {
    /// The number of seeds that were run.
    pub seeds: u64,
    /// Faults and calls of all runs.
    pub coverage: Coverage,
    /// Turns of all reactors.
    pub turns: u64,
}

impl Simulation {
    /// Runs a scenario once with each seed, each in a simulation of its own. A scenario fails by a
    /// panic of its own, or of a callback (unless it calls
    /// [`allow_panics`](Simulation::allow_panics)).
    ///
    /// With the environment variable `TWISTOR_SEED`, only that seed is run, and its trace is
    /// printed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::Simulation;
    ///
    /// let seen = Simulation::explore(0..10, |simulation| {
    ///     let host = simulation.host("server");
    ///     simulation.reactor(host).listen_tcp("0.0.0.0:80", || {
    ///         # struct Nothing;
    ///         # impl twistor::Protocol for Nothing {
    ///         #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    ///         # }
    ///         # Nothing
    ///     }).unwrap();
    ///     simulation.run_for(Duration::from_secs(1)).unwrap();
    /// });
    /// assert_eq!(seen.seeds, 10);
    /// ```
    ///
    /// # Panics
    /// At the first seed that fails. The message has the seed, the cause, the end of the trace, and
    /// the command to run it again.
    pub fn explore(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(&mut Simulation)) -> Exploration {
        let only = std::env::var(SEED).ok();
        let replay = only.map(|text| match text.trim().parse() {
            Ok(seed) => seed,
            Err(_) => panic!("{SEED}: {text:?} is no seed: a number from 0 to 2^64 - 1 is"),
        });
        let mut seen = Exploration::default();
        match replay {
            Some(seed) => run(seed, &scenario, &mut seen, true),
            None => seeds.into_iter().for_each(|seed| run(seed, &scenario, &mut seen, false)),
        }
        seen
    }

    /// Makes panics of callbacks part of the scenario: they do not end the run.
    pub fn allow_panics(&mut self) {
        self.panics_allowed = true;
    }
}

fn run(seed: u64, scenario: &impl Fn(&mut Simulation), seen: &mut Exploration, whole: bool) {
    let mut simulation = Simulation::new(seed);
    if whole {
        simulation.keep_trace(usize::MAX);
    }
    let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut simulation)));
    let why = match result {
        Err(payload) => Some(text_of(&*payload)),
        Ok(()) if simulation.panics() > 0 && !simulation.panics_allowed => {
            Some(format!("{} callbacks panicked", simulation.panics()))
        }
        Ok(()) => None,
    };
    seen.seeds += 1;
    seen.turns += simulation.turns();
    seen.coverage.merge(&simulation.coverage());
    if whole {
        println!("{}", simulation.trace(usize::MAX));
    }
    if let Some(why) = why {
        let test = std::thread::current().name().unwrap_or("NAME").to_owned();
        let tail = if whole { String::new() } else { format!("\n{}", simulation.trace(TAIL)) };
        let at = simulation.now();
        // Dropping the rest of the simulation could panic again and hide this failure.
        std::mem::forget(simulation);
        panic!(
            "seed {seed} failed at {at:?}: {why}{tail}\nrun it again with: {SEED}={seed} cargo test {test}"
        );
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

const SEED: &str = "TWISTOR_SEED";

/// The number of trace lines in a failure message.
const TAIL: usize = 60;
