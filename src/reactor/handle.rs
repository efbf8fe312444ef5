//! A reactor as code on its own thread can keep it: over an `await`, in a `Drop`, in a value that waits.
//!
//! A callback has the reactor by `&mut`, and gives it back when it returns. What runs in between, tasks above all,
//! keeps a [`Handle`]. It queues calls at any time. And while tasks are polled, the reactor itself stands in the place
//! that all handles share: it is *lent*, by a swap with an empty one, which costs two moves of about a kilobyte for all the
//! tasks of a turn. So nothing is borrowed twice, and nothing needs `unsafe`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::{CallbackKind, DelayedCall, Error, Instant, Reactor, Result, Settings, TimedCall};
use crate::net::null::NullDriver;
use crate::net::{Token, Wake};
use crate::reactor::lifecycle::RunState;

/// A reactor, for code on its own thread that has to keep it. Clone it, hold it over an `await`.
///
/// ```
/// let mut reactor = twistor::Reactor::new()?;
/// let handle = reactor.handle();
/// handle.call(|reactor| {
///     println!("from the loop, at {:?}", reactor.now());
///     reactor.stop();
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Rc<HandleState>,
}

/// What all handles of a reactor share with it.
struct HandleState {
    queue: RefCell<VecDeque<Queued>>,
    /// The reactor while it is lent, and an empty one else. It is made when a reactor is first lent.
    place: RefCell<Option<Box<Reactor>>>,
    lent: Cell<bool>,
    /// The loop looks at the queue before it waits again.
    attended: Cell<bool>,
    finished: Cell<bool>,
    /// Gone at the end: handles may be kept for ever, and this is a descriptor.
    waker: RefCell<Option<Arc<dyn Wake>>>,
    residents: RefCell<Option<Rc<dyn TurnHook>>>,
    /// The reactor was told to stop.
    stopping: Cell<bool>,
    /// Tasks that wait for that.
    stop_wakers: RefCell<Slab<Waker>>,
    /// The program asks for it.
    asks_for_stop: Cell<bool>,
}

thread_local! {
    static CURRENT: Cell<Option<Handle>> = const { Cell::new(None) };
}

/// Says who is current from now on, and who was. Nobody is once the thread gives its locals back, as a reactor may be one of them.
pub(super) fn set_current(next: Option<Handle>) -> Option<Handle> {
    CURRENT.try_with(|current| current.replace(next)).ok().flatten()
}

enum Queued {
    Call(Box<dyn FnOnce(&mut Reactor)>),
    Run(Rc<dyn Runnable>),
}

/// Something that waits to run from the loop, in an `Rc` of its own.
pub(crate) trait Runnable {
    fn run(self: Rc<Self>, reactor: &mut Reactor);
}

/// When in a turn a resident runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Between callbacks, for what they have brought so far. What that brings about waits for the next turn.
    Early,
    /// After all of them.
    Last,
}

/// What a higher layer has living in a reactor: it is asked in every turn.
pub(crate) trait TurnHook: std::any::Any {
    /// Whether it has something to do in the next turn, whatever the network says.
    fn has_work(&self) -> bool;

    /// Does what is there to do.
    fn run(&self, reactor: &mut Reactor, share: Pass);

    /// How many things of its are there, for leak checks.
    fn in_use(&self) -> usize;

    /// The same in words.
    fn inventory(&self) -> Vec<String>;

    /// The loop is about to wait, or begins another turn: who brings work has to wake it, or need not.
    fn set_awake(&self, attended: bool);

    /// The reactor ends. What is left is dropped, piece by piece.
    fn finish(&self, reactor: &mut Reactor);

    /// The reactor is gone without a word.
    fn kill(&self);
}

impl Handle {
    /// Queues a call: it comes from the loop, on a fresh stack, in this turn or the next. When the reactor has finished
    /// it is dropped.
    pub fn call(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.push(Queued::Call(Box::new(call)));
    }

    /// As [`call`](Handle::call), without an allocation.
    pub(crate) fn queue(&self, run: Rc<dyn Runnable>) {
        self.push(Queued::Run(run));
    }

    fn push(&self, queued: Queued) {
        if self.shared.finished.get() {
            return;
        }
        self.shared.queue.borrow_mut().push_back(queued);
        if !self.shared.attended.get() {
            self.shared.attended.set(true);
            if let Some(waker) = &*self.shared.waker.borrow() {
                waker.wake();
            }
        }
    }

    /// Reaches the reactor itself, from inside a task.
    ///
    /// # Errors
    /// [`Error::ReactorUnavailable`] elsewhere, and inside another `with`: whoever is called has the reactor then.
    pub fn with_reactor<R>(&self, call: impl FnOnce(&mut Reactor) -> R) -> Result<R> {
        let done = self.try_with(|reactor| {
            reactor.end_task_writes();
            call(reactor)
        });
        match done {
            Some(result) => Ok(result),
            None => Err(Error::ReactorUnavailable),
        }
    }

