//! Which tasks want to be polled: the one thing of theirs that other threads may touch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::Wake;

/// The tasks of one reactor that were woken, first in, first out.
pub(in crate::task) struct RunQueue {
    /// Gone with the reactor: a ticket in it holds this one, and so both would stay for ever.
    queue: Mutex<Option<VecDeque<Arc<TaskWaker>>>>,
    /// How many wait: asked for in every turn, without the lock.
    waiting: AtomicUsize,
    /// The future of `block_on` was woken.
    root: AtomicBool,
    /// The loop looks here before it waits again; else it has to be woken.
    attended: AtomicBool,
    /// None for tasks of a reactor that has finished.
    waker: Option<Arc<dyn Wake>>,
}

/// What a task is woken by. It is in the queue once, however often it is woken.
pub(in crate::task) struct TaskWaker {
    ready: Arc<RunQueue>,
    /// Where the task stands.
    pub(in crate::task) index: usize,
    woken: AtomicBool,
}

impl RunQueue {
    pub(in crate::task) fn new(waker: Option<Arc<dyn Wake>>) -> Arc<RunQueue> {
        Arc::new(RunQueue {
            queue: Mutex::new(Some(VecDeque::new())),
            waiting: AtomicUsize::new(0),
            root: AtomicBool::new(false),
            attended: AtomicBool::new(false),
            waker,
        })
    }

    /// A ticket that stands in the queue already: a new task is polled.
    pub(in crate::task) fn enter(self: &Arc<RunQueue>, index: usize) -> Arc<TaskWaker> {
        let ticket = Arc::new(TaskWaker { ready: Arc::clone(self), index, woken: AtomicBool::new(true) });
        self.push(Arc::clone(&ticket));
        ticket
    }

    fn push(&self, ticket: Arc<TaskWaker>) {
        let mut lock = self.lock();
        let Some(queue) = lock.as_mut() else { return };
        queue.push_back(ticket);
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(lock);
        self.wake_loop();
    }

    /// After the work was left: the loop says that it does not look, and then looks once more.
    fn wake_loop(&self) {
        if !self.attended.load(Ordering::SeqCst)
            && !self.attended.swap(true, Ordering::SeqCst)
            && let Some(waker) = &self.waker
        {
            waker.wake();
        }
    }

    pub(in crate::task) fn set_awake(&self, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
    }

    pub(in crate::task) fn has_work(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.root.load(Ordering::SeqCst)
    }

    /// Has these before all that wait.
    pub(in crate::task) fn put_first(&self, tickets: &mut VecDeque<Arc<TaskWaker>>) {
        if !tickets.is_empty()
            && let Some(queue) = self.lock().as_mut()
        {
            tickets.append(queue);
            std::mem::swap(queue, tickets);
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
    }

    /// Moves all that wait to `batch`, which is empty.
    pub(in crate::task) fn take(&self, batch: &mut VecDeque<Arc<TaskWaker>>) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut lock = self.lock();
            let Some(queue) = lock.as_mut() else { return };
            std::mem::swap(queue, batch);
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
    }

    /// Nobody is polled any more.
    pub(in crate::task) fn close(&self) {
        let left = self.lock().take();
        self.waiting.store(0, Ordering::SeqCst);
        drop(left);
    }

    pub(in crate::task) fn wake_root(&self) {
        if !self.root.swap(true, Ordering::SeqCst) {
            self.wake_loop();
        }
    }

    /// Whether the root was woken since it was last asked.
    pub(in crate::task) fn take_root(&self) -> bool {
        self.root.load(Ordering::SeqCst) && self.root.swap(false, Ordering::SeqCst)
    }

    /// A poisoned lock means that a push panicked for want of memory; the queue is whole.
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Arc<TaskWaker>>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskWaker {
    /// From now on it can be woken again.
    pub(in crate::task) fn accept(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }
}

impl std::task::Wake for TaskWaker {
    fn wake(self: Arc<TaskWaker>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            let ready = Arc::clone(&self.ready);
            ready.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<TaskWaker>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.ready.push(Arc::clone(self));
        }
    }
}

/// Wakes the future of `block_on`.
pub(in crate::task) struct BlockOnWaker(pub(in crate::task) Arc<RunQueue>);

impl std::task::Wake for BlockOnWaker {
    fn wake(self: Arc<BlockOnWaker>) {
        self.0.wake_root();
    }

    fn wake_by_ref(self: &Arc<BlockOnWaker>) {
        self.0.wake_root();
    }
}
