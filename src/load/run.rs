//! The run: connections are opened, messages flow, the last answers are awaited, and that was it.

use super::distribution::Distribution;
use super::limit::Limit;
use super::member::Member;
use super::opening::Opening;
use super::pattern::Pattern;
use super::schedule::Schedule;
use super::sockets::Candidates;
use crate::endpoint::ClientEndpoint;
use crate::load::config::{LoadConfig, Workload};
use crate::load::error::{LoadError, Mismatch};
use crate::load::totals::Totals;
use crate::{Address, ConnectTcp, ConnectorId, DelayedCall, Instant, Reactor, Reason, Transport};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// What all connections of a load share.
pub(super) struct Run {
    pub(super) plan: LoadConfig,
    /// The endpoint as it was given; for datagrams to a name, with the address that is used.
    pub(super) described: RefCell<String>,
    /// Where further connections go.
    pub(super) target: RefCell<Target>,
    pub(super) pattern: Pattern,
    pub(super) state: RefCell<State>,
    pub(super) observer: RefCell<Option<Observer>>,
}

pub(super) enum Target {
    Endpoint(Box<dyn ClientEndpoint>),
    Datagrams { host: String, port: u16 },
}

pub(super) type Observer = Box<dyn FnMut(&LoadError)>;
pub(super) type Finished = Box<dyn FnOnce(&mut Reactor)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connections are made.
    Opening,
    /// Messages flow, or connections are held.
    Running,
    /// The last answers are awaited.
    Draining,
    Finished,
}

pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) began: Instant,
    /// Messages that were due, or sent, in this time count.
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// When the last message that counts was answered.
    pub(super) last: Instant,
    /// Attempts to connect that are under way and when each was due, by the connection's number.
    pub(super) connecting: BTreeMap<u64, (ConnectorId, Instant)>,
    /// Connections that are open.
    pub(super) standing: BTreeMap<u64, Member>,
    /// Those that take turns in the schedule.
    pub(super) lanes: Vec<Member>,
    pub(super) schedule: Option<Schedule>,
    /// The first message of the schedule that nobody was told of.
    pub(super) cursor: u64,
    /// Messages of the schedule that were begun.
    pub(super) taken: u64,
    /// Lanes whose connection is gone, with the number of the first message that each did not begin.
    pub(super) unfinished_lanes: Vec<(u64, u64)>,
    /// Connections that still wait for something at the end.
    pub(super) busy: usize,
    /// The next thing to be done: opening, or messages that are due.
    pub(super) next: Option<DelayedCall>,
    /// The end of messages, or of patience.
    pub(super) end: Option<DelayedCall>,
    /// The next look for datagrams that are too late.
    pub(super) sweep: Option<DelayedCall>,
    /// Messages answered, those that do not count included.
    pub(super) answers: u64,
    pub(super) paced: bool,
    pub(super) tally: Totals,
    pub(super) finished: Option<Finished>,
    pub(super) gate: Gate,
    /// For datagrams: which address is used.
    pub(super) candidates: Candidates,
}

/// Between the opening and the running.
pub(super) enum Gate {
    Open,
    /// Whoever closed it is told when the load has come there.
    Closed(Finished),
    /// The load waits there.
    Reached,
}

impl State {
    /// Messages that were begun together are back.
    #[inline]
    pub(super) fn answered(&mut self, due: Instant, sent: Instant, messages: u64, now: Instant) {
        self.answers += messages;
        if due >= self.since {
            self.last = now;
            self.tally.messages += messages;
            self.tally.latencies.record(now - due, messages);
            if self.paced {
                self.tally.since_sent.record(now - sent, messages);
            }
        }
    }

    /// Messages that were due together have no answer, and wait for none any longer. They count with their wait so far:
    /// leaving them out would make a server look fast that answers some and lets others wait.
    pub(super) fn waited(&mut self, due: Instant, sent: Option<Instant>, messages: u64, now: Instant) {
        if due >= self.since && messages > 0 {
            self.tally.latencies.record(now - due, messages);
            if let Some(sent) = sent.filter(|_| self.paced) {
                self.tally.since_sent.record(now - sent, messages);
            }
        }
    }

