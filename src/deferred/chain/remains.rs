//! Iterative destruction of chains that own each other, to keep the stack depth constant.

use std::cell::RefCell;
use std::mem;

use super::{Chain, Consumer, Links, State};

thread_local! {
    /// Links still to be dropped. `Some` while a call of `drop_remains` is active on this thread.
    static REMAINS: RefCell<Option<Vec<Links>>> = const { RefCell::new(None) };
}

impl Drop for Chain {
    /// Callbacks may own the last resolver of another chain, and so on. The chains are dropped one
    /// after the other instead of recursively.
    fn drop(&mut self) {
        let links = self.links.get_mut();
        let holds_nothing = links.steps.is_empty()
            && matches!(links.state, State::Spent | State::Unfired(None))
            && !matches!(links.consumer, Consumer::Chain(_));
        if !holds_nothing {
            drop_in_turn(mem::take(links));
        }
    }
}

pub(super) fn drop_in_turn(links: Links) {
    let mut links = Some(links);
    let begun = REMAINS.try_with(|remains| {
        let mut remains = remains.borrow_mut();
        let first = remains.is_none();
        remains.get_or_insert_default().extend(links.take());
        first
    });
    // Otherwise an outer call continues with it, or the thread is ending and `links` is dropped
    // here.
    if let Ok(true) = begun {
        drop_remains();
    }
}

fn drop_remains() {
    while let Some(mut links) = next_remains() {
        let guard = ContinueOnPanic;
        let consumer = mem::take(&mut links.consumer);
        drop(links);
        if let Consumer::Chain(waiting) = consumer {
            waiting.abandoned();
        }
        mem::forget(guard);
    }
}

/// Links that are dropped at the end of the enclosing scope.
pub(super) struct Remains {
    pub(super) links: Option<Links>,
}

impl Drop for Remains {
    fn drop(&mut self) {
        if let Some(links) = self.links.take() {
            drop_in_turn(links);
        }
    }
}

fn next_remains() -> Option<Links> {
    let next = REMAINS.try_with(|remains| {
        let mut remains = remains.borrow_mut();
        let next = remains.as_mut().and_then(Vec::pop);
        if next.is_none() {
            *remains = None;
        }
        next
    });
    next.ok().flatten()
}

/// A guard that continues with the remaining links when one of the drops panics.
struct ContinueOnPanic;

impl Drop for ContinueOnPanic {
    fn drop(&mut self) {
        drop_remains();
    }
}
