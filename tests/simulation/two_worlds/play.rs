//! Plays a scenario in both worlds step by step, and compares the records.

use std::fmt::Write;
use std::time::Duration;

use twistor::sim::{Link, Network};

use super::actor::{Book, Seen};
use super::sockets::Net;
use super::stage::{MAX_EXTRA_TURNS, Stage};
use super::step::{Deed, Ending, FEW, Scenario, Step};

/// A difference between the worlds: the step, and the records up to it.
pub struct Difference {
    pub after: String,
    pub seen: String,
}

/// Plays a scenario, and returns the first difference.
pub fn play(scenario: &Scenario) -> Result<(), Difference> {
    let network = Network::new(scenario.seed);
    network.set_fifo_order();
    network.set_loopback(Link::instant());
    // Minimal and full readiness make no difference to protocols, except for the turn in which a
    // listener that accepts one connection at a time accepts the next one.
    let one_by_one = scenario.accepts_per_turn == 1 || scenario.max_connections == FEW;
    network.set_minimal_readiness(scenario.seed % 2 == 1 && !one_by_one);
    let host = network.host("here");
    let mut sim = Stage::new(Net::Sim(network.clone(), host), scenario);
    let mut real = Stage::new(Net::Real, scenario);
    let compare = |real: &mut Stage, sim: &mut Stage, after: String| {
        settle(sim);
        settle(real);
        if scenario.bulk && (sim.is_held() || !sim.book.borrow().paused.is_empty()) {
            // The number of bytes in flight depends on the system.
            return Ok(());
        }
        agree(real, sim, scenario.bulk).map_err(|seen| Difference { after, seen })
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        sim.perform(number, *step, scenario);
        real.plain.await_bytes(*step, sim.plain.received);
        real.perform(number, *step, scenario);
        compare(&mut real, &mut sim, format!("step {number}, {step:?}"))?;
    }
    for stage in [&mut sim, &mut real] {
        stage.go_on();
    }
    compare(&mut real, &mut sim, "all went on".into())?;
    if scenario.ending == Ending::Closed {
        for how in [Deed::Close, Deed::Abort] {
            sim.close_everything(how);
            real.close_everything(how);
            compare(&mut real, &mut sim, format!("everything ends: {how:?}"))?;
        }
    } else {
        sim.stop(scenario.ending == Ending::Drained);
        real.stop(scenario.ending == Ending::Drained);
        compare(&mut real, &mut sim, "the reactors stop".into())?;
        if (sim.has_finished(), real.has_finished()) != (true, true) {
            let seen = format!("finished: {}, {} in reality", sim.has_finished(), real.has_finished());
            return Err(Difference { after: "everything stopped".into(), seen });
        }
    }
    let left = |stage: &Stage| stage.in_use();
    if (left(&sim), left(&real)) != (0, 0) {
        let seen = format!("left: {} in the simulation, {} in reality", left(&sim), left(&real));
        return Err(Difference { after: "everything ended".into(), seen });
    }
    drop(sim);
    assert_eq!(network.sockets(host), 0, "sockets are left");
    Ok(())
}

/// Turns until there is no more activity.
fn settle(stage: &mut Stage) {
    let mut quiet = 0;
    let mut pulse = stage.pulse();
    for _ in 0..MOST_TURNS {
        stage.turn(Duration::ZERO);
        let now = stage.pulse();
        quiet = if now == pulse { quiet + 1 } else { 0 };
        pulse = now;
        if quiet == 3 {
            return;
        }
    }
    panic!("it does not come to rest");
}

/// Compares the worlds. The real world may need more turns, because its kernel delivers
/// asynchronously.
fn agree(real: &mut Stage, sim: &Stage, coarse: bool) -> Result<(), String> {
    for _ in 0..MAX_EXTRA_TURNS {
        if view(&real.book.borrow(), coarse) == view(&sim.book.borrow(), coarse) {
            return Ok(());
        }
        real.turn(Duration::from_millis(1));
    }
    Err(side_by_side(&view(&real.book.borrow(), coarse), &view(&sim.book.borrow(), coarse)))
}