    /// Counts the messages of the schedule that were due and never sent, each with its wait so far.
    pub(super) fn count_unsent(&mut self, schedule: Schedule, work: Workload, now: Instant) {
        let (since, until) = (schedule.before(self.since), schedule.before(self.until));
        let waits = &mut self.tally.latencies;
        if work == Workload::Churn {
            // The cursor counts all that were taken.
            let rest = self.cursor.max(since)..until;
            return record_waits(waits, rest, now, |number| schedule.due(number));
        }
        for (lane, next) in std::mem::take(&mut self.unfinished_lanes) {
            let of_lane = |all: u64| all.saturating_sub(lane).div_ceil(schedule.lanes());
            let rest = next.max(of_lane(since))..of_lane(until);
            record_waits(waits, rest, now, |number| schedule.due_in_lane(lane, number));
        }
    }

    pub(super) fn begun_to_run(&self, plan: &LoadConfig) -> Instant {
        Instant::from_origin(self.since.since_origin().saturating_sub(plan.warm_up))
    }
}

/// Records the waits of messages with these numbers. Of very many, the shortest wait of a group counts for the group.
fn record_waits(waits: &mut Distribution, numbers: Range<u64>, now: Instant, due: impl Fn(u64) -> Instant) {
    let count = numbers.end.saturating_sub(numbers.start);
    let groups = count.min(GROUPS);
    let start =
        |group: u64| numbers.start + (u128::from(count) * u128::from(group) / u128::from(groups)) as u64;
    for group in 0..groups {
        let (from, to) = (start(group), start(group + 1));
        waits.record(now - due(to - 1), to - from);
    }
}

/// The time at this very moment: the reactor's own may be that of some callbacks ago.
#[inline]
pub(super) fn fresh(reactor: &mut Reactor) -> Instant {
    reactor.forget_time();
    reactor.now()
}

impl Run {
    pub(super) fn start(self: &Rc<Run>, reactor: &mut Reactor) {
        self.state.borrow_mut().began = reactor.now();
        let datagrams = match &*self.target.borrow() {
            Target::Datagrams { host, port } => Some((host.clone(), *port)),
            Target::Endpoint(_) => None,
        };
        if let Some((host, port)) = datagrams {
            return self.look_up(reactor, &host, port);
        }
        match self.plan.work {
            Workload::Echo | Workload::Hold { .. } => self.open_more(reactor),
            Workload::Churn => self.opened(reactor),
        }
    }

    // -- opening --

    /// Opens as many of the connections as may be opened now.
    pub(super) fn open_more(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = reactor.now();
        loop {
            let mut state = self.state.borrow_mut();
            let number = state.tally.begun;
            if state.stage != Stage::Opening {
                return;
            }
            if number == self.plan.connections as u64 {
                // Those under way will come here when they are decided.
                if state.connecting.is_empty() {
                    state.tally.opening = now - state.began;
                    drop(state);
                    self.later(reactor, Duration::ZERO, Run::opened);
                }
                return;
            }
            let due = state.began + self.plan.ramp.mul_f64(number as f64 / self.plan.connections as f64);
            if due > now {
                drop(state);
                return self.later(reactor, due - now, Run::open_more);
            }
            if state.connecting.len() >= self.plan.attempts {
                return;
            }
            drop(state);
            self.open(reactor, now);
        }
    }

    /// Begins a connection.
    pub(super) fn open(self: &Rc<Run>, reactor: &mut Reactor, due: Instant) {
        let number = self.state.borrow().tally.begun;
        self.state.borrow_mut().tally.begun += 1;
        let factory = Opening { run: Rc::clone(self), number, due };
        let begun = match &*self.target.borrow() {
            Target::Endpoint(endpoint) => match self.with_source(&**endpoint, number) {
                Some(endpoint) => endpoint.connect(reactor, Box::new(factory)),
                None => endpoint.connect(reactor, Box::new(factory)),
            },
            // Nobody connects there.
            Target::Datagrams { .. } => return,
        };
        match begun {
            Ok(connector) => {
                self.state.borrow_mut().connecting.insert(number, (connector, due));
            }
            Err(error) => {
                self.exchange_failed(due, reactor.now());
                self.limited(Limit::of_error(&error));
                self.note(&LoadError::NotConnected { connection: number + 1, reason: error.to_string() });
            }
        }
    }

