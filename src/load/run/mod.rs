//! The run of a load: opening connections, sending messages, and waiting for the last answers.

mod ending;
mod opening;
mod sockets;
mod state;

use self::opening::Opening;
pub(super) use self::sockets::Candidates;
pub(super) use self::state::{Stage, StartGate, State};
use crate::endpoint::ClientEndpoint;
use crate::load::config::{LoadConfig, Workload};
use crate::load::error::{LoadError, Mismatch};
use crate::load::sender::{Pattern, Schedule, Sender};
use crate::load::totals::Limit;
use crate::{Address, ConnectTcp, DelayedCall, Instant, Reactor, Reason, Transport};
use std::any::Any;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The state shared by all connections of a load.
pub(super) struct Run {
    pub(super) config: LoadConfig,
    /// The endpoint as it was given; for datagrams to a name, followed by the address in use.
    pub(super) described: RefCell<String>,
    /// The target of further connections.
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

/// Returns the current time. The reactor's cached time may be several callbacks old.
#[inline]
pub(super) fn read_clock(reactor: &mut Reactor) -> Instant {
    reactor.update_time();
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
        match self.config.work {
            Workload::Echo | Workload::Hold { .. } => self.open_more(reactor),
            Workload::Churn => self.opened(reactor),
        }
    }

    // -- opening --

    /// Opens as many connections as the ramp and the limit of attempts allow.
    pub(super) fn open_more(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = reactor.now();
        loop {
            let mut state = self.state.borrow_mut();
            let number = state.totals.started;
            if state.stage != Stage::Opening {
                return;
            }
            if number == self.config.connections as u64 {
                // Attempts in flight call this again when they complete.
                if state.connecting.is_empty() {
                    state.totals.opening = now - state.began;
                    drop(state);
                    self.later(reactor, Duration::ZERO, Run::opened);
                }
                return;
            }
            let due = state.began + self.config.ramp.mul_f64(number as f64 / self.config.connections as f64);
            if due > now {
                drop(state);
                return self.later(reactor, due - now, Run::open_more);
            }
            if state.connecting.len() >= self.config.max_connecting {
                return;
            }
            drop(state);
            self.open(reactor, now);
        }
    }

    /// Starts a connection.
    pub(super) fn open(self: &Rc<Run>, reactor: &mut Reactor, due: Instant) {
        let number = self.state.borrow().totals.started;
        self.state.borrow_mut().totals.started += 1;
        let factory = Opening { run: Rc::clone(self), number, due };
        let started = match &*self.target.borrow() {
            Target::Endpoint(endpoint) => match self.with_source(&**endpoint, number) {
                Some(endpoint) => endpoint.connect(reactor, Box::new(factory)),
                None => endpoint.connect(reactor, Box::new(factory)),
            },
            // Datagram sockets are opened by `open_sockets`.
            Target::Datagrams { .. } => return,
        };
        match started {
            Ok(connector) => {
                self.state.borrow_mut().connecting.insert(number, (connector, due));
            }
            Err(error) => {
                self.exchange_failed(due, reactor.now());
                self.count_limit(Limit::of_error(&error));
                self.note(&LoadError::NotConnected { connection: number + 1, reason: error.to_string() });
            }
        }
    }

    /// Returns the endpoint with the next source address, if there are any.
    fn with_source(&self, endpoint: &dyn ClientEndpoint, number: u64) -> Option<ConnectTcp> {
        let sources = &self.config.sources;
        let turn = usize::try_from(number).unwrap_or_default().checked_rem(sources.len())?;
        let options: &ConnectTcp = (endpoint as &dyn Any).downcast_ref()?;
        Some(ConnectTcp { bind: Some(SocketAddr::new(*sources.get(turn)?, 0)), ..options.clone() })
    }

    /// Notes that a connection was made.
    pub(super) fn connected(self: &Rc<Run>, number: u64, transport: &mut Transport<'_>) {
        let (id, took) = (transport.id(), transport.connect_time());
        self.remember(transport.peer());
        let mut state = self.state.borrow_mut();
        state.connecting.remove(&number);
        state.open.insert(number, Sender::Stream(id));
        state.totals.connected += 1;
        if let Some(took) = took {
            state.totals.connects.record(took, 1);
        }
        drop(state);
        if self.config.work != Workload::Churn {
            self.open_more(transport.reactor());
        }
    }

    /// Stores the address of the peer, so that the name is looked up only once.
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

