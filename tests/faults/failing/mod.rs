//! A scenario in which one system call goes wrong, and what has to come of it all the same.

pub mod cases;
pub mod judge;
pub mod local;
pub mod mail;
mod protocols;
pub mod scenario;

use std::cell::Cell;
use std::rc::Rc;

use twistor::sim::{Call, Fault, Host, Random, Rule, Simulation, Verdict};

/// A fault that counts how often it struck.
struct Counting {
    fault: Fault,
    struck: Rc<Cell<u64>>,
}

impl Rule for Counting {
    fn call(&mut self, call: &Call, random: &mut Random) -> Verdict {
        let verdict = self.fault.call(call, random);
        self.struck.set(self.struck.get() + u64::from(verdict != Verdict::Pass));
        verdict
    }
}

/// The side that the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// What a run came to.
pub struct Outcome {
    pub book: scenario::Book,
    pub struck: u64,
    pub turns: u64,
    pub server: twistor::Statistics,
    /// What is wrong whatever the fault was.
    pub wrong: Vec<String>,
    /// The end of the trace, for messages.
    pub trace: String,
}

/// Runs the scenario with this fault on this side.
pub fn run(side: Side, fault: Fault) -> Outcome {
    run_with(|simulation, host| {
        let struck = Rc::new(Cell::new(0));
        let host = host(side);
        simulation.add_rule(Counting { fault: fault.on(host), struck: Rc::clone(&struck) });
        struck
    })
}

/// Runs the scenario with whatever `prepare` adds to it.
pub fn run_with(prepare: impl FnOnce(&mut Simulation, &dyn Fn(Side) -> Host) -> Rc<Cell<u64>>) -> Outcome {
    let mut simulation = Simulation::new(SEED);
    simulation.keep_trace(300);
    let place = scenario::prepare(&mut simulation);
    let struck = prepare(&mut simulation, &|side| match side {
        Side::Server => place.server,
        Side::Client => place.client,
    });
    scenario::begin(&mut simulation, &place);
    let ended = simulation.run_until_idle(scenario::LONGEST);
    let mut wrong = judge::in_any_case(&simulation, &place);
    wrong.extend(ended.err().map(|stalled| format!("it does not end: {stalled}")));
    Outcome {
        struck: struck.get(),
        turns: simulation.turns(),
        server: simulation.reactor_ref(place.server).map(twistor::Reactor::statistics).unwrap_or_default(),
        wrong,
        trace: simulation.trace(60),
        book: std::mem::take(&mut *place.book.borrow_mut()),
    }
}

/// One is as good as another: what is drawn is the order of what happens at the same time.
const SEED: u64 = 22;
