//! Values that wait for somebody, or somebody for values.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::{Deferred, Resolver};
use crate::reactor::Handle;

/// Values for whoever asks first, first in, first out; it is bounded both ways. (Twisted: `DeferredQueue`.) Clones are the same one.
///
/// ```
/// use twistor::deferred::DeferredQueue;
///
/// let mut reactor = twistor::Reactor::new()?;
/// let queue = DeferredQueue::new(&reactor.handle(), 2, 1);
/// queue.get()?.done(|reactor, value| {
///     assert_eq!(value.unwrap(), "for the one that waits");
///     reactor.stop();
/// });
/// queue.put("for the one that waits")?;
/// queue.put("one")?;
/// queue.put("two")?;
/// assert_eq!(queue.put("three").unwrap_err().value, "three");
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeferredQueue<T> {
    waiting: Rc<Waiting<T>>,
}

struct Waiting<T> {
    handle: Handle,
    size: usize,
    backlog: usize,
    /// Not both of them: a value goes to whoever waits.
    sides: RefCell<Sides<T>>,
}

struct Sides<T> {
    /// By number, in order.
    values: VecDeque<Queued<T>>,
    /// How many of the values were given back.
    given_back: usize,
    /// By number, in order.
    gets: VecDeque<(u64, Resolver<T>)>,
    next: u64,
}

/// A value that waits.
struct Queued<T> {
    number: u64,
    /// It was handed to a waiter that was gone before it took it.
    given_back: bool,
    value: T,
}

impl<T: 'static> DeferredQueue<T> {
    /// A queue in which `size` values may wait, or `backlog` who want one; `usize::MAX` is no limit.
    pub fn new(handle: &Handle, size: usize, backlog: usize) -> DeferredQueue<T> {
        let sides =
            RefCell::new(Sides { values: VecDeque::new(), given_back: 0, gets: VecDeque::new(), next: 0 });
        DeferredQueue { waiting: Rc::new(Waiting { handle: handle.clone(), size, backlog, sides }) }
    }

    /// Gives a value to the first that waits for one, or lets it wait.
    ///
    /// # Errors
    /// [`QueueOverflow`], with the value, when as many wait as may.
    pub fn put(&self, value: T) -> Result<(), QueueOverflow<T>> {
        let number = self.waiting.number();
        let Some(value) = self.waiting.hand_over(number, value) else { return Ok(()) };
        let mut sides = self.waiting.sides.borrow_mut();
        if sides.values.len() - sides.given_back >= self.waiting.size {
            return Err(QueueOverflow { value });
        }
        sides.values.push_back(Queued { number, given_back: false, value });
        Ok(())
    }

    /// The next value: the first of those that wait, or one that is put. A caller that cancels waits no longer, and takes no value
    /// away: a value that is dropped before a callback or a task has taken it goes to the next waiter, or back to its
    /// place in the queue, where it does not count for `size`.
    ///
    /// # Errors
    /// [`QueueUnderflow`] when as many wait for a value as may.
    #[track_caller]
    pub fn get(&self) -> Result<Deferred<T>, QueueUnderflow> {
        let mut sides = self.waiting.sides.borrow_mut();
        if let Some(Queued { number, given_back, value }) = sides.values.pop_front() {
            sides.given_back -= usize::from(given_back);
            drop(sides);
            return Ok(Deferred::lend(&self.waiting.handle, value, self.waiting.take_back(number)));
        }
        if sides.gets.len() >= self.waiting.backlog {
            return Err(QueueUnderflow);
        }
        let number = sides.next;
        sides.next += 1;
        let queue = Rc::downgrade(&self.waiting);
        let (resolver, deferred) = Deferred::with_canceller(&self.waiting.handle, move |_, _| {
            let gone = queue.upgrade().and_then(|waiting| waiting.sides.borrow_mut().remove(number));
            drop(gone);
        });
        sides.gets.push_back((number, resolver));
        Ok(deferred)
    }
}

impl<T> DeferredQueue<T> {
    /// How many values wait. (Twisted: `pending`.)
    pub fn len(&self) -> usize {
        self.waiting.sides.borrow().values.len()
    }

    /// Whether no value waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait for a value. (Twisted: `waiting`.)
    pub fn waiting(&self) -> usize {
        self.waiting.sides.borrow().gets.len()
    }
}

impl<T: 'static> Waiting<T> {
    fn number(&self) -> u64 {
        let mut sides = self.sides.borrow_mut();
        sides.next += 1;
        sides.next - 1
    }

    /// Hands a value to the first that waits; returns it when none does.
    fn hand_over(self: &Rc<Self>, number: u64, value: T) -> Option<T> {
        while let Some(resolver) = self.next() {
            if resolver.is_wanted() {
                resolver.lend(value, self.take_back(number));
                return None;
            }
            // One that is being given up: its canceller says the rest. What it holds is dropped here.
        }
        Some(value)
    }

    /// What becomes of the value of this number when the one that it was handed to is gone.
    fn take_back(self: &Rc<Self>, number: u64) -> impl FnOnce(T) + use<T> {
        let queue = Rc::downgrade(self);
        move |value| {
            let Some(queue) = queue.upgrade() else { return };
            let value = match queue.handle.finished() {
                // Those that wait will not run any more.
                true => Some(value),
                false => queue.hand_over(number, value),
            };
            let Some(value) = value else { return };
            let mut sides = queue.sides.borrow_mut();
            let place = sides.values.partition_point(|queued| queued.number < number);
            sides.values.insert(place, Queued { number, given_back: true, value });
            sides.given_back += 1;
        }
    }
}

impl<T> Waiting<T> {
    fn next(&self) -> Option<Resolver<T>> {
        self.sides.borrow_mut().gets.pop_front().map(|(_, resolver)| resolver)
    }
}

impl<T> Sides<T> {
    fn remove(&mut self, number: u64) -> Option<Resolver<T>> {
        let place = self.gets.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.gets.remove(place).map(|(_, resolver)| resolver)
    }
}

impl<T> Clone for DeferredQueue<T> {
    fn clone(&self) -> DeferredQueue<T> {
        DeferredQueue { waiting: Rc::clone(&self.waiting) }
    }
}

impl<T> fmt::Debug for DeferredQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.waiting.sides.borrow();
        let (values, waiting) = (sides.values.len(), sides.gets.len());
        f.debug_struct("DeferredQueue").field("values", &values).field("waiting", &waiting).finish()
    }
}

/// As many values wait as may. (Twisted: `QueueOverflow`.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueOverflow<T> {
    /// The one for which there was no room.
    pub value: T,
}

/// As many wait for a value as may. (Twisted: `QueueUnderflow`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueUnderflow;

impl<T> fmt::Display for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is full")
    }
}

impl<T> fmt::Debug for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueOverflow").finish_non_exhaustive()
    }
}

impl<T> Error for QueueOverflow<T> {}

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many wait for a value of the queue")
    }
}

impl Error for QueueUnderflow {}