    /// As `with`, for code of ours that leaves what the task has just written where it is.
    #[inline]
    pub(crate) fn try_with<R>(&self, call: impl FnOnce(&mut Reactor) -> R) -> Option<R> {
        if !self.shared.lent.get() {
            return None;
        }
        let mut place = self.shared.place.try_borrow_mut().ok()?;
        place.as_mut().map(|reactor| call(reactor))
    }

    /// That of the task which is polled on this thread.
    pub fn current() -> Option<Handle> {
        let current = set_current(None)?;
        set_current(Some(current.clone()));
        Some(current)
    }

    /// Cancels a timed call now, or as soon as the reactor can be reached.
    pub(crate) fn cancel(&self, timer: DelayedCall) {
        let cancel = move |reactor: &mut Reactor| drop(timer.cancel(reactor));
        if self.with_reactor(cancel).is_err() {
            self.call(cancel);
        }
    }

    /// Whether it is the same reactor's.
    pub fn is_same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether the reactor has finished or is gone.
    pub fn finished(&self) -> bool {
        self.shared.finished.get()
    }

    /// Whether the reactor was told to stop, by a signal or a call, or has finished. See [`task::stopping`](crate::task::stopping)
    /// for what can still be done then, and to wait for it. The future of a [`block_on`](Reactor::block_on) whose
    /// program has asked this is granted the same time to end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use twistor::task::{here, sleep};
    ///
    /// twistor::block_on(async {
    ///     while !here().is_stopping() {
    ///         sleep(Duration::from_millis(1)).await;
    /// #       here().with_reactor(|reactor| reactor.stop_gracefully()).unwrap();
    ///     }
    /// })?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.shared.asks_for_stop.set(true);
        self.shared.stopping.get() || self.finished()
    }

    /// Has the waker woken when the reactor is told to stop, by its key; `false` when it was.
    pub(crate) fn awaits_stop(&self, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.shared.stopping.get() || self.finished() {
            // The shutdown may be still to come: a task can have asked for it just now.
            self.shared.asks_for_stop.set(true);
            return false;
        }
        let mut wakers = self.shared.stop_wakers.borrow_mut();
        let earlier = match key.and_then(|key| wakers.get_mut(key)) {
            Some(known) if known.will_wake(waker) => return true,
            Some(known) => Some(std::mem::replace(known, waker.clone())),
            None => {
                *key = Some(wakers.insert(waker.clone()));
                None
            }
        };
        drop(wakers);
        // It may own what comes back here.
        drop(earlier);
        true
    }

    pub(crate) fn awaits_stop_no_more(&self, key: usize) {
        // Once the reactor is told to stop none is left.
        let waker = self.shared.stop_wakers.borrow_mut().try_remove(key);
        drop(waker);
    }

    /// Whether any task awaits a stop, or asks for it.
    pub(crate) fn minds_stop(&self) -> bool {
        self.shared.asks_for_stop.get() || !self.shared.stop_wakers.borrow().is_empty()
    }

    /// The reactor was told to stop.
    pub(super) fn note_stop(&self) {
        self.shared.stopping.set(true);
    }

    /// Those that await the stop.
    pub(super) fn take_stop_wakers(&self) -> Slab<Waker> {
        self.shared.stop_wakers.take()
    }

    /// What lives in the reactor, made by `make` if nothing does yet.
    pub(crate) fn resident(
        &self,
        make: impl FnOnce(Option<Arc<dyn Wake>>) -> Rc<dyn TurnHook>,
    ) -> Rc<dyn TurnHook> {
        let mut residents = self.shared.residents.borrow_mut();
        Rc::clone(residents.get_or_insert_with(|| {
            let resident = make(self.shared.waker.borrow().clone());
            resident.set_awake(self.shared.attended.get());
            resident
        }))
    }

    /// Lends the reactor to all handles while `inside` runs.
    pub(crate) fn lend<R>(&self, reactor: &mut Reactor, inside: impl FnOnce() -> R) -> R {
        self.exchange(reactor);
        let outer = set_current(Some(self.clone()));
        self.shared.lent.set(true);
        let _lent = Lent { handle: self, reactor, outer };
        inside()
    }

    fn exchange(&self, reactor: &mut Reactor) {
        let mut place = self.shared.place.borrow_mut();
        std::mem::swap(reactor, place.get_or_insert_with(|| Box::new(Reactor::empty())));
    }

    /// Has work for the next turn.
    pub(super) fn has_work(&self) -> bool {
        !self.shared.queue.borrow().is_empty()
            || self.shared.residents.borrow().as_ref().is_some_and(|resident| resident.has_work())
    }

    pub(super) fn in_use(&self) -> usize {
        self.shared.residents.borrow().as_ref().map_or(0, |resident| resident.in_use())
    }

    pub(super) fn inventory(&self) -> Vec<String> {
        self.shared.residents.borrow().as_ref().map(|resident| resident.inventory()).unwrap_or_default()
    }

    #[inline(never)] // a turn without it is short
    pub(super) fn set_awake(&self, attended: bool) {
        self.shared.attended.set(attended);
        if let Some(resident) = &*self.shared.residents.borrow() {
            resident.set_awake(attended);
        }
    }
}

