//! The state shared by a Deferred and its Resolvers: an outcome and the callbacks that handle it.
//!
//! Callbacks of all types stand in one flat list and run one after the other in one stack frame.
//! When a callback returns another Deferred, that Deferred's chain records its waiter, and the same
//! frame continues with it. So the stack depth does not grow with the number of callbacks or of
//! waiting Deferreds. This holds for running, cancelling and dropping. No `RefCell` is borrowed
//! while user code runs, is dropped, or is woken.

mod end;
mod remains;
mod waiting;

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::Waker;

pub(super) use self::end::End;
use self::remains::{Remains, drop_in_turn};
use super::outcome::{Next, Outcome};
use super::{AlreadyCalled, Failure, FailureKind};
use crate::Reactor;
use crate::reactor::{CallbackKind, Handle, Runnable};

/// A list of callbacks, and the outcome that they handle.
pub(super) struct Chain {
    handle: Handle,
    made_at: &'static Location<'static>,
    links: RefCell<Links>,
}

#[derive(Default)]
struct Links {
    state: State,
    steps: VecDeque<Step>,
    consumer: Consumer,
    /// Number of pause guards. Callbacks run only while it is 0.
    pauses: u32,
    /// Number of resolvers. The chain fails when it reaches 0 before firing.
    resolvers: u32,
    /// Whether the chain is in the reactor's queue.
    queued: bool,
    /// Whether it was cancelled without a canceller: the next firing is then ignored, once.
    expects_late_firing: bool,
}

#[derive(Default)]
enum State {
    /// Neither fired nor cancelled.
    Unfired(Option<Canceller>),
    /// Cancelled. The canceller is queued or running. A firing before the canceller returns decides
    /// the outcome.
    Cancelling(Option<Canceller>, &'static Location<'static>),
    /// Holds the next callback's argument, or the result.
    Fired(Outcome),
    /// A callback is running.
    Running,
    /// A callback returned another Deferred. That chain holds a strong reference to this one and is
    /// kept alive by its resolvers.
    Waiting(Weak<Chain>),
    /// The outcome was handed to the consumer.
    #[default]
    Spent,
}

/// The consumer of the outcome.
#[derive(Default)]
enum Consumer {
    /// The `End`, which has not asked yet.
    Held,
    /// A task that polls the `End`.
    Awaited(Waker),
    /// The chain of the callback that returned this one.
    Chain(Rc<Chain>),
    /// No consumer.
    #[default]
    Gone,
}

pub(super) type Step = Box<dyn FnOnce(&mut Reactor, Outcome) -> Next>;

pub(super) type Canceller = Box<dyn FnOnce(&mut Reactor, &Rc<Chain>)>;

/// The next step of a chain. It holds no borrow.
enum Action {
    Step(Step, Outcome),
    Deliver(Rc<Chain>, Outcome),
    Cancel(Canceller, &'static Location<'static>),
    Wake(Waker),
    Drop(Outcome),
    Nothing,
}

impl Chain {
    /// Creates a chain that has not been fired.
    pub(super) fn unfired(
        handle: &Handle,
        made_at: &'static Location<'static>,
        canceller: Option<Canceller>,
    ) -> End {
        Chain::begin(handle, made_at, State::Unfired(canceller))
    }

    pub(super) fn fired(handle: &Handle, made_at: &'static Location<'static>, outcome: Outcome) -> End {
        Chain::begin(handle, made_at, State::Fired(outcome))
    }

    fn begin(handle: &Handle, made_at: &'static Location<'static>, state: State) -> End {
        let links = Links { state, consumer: Consumer::Held, ..Links::default() };
        End { chain: Rc::new(Chain { handle: handle.clone(), made_at, links: RefCell::new(links) }) }
    }

    pub(super) fn made_at(&self) -> &'static Location<'static> {
        self.made_at
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn describe(&self) -> &'static str {
        match self.links.borrow().state {
            State::Unfired(_) => "not fired",
            State::Cancelling(..) => "being cancelled",
            State::Fired(Outcome::Value(_) | Outcome::Lent(_)) => "fired",
            State::Fired(Outcome::Failed(_)) => "failed",
            State::Running => "running",
            State::Waiting(_) => "waiting for another",
            State::Spent => "spent",
        }
    }

