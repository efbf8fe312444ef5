//! The run: connections are opened, messages flow, the last answers are awaited, and that was it.

use super::member::Member;
use super::opening::Opening;
use super::pattern::Pattern;
use super::plan::{Plan, PlanError, Work};
use super::report::Report;
use super::schedule::Schedule;
use super::tally::Tally;
use super::trouble::{Mismatch, Trouble};
use super::volley::Volley;
use crate::endpoint::ClientEndpoint;
use crate::{Address, ConnectTcp, ConnectorId, DelayedCall, Instant, Reactor, Reason, Transport};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// A load that runs. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Load(Rc<Run>);

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Connections that stand.
    pub standing: u64,
    /// Messages answered so far, those of the warm-up included.
    pub messages: u64,
    /// What went wrong so far.
    pub errors: u64,
    /// The time since messages flow, or since connections are held; none before.
    pub running: Option<Duration>,
}

impl Load {
    /// Begins a load. Nothing happens before the reactor runs. A host name is looked up until a connection is made;
    /// the further ones go to where that one did.
    ///
    /// # Errors
    /// What stands against the plan.
    pub fn start(
        reactor: &mut Reactor,
        endpoint: Box<dyn ClientEndpoint>,
        plan: Plan,
    ) -> Result<Load, PlanError> {
        plan.check()?;
        Ok(Load::start_to(reactor, endpoint.describe(), Target::Endpoint(endpoint), plan))
    }

    /// Begins a load of datagrams, on sockets that have the server as their one peer. Each datagram has its number in
    /// its first 8 bytes. One that does not come back within [`Plan::lost_after`] is lost, which is counted and no error.
    /// A host name is looked up once; [`Plan::ramp`] has no meaning.
    ///
    /// # Errors
    /// What stands against the plan ([`Plan::check_datagrams`]).
    pub fn start_datagrams(
        reactor: &mut Reactor,
        host: &str,
        port: u16,
        plan: Plan,
    ) -> Result<Load, PlanError> {
        plan.check_datagrams()?;
        let described = match host.contains(':') {
            true => format!("udp:[{host}]:{port}"),
            false => format!("udp:{host}:{port}"),
        };
        Ok(Load::start_to(reactor, described, Target::Datagrams { host: host.to_owned(), port }, plan))
    }

    fn start_to(reactor: &mut Reactor, described: String, target: Target, plan: Plan) -> Load {
        let now = reactor.now();
        let state = State {
            stage: Stage::Opening,
            began: now,
            since: now,
            until: now,
            last: now,
            connecting: BTreeMap::new(),
            standing: BTreeMap::new(),
            lanes: Vec::new(),
            schedule: None,
            cursor: 0,
            taken: 0,
            busy: 0,
            next: None,
            end: None,
            sweep: None,
            answers: 0,
            paced: plan.paced().is_some(),
            tally: Tally::default(),
            finished: None,
        };
        let state = RefCell::new(state);
        let run = Run {
            plan,
            described,
            target: RefCell::new(target),
            pattern: Pattern::new(),
            state,
            observer: RefCell::new(None),
        };
        let load = Load(Rc::new(run));
        let run = Rc::clone(&load.0);
        let next = reactor.call_later(Duration::ZERO, move |reactor| run.start(reactor));
        load.0.state.borrow_mut().next = Some(next);
        load
    }

    /// Calls `observer` at each trouble, when it happens. One that is set later takes its place.
    pub fn on_trouble(&self, observer: impl FnMut(&Trouble) + 'static) {
        *self.0.observer.borrow_mut() = Some(Box::new(observer));
    }

