//! The tasks of one reactor, and who is polled next.

use std::any::Any;
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
use crate::reactor::{CallbackKind, Handle, Pass, Reactor, TurnHook};
use crate::task::run_queue::{RunQueue, TaskWaker};

/// Lives in its reactor, as long as that does.
pub(super) struct Executor {
    slots: RefCell<Slab<Slot>>,
    pub(super) ready: Arc<RunQueue>,
    /// Those whose turn it is.
    batch: RefCell<VecDeque<Arc<TaskWaker>>>,
    /// Those who were woken while tasks were polled early in a turn: they come in the next one.
    later: RefCell<VecDeque<Arc<TaskWaker>>>,
    spawned: Cell<u64>,
    finished: Cell<bool>,
    /// A `block_on` is under way.
    pub(super) rooted: Cell<bool>,
}

struct Slot {
    id: TaskId,
    job: Rc<dyn Job>,
    ticket: Arc<TaskWaker>,
    place: &'static Location<'static>,
}

impl Executor {
    /// That of a reactor.
    pub(super) fn of(handle: &Handle) -> Rc<Executor> {
        let resident: Rc<dyn Any> = handle.resident(|waker| {
            Rc::new(Executor {
                slots: RefCell::default(),
                ready: RunQueue::new(waker),
                batch: RefCell::default(),
                later: RefCell::default(),
                spawned: Cell::new(0),
                finished: Cell::new(handle.finished()),
                rooted: Cell::new(false),
            })
        });
        // Nothing else is ever put there.
        resident.downcast().unwrap_or_else(|_| unreachable!())
    }

    /// Takes a task in. `None` when the reactor has finished: it is nobody's then.
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
        let ticket = self.ready.enter(entry.key());
        job.admitted(Waker::from(Arc::clone(&ticket)));
        entry.insert(Slot { id, job, ticket: Arc::clone(&ticket), place });
        Some(ticket)
    }

    pub(super) fn list(&self) -> Vec<TaskInfo> {
        let info = |slot: &Slot| TaskInfo { id: slot.id, name: slot.job.name(), location: slot.place };
        self.slots.borrow().iter().map(|(_, slot)| info(slot)).collect()
    }

    /// Of all tasks, the youngest first.
    fn tickets(&self) -> Vec<Arc<TaskWaker>> {
        let slots = self.slots.borrow();
        let mut slots: Vec<&Slot> = slots.iter().map(|(_, slot)| slot).collect();
        slots.sort_by_key(|slot| Reverse(slot.id));
        slots.into_iter().map(|slot| Arc::clone(&slot.ticket)).collect()
    }

    /// Polls the task of a ticket, if it is still there.
    fn poll(&self, handle: &Handle, ticket: Arc<TaskWaker>) {
        let job = match self.slots.borrow().get(ticket.index) {
            Some(slot) if Arc::ptr_eq(&slot.ticket, &ticket) => Rc::clone(&slot.job),
            _ => return,
        };
        ticket.accept();
        let polled = catch_panic(handle, CallbackKind::Task, || job.poll());
        // What is left of it goes in `end`, where a panic is caught.
        drop(job);
        let outcome = match polled {
            Ok(Polled::Waits) => return,
            Ok(Polled::Ended) => Outcome::Done,
            Ok(Polled::Cancelled) => Outcome::Cancelled,
            Err(message) => Outcome::Panicked(message),
        };
        self.end(handle, &ticket, outcome);
    }

    /// Frees the task's place, and tells whoever waits for it.
    fn end(&self, handle: &Handle, ticket: &TaskWaker, outcome: Outcome) {
        let Some(slot) = self.slots.borrow_mut().try_remove(ticket.index) else { return };
        // What its end drops, and wakes, is the user's.
        let _ = catch_panic(handle, CallbackKind::Drop, move || slot.job.end(outcome));
    }
}

impl TurnHook for Executor {
    fn has_work(&self) -> bool {
        self.ready.has_work() || !self.later.borrow().is_empty()
    }

    fn set_awake(&self, attended: bool) {
        self.ready.set_awake(attended);
    }

    fn inventory(&self) -> Vec<String> {
        self.list().iter().map(|info| format!("the task {info}")).collect()
    }

    fn in_use(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Polls those that were woken so far; who is woken by that waits for the next turn.
    fn run(&self, reactor: &mut Reactor, share: Pass) {
        if !self.rooted.get() {
            // Woken too late.
            self.ready.take_root();
        }
        let mut batch = self.batch.take();
        self.ready.take(&mut batch);
        let handle = reactor.handle();
        handle.lend(reactor, || {
            let shuffled = handle.try_with(|reactor| reactor.shuffles_tasks()).unwrap_or(false);
            while let Some(ticket) = next(&handle, shuffled, &mut batch) {
                self.poll(&handle, ticket);
            }
        });
        match share {
            Pass::Early => {
                self.ready.take(&mut batch);
                self.later.borrow_mut().append(&mut batch);
            }
            Pass::Last => self.ready.put_first(&mut self.later.borrow_mut()),
        }
        *self.batch.borrow_mut() = batch;
    }

    fn finish(&self, reactor: &mut Reactor) {
        self.finished.set(true);
        let handle = reactor.handle();
        handle.lend(reactor, || {
            // Whoever was spawned by another goes before it.
            for ticket in self.tickets() {
                self.end(&handle, &ticket, Outcome::Cancelled);
            }
        });
        self.later.take();
        self.ready.close();
    }

    fn kill(&self) {
        self.finished.set(true);
        let slots = self.slots.take();
        // Destructors are called, but reach no reactor.
        for (_, slot) in slots {
            let _ = catch_unwind(AssertUnwindSafe(move || slot.job.end(Outcome::Cancelled)));
        }
        self.later.take();
        self.ready.close();
    }
}

/// First in, first out, unless chance is to decide.
fn next(handle: &Handle, shuffled: bool, batch: &mut VecDeque<Arc<TaskWaker>>) -> Option<Arc<TaskWaker>> {
    if shuffled && batch.len() > 1 {
        let chosen = handle.with_reactor(|reactor| reactor.choose(batch.len())).unwrap_or(0);
        batch.swap(0, chosen);
    }
    batch.pop_front()
}

/// Runs a part of a task: a panic ends here, and how long it took is noted.
fn catch_panic<R>(handle: &Handle, place: CallbackKind, run: impl FnOnce() -> R) -> Result<R, String> {
    // Between the two the reactor is the task's.
    let _ = handle.try_with(|reactor| reactor.begin_call(place));
    let result = catch_unwind(AssertUnwindSafe(run));
    let ended = handle.with_reactor(|reactor| reactor.end_call(place, result));
    ended.unwrap_or_else(|_| Err(String::new()))
}
