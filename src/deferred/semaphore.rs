//! A counting semaphore and a mutual exclusion lock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::{Deferred, IntoOutcome, Resolver};
use crate::Reactor;
use crate::reactor::Handle;

/// A counting semaphore. Waiters are served first in, first out. (Twisted: `DeferredSemaphore`.)
/// Clones are the same semaphore.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{DeferredSemaphore, defer_later, gather};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let two_at_a_time = DeferredSemaphore::new(&reactor, 2);
/// let jobs = (0..10).map(|number| {
///     two_at_a_time
///         .run(|reactor| defer_later(reactor, Duration::from_millis(1)))
///         .map(move |_, ()| number)
/// });
/// gather(&reactor, jobs).done(|reactor, numbers| {
///     assert_eq!(numbers.unwrap().len(), 10);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Semaphore")]
pub struct DeferredSemaphore {
    tokens: Rc<Tokens>,
}

/// A mutual exclusion lock. Waiters are served first in, first out. (Twisted: `DeferredLock`.)
/// Clones are the same lock.
///
/// ```
/// use twistor::deferred::DeferredLock;
///
/// let mut reactor = twistor::Reactor::new()?;
/// let lock = DeferredLock::new(&reactor);
/// lock.acquire().done(move |reactor, acquired| {
///     assert!(lock.locked());
///     drop(acquired);
///     assert!(!lock.locked());
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias("Mutex", "Lock"))]
pub struct DeferredLock {
    semaphore: DeferredSemaphore,
}

/// A guard that holds a lock, or one token of a semaphore. Dropping it releases the token.
/// (Twisted: `release`.)
#[must_use = "dropped, it is released"]
#[doc(alias = "OwnedSemaphorePermit")]
pub struct Permit {
    tokens: Rc<Tokens>,
}

struct Tokens {
    handle: Handle,
    limit: usize,
    free: Cell<usize>,
    /// Sorted by number.
    waiting: RefCell<VecDeque<(u64, Resolver<Permit>)>>,
    next: Cell<u64>,
    /// Whether a call of `serve_waiters` is active further up the stack.
    serving: Cell<bool>,
}

impl DeferredSemaphore {
    /// Creates a semaphore with this number of tokens. 0 counts as 1.
    pub fn new(handle: &impl AsRef<Handle>, tokens: usize) -> DeferredSemaphore {
        let limit = tokens.max(1);
        let tokens = Tokens {
            handle: handle.as_ref().clone(),
            limit,
            free: Cell::new(limit),
            waiting: RefCell::default(),
            next: Cell::new(0),
            serving: Cell::new(false),
        };
        DeferredSemaphore { tokens: Rc::new(tokens) }
    }

    /// Acquires a token as soon as one is free. Cancelling the Deferred ends the wait. (Twisted:
    /// `acquire`.)
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        let tokens = &self.tokens;
        if tokens.free.get() > 0 {
            tokens.free.set(tokens.free.get() - 1);
            return Deferred::succeed(&tokens.handle, Permit { tokens: Rc::clone(tokens) });
        }
        let number = tokens.next.get();
        tokens.next.set(number + 1);
        let queue = Rc::downgrade(tokens);
        let (resolver, deferred) = Deferred::with_canceller(&tokens.handle, move |_, _| {
            let gone = queue.upgrade().and_then(|tokens| tokens.remove(number));
            drop(gone);
        });
        tokens.waiting.borrow_mut().push_back((number, resolver));
        deferred
    }

    /// Runs `call` with a token. The token is released when the returned value or Deferred has
    /// completed. (Twisted: `run`.)
    #[track_caller]
    pub fn run<R: IntoOutcome>(&self, call: impl FnOnce(&mut Reactor) -> R + 'static) -> Deferred<R::Value> {
        let handle = self.tokens.handle.clone();
        self.acquire().then(move |reactor, acquired| {
            Deferred::of(&handle, call(reactor)).inspect(move |_, _| drop(acquired))
        })
    }

    /// Total number of tokens. (Twisted: `limit`.)
    pub fn limit(&self) -> usize {
        self.tokens.limit
    }

    /// Number of free tokens. (Twisted: `tokens`.)
    pub fn available_permits(&self) -> usize {
        self.tokens.free.get()
    }

    /// Number of waiters. (Twisted: `waiting`.)
    pub fn waiting(&self) -> usize {
        self.tokens.waiting.borrow().len()
    }
}

impl DeferredLock {
    /// Creates an unlocked lock.
    pub fn new(handle: &impl AsRef<Handle>) -> DeferredLock {
        DeferredLock { semaphore: DeferredSemaphore::new(handle, 1) }
    }

    /// Acquires the lock as soon as it is free. Cancelling the Deferred ends the wait. (Twisted:
    /// `acquire`.)
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.semaphore.acquire()
    }

    /// Runs `call` with the lock. The lock is released when the returned value or Deferred has
    /// completed. (Twisted: `run`.)
    #[track_caller]
    pub fn run<R: IntoOutcome>(&self, call: impl FnOnce(&mut Reactor) -> R + 'static) -> Deferred<R::Value> {
        self.semaphore.run(call)
    }

    /// Whether the lock is held. (Twisted: `locked`.)
    pub fn locked(&self) -> bool {
        self.semaphore.available_permits() == 0
    }

    /// Number of waiters. (Twisted: `waiting`.)
    pub fn waiting(&self) -> usize {
        self.semaphore.waiting()
    }
}

impl Tokens {
    fn remove(&self, number: u64) -> Option<Resolver<Permit>> {
        let mut waiting = self.waiting.borrow_mut();
        let place = waiting.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        waiting.remove(place).map(|(_, resolver)| resolver)
    }

    /// Hands free tokens to waiters.
    fn serve_waiters(self: &Rc<Self>) {
        // A waiter may drop its token at once, which calls this function again.
        if self.serving.replace(true) {
            return;
        }
        let guard = ContinueOnPanic { tokens: self };
        while self.free.get() > 0 {
            let Some(resolver) = self.next() else { break };
            // A waiter that is being cancelled gets no token.
            if resolver.is_wanted() {
                self.free.set(self.free.get() - 1);
                // Cannot fail: the waiter has not been fired.
                let _ = resolver.callback(Permit { tokens: Rc::clone(self) });
            }
        }
        mem::forget(guard);
        self.serving.set(false);
    }

    fn next(&self) -> Option<Resolver<Permit>> {
        self.waiting.borrow_mut().pop_front().map(|(_, resolver)| resolver)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let tokens = &self.tokens;
        tokens.free.set(tokens.free.get() + 1);
        tokens.serve_waiters();
    }
}

/// A guard that serves the remaining waiters if handing on a token panics.
struct ContinueOnPanic<'a> {
    tokens: &'a Rc<Tokens>,
}

impl Drop for ContinueOnPanic<'_> {
    fn drop(&mut self) {
        self.tokens.serving.set(false);
        self.tokens.serve_waiters();
    }
}

impl fmt::Debug for DeferredSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, free, waiting) = (self.limit(), self.available_permits(), self.waiting());
        let mut semaphore = f.debug_struct("DeferredSemaphore");
        semaphore.field("limit", &limit).field("free", &free).field("waiting", &waiting).finish()
    }
}

impl fmt::Debug for DeferredLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (locked, waiting) = (self.locked(), self.waiting());
        f.debug_struct("DeferredLock").field("locked", &locked).field("waiting", &waiting).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
