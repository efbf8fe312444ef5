//! A handle to the reactor for code on its own thread: across an `await`, in a `Drop`, in a value
//! that waits.
//!
//! A callback has the reactor by `&mut` and gives it back when it returns. Code that runs between
//! callbacks, tasks above all, keeps a [`Handle`]. A handle can queue calls at any time. While
//! tasks are polled, the reactor itself is *lent* to the slot that all handles share. It is swapped
//! with an empty reactor, which costs two moves of about a kilobyte for all tasks of a turn. So
//! nothing is borrowed twice, and no `unsafe` is needed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::{CallbackKind, DelayedCall, Error, Instant, Reactor, Result, Settings, TimedCall, TurnHook};
use crate::net::null::NullDriver;
use crate::net::{Token, Wake};
use crate::reactor::turn::lifecycle::RunState;

/// A clonable handle to a reactor, for code on the reactor's thread. It may be held across an
/// `await`.
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
#[doc(alias("get_running_loop", "LoopHandle"))]
pub struct Handle {
    pub(super) shared: Rc<HandleState>,
}

/// Functions that only keep a handle take `&impl AsRef<Handle>`, which is `&handle` or `&reactor`.
impl AsRef<Handle> for Handle {
    fn as_ref(&self) -> &Handle {
        self
    }
}

/// A function that takes `&impl AsRef<Handle>` is called with `&reactor`.
impl AsRef<Handle> for Reactor {
    fn as_ref(&self) -> &Handle {
        self.own_handle()
    }
}

/// State shared by a reactor and all its handles.
pub(super) struct HandleState {
    queue: RefCell<VecDeque<Queued>>,
    /// The reactor while it is lent, otherwise an empty one. Created when the reactor is first
    /// lent.
    place: RefCell<Option<Box<Reactor>>>,
    lent: Cell<bool>,
    /// The loop looks at the queue before it next waits, so it need not be woken.
    pub(super) awake: Cell<bool>,
    finished: Cell<bool>,
    /// `None` after the end. Handles may be kept forever, and the waker holds a file descriptor.
    pub(super) waker: RefCell<Option<Arc<dyn Wake>>>,
    pub(super) hooks: RefCell<Vec<Rc<dyn TurnHook>>>,
    /// The reactor was told to stop.
    stopping: Cell<bool>,
    /// Tasks that wait for the stop.
    stop_wakers: RefCell<Slab<Waker>>,
    /// The program has called `is_stopping`.
    asks_for_stop: Cell<bool>,
}

thread_local! {
    static CURRENT: Cell<Option<Handle>> = const { Cell::new(None) };
}

/// Replaces the current handle of this thread and returns the previous one. Returns `None` during
/// the destruction of thread locals, because a reactor may be one of them.
pub(super) fn set_current(next: Option<Handle>) -> Option<Handle> {
    CURRENT.try_with(|current| current.replace(next)).ok().flatten()
}

enum Queued {
    Call(Box<dyn FnOnce(&mut Reactor)>),
    Run(Rc<dyn Runnable>),
}

/// A call in an `Rc` of its own that runs from the loop.
pub(crate) trait Runnable {
    fn run(self: Rc<Self>, reactor: &mut Reactor);
}

impl Handle {
    /// Queues a call. It runs from the loop on a fresh stack, in this turn or the next. It is
    /// dropped if the reactor has finished.
    #[doc(alias("call_soon", "callLater", "insert_idle"))]
    pub fn call(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.push(Queued::Call(Box::new(call)));
    }

    /// Queues a call as [`call`](Handle::call) does, without an allocation.
    pub(crate) fn queue(&self, run: Rc<dyn Runnable>) {
        self.push(Queued::Run(run));
    }

    fn push(&self, queued: Queued) {
        if self.shared.finished.get() {
            return;
        }
        self.shared.queue.borrow_mut().push_back(queued);
        if !self.shared.awake.get() {
            self.shared.awake.set(true);
            if let Some(waker) = &*self.shared.waker.borrow() {
                waker.wake();
            }
        }
    }

    /// Calls `call` with the reactor. Works inside a task, and inside [`Reactor::lend`].
    ///
    /// # Errors
    /// [`Error::ReactorUnavailable`] elsewhere, and inside another `with_reactor`, which has the
    /// reactor already.
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

    /// Like `with_reactor`, for internal code. Data that the task has just written stays buffered.
    #[inline]
    pub(crate) fn try_with<R>(&self, call: impl FnOnce(&mut Reactor) -> R) -> Option<R> {
        if !self.shared.lent.get() {
            return None;
        }
        let mut place = self.shared.place.try_borrow_mut().ok()?;
        place.as_mut().map(|reactor| call(reactor))
    }