/// Ends with the reactor in its place, whatever happens.
struct Lent<'a> {
    handle: &'a Handle,
    reactor: &'a mut Reactor,
    outer: Option<Handle>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.handle.shared.lent.set(false);
        self.handle.exchange(self.reactor);
        set_current(self.outer.take());
        self.reactor.end_task_writes();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("finished", &self.finished()).finish_non_exhaustive()
    }
}

impl Reactor {
    /// A handle for code on this thread that has to keep the reactor. For other threads, see [`remote`](Reactor::remote).
    pub fn handle(&self) -> Handle {
        let make = || Handle {
            shared: Rc::new(HandleState {
                queue: RefCell::default(),
                place: RefCell::default(),
                lent: Cell::new(false),
                attended: Cell::new(self.lifecycle.in_turn),
                finished: Cell::new(self.lifecycle.state == RunState::Finished),
                waker: RefCell::new(Some(self.net.waker())),
                residents: RefCell::default(),
                stopping: Cell::new(!matches!(
                    self.lifecycle.state,
                    RunState::New | RunState::Starting | RunState::Running
                )),
                stop_wakers: RefCell::default(),
                asks_for_stop: Cell::new(false),
            }),
        };
        self.handle.get_or_init(make).clone()
    }

    /// What stands in a reactor's place while it is lent: it does nothing, and has finished.
    fn empty() -> Reactor {
        let settings =
            Settings { max_connections: 0, read_buffer: 1, time_callbacks: false, ..Settings::default() };
        let mut empty = Reactor::on(Box::new(NullDriver), settings);
        empty.lifecycle.state = RunState::Finished;
        empty
    }

    /// Code of the user's begins that is no callback.
    pub(crate) fn begin_call(&mut self, place: CallbackKind) {
        self.begin_timing(place, Token::NONE);
    }

    /// It has ended, perhaps with a panic, whose text this is.
    pub(crate) fn end_call<R>(
        &mut self,
        place: CallbackKind,
        result: std::thread::Result<R>,
    ) -> Result<R, String> {
        self.end_timing();
        result.map_err(|payload| self.record_panic(place, None, payload))
    }

    /// Whether chance decides which of several tasks goes first.
    pub(crate) fn shuffles_tasks(&self) -> bool {
        self.net.is_shuffled()
    }

    /// Which of so many goes first, where it should not matter.
    pub(crate) fn choose(&mut self, among: usize) -> usize {
        self.net.pick_index(among).min(among.saturating_sub(1))
    }

    pub(crate) fn set_timer(&mut self, time: Instant, call: TimedCall) -> DelayedCall {
        self.timers.set(time, call)
    }

    /// Runs what handles have queued so far, and what lives here.
    #[inline]
    pub(super) fn run_handled(&mut self) {
        if let Some(handle) = self.handle.get().cloned() {
            self.run_queued(&handle);
        }
    }

    #[inline(never)] // a turn without it is short
    fn run_queued(&mut self, handle: &Handle) {
        let queued = handle.shared.queue.borrow().len();
        for _ in 0..queued {
            let next = handle.shared.queue.borrow_mut().pop_front();
            match next {
                Some(Queued::Call(call)) => self.call(CallbackKind::Call, call),
                Some(Queued::Run(run)) => self.call(CallbackKind::Call, |reactor| run.run(reactor)),
                None => break,
            }
        }
        self.run_residents(Pass::Last);
    }

    /// Runs what lives here.
    pub(super) fn run_residents(&mut self, share: Pass) {
        let handle = self.handle.get();
        let resident = handle.and_then(|handle| handle.shared.residents.borrow().clone());
        if let Some(resident) = resident
            && resident.has_work()
        {
            resident.run(self, share);
        }
    }

    /// Tells handles that nothing will be called any more, and drops what waits.
    pub(super) fn finish_handled(&mut self) {
        let Some(handle) = self.handle.get().cloned() else { return };
        handle.shared.finished.set(true);
        drop(handle.shared.waker.take());
        let residents = handle.shared.residents.borrow_mut().take();
        if let Some(resident) = residents {
            match self.lifecycle.killed {
                true => resident.kill(),
                false => resident.finish(self),
            }
        }
        // Dropping one may drop others: the queue is not borrowed meanwhile.
        loop {
            let Some(queued) = handle.shared.queue.borrow_mut().pop_front() else { break };
            self.call(CallbackKind::Drop, |_| drop(queued));
        }
    }
}