    /// Calls `call` once when the load has finished; if it has, never.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.0.state.borrow_mut().finished = Some(Box::new(call));
    }

    /// Ends the load before its time: the last answers are awaited as at the end. A second time does not wait.
    pub fn stop(&self, reactor: &mut Reactor) {
        let stage = self.0.state.borrow().stage;
        match stage {
            Stage::Opening | Stage::Draining => self.0.finish(reactor),
            Stage::Running => self.0.drain(reactor),
            Stage::Finished => {}
        }
    }

    /// Whether it is over.
    pub fn is_finished(&self) -> bool {
        self.0.state.borrow().stage == Stage::Finished
    }

    /// How far it is.
    pub fn progress(&self, now: Instant) -> Progress {
        let state = self.0.state.borrow();
        Progress {
            standing: state.standing.len() as u64,
            messages: state.answers,
            errors: state.tally.error_count(),
            running: (state.stage != Stage::Opening).then(|| now - state.begun_to_run(&self.0.plan)),
        }
    }

    /// What it has come to: at the end of it; or so far.
    pub fn report(&self) -> Report {
        let tally = self.0.state.borrow().tally.clone();
        Report { endpoint: self.0.described.clone(), plan: self.0.plan.clone(), tally }
    }
}

/// What all connections of a load share.
pub(super) struct Run {
    pub(super) plan: Plan,
    /// The endpoint as it was given.
    described: String,
    /// Where further connections go.
    target: RefCell<Target>,
    pub(super) pattern: Pattern,
    pub(super) state: RefCell<State>,
    observer: RefCell<Option<Observer>>,
}

enum Target {
    Endpoint(Box<dyn ClientEndpoint>),
    Datagrams { host: String, port: u16 },
}

type Observer = Box<dyn FnMut(&Trouble)>;
type Finished = Box<dyn FnOnce(&mut Reactor)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connections are made.
    Opening,
    /// Messages flow, or connections are held.
    Running,
    /// The last answers are awaited.
    Draining,
    Finished,
}

pub(super) struct State {
    stage: Stage,
    began: Instant,
    /// Messages that were due, or sent, in this time count.
    since: Instant,
    until: Instant,
    /// When the last message that counts was answered.
    last: Instant,
    /// Attempts to connect that are under way, by the connection's number.
    connecting: BTreeMap<u64, ConnectorId>,
    /// Connections that are open.
    standing: BTreeMap<u64, Member>,
    /// Those that take turns in the schedule.
    lanes: Vec<Member>,
    schedule: Option<Schedule>,
    /// The first message of the schedule that nobody was told of.
    cursor: u64,
    /// Messages of the schedule that were begun.
    taken: u64,
    /// Connections that still wait for something at the end.
    busy: usize,
    /// The next thing to be done: opening, or messages that are due.
    next: Option<DelayedCall>,
    /// The end of messages, or of patience.
    end: Option<DelayedCall>,
    /// The next look for datagrams that are too late.
    sweep: Option<DelayedCall>,
    /// Messages answered, those that do not count included.
    answers: u64,
    paced: bool,
    tally: Tally,
    finished: Option<Finished>,
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

    fn begun_to_run(&self, plan: &Plan) -> Instant {
        Instant::from_origin(self.since.since_origin().saturating_sub(plan.warm_up))
    }
}

/// The time at this very moment: the reactor's own may be that of some callbacks ago.
#[inline]
pub(super) fn fresh(reactor: &mut Reactor) -> Instant {
    reactor.forget_time();
    reactor.now()
}

impl Run {
    fn start(self: &Rc<Run>, reactor: &mut Reactor) {
        self.state.borrow_mut().began = reactor.now();
        let datagrams = match &*self.target.borrow() {
            Target::Datagrams { host, port } => Some((host.clone(), *port)),
            Target::Endpoint(_) => None,
        };
        if let Some((host, port)) = datagrams {
            return self.look_up(reactor, &host, port);
        }
        match self.plan.work {
            Work::Echo | Work::Hold { .. } => self.open_more(reactor),
            Work::Churn => self.begin(reactor),
        }
    }

    // -- datagrams --

