//! The queue of woken tasks, which is the part of the executor that other threads access.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The woken tasks of one reactor, first in, first out.
pub(in crate::task) struct RunQueue {
    /// Set to `None` when the reactor finishes. Tickets in the queue own the `RunQueue`, so a queue
    /// that is never cleared would leak.
    queue: Mutex<Option<VecDeque<Arc<TaskWaker>>>>,
    /// Number of queued tasks, read in every turn without the lock.
    waiting: AtomicUsize,
    /// Whether the future of `block_on` was woken.
    block_on_woken: AtomicBool,
    /// Whether the loop is awake and will check the queue before it polls again. If not, it must be
    /// woken.
    awake: AtomicBool,
    /// Wakes the loop.
    waker: Waker,
}

/// The waker of a task. The task is queued at most once, however often it is woken.
pub(in crate::task) struct TaskWaker {
    ready: Arc<RunQueue>,
    /// Index of the task in the executor's slab.
    pub(in crate::task) index: usize,
    woken: AtomicBool,
}

impl RunQueue {
    pub(in crate::task) fn new(waker: Waker) -> Arc<RunQueue> {
        Arc::new(RunQueue {
            queue: Mutex::new(Some(VecDeque::new())),
            waiting: AtomicUsize::new(0),
            block_on_woken: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            waker,
        })
    }

    /// Creates the ticket of a new task and queues it, so that the task is polled.
    pub(in crate::task) fn new_ticket(self: &Arc<RunQueue>, index: usize) -> Arc<TaskWaker> {
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

    /// Wakes the loop if it is not awake. Call it after queueing: the loop clears the flag first
    /// and then checks the queue once more.
    fn wake_loop(&self) {
        if !self.awake.load(Ordering::SeqCst) && !self.awake.swap(true, Ordering::SeqCst) {
            self.waker.wake_by_ref();
        }
    }

    pub(in crate::task) fn set_awake(&self, awake: bool) {
        self.awake.store(awake, Ordering::SeqCst);
    }

    pub(in crate::task) fn has_work(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.block_on_woken.load(Ordering::SeqCst)
    }

    /// Moves all queued tickets to `batch`, which must be empty.
    pub(in crate::task) fn take(&self, batch: &mut VecDeque<Arc<TaskWaker>>) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut lock = self.lock();
            let Some(queue) = lock.as_mut() else { return };
            std::mem::swap(queue, batch);
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
    }

    /// Discards the queue. No task is polled any more.
    pub(in crate::task) fn close(&self) {
        let left = self.lock().take();
        self.waiting.store(0, Ordering::SeqCst);
        drop(left);
    }

    pub(in crate::task) fn wake_block_on(&self) {
        if !self.block_on_woken.swap(true, Ordering::SeqCst) {
            self.wake_loop();
        }
    }

    /// Whether the future of `block_on` was woken since the last call.
    pub(in crate::task) fn take_block_on(&self) -> bool {
        self.block_on_woken.load(Ordering::SeqCst) && self.block_on_woken.swap(false, Ordering::SeqCst)
    }

    /// The lock is poisoned if a push ran out of memory. The queue is consistent then.
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Arc<TaskWaker>>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskWaker {
    /// Allows the task to be queued again.
    pub(in crate::task) fn clear_woken(&self) {
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

/// The waker of the future of `block_on`.
pub(in crate::task) struct BlockOnWaker(pub(in crate::task) Arc<RunQueue>);

impl std::task::Wake for BlockOnWaker {
    fn wake(self: Arc<BlockOnWaker>) {
        self.0.wake_block_on();
    }

    fn wake_by_ref(self: &Arc<BlockOnWaker>) {
        self.0.wake_block_on();
    }
}
