//! The end of chains that hold each other: what one held is dropped after it, and not in it.

use std::cell::RefCell;
use std::mem;

use super::{Chain, Consumer, Links, State};

thread_local! {
    /// What is still to be dropped, while somebody is at it.
    static REMAINS: RefCell<Option<Vec<Links>>> = const { RefCell::new(None) };
}

impl Drop for Chain {
    /// Callbacks may hold the last resolver of another chain, and so on: they are dropped one after the other, not one inside
    /// the other.
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
    // Otherwise somebody further down the stack goes on with it; or the thread ends, and it is dropped here.
    if let Ok(true) = begun {
        drop_remains();
    }
}

fn drop_remains() {
    while let Some(mut links) = next_remains() {
        let others = OthersToo;
        let consumer = mem::take(&mut links.consumer);
        drop(links);
        if let Consumer::Chain(waiting) = consumer {
            waiting.abandoned();
        }
        mem::forget(others);
    }
}

/// What is to be dropped, after something else.
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

/// When the drop of one panics, the others have their turn all the same.
struct OthersToo;

impl Drop for OthersToo {
    fn drop(&mut self) {
        drop_remains();
    }
}