    // -- firing --

    pub(super) fn fire(self: &Rc<Self>, outcome: Outcome) -> Result<(), AlreadyCalled> {
        let mut links = self.links.borrow_mut();
        if self.is_open(&links) {
            let canceller = mem::replace(&mut links.state, State::Fired(outcome));
            drop(links);
            self.proceed();
            // Dropped last: it is user code and may panic.
            drop(canceller);
            return Ok(());
        }
        if mem::take(&mut links.expects_late_firing) { Ok(()) } else { Err(AlreadyCalled) }
    }

    pub(super) fn called(&self) -> bool {
        !self.is_open(&self.links.borrow())
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.links.borrow().state, State::Unfired(_))
    }

    fn is_open(&self, links: &Links) -> bool {
        matches!(links.state, State::Unfired(_) | State::Cancelling(..))
    }

    pub(super) fn add_resolver(&self) {
        self.links.borrow_mut().resolvers += 1;
    }

    pub(super) fn drop_resolver(self: &Rc<Self>) {
        let mut links = self.links.borrow_mut();
        links.resolvers -= 1;
        // In state `Cancelling` the canceller decides the outcome.
        let orphaned = links.resolvers == 0 && matches!(links.state, State::Unfired(_));
        drop(links);
        if orphaned {
            // Cannot fail: the state is `Unfired`.
            let _ = self.fire(Outcome::Failed(Failure::at(self.made_at, FailureKind::NeverFired)));
        }
    }

    // -- cancelling --

    /// Cancels the chain, or the chain at the end of its waits.
    pub(super) fn cancel(self: &Rc<Self>, place: &'static Location<'static>) {
        let mut chain = Rc::clone(self);
        loop {
            let mut links = chain.links.borrow_mut();
            match &mut links.state {
                State::Waiting(other) => {
                    let Some(other) = other.upgrade() else { return };
                    drop(links);
                    chain = other;
                }
                State::Unfired(canceller) => {
                    match canceller.take() {
                        None => {
                            let failure = Failure::at(place, FailureKind::Cancelled);
                            links.state = State::Fired(Outcome::Failed(failure));
                            links.expects_late_firing = true;
                        }
                        canceller => links.state = State::Cancelling(canceller, place),
                    }
                    drop(links);
                    return chain.proceed();
                }
                _ => return,
            }
        }
    }

    // -- pausing --

    pub(super) fn pause(&self) {
        self.links.borrow_mut().pauses += 1;
    }

    pub(super) fn unpause(self: &Rc<Self>) {
        let mut links = self.links.borrow_mut();
        links.pauses -= 1;
        if links.pauses == 0 {
            drop(links);
            self.proceed();
        }
    }

    // -- running --

    /// Continues from outside the loop. Callbacks are queued, everything else is done now.
    pub(super) fn proceed(self: &Rc<Self>) {
        if self.handle.finished() {
            return self.proceed_without_reactor();
        }
        let mut links = self.links.borrow_mut();
        let needs_loop = match links.state {
            State::Fired(_) if links.pauses > 0 => return,
            State::Fired(_) => !links.steps.is_empty() || matches!(links.consumer, Consumer::Chain(_)),
            State::Cancelling(..) => true,
            _ => return,
        };
        if !needs_loop {
            drop(links);
            return self.hand_over(self.next_action());
        }
        if !mem::replace(&mut links.queued, true) {
            let consumer_elsewhere = match &links.consumer {
                Consumer::Awaited(_) => true,
                Consumer::Chain(waiting) => !waiting.handle.is_same(&self.handle),
                Consumer::Held | Consumer::Gone => false,
            };
            drop(links);
            self.handle.queue(Rc::clone(self) as Rc<dyn Runnable>);
            if consumer_elsewhere {
                self.watch_the_end();
            }
        }
    }

    /// Queues a [`Watch`], so that a consumer outside this reactor is notified if the reactor
    /// finishes before the chain runs.
    fn watch_the_end(self: &Rc<Self>) {
        if self.links.borrow().queued && !self.handle.finished() {
            self.handle.queue(Rc::new(Watch { chain: Rc::clone(self) }));
        }
    }

    /// Continues after the reactor has finished. No callback runs any more, and consumers get a
    /// failure.
    #[cold]
    fn proceed_without_reactor(self: &Rc<Self>) {
        let mut chain = Rc::clone(self);
        loop {
            let given_up = chain.give_up();
            match chain.next_action() {
                Action::Deliver(waiting, outcome) => {
                    waiting.links.borrow_mut().state = State::Fired(outcome);
                    drop_in_turn(given_up);
                    if !waiting.handle.finished() {
                        return waiting.proceed();
                    }
                    chain = waiting;
                }
                last => {
                    let others = Remains { links: Some(given_up) };
                    chain.hand_over(last);
                    return drop(others);
                }
            }
        }
    }

    /// Fails with `NeverFired` or `Cancelled` if work was left, and returns the removed links.
    fn give_up(&self) -> Links {
        let mut links = self.links.borrow_mut();
        let kind = match &links.state {
            State::Fired(_) if links.pauses == 0 && !links.steps.is_empty() => {
                Some((self.made_at, FailureKind::NeverFired))
            }
            State::Cancelling(_, place) => Some((*place, FailureKind::Cancelled)),
            _ => None,
        };
        let Some((place, kind)) = kind else { return Links::default() };
        let failed = State::Fired(Outcome::Failed(Failure::at(place, kind)));
        let state = mem::replace(&mut links.state, failed);
        Links { state, steps: mem::take(&mut links.steps), ..Links::default() }
    }

    fn hand_over(&self, action: Action) {
        match action {
            Action::Wake(waker) => waker.wake(),
            Action::Drop(Outcome::Failed(failure)) => self.unhandled(&failure),
            _ => {}
        }
    }

    fn next_action(&self) -> Action {
        let mut links = self.links.borrow_mut();
        let links = &mut *links;
        match &mut links.state {
            State::Cancelling(canceller, place) => match canceller.take() {
                Some(canceller) => Action::Cancel(canceller, place),
                None => Action::Nothing,
            },
            State::Fired(_) if links.pauses > 0 => Action::Nothing,
            State::Fired(_) => {
                if let Some(step) = links.steps.pop_front() {
                    return match mem::replace(&mut links.state, State::Running) {
                        State::Fired(outcome) => Action::Step(step, outcome),
                        _ => Action::Nothing,
                    };
                }
                match mem::take(&mut links.consumer) {
                    Consumer::Held => {
                        links.consumer = Consumer::Held;
                        Action::Nothing
                    }
                    Consumer::Awaited(waker) => {
                        links.consumer = Consumer::Held;
                        Action::Wake(waker)
                    }
                    consumer => match (mem::take(&mut links.state), consumer) {
                        (State::Fired(outcome), Consumer::Chain(waiting)) => {
                            Action::Deliver(waiting, outcome)
                        }
                        (State::Fired(outcome), _) => Action::Drop(outcome),
                        _ => Action::Nothing,
                    },
                }
            }
            _ => Action::Nothing,
        }
    }

    /// Applies a callback's result. Returns the chain to continue with.
    fn stepped(self: Rc<Self>, next: Next) -> Rc<Chain> {
        match next {
            Next::Done(outcome) => {
                self.links.borrow_mut().state = State::Fired(outcome);
                self
            }
            Next::Wait(end) => self.wait_for(end),
        }
    }

    /// Counts and logs a panic of user code, so that it is reported even if the failure is dropped.
    #[cold]
    fn panicked(&self, reactor: &mut Reactor, payload: Box<dyn Any + Send>) -> Failure {
        Failure::panicked(self.made_at, reactor, CallbackKind::Call, payload)
    }

    /// Called when the other chain was dropped without an outcome, which happens only at the end of
    /// a reactor.
    fn abandoned(self: Rc<Self>) {
        let mut links = self.links.borrow_mut();
        match &links.state {
            State::Waiting(other) if other.strong_count() == 0 => {}
            _ => return,
        }
        let failure = Failure::at(self.made_at, FailureKind::NeverFired);
        links.state = State::Fired(Outcome::Failed(failure));
        drop(links);
        self.proceed();
    }

    /// Logs a failure that no callback handled.
    #[cold]
    fn unhandled(&self, failure: &Failure) {
        // The canceller knows of a cancellation. When a reactor finishes, the resolvers are dropped
        // with it, so that `NeverFired` is expected.
        if failure.is_cancelled() || (failure.is_never_fired() && self.handle.finished()) {
            return;
        }
        // Panics were logged when they occurred.
        if failure.is_panic() {
            return;
        }
        let (place, made_at) = (failure.place(), self.made_at);
        log_error!([place:%, deferred:% = made_at] "unhandled failure: {failure} (from {place}, in the Deferred of {made_at})");
    }
}

