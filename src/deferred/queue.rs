//! A queue of values, and of Deferreds that wait for values.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::{Deferred, Resolver};
use crate::reactor::Handle;

/// A first-in, first-out queue, bounded in both directions. (Twisted: `DeferredQueue`.) Clones are
/// the same queue.
///
/// ```
/// use twistor::deferred::DeferredQueue;
///
/// let mut reactor = twistor::Reactor::new()?;
/// let queue = DeferredQueue::new(&reactor, 2, 1);
/// queue.get()?.done(|reactor, value| {
///     assert_eq!(value.unwrap(), "for the pending get");
///     reactor.stop();
/// });
/// queue.put("for the pending get")?;
/// queue.put("one")?;
/// queue.put("two")?;
/// assert_eq!(queue.put("three").unwrap_err().value, "three");
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Queue")]
pub struct DeferredQueue<T> {
    waiting: Rc<Waiting<T>>,
}

struct Waiting<T> {
    handle: Handle,
    size: usize,
    backlog: usize,
    /// Only one of the two is non-empty: a new value goes to a waiting `get`.
    sides: RefCell<Sides<T>>,
}

struct Sides<T> {
    /// Sorted by number.
    values: VecDeque<Queued<T>>,
    /// Number of values that were given back.
    given_back: usize,
    /// Sorted by number.
    gets: VecDeque<(u64, Resolver<T>)>,
    next: u64,
}

/// A queued value.
struct Queued<T> {
    number: u64,
    /// Whether it was handed to a waiter that was cancelled before it took the value.
    given_back: bool,
    value: T,
}

impl<T: 'static> DeferredQueue<T> {
    /// Creates a queue of at most `size` values, or at most `backlog` pending `get` calls.
    /// `usize::MAX` means no limit.
    pub fn new(handle: &impl AsRef<Handle>, size: usize, backlog: usize) -> DeferredQueue<T> {
        let sides =
            RefCell::new(Sides { values: VecDeque::new(), given_back: 0, gets: VecDeque::new(), next: 0 });
        DeferredQueue { waiting: Rc::new(Waiting { handle: handle.as_ref().clone(), size, backlog, sides }) }
    }

    /// Hands a value to the longest-waiting `get`, or queues it.
    ///
    /// # Errors
    /// [`QueueOverflow`], with the value, if the queue is full.
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

    /// Returns the next value: the oldest queued one, or the next one that is put. Cancelling the
    /// Deferred ends the wait. A value that is dropped before a callback or a task takes it is not
    /// lost. It goes to the next waiter, or back to its place in the queue, where it does not count
    /// towards `size`.
    ///
    /// # Errors
    /// [`QueueUnderflow`] if the backlog is full.
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
    /// Number of queued values. (Twisted: `pending`.)
    pub fn len(&self) -> usize {
        self.waiting.sides.borrow().values.len()
    }

    /// Whether no value is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of pending `get` calls. (Twisted: `waiting`.)
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

    /// Hands a value to the longest-waiting `get`. Returns it if there is none.
    fn hand_over(self: &Rc<Self>, number: u64, value: T) -> Option<T> {
        while let Some(resolver) = self.next() {
            if resolver.is_wanted() {
                resolver.lend(value, self.take_back(number));
                return None;
            }
            // This waiter is being cancelled, and its canceller completes it. The resolver is
            // dropped here.
        }
        Some(value)
    }

    /// Returns the function that takes value `number` back when its waiter is gone.
    fn take_back(self: &Rc<Self>, number: u64) -> impl FnOnce(T) + use<T> {
        let queue = Rc::downgrade(self);
        move |value| {
            let Some(queue) = queue.upgrade() else { return };
            let value = match queue.handle.finished() {
                // Waiters do not run any more after the reactor has finished.
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

/// Error: the queue is full. (Twisted: `QueueOverflow`.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueOverflow<T> {
    /// The rejected value.
    pub value: T,
}

/// Error: the backlog of pending `get` calls is full. (Twisted: `QueueUnderflow`.)
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
        f.write_str("too many pending gets on the queue")
    }
}

impl Error for QueueUnderflow {}
