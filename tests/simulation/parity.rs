//! Protocols see the same on a simulated loopback as on the system's.
//!
//! Scenarios drawn from seeds are played in lock step in both worlds. `TWISTOR_SEEDS` is the number
//! of seeds (`5000`) or their range (`17..18`). A difference prints its seed, its steps and both
//! records.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::two_worlds::play::{play, shorten};
use crate::two_worlds::step::Scenario;

#[test]
fn protocols_see_the_same_on_simulated_and_real_loopback() {
    the_same(Scenario::new);
}

#[test]
fn so_they_do_over_unix_sockets() {
    the_same(Scenario::over_unix);
}

fn the_same(scenario: impl Fn(u64) -> Scenario) {
    // One at a time: a busy machine delivers late.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let mut passing = 0;
    let mut bad = Vec::new();
    for seed in seeds {
        let scenario = scenario(seed);
        if play(&scenario).is_ok() {
            continue;
        }
        // A difference that does not recur was caused by a machine that was busy for too long.
        match play(&scenario) {
            Ok(()) => passing += 1,
            Err(difference) => bad.push((scenario, difference)),
        }
        if bad.len() == MOST {
            break;
        }
    }
    println!("{count} scenarios, {} differences, {passing} that did not come again", bad.len());
    for (scenario, difference) in &bad {
        let (short, found) = shorten(scenario);
        let difference = found.as_ref().unwrap_or(difference);
        let steps: Vec<String> =
            short.steps.iter().enumerate().map(|(number, step)| format!("{number:>4} {step:?}")).collect();
        println!(
            "seed {}: the worlds differ after {}\n{}\n{}\n{:?}\n",
            scenario.seed,
            difference.after,
            steps.join("\n"),
            difference.seen,
            Scenario { steps: Vec::new(), ..short.clone() },
        );
    }
    assert!(bad.is_empty(), "{} of {count} scenarios differ", bad.len());
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("TWISTOR_SEEDS") else { return 0..SCENARIOS };
    let bounds: Vec<u64> = text.split("..").map(|bound| bound.parse().expect("numbers")).collect();
    match bounds[..] {
        [count] => 0..count,
        [first, end] => first..end,
        _ => panic!("TWISTOR_SEEDS: {text:?} is neither a number nor a range"),
    }
}

/// The number of scenarios of a usual run.
const SCENARIOS: u64 = 400;

/// The number of differences after which the test stops.
const MOST: usize = 3;
