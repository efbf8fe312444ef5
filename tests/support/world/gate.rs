//! A gate that blocks jobs in their threads until it is opened.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::World;

/// A gate for jobs. Dropping it opens it.
pub struct Gate(Arc<Shared>);

/// A job's handle to the gate.
pub struct Passage(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: bool,
    waiting: usize,
}

impl Gate {
    /// Creates a closed gate. It is open if jobs do not run concurrently with the loop, because a
    /// blocked job would block the loop.
    pub fn new(world: &World) -> Gate {
        let gate = Gate(Arc::default());
        gate.0.lock().open = !world.jobs_run_beside();
        gate
    }

    pub fn passage(&self) -> Passage {
        Passage(Arc::clone(&self.0))
    }

    /// Waits until this number of jobs is blocked.
    pub fn holds_up(&self, jobs: usize) {
        drop(self.0.wait_until(|state| state.open || state.waiting == jobs));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.lock().open = true;
        self.0.changed.notify_all();
    }
}

impl Passage {
    /// Returns when the gate is open.
    pub fn pass(self) {
        self.0.lock().waiting += 1;
        self.0.changed.notify_all();
        drop(self.0.wait_until(|state| state.open));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| !done(state)).unwrap_or_else(PoisonError::into_inner)
    }
}