    /// The endpoint with the source address whose turn it is, if there are such.
    fn with_source(&self, endpoint: &dyn ClientEndpoint, number: u64) -> Option<ConnectTcp> {
        let sources = &self.plan.sources;
        let turn = usize::try_from(number).unwrap_or_default().checked_rem(sources.len())?;
        let options: &ConnectTcp = (endpoint as &dyn Any).downcast_ref()?;
        Some(ConnectTcp { bind: Some(SocketAddr::new(*sources.get(turn)?, 0)), ..options.clone() })
    }

    /// A connection was made.
    pub(super) fn connected(self: &Rc<Run>, number: u64, transport: &mut Transport<'_>) {
        let (id, took) = (transport.id(), transport.connect_time());
        self.remember(transport.peer());
        let mut state = self.state.borrow_mut();
        state.connecting.remove(&number);
        state.standing.insert(number, Member::Stream(id));
        state.tally.connected += 1;
        if let Some(took) = took {
            state.tally.connects.record(took, 1);
        }
        drop(state);
        if self.plan.work != Workload::Churn {
            self.open_more(transport.reactor());
        }
    }

    /// Looking a name up is not what is measured, and once is enough.
    pub(super) fn remember(&self, peer: &Address) {
        let mut target = self.target.borrow_mut();
        let Target::Endpoint(endpoint) = &mut *target else { return };
        let options: Option<&ConnectTcp> = (&**endpoint as &dyn Any).downcast_ref();
        if let (Some(options), Some(ip)) = (options, peer.ip())
            && options.host.parse::<IpAddr>().is_err()
        {
            *endpoint = Box::new(ConnectTcp { host: ip.to_string(), ..options.clone() });
        }
    }

    /// A connection could not be made.
    pub(super) fn not_connected(self: &Rc<Run>, reactor: &mut Reactor, number: u64, reason: &Reason) {
        let known = self.state.borrow_mut().connecting.remove(&number);
        let stage = self.state.borrow().stage;
        let Some((_, due)) = known.filter(|_| stage != Stage::Finished) else { return };
        self.exchange_failed(due, reactor.now());
        self.limited(Limit::of(reason));
        self.note(&LoadError::NotConnected { connection: number + 1, reason: reason.to_string() });
        match self.plan.work {
            Workload::Echo | Workload::Hold { .. } => self.open_more(reactor),
            Workload::Churn => self.slot_is_free(reactor, AFTER_FAILURE),
        }
    }

    /// With [`Workload::Churn`] a connection is due as a message is.
    fn exchange_failed(&self, due: Instant, now: Instant) {
        if self.plan.work == Workload::Churn {
            self.state.borrow_mut().waited(due, None, 1, now);
        }
    }

    /// Whether connections are there to be held.
    pub(super) fn holds(&self) -> bool {
        matches!(self.plan.work, Workload::Hold { .. })
    }

    /// Whether a connection that ends after this time was hardly more than accepted: a server does that to what it has no
    /// descriptors for. Later it is an idle time-out, or a fault.
    pub(super) fn is_early(&self, after: Duration) -> bool {
        self.state.borrow().stage == Stage::Opening || after < EARLY
    }

    /// A connection ran into this limit, if it was one.
    pub(super) fn limited(&self, limit: Option<Limit>) {
        if let Some(limit) = limit {
            *self.state.borrow_mut().tally.limits.entry(limit).or_default() += 1;
        }
    }

