//! The steps of a scenario, drawn from a seed.

use super::actor::Manner;
use crate::world::random::Random;

/// An action on one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Write(usize),
    WriteAndClose(usize),
    WriteAndAbort(usize),
    CloseAndWrite(usize),
    Finish,
    Pause,
    Resume,
    Close,
    Abort,
}

/// A reactor of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

/// A client's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A listener of the server's reactor.
    Listener(usize),
    /// A plain listener.
    Plain,
    /// A port without a listener.
    ClosedPort,
}

/// An end of a connection: that of a client by number, or that of the server by listener and accept
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client(usize),
    Server(usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Connect(Target, Manner),
    Do(End, Deed),
    /// The same action, by a timed call after a number of microseconds.
    DoLater(End, Deed, u64),
    /// Disconnects a connector.
    Disconnect(usize),
    /// Gives a side's reactor no turns until it is released.
    Hold(Side),
    Release(Side),
    /// Releases all reactors, and resumes all reading.
    GoOn,
    StopListening(usize),
    ListenAgain(usize),
    /// Plain sockets: connect to a listener, accept, and other actions by number.
    PlainConnect(usize),
    PlainAccept,
    PlainSend(usize, usize),
    PlainReceive(usize, usize),
    PlainFinish(usize),
    PlainClose(usize),
    PlainReset(usize),
    PlainState(usize),
}

/// The end of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything is closed.
    Closed,
    /// The reactors stop at once.
    Stopped,
    /// The reactors stop after all bytes were sent.
    Drained,
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    /// Writes are large, so that the size of the systems' buffers is visible and differs.
    pub bulk: bool,
    pub read_buffer: usize,
    pub bytes_per_turn: usize,
    pub accepts_per_turn: usize,
    pub linger: bool,
    pub backlog: u32,
    /// The server's limit of connections.
    pub max_connections: usize,
    pub ipv6: bool,
    /// UNIX sockets instead of TCP.
    pub unix: bool,
    pub ending: Ending,
    pub steps: Vec<Step>,
}

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let random = &mut Random::new(seed);
        let bulk = random.below(4) == 0;
        let (read_buffer, bytes_per_turn) = match (bulk, random.below(3)) {
            // Small, but not so small that an echo would be more packets than a kernel sends at
            // once.
            (false, 0) => (97, 150),
            (_, 1) => (4096, 4096),
            _ => (32 * 1024, 64 * 1024),
        };
        let mut scenario = Scenario {
            seed,
            bulk,
            read_buffer,
            bytes_per_turn,
            accepts_per_turn: [1, 16][random.below(2)],
            linger: bulk || random.below(2) == 0,
            backlog: [1, 3, 1024][random.below(3)],
            max_connections: if random.below(8) == 0 { FEW } else { 1000 },
            ipv6: random.below(5) == 0,
            unix: false,
            ending: [Ending::Closed, Ending::Stopped, Ending::Drained][random.below(3)],
            steps: Vec::new(),
        };
        let count = 20 + random.below(21);
        let mut cast = Cast::default();
        for number in 0..count {
            let step =
                if number < 2 { connect(random, bulk, &mut cast) } else { next(random, bulk, &mut cast) };
            // Whether bytes are still with their sender when a connection ends depends on the
            // system.
            if bulk && step.ends_something() {
                scenario.steps.push(Step::GoOn);
            }
            scenario.steps.push(step);
        }
        scenario
    }

    /// Returns the same steps over UNIX sockets. The backlog is never full, because a retry would
    /// happen at each world's own time.
    pub fn over_unix(seed: u64) -> Scenario {
        Scenario { unix: true, backlog: 1024, ..Scenario::new(seed) }
    }

    /// Returns the behaviour of the server's protocol for a listener's connection by number;
    /// `None`: refused.
    pub fn server_manner(&self, listener: usize, number: usize) -> Option<Manner> {
        let random = &mut Random::new(self.seed ^ (listener as u64 + 1) << 20 ^ (number as u64 + 1) << 32);
        (random.below(15) != 0).then(|| manner(random, self.bulk, true))
    }
}

impl Step {
    fn ends_something(self) -> bool {
        match self {
            Step::Do(_, deed) | Step::DoLater(_, deed, _) => {
                !matches!(deed, Deed::Write(_) | Deed::Pause | Deed::Resume | Deed::Finish)
            }
            Step::Disconnect(_) => true,
            _ => false,
        }
    }
}