    /// Notes that a connection could not be made.
    pub(super) fn not_connected(self: &Rc<Run>, reactor: &mut Reactor, number: u64, reason: &Reason) {
        let known = self.state.borrow_mut().connecting.remove(&number);
        let stage = self.state.borrow().stage;
        let Some((_, due)) = known.filter(|_| stage != Stage::Finished) else { return };
        self.exchange_failed(due, reactor.now());
        self.count_limit(Limit::of(reason));
        self.note(&LoadError::NotConnected { connection: number + 1, reason: reason.to_string() });
        match self.config.work {
            Workload::Echo | Workload::Hold { .. } => self.open_more(reactor),
            Workload::Churn => self.slot_is_free(reactor, REPLACEMENT_DELAY),
        }
    }

    /// Records a failed exchange of [`Workload::Churn`], where a connection is due like a message.
    fn exchange_failed(&self, due: Instant, now: Instant) {
        if self.config.work == Workload::Churn {
            self.state.borrow_mut().record_wait(due, None, 1, now);
        }
    }

    /// Whether connections are held.
    pub(super) fn holds(&self) -> bool {
        matches!(self.config.work, Workload::Hold { .. })
    }

    /// Whether a connection ended this soon after it was made. A server without descriptors closes
    /// connections right after accepting them; later ends are idle timeouts or faults.
    pub(super) fn is_early(&self, after: Duration) -> bool {
        self.state.borrow().stage == Stage::Opening || after < EARLY_LOSS
    }

    /// Counts a connection that ran into this limit, if any.
    pub(super) fn count_limit(&self, limit: Option<Limit>) {
        if let Some(limit) = limit {
            *self.state.borrow_mut().totals.limits.entry(limit).or_default() += 1;
        }
    }

    /// Notes that all connections that could be made are open. Starts to run, or waits at a closed
    /// gate.
    pub(super) fn opened(self: &Rc<Run>, reactor: &mut Reactor) {
        let start_gate = std::mem::replace(&mut self.state.borrow_mut().start_gate, StartGate::Reached);
        match start_gate {
            StartGate::Open | StartGate::Reached => self.begin(reactor),
            StartGate::Closed(tell) => tell(reactor),
        }
    }

    // -- running --