    /// Connections stand, as many as could be made: on, if nobody wants to be asked.
    pub(super) fn opened(self: &Rc<Run>, reactor: &mut Reactor) {
        let gate = std::mem::replace(&mut self.state.borrow_mut().gate, Gate::Reached);
        match gate {
            Gate::Open | Gate::Reached => self.begin(reactor),
            Gate::Closed(tell) => tell(reactor),
        }
    }

    // -- running --

    /// Connections stand, as many as could be made.
    pub(super) fn begin(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        state.stage = Stage::Running;
        state.since = now + self.plan.warm_up;
        state.until = state.since + self.plan.duration;
        state.last = state.since;
        state.lanes = state.standing.values().copied().collect();
        let (wait, lanes) = (state.until - now, state.lanes.clone());
        let until = state.until;
        if lanes.is_empty() && self.plan.work != Workload::Churn {
            drop(state);
            return self.finish(reactor);
        }
        if let Some(rate) = self.plan.paced() {
            let schedule = Schedule::new(now, rate, lanes.len() as u64);
            state.schedule = Some(schedule);
            drop(state);
            for (lane, member) in lanes.iter().enumerate() {
                member.begin_pace(reactor, schedule, lane as u64, until);
            }
            self.tick(reactor);
        } else {
            drop(state);
            match self.plan.work {
                Workload::Echo => {
                    for member in lanes {
                        member.begin(reactor);
                    }
                }
                Workload::Churn => {
                    for _ in 0..self.plan.connections {
                        self.open(reactor, now);
                    }
                }
                Workload::Hold { .. } => {}
            }
        }
        let run = Rc::clone(self);
        let end = reactor.call_later(wait, move |reactor| run.drain(reactor));
        self.state.borrow_mut().end = Some(end);
    }

    /// Sees to what is due by the schedule, and when it has to look again.
    pub(super) fn tick(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let state = self.state.borrow();
        let Some(schedule) = state.schedule.filter(|_| state.stage == Stage::Running) else { return };
        let (until, cursor) = (state.until, state.cursor);
        drop(state);
        let end = schedule.before((now + NANOSECOND).min(until));
        match self.plan.work {
            Workload::Churn => self.open_due(reactor, now, true),
            Workload::Echo | Workload::Hold { .. } => {
                // One look is enough for a connection, however many are due.
                for number in cursor..end.min(cursor + schedule.lanes()) {
                    let lane = (number % schedule.lanes()) as usize;
                    let member = self.state.borrow().lanes.get(lane).copied();
                    if let Some(member) = member {
                        member.look(reactor);
                    }
                }
                self.state.borrow_mut().cursor = end.max(cursor);
            }
        }
        let next = schedule.due(self.state.borrow().cursor.max(end));
        if next < until {
            let wait = if self.plan.spin { Duration::ZERO } else { next - fresh(reactor) };
            self.later(reactor, wait, Run::tick);
        }
    }

    /// Opens the connections that are due and for which there is room.
    pub(super) fn open_due(self: &Rc<Run>, reactor: &mut Reactor, now: Instant, late: bool) {
        loop {
            let mut state = self.state.borrow_mut();
            let Some(schedule) = state.schedule.filter(|_| state.stage == Stage::Running) else { return };
            let due = schedule.due(state.cursor);
            let room = state.connecting.len() + state.standing.len() < self.plan.connections;
            if !room || due > now || due >= state.until {
                return;
            }
            state.cursor += 1;
            drop(state);
            self.taken(now, due, late);
            self.open(reactor, due);
        }
    }

    /// A message of the schedule was begun; `late` when nothing but the generator held it up.
    pub(super) fn taken(&self, now: Instant, due: Instant, late: bool) {
        let mut state = self.state.borrow_mut();
        state.taken += 1;
        if late && due >= state.since {
            state.tally.lateness.record(now - due, 1);
        }
    }

    /// A connection was used and is closed, or is gone.
    pub(super) fn churned(self: &Rc<Run>, reactor: &mut Reactor, number: u64) {
        self.state.borrow_mut().standing.remove(&number);
        self.slot_is_free(reactor, Duration::ZERO);
    }