    /// The handle of the reactor whose task is being polled on this thread. (asyncio:
    /// `get_running_loop`.)
    ///
    /// # Errors
    /// [`Error::ReactorUnavailable`] outside of a task.
    #[doc(alias("get_running_loop", "get_event_loop"))]
    pub fn current() -> Result<Handle> {
        let current = set_current(None).ok_or(Error::ReactorUnavailable)?;
        set_current(Some(current.clone()));
        Ok(current)
    }

    /// Cancels a timed call now, or as soon as the reactor is available. For a `Drop`, which has no
    /// reactor.
    pub fn cancel(&self, timer: DelayedCall) {
        let cancel = move |reactor: &mut Reactor| drop(timer.cancel(reactor));
        if self.with_reactor(cancel).is_err() {
            self.call(cancel);
        }
    }

    /// Whether both handles belong to the same reactor.
    pub fn is_same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether the reactor has finished or is gone.
    pub fn finished(&self) -> bool {
        self.shared.finished.get()
    }

    /// Whether the reactor was told to stop, by a signal or a call, or has finished.
    ///
    /// See [`task::stopping`](crate::task::stopping) to wait for it, and for what a program can
    /// still do then. If a program has called this, the future of its
    /// [`block_on`](Reactor::block_on) is granted the same time to end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use twistor::{Handle, task};
    ///
    /// twistor::block_on(async {
    ///     let handle = Handle::current()?;
    ///     while !handle.is_stopping() {
    ///         task::sleep(Duration::from_millis(1)).await;
    /// #       handle.with_reactor(|reactor| reactor.stop_gracefully())?;
    ///     }
    ///     Ok::<_, twistor::Error>(())
    /// })??;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn is_stopping(&self) -> bool {
        self.shared.asks_for_stop.set(true);
        self.shared.stopping.get() || self.finished()
    }

    /// Registers a waker for the stop, under `key`. Returns `false` when the reactor was told to
    /// stop.
    pub(crate) fn awaits_stop(&self, key: &mut Option<usize>, waker: &Waker) -> bool {
        if self.shared.stopping.get() || self.finished() {
            // The shutdown may not have begun yet: a task can have requested it just now.
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
        // Dropped without a borrow: the waker may own values that come back here.
        drop(earlier);
        true
    }

    pub(crate) fn awaits_stop_no_more(&self, key: usize) {
        // No waker is left once the reactor was told to stop.
        let waker = self.shared.stop_wakers.borrow_mut().try_remove(key);
        drop(waker);
    }

    /// Whether a task awaits the stop or the program has asked for it.
    pub(crate) fn minds_stop(&self) -> bool {
        self.shared.asks_for_stop.get() || !self.shared.stop_wakers.borrow().is_empty()
    }

    /// Records that the reactor was told to stop.
    pub(super) fn note_stop(&self) {
        self.shared.stopping.set(true);
    }

    /// Takes the wakers of tasks that await the stop.
    pub(super) fn take_stop_wakers(&self) -> Slab<Waker> {
        self.shared.stop_wakers.take()
    }

    /// Whether there is work for the next turn.
    pub(super) fn has_work(&self) -> bool {
        !self.shared.queue.borrow().is_empty() || self.turn_hooks_have_work()
    }

    fn turn_hooks_have_work(&self) -> bool {
        let mut any = false;
        self.ask_turn_hooks(|hook| hook.has_work(), |has_work| any |= has_work);
        any
    }

    pub(super) fn resource_count(&self) -> usize {
        let mut count = 0;
        self.ask_turn_hooks(|hook| hook.resource_count(), |of_hook| count += of_hook);
        count
    }

    pub(super) fn resources(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.ask_turn_hooks(|hook| hook.resources(), |of_hook| all.extend(of_hook));
        all
    }

    #[inline(never)] // keeps a turn without a handle short
    pub(super) fn set_awake(&self, awake: bool) {
        self.shared.awake.set(awake);
        self.ask_turn_hooks(|hook| hook.set_awake(awake), |()| {});
    }
}

