//! Chains that wait for each other: a callback has returned another Deferred.

use std::mem;
use std::rc::Rc;

use super::{Chain, Consumer, End, Failure, FailureKind, Outcome, State};

impl Chain {
    /// What another one comes to is this one's outcome; returns the chain to go on with.
    pub(super) fn wait_for(self: Rc<Self>, end: End) -> Rc<Chain> {
        let other = Rc::clone(&end.chain);
        if self.is_waited_for_by(&other) {
            let failure = Failure::at(self.made_at, FailureKind::WaitsForItself);
            self.links.borrow_mut().state = State::Fired(Outcome::Failed(failure));
            // With this the other is cancelled, which comes to nothing here: it has failed.
            drop(end);
            return self;
        }
        let waiting = self.who_waits(&other);
        let consumer = mem::replace(&mut other.links.borrow_mut().consumer, Consumer::Chain(waiting));
        // A waker of a task that has handed its Deferred on.
        drop(consumer);
        if self.handle.is_same(&other.handle) {
            return other;
        }
        // Another reactor's: it goes on there, and comes back by our queue.
        other.watch_the_end();
        other.proceed();
        self
    }

    /// Whether the other one is this one, or waits for it, or for one that waits for it, and so on.
    fn is_waited_for_by(self: &Rc<Self>, other: &Rc<Chain>) -> bool {
        if Rc::ptr_eq(self, other) {
            return true;
        }
        // From both ends at once, so that the shorter way counts: a line that grows at one end is not walked each time.
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

    /// The one that waits for this one.
    fn waiter(&self) -> Option<Rc<Chain>> {
        match &self.links.borrow().consumer {
            Consumer::Chain(waiting) => Some(Rc::clone(waiting)),
            _ => None,
        }
    }

    /// The one that this one waits for.
    fn waits_for(&self) -> Option<Rc<Chain>> {
        match &self.links.borrow().state {
            State::Waiting(other) => other.upgrade(),
            _ => None,
        }
    }

    /// Who is to wait for another one that a callback has returned: this chain, or, when there is nothing left to do here, the one
    /// that waits for this. So a loop of Deferreds that each return the next one takes no more memory as it goes.
    fn who_waits(self: &Rc<Self>, other: &Rc<Chain>) -> Rc<Chain> {
        let mut links = self.links.borrow_mut();
        // Nobody can pause it any more: its end went to the one that waits, and no callback runs while it is paused.
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