    /// Another connection may take the place of one that is gone.
    pub(super) fn slot_is_free(self: &Rc<Run>, reactor: &mut Reactor, wait: Duration) {
        let state = self.state.borrow();
        let (stage, tally) = (state.stage, &state.tally);
        let idle = state.connecting.is_empty() && state.standing.is_empty();
        let hopeless = tally.connected == 0 && tally.error_count() >= self.plan.connections as u64;
        let paced = state.schedule.is_some();
        drop(state);
        match stage {
            Stage::Running if hopeless => self.finish(reactor),
            Stage::Running if paced => {
                let now = reactor.now();
                self.open_due(reactor, now, false);
            }
            Stage::Running if wait.is_zero() => {
                let now = fresh(reactor);
                // The timer that ends the load may come after what ends a connection at the same time.
                if now < self.state.borrow().until {
                    self.open(reactor, now);
                }
            }
            Stage::Running => {
                let run = Rc::clone(self);
                reactor.call_later(wait, move |reactor| {
                    if run.state.borrow().stage == Stage::Running {
                        let now = reactor.now();
                        run.open(reactor, now);
                    }
                });
            }
            Stage::Draining if idle => self.later(reactor, Duration::ZERO, Run::finish),
            Stage::Opening | Stage::Draining | Stage::Finished => {}
        }
    }

    // -- losses --

    /// A connection was lost. `busy`: something was still awaited of it at the end.
    pub(super) fn lost(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        number: u64,
        after: Duration,
        under_way: u64,
        reason: &Reason,
        busy: bool,
    ) {
        let reason = match reason {
            Reason::Done => "the server closed it".to_owned(),
            reason => reason.to_string(),
        };
        self.gone(reactor, number, under_way, busy);
        self.note(&LoadError::Lost { connection: number + 1, after, under_way, reason });
    }

    /// Other bytes came back than were sent.
    pub(super) fn wrong(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        mismatch: Mismatch,
        under_way: u64,
        busy: bool,
    ) {
        self.gone(reactor, mismatch.connection - 1, under_way, busy);
        self.note(&LoadError::Wrong(mismatch));
    }

    pub(super) fn gone(self: &Rc<Run>, reactor: &mut Reactor, number: u64, under_way: u64, busy: bool) {
        let mut state = self.state.borrow_mut();
        state.standing.remove(&number);
        state.tally.lost += 1;
        state.tally.unanswered += under_way;
        let last = state.stage == Stage::Running && state.standing.is_empty();
        drop(state);
        if busy {
            self.drained(reactor);
        } else if last && self.plan.work != Workload::Churn {
            self.later(reactor, Duration::ZERO, Run::drain);
        }
    }

    pub(super) fn note(&self, trouble: &LoadError) {
        self.state.borrow_mut().tally.note(trouble);
        if let Some(observer) = &mut *self.observer.borrow_mut() {
            observer(trouble);
        }
    }

    /// Calls `call` later, in the place of what was to be called before.
    pub(super) fn later(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        wait: Duration,
        call: impl FnOnce(&Rc<Run>, &mut Reactor) + 'static,
    ) {
        let run = Rc::clone(self);
        let next = reactor.call_later(wait, move |reactor| call(&run, reactor));
        let before = self.state.borrow_mut().next.replace(next);
        cancel(reactor, [before]);
    }
}

pub(super) fn cancel(reactor: &mut Reactor, calls: impl IntoIterator<Item = Option<DelayedCall>>) {
    for call in calls.into_iter().flatten() {
        // One that has been called cannot be cancelled, and need not be.
        let _ = call.cancel(reactor);
    }
}

/// How long the place of a connection that could not be made is left empty, so that a refusal is not a storm.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// How soon after it was made a held connection ends that a server could not keep.
const EARLY: Duration = Duration::from_secs(5);

/// Waits that are recorded one by one, for each connection.
const GROUPS: u64 = 1_000;

/// The smallest step of the clock.
const NANOSECOND: Duration = Duration::from_nanos(1);
