//! The output end of a chain, which adds callbacks and takes the outcome.

use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{Chain, Consumer, Outcome, State, Step};

/// The output end of a chain. There is one per chain. Dropping it cancels the chain.
pub struct End {
    pub(super) chain: Rc<Chain>,
}

impl End {
    pub(in crate::deferred) fn chain(&self) -> &Rc<Chain> {
        &self.chain
    }

    #[inline]
    pub(in crate::deferred) fn push(&self, step: Step) {
        let mut links = self.chain.links.borrow_mut();
        links.steps.push_back(step);
        if let State::Fired(_) = links.state {
            drop(links);
            self.chain.proceed();
        }
    }

    /// Takes the outcome, if no callback is pending.
    pub(in crate::deferred) fn take(&self) -> Option<Outcome> {
        let mut links = self.chain.links.borrow_mut();
        match mem::take(&mut links.state) {
            State::Fired(outcome) if links.steps.is_empty() && links.pauses == 0 => Some(outcome),
            state => {
                links.state = state;
                None
            }
        }
    }

    pub(in crate::deferred) fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        if self.chain.handle.finished() {
            // The chain may have been queued when the reactor finished.
            self.chain.proceed();
            if let Some(outcome) = self.take() {
                return Poll::Ready(outcome);
            }
        }
        let waker = context.waker().clone();
        let before = mem::replace(&mut self.chain.links.borrow_mut().consumer, Consumer::Awaited(waker));
        drop(before);
        self.chain.watch_the_end();
        Poll::Pending
    }

    /// Gives up ownership: the chain runs on without a consumer.
    pub(in crate::deferred) fn detach(self) {
        let before = mem::take(&mut self.chain.links.borrow_mut().consumer);
        drop(before);
        self.chain.proceed();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut links = self.chain.links.borrow_mut();
        if let Consumer::Held | Consumer::Awaited(_) = links.consumer {
            let before = mem::take(&mut links.consumer);
            drop(links);
            drop(before);
            self.chain.cancel(self.chain.made_at);
            // An outcome that was already there is dropped, and logged if it is a failure.
            self.chain.proceed();
        }
    }
}
