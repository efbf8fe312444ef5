//! Wakers of tasks that wait for a stream.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

/// A slot for the waker of one task. The waker is kept between waits, to avoid clones, and is woken
/// only while its task waits.
#[derive(Default)]
pub(in crate::stream) struct WakerSlot {
    waker: RefCell<Option<Waker>>,
    taken: Cell<bool>,
}

impl WakerSlot {
    #[inline]
    pub(in crate::stream) fn wait(&self, context: &mut Context<'_>) {
        let mut known = self.waker.borrow_mut();
        let same = known.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        if !same {
            let before = known.replace(context.waker().clone());
            drop(known);
            // Dropping a waker may run user code, so nothing is borrowed here.
            drop(before);
        }
        self.taken.set(true);
    }

    /// Wakes the task. Returns whether it was waiting.
    #[inline]
    pub(in crate::stream) fn wake(&self) -> bool {
        let waited = self.taken.replace(false);
        if waited {
            let waker = self.waker.take();
            if let Some(waker) = waker {
                waker.wake_by_ref();
                self.waker.replace(Some(waker));
            }
        }
        waited
    }
}

/// A set of wakers, each of which is woken once.
#[derive(Default)]
pub(in crate::stream) struct WakerSet {
    wakers: RefCell<Vec<Waker>>,
}

impl WakerSet {
    pub(in crate::stream) fn wait(&self, context: &mut Context<'_>) {
        let known = self.wakers.borrow().iter().any(|waker| waker.will_wake(context.waker()));
        if !known {
            let waker = context.waker().clone();
            self.wakers.borrow_mut().push(waker);
        }
    }

    pub(in crate::stream) fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}
