//! The executor: the tasks of one reactor, and the order in which they are polled.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::task::{Job, Outcome, Polled};
use super::{TaskId, TaskInfo};
use crate::reactor::{CallbackKind, Handle, Reactor, TurnHook};
use crate::task::run_queue::{RunQueue, TaskWaker};

/// The executor of one reactor. It lives as long as the reactor.
pub(super) struct Executor {
    slots: RefCell<Slab<Slot>>,
    pub(super) ready: Arc<RunQueue>,
    /// Tasks to poll in this turn.
    batch: RefCell<VecDeque<Arc<TaskWaker>>>,
    spawned: Cell<u64>,
    finished: Cell<bool>,
    /// Whether a `block_on` is running.
    pub(super) block_on_running: Cell<bool>,
}

struct Slot {
    id: TaskId,
    job: Rc<dyn Job>,
    ticket: Arc<TaskWaker>,
    place: &'static Location<'static>,
}

impl Executor {
    /// The executor of a reactor, created on first use.
    pub(super) fn of(handle: &Handle) -> Rc<Executor> {
        handle.turn_hook(|| Executor {
            slots: RefCell::default(),
            ready: RunQueue::new(handle.waker()),
            batch: RefCell::default(),
            spawned: Cell::new(0),
            finished: Cell::new(handle.finished()),
            block_on_running: Cell::new(false),
        })
    }

    /// Adds a task. Returns `None` if the reactor has finished.
    pub(super) fn insert(
        &self,
        job: Rc<dyn Job>,
        place: &'static Location<'static>,
    ) -> Option<Arc<TaskWaker>> {
        if self.finished.get() {
            return None;
        }
        self.spawned.set(self.spawned.get() + 1);
        let id = TaskId(self.spawned.get());
        let mut slots = self.slots.borrow_mut();
        let entry = slots.vacant_entry();
        let ticket = self.ready.new_ticket(entry.key());
        job.set_waker(Waker::from(Arc::clone(&ticket)));
        entry.insert(Slot { id, job, ticket: Arc::clone(&ticket), place });
        Some(ticket)
    }

    pub(super) fn list(&self) -> Vec<TaskInfo> {
        let info = |slot: &Slot| TaskInfo { id: slot.id, name: slot.job.name(), location: slot.place };
        self.slots.borrow().iter().map(|(_, slot)| info(slot)).collect()
    }

    /// The tickets of all tasks, newest task first.
    fn tickets(&self) -> Vec<Arc<TaskWaker>> {
        let slots = self.slots.borrow();
        let mut slots: Vec<&Slot> = slots.iter().map(|(_, slot)| slot).collect();
        slots.sort_by_key(|slot| Reverse(slot.id));
        slots.into_iter().map(|slot| Arc::clone(&slot.ticket)).collect()
    }

    /// Polls the task of a ticket, unless the task has ended.
    fn poll(&self, handle: &Handle, ticket: Arc<TaskWaker>) {
        let job = match self.slots.borrow().get(ticket.index) {
            Some(slot) if Arc::ptr_eq(&slot.ticket, &ticket) => Rc::clone(&slot.job),
            _ => return,
        };
        ticket.clear_woken();
        let polled = catch_panic(handle, CallbackKind::Task, || job.poll());
        // Drop this reference first, so that `end` drops the task where panics are caught.
        drop(job);
        let outcome = match polled {
            Ok(Polled::Pending) => return,
            Ok(Polled::Ended) => Outcome::Done,
            Ok(Polled::Cancelled) => Outcome::Cancelled,
            Err(message) => Outcome::Panicked(message),
        };
        self.end(handle, &ticket, outcome);
    }

    /// Frees the task's slot and wakes the tasks that await it.
    fn end(&self, handle: &Handle, ticket: &TaskWaker, outcome: Outcome) {
        let Some(slot) = self.slots.borrow_mut().try_remove(ticket.index) else { return };
        // Destructors and wakers are user code.
        let _ = catch_panic(handle, CallbackKind::Drop, move || slot.job.end(outcome));
    }
}

impl TurnHook for Executor {
    fn has_work(&self) -> bool {
        self.ready.has_work()
    }

    fn set_awake(&self, awake: bool) {
        self.ready.set_awake(awake);
    }

    fn resources(&self) -> Vec<String> {
        self.list().iter().map(|info| format!("the task {info}")).collect()
    }

    fn resource_count(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Polls the tasks woken so far. Tasks woken meanwhile are polled in the next turn.
    fn run(&self, reactor: &mut Reactor) {
        if !self.block_on_running.get() {
            // A wake-up of a `block_on` that has ended is discarded.
            self.ready.take_block_on();
        }
        let mut batch = self.batch.take();
        self.ready.take(&mut batch);
        let handle = reactor.handle();
        let polled = reactor.lend(|| {
            let shuffled = handle.try_with(|reactor| reactor.shuffles_tasks()).unwrap_or(false);
            while let Some(ticket) = next(&handle, shuffled, &mut batch) {
                self.poll(&handle, ticket);
            }
        });
        debug_assert!(polled.is_ok(), "the loop has the reactor");
        *self.batch.borrow_mut() = batch;
    }

    fn finish(&self, reactor: &mut Reactor) {
        self.finished.set(true);
        let handle = reactor.handle();
        let _ = reactor.lend(|| {
            // Cancel newest first, so that a task is dropped before the task that spawned it.
            for ticket in self.tickets() {
                self.end(&handle, &ticket, Outcome::Stopped);
            }
        });
        self.ready.close();
    }

    fn kill(&self) {
        self.finished.set(true);
        let slots = self.slots.take();
        // Destructors run, but have no access to a reactor.
        for (_, slot) in slots {
            let _ = catch_unwind(AssertUnwindSafe(move || slot.job.end(Outcome::Stopped)));
        }
        self.ready.close();
    }
}

/// Takes the next task: first in, first out, or at random if tasks are shuffled.
fn next(handle: &Handle, shuffled: bool, batch: &mut VecDeque<Arc<TaskWaker>>) -> Option<Arc<TaskWaker>> {
    if shuffled && batch.len() > 1 {
        let chosen = handle.with_reactor(|reactor| reactor.choose(batch.len())).unwrap_or(0);
        batch.swap(0, chosen);
    }
    batch.pop_front()
}

/// Runs a part of a task, catches its panic, and measures its duration.
fn catch_panic<R>(handle: &Handle, place: CallbackKind, run: impl FnOnce() -> R) -> Result<R, String> {
    // The reactor is released while `run` executes, because the task may use it.
    let _ = handle.try_with(|reactor| reactor.start_call(place));
    let result = catch_unwind(AssertUnwindSafe(run));
    let ended = handle.with_reactor(|reactor| reactor.end_call(place, result));
    ended.unwrap_or_else(|_| Err(String::new()))
}