impl Runnable for Chain {
    fn run(self: Rc<Self>, reactor: &mut Reactor) {
        self.links.borrow_mut().queued = false;
        let mut chain = self;
        for _ in 0..MAX_CALLBACKS {
            match chain.next_action() {
                Action::Step(step, outcome) => {
                    let next = catch_unwind(AssertUnwindSafe(|| step(reactor, outcome)));
                    let next = next.unwrap_or_else(|payload| {
                        Next::Done(Outcome::Failed(chain.panicked(reactor, payload)))
                    });
                    chain = chain.stepped(next);
                }
                Action::Deliver(waiting, outcome) => {
                    waiting.links.borrow_mut().state = State::Fired(outcome);
                    if !waiting.handle.is_same(&chain.handle) {
                        return waiting.proceed();
                    }
                    chain = waiting;
                }
                Action::Cancel(canceller, place) => {
                    let called = catch_unwind(AssertUnwindSafe(|| canceller(reactor, &chain)));
                    let failure = match called {
                        Ok(()) => Failure::at(place, FailureKind::Cancelled),
                        Err(payload) => chain.panicked(reactor, payload),
                    };
                    let mut links = chain.links.borrow_mut();
                    if let State::Cancelling(..) = links.state {
                        links.state = State::Fired(Outcome::Failed(failure));
                    }
                }
                Action::Nothing => return,
                last => return chain.hand_over(last),
            }
        }
        chain.proceed();
    }
}

