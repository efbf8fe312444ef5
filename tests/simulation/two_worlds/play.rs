//! Playing a scenario in both worlds, a step at a time, and comparing what was seen.

use std::fmt::Write;
use std::time::Duration;

use twistor::sim::{Link, Network};

use super::actor::{Book, Seen};
use super::sockets::Net;
use super::stage::{PATIENCE, Stage};
use super::step::{Deed, Ending, FEW, Scenario, Step};

/// Where the worlds differ: after which step, and what was seen by then.
pub struct Difference {
    pub after: String,
    pub seen: String,
}

/// Plays a scenario, and returns the first difference.
pub fn play(scenario: &Scenario) -> Result<(), Difference> {
    let network = Network::new(scenario.seed);
    network.set_fifo_order();
    network.set_loopback(Link::instant());
    // As little as the seam promises, or as much as Linux tells: no difference to protocols, but for the turn in which a
    // listener that accepts one by one has the next.
    let one_by_one = scenario.accepts_per_turn == 1 || scenario.max_connections == FEW;
    network.set_minimal_readiness(scenario.seed % 2 == 1 && !one_by_one);
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
    all.map(|(name, seen)| {
        (name.clone(), if coarse { coarsened(seen) } else { until_a_reset(seen, book.produces) })
    })
    .collect()
}

/// How many bytes came before a reset is not compared, nor before an end of one's own while a producer sends a piece each
/// turn: how many turns there are is nobody's promise. A system sends ten small packets at once, and may hold the next
/// ones back until they are acknowledged, which takes up to 40 ms: an abort destroys them.
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

/// Where much is written, how much of it the systems' buffers take differs, and with it when a protocol is told to pause,
/// when a direction's end is out, and how much of what was sent its receiver still sees if it closes before the
/// sender, or if there is a reset; and whether a read or a write hears of that. What is left to compare: which events
/// there are, how connections end, and that what came to its end came whole.
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