/// Puts the reactor back on drop, also after a panic.
struct Lent<'a> {
    handle: Handle,
    reactor: &'a mut Reactor,
    in_turn: bool,
    outer: Option<Handle>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.handle.shared.lent.set(false);
        if let Some(place) = &mut *self.handle.shared.place.borrow_mut() {
            std::mem::swap(self.reactor, place);
        }
        self.reactor.lifecycle.in_turn = self.in_turn;
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
    /// A handle for code on this thread. For other threads, see [`remote`](Reactor::remote).
    pub fn handle(&self) -> Handle {
        self.own_handle().clone()
    }

    fn own_handle(&self) -> &Handle {
        let make = || Handle {
            shared: Rc::new(HandleState {
                queue: RefCell::default(),
                place: RefCell::default(),
                lent: Cell::new(false),
                awake: Cell::new(self.lifecycle.in_turn),
                finished: Cell::new(self.lifecycle.state == RunState::Finished),
                waker: RefCell::new(Some(self.net.waker())),
                hooks: RefCell::default(),
                stopping: Cell::new(!matches!(
                    self.lifecycle.state,
                    RunState::New | RunState::Starting | RunState::Running
                )),
                stop_wakers: RefCell::default(),
                asks_for_stop: Cell::new(false),
            }),
        };
        self.handle.get_or_init(make)
    }

    /// Lends the reactor to all handles while `inside` runs, so that
    /// [`Handle::with_reactor`] works in it. The executor polls tasks this way, and a
    /// [`TurnHook`](crate::TurnHook) can do the same.
    ///
    /// ```
    /// let mut reactor = twistor::Reactor::new()?;
    /// let handle = reactor.handle();
    /// let now = reactor.lend(|| handle.with_reactor(|reactor| reactor.now()))?;
    /// assert_eq!(now?, reactor.now());
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ReactorUnavailable`] if it is lent already, or inside a callback of a connection,
    /// which has it. `inside` is not called then.
    pub fn lend<R>(&mut self, inside: impl FnOnce() -> R) -> Result<R> {
        if self.send.connection != Token::NONE {
            return Err(Error::ReactorUnavailable);
        }
        let handle = self.handle();
        // The loop cannot run meanwhile.
        let in_turn = self.lifecycle.in_turn;
        match handle.shared.place.try_borrow_mut() {
            Ok(mut place) => {
                self.lifecycle.in_turn = true;
                std::mem::swap(self, place.get_or_insert_with(|| Box::new(Reactor::empty())));
            }
            Err(_) => return Err(Error::ReactorUnavailable),
        }
        let outer = set_current(Some(handle.clone()));
        handle.shared.lent.set(true);
        let _lent = Lent { handle, reactor: self, in_turn, outer };
        Ok(inside())
    }

    /// An empty, finished reactor that fills the slot while the real one is lent.
    fn empty() -> Reactor {
        let settings =
            Settings { max_connections: 0, read_buffer: 1, slow_callback: None, ..Settings::default() };
        let mut empty = Reactor::on(Box::new(NullDriver), settings);
        empty.lifecycle.state = RunState::Finished;
        empty
    }

    /// Starts the timing of user code that is not a callback.
    pub(crate) fn start_call(&mut self, place: CallbackKind) {
        self.start_timing(place, Token::NONE);
    }

    /// Ends it. Returns the text of a panic as the error.
    pub(crate) fn end_call<R>(
        &mut self,
        place: CallbackKind,
        result: std::thread::Result<R>,
    ) -> Result<R, String> {
        self.end_timing();
        result.map_err(|payload| self.record_panic(place, None, payload))
    }

    /// Whether the order of tasks is random.
    pub(crate) fn shuffles_tasks(&self) -> bool {
        self.net.is_shuffled()
    }

    /// Picks an index below the given number, where the choice should not matter.
    pub(crate) fn choose(&mut self, count: usize) -> usize {
        self.net.pick_index(count).min(count.saturating_sub(1))
    }

    pub(crate) fn set_timer(&mut self, time: Instant, call: TimedCall) -> DelayedCall {
        self.timers.set(time, call)
    }

    /// Runs the calls that handles have queued so far, then the hooks.
    #[inline]
    pub(super) fn run_handled(&mut self) {
        if let Some(handle) = self.handle.get().cloned() {
            self.run_queued(&handle);
        }
    }

    #[inline(never)] // keeps a turn without a handle short
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
        self.run_turn_hooks();
    }

    /// Marks all handles as finished and drops the remaining work.
    pub(super) fn finish_handled(&mut self) {
        let Some(handle) = self.handle.get().cloned() else { return };
        handle.shared.finished.set(true);
        drop(handle.shared.waker.take());
        self.finish_turn_hooks(&handle);
        // Dropping a call may drop others, so the queue is not borrowed meanwhile.
        loop {
            let Some(queued) = handle.shared.queue.borrow_mut().pop_front() else { break };
            self.call(CallbackKind::Drop, |_| drop(queued));
        }
    }
}