/// A marker queued behind a chain that has a consumer outside the reactor. Only its `drop` has an
/// effect.
struct Watch {
    chain: Rc<Chain>,
}

impl Runnable for Watch {
    fn run(self: Rc<Self>, _: &mut Reactor) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.chain.handle.finished() {
            self.chain.proceed();
        }
    }
}

/// Number of callbacks a chain may run before it is requeued, so that an endless chain does not
/// starve the loop.
const MAX_CALLBACKS: usize = 1000;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Deferred;
    use crate::testing::MemoryReactor;

    type Chains = Rc<RefCell<Vec<Weak<Chain>>>>;

    /// Returns a Deferred whose callback returns the next one. Each is fired in the next turn.
    fn again(reactor: &mut Reactor, left: usize, chains: Chains, max_alive: Rc<Cell<usize>>) -> Deferred<()> {
        chains.borrow_mut().retain(|chain| chain.strong_count() > 0);
        max_alive.set(max_alive.get().max(chains.borrow().len()));
        let (resolver, deferred) = Deferred::new(&reactor.handle());
        chains.borrow_mut().push(Rc::downgrade(deferred.end.chain()));
        reactor.call_later(std::time::Duration::ZERO, move |_| {
            let _ = resolver.callback(());
        });
        if left == 0 {
            return deferred;
        }
        deferred.then(move |reactor, ()| again(reactor, left - 1, chains, max_alive))
    }

    #[test]
    fn an_endless_loop_of_returned_deferreds_uses_constant_memory() {
        let mut memory = MemoryReactor::new();
        let (chains, max_alive) = (Chains::default(), Rc::new(Cell::new(0)));
        let mut last = again(&mut memory.reactor(), 1000, Rc::clone(&chains), Rc::clone(&max_alive));
        memory.advance(std::time::Duration::from_secs(1));
        assert!(last.take_outcome().unwrap().is_ok());
        assert!((2..=3).contains(&max_alive.get()), "{}", max_alive.get());
    }

    #[test]
    fn a_pending_chain_fits_two_and_a_half_cache_lines() {
        assert!(size_of::<Chain>() <= 160, "{}", size_of::<Chain>());
    }
}
