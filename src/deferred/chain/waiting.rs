//! Chains that wait for each other because a callback returned another Deferred.

use std::mem;
use std::rc::Rc;

use super::{Chain, Consumer, End, Failure, FailureKind, Outcome, State};

impl Chain {
    /// Makes the outcome of `end` the outcome of this chain. Returns the chain to continue with.
    pub(super) fn wait_for(self: Rc<Self>, end: End) -> Rc<Chain> {
        let other = Rc::clone(&end.chain);
        if self.is_waited_for_by(&other) {
            let failure = Failure::at(self.made_at, FailureKind::WaitsForItself);
            self.links.borrow_mut().state = State::Fired(Outcome::Failed(failure));
            // Dropping the end cancels the other chain. That has no effect here, because this chain
            // has failed.
            drop(end);
            return self;
        }
        let waiting = self.choose_waiter(&other);
        let consumer = mem::replace(&mut other.links.borrow_mut().consumer, Consumer::Chain(waiting));
        // It may be the waker of a task that awaited the Deferred before handing it on.
        drop(consumer);
        if self.handle.is_same(&other.handle) {
            return other;
        }
        // The other chain runs on another reactor and delivers its outcome through the queue of
        // this one.
        other.watch_the_end();
        other.proceed();
        self
    }

    /// Whether `other` is this chain, or waits for it directly or through other chains.
    fn is_waited_for_by(self: &Rc<Self>, other: &Rc<Chain>) -> bool {
        if Rc::ptr_eq(self, other) {
            return true;
        }
        // Search from both ends at once, so that the shorter path decides. A list that grows at one
        // end is then not traversed each time.
        let (mut waits, mut waited_for) = (Rc::clone(self), Rc::clone(other));
        loop {
            let (Some(next_waits), Some(next_waited_for)) = (waits.waiter(), waited_for.waits_for()) else {
                return false;
            };
            (waits, waited_for) = (next_waits, next_waited_for);
            if Rc::ptr_eq(&waits, other) || Rc::ptr_eq(&waited_for, self) {
                return true;
            }
        }
    }

    /// The chain that waits for this one.
    fn waiter(&self) -> Option<Rc<Chain>> {
        match &self.links.borrow().consumer {
            Consumer::Chain(waiting) => Some(Rc::clone(waiting)),
            _ => None,
        }
    }

    /// The chain that this one waits for.
    fn waits_for(&self) -> Option<Rc<Chain>> {
        match &self.links.borrow().state {
            State::Waiting(other) => other.upgrade(),
            _ => None,
        }
    }

    /// Returns the chain that shall wait for `other`. It is this chain, or its waiter if this chain
    /// has no callbacks left. So a loop of Deferreds that each return the next one uses constant
    /// memory.
    fn choose_waiter(self: &Rc<Self>, other: &Rc<Chain>) -> Rc<Chain> {
        let mut links = self.links.borrow_mut();
        // The chain cannot be paused here: its end was handed to the waiter, and no callback runs
        // while a chain is paused.
        let nothing_left = links.steps.is_empty();
        match &mut links.consumer {
            consumer @ Consumer::Chain(_) if nothing_left => {
                if let Consumer::Chain(waiting) = mem::take(consumer) {
                    links.state = State::Spent;
                    waiting.links.borrow_mut().state = State::Waiting(Rc::downgrade(other));
                    return waiting;
                }
            }
            _ => {}
        }
        links.state = State::Waiting(Rc::downgrade(other));
        Rc::clone(self)
    }
}