    fn look_up(self: &Rc<Run>, reactor: &mut Reactor, host: &str, port: u16) {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.open_sockets(reactor, SocketAddr::new(address, port));
        }
        let run = Rc::clone(self);
        let found = move |reactor: &mut Reactor, found: Result<Vec<SocketAddr>, Reason>| {
            if run.state.borrow().stage == Stage::Finished {
                return;
            }
            match found.map(|addresses| addresses.first().copied()) {
                Ok(Some(address)) => run.open_sockets(reactor, address),
                Ok(None) => run.give_up(reactor, "the host has no address".to_owned()),
                Err(reason) => run.give_up(reactor, reason.to_string()),
            }
        };
        if let Err(full) = reactor.resolve(host, port, found) {
            self.give_up(reactor, full.to_string());
        }
    }

    /// Opens all sockets at once: there is nothing to wait for.
    fn open_sockets(self: &Rc<Run>, reactor: &mut Reactor, peer: SocketAddr) {
        let now = reactor.now();
        for number in 0..self.plan.connections as u64 {
            self.state.borrow_mut().tally.begun += 1;
            match reactor.connect_udp(peer, Volley::new(Rc::clone(self), number, now)) {
                Ok(id) => {
                    let mut state = self.state.borrow_mut();
                    state.standing.insert(number, Member::Datagrams(id));
                    state.tally.connected += 1;
                }
                Err(error) => {
                    self.note(&Trouble::NotConnected { connection: number + 1, reason: error.to_string() });
                }
            }
        }
        self.begin(reactor);
        self.sweep(reactor);
    }

    fn give_up(self: &Rc<Run>, reactor: &mut Reactor, reason: String) {
        self.state.borrow_mut().tally.begun += 1;
        self.note(&Trouble::NotConnected { connection: 1, reason });
        self.finish(reactor);
    }

    /// Looks for datagrams that are too late, again and again.
    fn sweep(self: &Rc<Run>, reactor: &mut Reactor) {
        let state = self.state.borrow();
        if state.stage == Stage::Finished {
            return;
        }
        let members: Vec<Member> = state.standing.values().copied().collect();
        drop(state);
        for member in members {
            member.sweep(reactor);
        }
        let run = Rc::clone(self);
        let wait = (self.plan.lost_after / SWEEPS).max(Duration::from_millis(1));
        let next = reactor.call_later(wait, move |reactor| run.sweep(reactor));
        self.state.borrow_mut().sweep = Some(next);
    }

    /// A datagram did not come back in time.
    pub(super) fn dropped(&self, due: Instant) {
        let mut state = self.state.borrow_mut();
        if due >= state.since {
            state.tally.dropped += 1;
        }
    }

    /// A datagram came again, or too late.
    pub(super) fn repeated(&self) {
        self.state.borrow_mut().tally.repeated += 1;
    }

    /// A datagram has other bytes than were sent. The socket goes on.
    pub(super) fn wrong_datagram(&self, mismatch: Mismatch) {
        self.note(&Trouble::Wrong(mismatch));
    }

    /// Nobody listens there; if somebody did before, for so long, and with so many messages under way.
    pub(super) fn refused(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        number: u64,
        heard: Option<(Duration, u64)>,
        busy: bool,
    ) {
        let reason = "connection refused".to_owned();
        let under_way = heard.map_or(0, |(_, under_way)| under_way);
        self.gone(reactor, number, under_way, busy);
        let connection = number + 1;
        match heard {
            Some((after, under_way)) => {
                self.note(&Trouble::Lost { connection, after, under_way, reason });
            }
            None => {
                let mut state = self.state.borrow_mut();
                state.tally.connected -= 1;
                state.tally.lost -= 1;
                drop(state);
                self.note(&Trouble::NotConnected { connection, reason });
            }
        }
    }

    // -- opening --

    /// Opens as many of the connections as may be opened now.
    fn open_more(self: &Rc<Run>, reactor: &mut Reactor) {
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
                    self.later(reactor, Duration::ZERO, Run::begin);
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
    fn open(self: &Rc<Run>, reactor: &mut Reactor, due: Instant) {
        let number = self.state.borrow().tally.begun;
        self.state.borrow_mut().tally.begun += 1;
        let factory = Opening { run: Rc::clone(self), number, due };
        let begun = match &*self.target.borrow() {
            Target::Endpoint(endpoint) => endpoint.connect(reactor, Box::new(factory)),
            // Nobody connects there.
            Target::Datagrams { .. } => return,
        };
        match begun {
            Ok(connector) => {
                self.state.borrow_mut().connecting.insert(number, connector);
            }
            Err(error) => {
                self.note(&Trouble::NotConnected { connection: number + 1, reason: error.to_string() });
            }
        }
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
        if self.plan.work != Work::Churn {
            self.open_more(transport.reactor());
        }
    }

    /// Looking a name up is not what is measured, and once is enough.
    fn remember(&self, peer: &Address) {
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
    pub(super) fn not_connected(self: &Rc<Run>, reactor: &mut Reactor, number: u64, reason: String) {
        let known = self.state.borrow_mut().connecting.remove(&number).is_some();
        let stage = self.state.borrow().stage;
        if !known || stage == Stage::Finished {
            return;
        }
        self.note(&Trouble::NotConnected { connection: number + 1, reason });
        match self.plan.work {
            Work::Echo | Work::Hold { .. } => self.open_more(reactor),
            Work::Churn => self.slot_is_free(reactor, AFTER_FAILURE),
        }
    }

    // -- running --

    /// Connections stand, as many as could be made.
    fn begin(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        state.stage = Stage::Running;
        state.since = now + self.plan.warm_up;
        state.until = state.since + self.plan.duration;
        state.last = state.since;
        state.lanes = state.standing.values().copied().collect();
        let (wait, lanes) = (state.until - now, state.lanes.clone());
        let until = state.until;
        if lanes.is_empty() && self.plan.work != Work::Churn {
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
                Work::Echo => {
                    for member in lanes {
                        member.begin(reactor);
                    }
                }
                Work::Churn => {
                    for _ in 0..self.plan.connections {
                        self.open(reactor, now);
                    }
                }
                Work::Hold { .. } => {}
            }
        }
        let run = Rc::clone(self);
        let end = reactor.call_later(wait, move |reactor| run.drain(reactor));
        self.state.borrow_mut().end = Some(end);
    }

    /// Sees to what is due by the schedule, and when it has to look again.
    fn tick(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let state = self.state.borrow();
        let Some(schedule) = state.schedule.filter(|_| state.stage == Stage::Running) else { return };
        let (until, cursor) = (state.until, state.cursor);
        drop(state);
        let end = schedule.before((now + NANOSECOND).min(until));
        match self.plan.work {
            Work::Churn => self.open_due(reactor, now, true),
            Work::Echo | Work::Hold { .. } => {
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
    fn open_due(self: &Rc<Run>, reactor: &mut Reactor, now: Instant, late: bool) {
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
    fn slot_is_free(self: &Rc<Run>, reactor: &mut Reactor, wait: Duration) {
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
                self.open(reactor, now);
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
        self.note(&Trouble::Lost { connection: number + 1, after, under_way, reason });
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
        self.note(&Trouble::Wrong(mismatch));
    }

    fn gone(self: &Rc<Run>, reactor: &mut Reactor, number: u64, under_way: u64, busy: bool) {
        let mut state = self.state.borrow_mut();
        state.standing.remove(&number);
        state.tally.lost += 1;
        state.tally.unanswered += under_way;
        let last = state.stage == Stage::Running && state.standing.is_empty();
        drop(state);
        if busy {
            self.drained(reactor);
        } else if last && self.plan.work != Work::Churn {
            self.later(reactor, Duration::ZERO, Run::drain);
        }
    }

    fn note(&self, trouble: &Trouble) {
        self.state.borrow_mut().tally.note(trouble);
        if let Some(observer) = &mut *self.observer.borrow_mut() {
            observer(trouble);
        }
    }

    // -- the end --

    /// No new messages; those under way are awaited.
    fn drain(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage != Stage::Running {
            return;
        }
        state.stage = Stage::Draining;
        state.until = state.until.min(now);
        let (until, standing) = (state.until, state.standing.values().copied().collect::<Vec<_>>());
        let idle = state.connecting.is_empty() && standing.is_empty();
        state.busy = match self.plan.work {
            Work::Hold { .. } => standing.len(),
            Work::Echo | Work::Churn => 0,
        };
        let timers = [state.next.take(), state.end.take()];
        drop(state);
        cancel(reactor, timers);
        match self.plan.work {
            Work::Echo => {
                let busy = standing.into_iter().filter(|member| member.drain(reactor, until)).count();
                self.state.borrow_mut().busy = busy;
                if busy == 0 {
                    return self.finish(reactor);
                }
            }
            _ if idle => return self.finish(reactor),
            Work::Churn => {}
            Work::Hold { .. } => {
                for member in &standing {
                    member.expect(reactor, until);
                }
                self.ask(reactor, standing, 0);
            }
        }
        let run = Rc::clone(self);
        let end = reactor.call_later(self.plan.patience, move |reactor| run.finish(reactor));
        self.state.borrow_mut().end = Some(end);
    }

    /// Lets held connections send a message, some in each turn.
    fn ask(self: &Rc<Run>, reactor: &mut Reactor, standing: Vec<Member>, from: usize) {
        for member in standing.iter().skip(from).take(ASKED_AT_ONCE) {
            member.ask(reactor);
        }
        if from + ASKED_AT_ONCE < standing.len() {
            self.later(reactor, Duration::ZERO, move |run, reactor| {
                run.ask(reactor, standing, from + ASKED_AT_ONCE);
            });
        }
    }

    /// A connection has all that was awaited of it at the end.
    pub(super) fn drained(self: &Rc<Run>, reactor: &mut Reactor) {
        let mut state = self.state.borrow_mut();
        state.busy = state.busy.saturating_sub(1);
        let done = state.busy == 0;
        drop(state);
        if done {
            self.later(reactor, Duration::ZERO, Run::finish);
        }
    }

    /// It is over, whatever is under way.
    fn finish(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = fresh(reactor);
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Finished {
            return;
        }
        state.until = state.until.min(now);
        state.stage = Stage::Finished;
        state.tally.standing = state.standing.len() as u64;
        let connecting = std::mem::take(&mut state.connecting);
        let standing = std::mem::take(&mut state.standing);
        let timers = [state.next.take(), state.end.take(), state.sweep.take()];
        drop(state);
        cancel(reactor, timers);
        for connector in connecting.into_values() {
            if let Some(mut connector) = reactor.connector(connector) {
                connector.disconnect();
            }
        }
        for (number, member) in standing {
            let messages = member.end(reactor, self.plan.work);
            if messages > 0 {
                self.state.borrow_mut().tally.unanswered += messages;
                self.note(&Trouble::Unanswered { connection: number + 1, messages });
            }
        }
        let mut state = self.state.borrow_mut();
        state.tally.elapsed = state.last.max(state.until) - state.since;
        state.tally.bytes = state.tally.messages * self.plan.size as u64;
        if let Some(schedule) = state.schedule {
            state.tally.unsent = schedule.before(state.until).saturating_sub(state.taken);
        }
        let finished = state.finished.take();
        drop(state);
        // If nobody waits for it, whoever turns the reactor himself does: a turn comes to its end.
        reactor.call_later(Duration::ZERO, finished.unwrap_or_else(|| Box::new(|_| {})));
    }

    /// Calls `call` later, in the place of what was to be called before.
    fn later(
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

fn cancel(reactor: &mut Reactor, calls: impl IntoIterator<Item = Option<DelayedCall>>) {
    for call in calls.into_iter().flatten() {
        // One that has been called cannot be cancelled, and need not be.
        let _ = call.cancel(reactor);
    }
}

/// How long the place of a connection that could not be made is left empty, so that a refusal is not a storm.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Held connections that are asked in one turn.
const ASKED_AT_ONCE: usize = 64;

/// Looks for datagrams that are too late, in the time after which one is.
const SWEEPS: u32 = 10;

/// The smallest step of the clock.
const NANOSECOND: Duration = Duration::from_nanos(1);