type View = Vec<(String, Vec<Seen>)>;

fn view(book: &Book, coarse: bool) -> View {
    let all = book.seen.iter();
    all.map(|(name, seen)| {
        (name.clone(), if coarse { coarsened(seen) } else { until_a_reset(seen, book.produces) })
    })
    .collect()
}

/// Removes the number of bytes before a reset, and before a close while a producer sends one piece
/// per turn. The number of turns is not part of the contract. Linux sends ten small packets at
/// once, and may delay the next ones until they are acknowledged, for up to 40 ms. An abort
/// destroys those.
fn until_a_reset(seen: &[Seen], pieces: bool) -> Vec<Seen> {
    let has = |words| seen.iter().any(|seen| matches!(seen, Seen::Event(event) if event.starts_with(words)));
    let vague = has("lost Lost") || pieces && has("lost") && !has("read lost");
    let mut seen = seen.to_vec();
    if vague {
        let data = seen.iter_mut().filter(|seen| matches!(seen, Seen::Data(..)));
        data.for_each(|data| *data = Seen::Event("data".into()));
    }
    seen
}

/// Reduces the records of a bulk scenario to the facts that do not depend on buffer sizes: the set
/// of events, the reasons of losses, and the completeness of data before an orderly end. Buffer
/// sizes decide when a protocol is paused, when a FIN leaves, how many bytes a receiver sees that
/// closes first or is reset, and whether a read or a write reports the reset.
fn coarsened(seen: &[Seen]) -> Vec<Seen> {
    let mut bytes = 0;
    let mut events = Vec::new();
    let mut paused = false;
    for one in seen {
        match one {
            Seen::Data(count, _) => bytes += count,
            Seen::Event(event) if event == "pause" || event == "resume" => {
                assert_ne!(paused, event == "pause", "they take turns");
                paused = !paused;
            }
            Seen::Event(event) => events.push(event.split(' ').take(2).collect::<Vec<_>>().join(" ")),
        }
    }
    events.sort_unstable();
    let has = |wanted: &str| events.iter().any(|event| event == wanted);
    let lost = events.iter().any(|event| event.starts_with("lost"));
    if !lost || has("lost Done") && has("read lost") {
        events.push(format!("{bytes} bytes"));
    }
    events.into_iter().map(Seen::Event).collect()
}

fn side_by_side(real: &View, sim: &View) -> String {
    let mut text = String::new();
    let mut names: Vec<&String> = real.iter().chain(sim).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    for name in names {
        let of = |view: &View| view.iter().find(|(other, _)| other == name).map(|(_, seen)| seen.clone());
        let (real, sim) = (of(real).unwrap_or_default(), of(sim).unwrap_or_default());
        let differs = if real == sim { "" } else { "   <--" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}{differs}");
        for place in 0..real.len().max(sim.len()) {
            let at = |seen: &[Seen]| seen.get(place).map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "    {:<44} {}", at(&real), at(&sim));
        }
    }
    format!("    {:<44} in the simulation\n{text}", "in reality")
}

/// Removes steps while the worlds still differ.
pub fn shorten(scenario: &Scenario) -> (Scenario, Option<Difference>) {
    let mut best = scenario.clone();
    let mut found = None;
    let mut place = best.steps.len();
    while place > 0 {
        place -= 1;
        let mut shorter = best.clone();
        // The numbers of clients and plain sockets have to stay the same.
        if matches!(shorter.steps[place], Step::Connect(..) | Step::PlainConnect(_) | Step::PlainAccept) {
            continue;
        }
        shorter.steps.remove(place);
        if let Err(difference) = play(&shorter) {
            best = shorter;
            found = Some(difference);
        }
    }
    (best, found)
}

/// The maximum number of turns; more are a livelock.
const MOST_TURNS: usize = 1_000_000;