    /// Starts sending, or holding connections.
    pub(super) fn begin(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = read_clock(reactor);
        let mut state = self.state.borrow_mut();
        state.stage = Stage::Running;
        state.since = now + self.config.warm_up;
        state.until = state.since + self.config.duration;
        state.last = state.since;
        state.slots = state.open.values().copied().collect();
        let (wait, slots) = (state.until - now, state.slots.clone());
        let until = state.until;
        if slots.is_empty() && self.config.work != Workload::Churn {
            drop(state);
            return self.finish(reactor);
        }
        if let Some(rate) = self.config.paced() {
            let schedule = Schedule::new(now, rate, slots.len() as u64);
            state.schedule = Some(schedule);
            drop(state);
            for (slot, sender) in slots.iter().enumerate() {
                sender.start_paced(reactor, schedule, slot as u64, until);
            }
            self.tick(reactor);
        } else {
            drop(state);
            match self.config.work {
                Workload::Echo => {
                    for sender in slots {
                        sender.begin(reactor);
                    }
                }
                Workload::Churn => {
                    for _ in 0..self.config.connections {
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

    /// Sends the due messages of the schedule, and sets a timer for the next.
    pub(super) fn tick(self: &Rc<Run>, reactor: &mut Reactor) {
        let now = read_clock(reactor);
        let state = self.state.borrow();
        let Some(schedule) = state.schedule.filter(|_| state.stage == Stage::Running) else { return };
        let (until, cursor) = (state.until, state.cursor);
        drop(state);
        let end = schedule.before((now + NANOSECOND).min(until));
        match self.config.work {
            Workload::Churn => self.open_due(reactor, now, true),
            Workload::Echo | Workload::Hold { .. } => {
                // One call is enough for a connection, even if several messages are due.
                for number in cursor..end.min(cursor + schedule.slots()) {
                    let slot = (number % schedule.slots()) as usize;
                    let sender = self.state.borrow().slots.get(slot).copied();
                    if let Some(sender) = sender {
                        sender.send_due(reactor);
                    }
                }
                self.state.borrow_mut().cursor = end.max(cursor);
            }
        }
        let next = schedule.due(self.state.borrow().cursor.max(end));
        if next < until {
            let wait = if self.config.spin { Duration::ZERO } else { next - read_clock(reactor) };
            self.later(reactor, wait, Run::tick);
        }
    }

    /// Opens the due connections for which there is room.
    pub(super) fn open_due(self: &Rc<Run>, reactor: &mut Reactor, now: Instant, late: bool) {
        loop {
            let mut state = self.state.borrow_mut();
            let Some(schedule) = state.schedule.filter(|_| state.stage == Stage::Running) else { return };
            let due = schedule.due(state.cursor);
            let room = state.connecting.len() + state.open.len() < self.config.connections;
            if !room || due > now || due >= state.until {
                return;
            }
            state.cursor += 1;
            drop(state);
            self.note_started(now, due, late);
            self.open(reactor, due);
        }
    }

    /// Notes that a message of the schedule was started. `late` is set if only the generator
    /// delayed it.
    pub(super) fn note_started(&self, now: Instant, due: Instant, late: bool) {
        let mut state = self.state.borrow_mut();
        state.note_started += 1;
        if late && due >= state.since {
            state.totals.lateness.record(now - due, 1);
        }
    }

    /// Notes that a churned connection is closed or lost.
    pub(super) fn churned(self: &Rc<Run>, reactor: &mut Reactor, number: u64) {
        self.state.borrow_mut().open.remove(&number);
        self.slot_is_free(reactor, Duration::ZERO);
    }

    /// Opens another connection in place of a closed one, after `wait`.
    pub(super) fn slot_is_free(self: &Rc<Run>, reactor: &mut Reactor, wait: Duration) {
        let state = self.state.borrow();
        let (stage, totals) = (state.stage, &state.totals);
        let idle = state.connecting.is_empty() && state.open.is_empty();
        let hopeless = totals.connected == 0 && totals.error_count() >= self.config.connections as u64;
        let paced = state.schedule.is_some();
        drop(state);
        match stage {
            Stage::Running if hopeless => self.finish(reactor),
            Stage::Running if paced => {
                let now = reactor.now();
                self.open_due(reactor, now, false);
            }
            Stage::Running if wait.is_zero() => {
                let now = read_clock(reactor);
                // The timer that ends the load may run after the end of a connection at the same
                // time.
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

    /// Notes that a connection was lost. `busy` is set if answers were awaited at the end.
    pub(super) fn lost(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        number: u64,
        after: Duration,
        in_flight: u64,
        reason: &Reason,
        busy: bool,
    ) {
        let reason = match reason {
            Reason::Done => "the server closed it".to_owned(),
            reason => reason.to_string(),
        };
        self.gone(reactor, number, in_flight, busy);
        self.note(&LoadError::Lost { connection: number + 1, after, in_flight, reason });
    }

    /// Notes that wrong bytes were received.
    pub(super) fn wrong(
        self: &Rc<Run>,
        reactor: &mut Reactor,
        mismatch: Mismatch,
        in_flight: u64,
        busy: bool,
    ) {
        self.gone(reactor, mismatch.connection - 1, in_flight, busy);
        self.note(&LoadError::Wrong(mismatch));
    }

    pub(super) fn gone(self: &Rc<Run>, reactor: &mut Reactor, number: u64, in_flight: u64, busy: bool) {
        let mut state = self.state.borrow_mut();
        state.open.remove(&number);
        state.totals.lost += 1;
        state.totals.unanswered += in_flight;
        let last = state.stage == Stage::Running && state.open.is_empty();
        drop(state);
        if busy {
            self.drained(reactor);
        } else if last && self.config.work != Workload::Churn {
            self.later(reactor, Duration::ZERO, Run::drain);
        }
    }

    pub(super) fn note(&self, trouble: &LoadError) {
        self.state.borrow_mut().totals.note(trouble);
        if let Some(observer) = &mut *self.observer.borrow_mut() {
            observer(trouble);
        }
    }

    /// Calls `call` later, in place of the previously scheduled call.
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
        // A timer that has run cannot be cancelled.
        let _ = call.cancel(reactor);
    }
}

/// Delay before a failed connection is replaced, so that refusals do not become a storm.
const REPLACEMENT_DELAY: Duration = Duration::from_millis(10);

/// Age below which the end of a held connection suggests that the server could not keep it.
const EARLY_LOSS: Duration = Duration::from_secs(5);

/// Resolution of the clock.
const NANOSECOND: Duration = Duration::from_nanos(1);
