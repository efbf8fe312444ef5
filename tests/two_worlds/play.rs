//! Playing a scenario in both worlds, a step at a time, and comparing what was seen.

use std::fmt::Write;
use std::time::Duration;

use twistor::sim::{Link, Network};

use super::actor::{Book, Seen};
use super::sockets::Net;
use super::stage::Stage;
use super::step::{Deed, Scenario, Step};

/// Where the worlds differ: after which step, and what was seen by then.
pub struct Difference {
    pub after: String,
    pub seen: String,
}

/// Plays a scenario, and returns the first difference.
pub fn play(scenario: &Scenario) -> Result<(), Difference> {
    let network = Network::new(scenario.seed);
    network.in_order();
    network.set_loopback(Link::instant());
    let host = network.host("here");
    let mut sim = Stage::new(Net::Sim(network.clone(), host), scenario);
    let mut real = Stage::new(Net::Real, scenario);
    let compare = |real: &mut Stage, sim: &mut Stage, after: String| {
        settle(sim);
        settle(real);
        if scenario.bulk && (sim.is_held() || !sim.book.borrow().paused.is_empty()) {
            // How much is on its way is the systems' matter.
            return Ok(());
        }
        agree(real, sim, scenario.bulk).map_err(|seen| Difference { after, seen })
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        sim.perform(number, *step, scenario);
        real.perform(number, *step, scenario);
        compare(&mut real, &mut sim, format!("step {number}, {step:?}"))?;
    }
    for stage in [&mut sim, &mut real] {
        stage.resume_all();
    }
    compare(&mut real, &mut sim, "all read again".into())?;
    for how in [Deed::Close, Deed::Abort] {
        for stage in [&mut sim, &mut real] {
            stage.close_everything(how);
        }
        compare(&mut real, &mut sim, format!("everything ends: {how:?}"))?;
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

/// Turns until nothing changes any more.
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

/// The real world may take a moment longer: its system delivers when it finds the time.
fn agree(real: &mut Stage, sim: &Stage, coarse: bool) -> Result<(), String> {
    for _ in 0..PATIENCE {
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
    all.map(|(name, seen)| (name.clone(), if coarse { coarsened(seen) } else { seen.clone() })).collect()
}

/// Where much is written, when the buffers are full is the systems' matter, so that pauses differ. After an end that is
/// no clean one so do the bytes that came before it, and which call heard of it.
fn coarsened(seen: &[Seen]) -> Vec<Seen> {
    let is = |seen: &Seen, words: &[&str]| matches!(seen, Seen::Event(event) if words.iter().any(|word| event.starts_with(word)));
    let unclean = seen.iter().any(|seen| is(seen, &["lost"]) && !is(seen, &["lost Done"]));
    let mut coarse: Vec<Seen> = Vec::new();
    for one in seen.iter().filter(|seen| !is(seen, &["pause", "resume"])) {
        match (coarse.last_mut(), one) {
            (_, Seen::Data(..)) if unclean => {}
            (Some(Seen::Data(count, _)), Seen::Data(more, _)) => *count += more,
            (_, Seen::Data(count, _)) => coarse.push(Seen::Data(*count, 0)),
            (_, Seen::Event(event)) => {
                let kind = event.split(' ').take(2).collect::<Vec<_>>().join(" ");
                coarse.push(Seen::Event(kind));
            }
        }
    }
    coarse
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

/// Leaves out steps as long as the worlds differ all the same.
pub fn shorten(scenario: &Scenario) -> (Scenario, Option<Difference>) {
    let mut best = scenario.clone();
    let mut found = None;
    let mut place = best.steps.len();
    while place > 0 {
        place -= 1;
        let mut shorter = best.clone();
        // Numbers of clients and plain sockets stay what they are.
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

/// So many turns are a circle.
const MOST_TURNS: usize = 1_000_000;

/// Turns of a millisecond.
const PATIENCE: usize = 400;
