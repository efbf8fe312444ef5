//! Who may go on, and who has to wait for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::{Deferred, IntoOutcome, Resolver};
use crate::Reactor;
use crate::reactor::Handle;

/// So many at a time; the others wait, first in, first out. (Twisted: `DeferredSemaphore`.) Clones are the same one.
///
/// ```
/// use std::time::Duration;
/// use twistor::deferred::{DeferredSemaphore, defer_later, gather};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let two_at_a_time = DeferredSemaphore::new(&reactor.handle(), 2);
/// let jobs = (0..10).map(|number| {
///     two_at_a_time.run(|reactor| defer_later(reactor, Duration::from_millis(1))).map(move |_, ()| number)
/// });
/// gather(&reactor.handle(), jobs).done(|reactor, numbers| {
///     assert_eq!(numbers.unwrap().len(), 10);
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
pub struct DeferredSemaphore {
    tokens: Rc<Tokens>,
}

/// One at a time; the others wait, first in, first out. (Twisted: `DeferredLock`.) Clones are the same one.
///
/// ```
/// use twistor::deferred::DeferredLock;
///
/// let mut reactor = twistor::Reactor::new()?;
/// let lock = DeferredLock::new(&reactor.handle());
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
pub struct DeferredLock {
    semaphore: DeferredSemaphore,
}

/// A lock, or one of a semaphore's tokens, until it is dropped. (Twisted: what `release` gives back.)
#[must_use = "dropped, it is released"]
pub struct Permit {
    tokens: Rc<Tokens>,
}

struct Tokens {
    handle: Handle,
    limit: usize,
    free: Cell<usize>,
    /// By number, in order.
    waiting: RefCell<VecDeque<(u64, Resolver<Permit>)>>,
    next: Cell<u64>,
    /// Somebody hands tokens on, further down the stack.
    handing_on: Cell<bool>,
}

impl DeferredSemaphore {
    /// One with so many tokens; 0 counts as 1.
    pub fn new(handle: &Handle, tokens: usize) -> DeferredSemaphore {
        let limit = tokens.max(1);
        let tokens = Tokens {
            handle: handle.clone(),
            limit,
            free: Cell::new(limit),
            waiting: RefCell::default(),
            next: Cell::new(0),
            handing_on: Cell::new(false),
        };
        DeferredSemaphore { tokens: Rc::new(tokens) }
    }

    /// A token, as soon as there is one for this caller. Who cancels waits no longer. (Twisted: `acquire`.)
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

    /// Calls `call` with a token, which is released when what it returns has come to its end. (Twisted: `run`.)
    #[track_caller]
    pub fn run<R: IntoOutcome>(&self, call: impl FnOnce(&mut Reactor) -> R + 'static) -> Deferred<R::Value> {
        let handle = self.tokens.handle.clone();
        self.acquire().then(move |reactor, acquired| {
            Deferred::of(&handle, call(reactor)).inspect(move |_, _| drop(acquired))
        })
    }

    /// How many tokens there are in all. (Twisted: `limit`.)
    pub fn limit(&self) -> usize {
        self.tokens.limit
    }

    /// How many are free. (Twisted: `tokens`.)
    pub fn available_permits(&self) -> usize {
        self.tokens.free.get()
    }

    /// How many wait for one. (Twisted: `waiting`.)
    pub fn waiting(&self) -> usize {
        self.tokens.waiting.borrow().len()
    }
}

impl DeferredLock {
    /// One that nobody has.
    pub fn new(handle: &Handle) -> DeferredLock {
        DeferredLock { semaphore: DeferredSemaphore::new(handle, 1) }
    }

    /// The lock, as soon as this caller is the next. Who cancels waits no longer. (Twisted: `acquire`.)
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.semaphore.acquire()
    }

    /// Calls `call` with the lock, which is released when what it returns has come to its end. (Twisted: `run`.)
    #[track_caller]
    pub fn run<R: IntoOutcome>(&self, call: impl FnOnce(&mut Reactor) -> R + 'static) -> Deferred<R::Value> {
        self.semaphore.run(call)
    }

    /// Whether somebody has it. (Twisted: `locked`.)
    pub fn locked(&self) -> bool {
        self.semaphore.available_permits() == 0
    }

    /// How many wait for it. (Twisted: `waiting`.)
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

    /// Gives free tokens to those who wait.
    fn hand_on(self: &Rc<Self>) {
        // Who gets one may drop it at once, which leads back here.
        if self.handing_on.replace(true) {
            return;
        }
        let others = OthersToo { tokens: self };
        while self.free.get() > 0 {
            let Some(resolver) = self.next() else { break };
            // To one that is being given up a token is of no use.
            if resolver.is_wanted() {
                self.free.set(self.free.get() - 1);
                // It waits: it was not fired.
                let _ = resolver.callback(Permit { tokens: Rc::clone(self) });
            }
        }
        mem::forget(others);
        self.handing_on.set(false);
    }

    fn next(&self) -> Option<Resolver<Permit>> {
        self.waiting.borrow_mut().pop_front().map(|(_, resolver)| resolver)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let tokens = &self.tokens;
        tokens.free.set(tokens.free.get() + 1);
        tokens.hand_on();
    }
}

/// When one who is given a token panics, the others have theirs all the same.
struct OthersToo<'a> {
    tokens: &'a Rc<Tokens>,
}

impl Drop for OthersToo<'_> {
    fn drop(&mut self) {
        self.tokens.handing_on.set(false);
        self.tokens.hand_on();
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
        f.debug_struct("Acquired").finish_non_exhaustive()
    }
}