/// The number of ends of each kind.
#[derive(Default)]
struct Cast {
    clients: usize,
    accepted: [usize; LISTENERS],
    plain: usize,
    waiting: usize,
}

fn connect(random: &mut Random, bulk: bool, cast: &mut Cast) -> Step {
    cast.clients += 1;
    let target = match random.below(10) {
        0 => Target::ClosedPort,
        1 | 2 if !bulk => Target::Plain,
        _ => Target::Listener(random.below(LISTENERS)),
    };
    match target {
        Target::Listener(number) => cast.accepted[number] += 1,
        Target::Plain => cast.waiting += 1,
        Target::ClosedPort => {}
    }
    Step::Connect(target, manner(random, bulk, false))
}

fn next(random: &mut Random, bulk: bool, cast: &mut Cast) -> Step {
    let side = [Side::Server, Side::Client][random.below(2)];
    let listener = random.below(LISTENERS);
    match random.below(100) {
        0..=11 => connect(random, bulk, cast),
        12..=49 => Step::Do(end(random, cast), deed(random, bulk)),
        50..=55 => Step::DoLater(end(random, cast), deed(random, bulk), random.below(1500) as u64),
        56..=57 => Step::Disconnect(random.below(cast.clients)),
        58..=65 => Step::Hold(side),
        66..=73 => Step::Release(side),
        74 => Step::StopListening(listener),
        75..=76 => Step::ListenAgain(listener),
        // Data that plain sockets do not read stays in the kernel.
        _ if bulk => Step::Do(end(random, cast), Deed::Resume),
        77..=80 => {
            cast.plain += 1;
            cast.accepted[listener] += 1;
            Step::PlainConnect(listener)
        }
        81..=83 if cast.waiting > 0 => {
            cast.plain += 1;
            cast.waiting -= 1;
            Step::PlainAccept
        }
        81..=87 => Step::PlainSend(random.below(cast.plain.max(1)), 1 + random.below(SMALL)),
        88..=91 => Step::PlainReceive(random.below(cast.plain.max(1)), 1 + random.below(SMALL * 2)),
        92..=94 => Step::PlainFinish(random.below(cast.plain.max(1))),
        95..=96 => Step::PlainClose(random.below(cast.plain.max(1))),
        97 => Step::PlainReset(random.below(cast.plain.max(1))),
        _ => Step::PlainState(random.below(cast.plain.max(1))),
    }
}

fn end(random: &mut Random, cast: &Cast) -> End {
    let listener = random.below(LISTENERS);
    match cast.accepted[listener] {
        accepted if accepted > 0 && random.below(2) == 0 => End::Server(listener, random.below(accepted)),
        _ => End::Client(random.below(cast.clients)),
    }
}

fn deed(random: &mut Random, bulk: bool) -> Deed {
    let size = 1 + random.below(if bulk { LARGE } else { SMALL });
    match random.below(20) {
        0..=8 => Deed::Write(size),
        9 => Deed::WriteAndClose(size),
        10 if !bulk => Deed::WriteAndAbort(size),
        11 => Deed::CloseAndWrite(size),
        12..=13 => Deed::Pause,
        14..=15 => Deed::Resume,
        16..=17 => Deed::Finish,
        18 => Deed::Close,
        _ => Deed::Abort,
    }
}

fn manner(random: &mut Random, bulk: bool, server: bool) -> Manner {
    let size = 1 + random.below(SMALL);
    match random.below(if bulk { 4 } else { 13 }) {
        0..=1 => Manner::Plain,
        2..=3 => Manner::Stays,
        // Two echoing ends would never stop.
        4..=6 if server => Manner::Echoes,
        4 => Manner::Greets(size),
        5 => Manner::GreetsAndCloses(size),
        6 | 7 => Manner::HangsUp(size),
        8 => Manner::Aborts(size),
        9 => Manner::Pauses(size),
        10 => Manner::OnlyReads,
        11 => Manner::Produces(random.below(6), 1 + size / 4),
        _ => Manner::AnswersTheEnd(size),
    }
}

/// Listeners of the server's reactor.
pub const LISTENERS: usize = 2;

/// The limit of connections of a server that has one.
pub const FEW: usize = 3;

/// The maximum size of a write in bytes. All writes of a scenario fit the system's buffers, whose
/// sizes are therefore not visible.
const SMALL: usize = 600;

/// The maximum size of a write in bulk scenarios.
const LARGE: usize = 200 * 1024;
