//! Turn hooks: work that a higher layer does in each turn of the loop, such as polling tasks.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use crate::net;
use crate::reactor::handle::Handle;
use crate::reactor::user_code::log_panic;
use crate::reactor::{CallbackKind, Reactor};

/// Work that the loop does in each turn, after the callbacks. The executor of
/// [`task`](crate::task) is one; a hook lets a program bring its own queue of work, such as an
/// executor or a scripting engine. (libuv: prepare and check handles.)
///
/// [`Handle::turn_hook`] adds a hook. It stays until the reactor finishes. A panic in one of its
/// methods is logged; those that have the reactor count it in
/// [`Statistics::panics`](crate::Statistics::panics).
///
/// ```
/// use std::cell::RefCell;
/// use std::collections::VecDeque;
///
/// use twistor::{Reactor, TurnHook};
///
/// /// Runs at most one queued job in each turn, after all callbacks.
/// #[derive(Default)]
/// struct OneAtATime(RefCell<VecDeque<Box<dyn FnOnce(&mut Reactor)>>>);
///
/// impl TurnHook for OneAtATime {
///     fn has_work(&self) -> bool {
///         !self.0.borrow().is_empty()
///     }
///
///     fn run(&self, reactor: &mut Reactor) {
///         let job = self.0.borrow_mut().pop_front();
///         job.into_iter().for_each(|job| job(reactor));
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// let jobs = reactor.handle().turn_hook(OneAtATime::default);
/// jobs.0.borrow_mut().push_back(Box::new(|_| println!("first")));
/// jobs.0.borrow_mut().push_back(Box::new(|reactor| {
///     reactor.stop();
/// }));
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("EventSource", "before_sleep", "idle", "prepare"))]
pub trait TurnHook: Any {
    /// Whether it has work. The loop does not wait while it has, and calls
    /// [`run`](TurnHook::run). Asked several times in each turn.
    fn has_work(&self) -> bool;

    /// Does the work that was there when it was called. Work that this causes belongs to the next
    /// turn, so that sockets and timers have their turn as well.
    fn run(&self, reactor: &mut Reactor);

    /// Called with `false` before the loop waits and with `true` when a turn begins. A hook that
    /// gets work from other threads has to wake the loop only after `false`, by
    /// [`Handle::waker`].
    fn set_awake(&self, awake: bool) {
        let _ = awake;
    }

    /// A description of each of its resources, for [`Reactor::resources`]. Default: none.
    fn resources(&self) -> Vec<String> {
        Vec::new()
    }

    /// The number of its resources, for [`Reactor::resource_count`]. Default: counts
    /// [`resources`](TurnHook::resources).
    fn resource_count(&self) -> usize {
        self.resources().len()
    }

    /// Called when the reactor has stopped. Drop the remaining work here, where a panic is caught.
    fn finish(&self, reactor: &mut Reactor) {
        let _ = reactor;
    }

    /// Called instead of [`finish`](TurnHook::finish) when a simulated process was killed. It must
    /// call no other code of the program.
    fn kill(&self) {}
}

/// Wakes the loop of a reactor. Wakers may be kept forever, and the driver's holds a descriptor.
struct LoopWaker(Weak<dyn net::Wake>);

impl Wake for LoopWaker {
    fn wake(self: Arc<LoopWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<LoopWaker>) {
        if let Some(waker) = self.0.upgrade() {
            waker.wake();
        }
    }
}

impl Handle {
    /// The reactor's hook of type `H`. The first call makes it and adds it after the other hooks.
    /// If the reactor has finished, it is made and not added: its methods are not called.
    pub fn turn_hook<H: TurnHook>(&self, make: impl FnOnce() -> H) -> Rc<H> {
        if let Some(known) = self.known_turn_hook() {
            return known;
        }
        // User code, called without a borrow. It may have added the hook itself.
        let made = make();
        if let Some(known) = self.known_turn_hook() {
            return known;
        }
        let hook = Rc::new(made);
        if !self.finished() {
            self.shared.hooks.borrow_mut().push(Rc::<H>::clone(&hook));
            contained(|| hook.set_awake(self.shared.awake.get()));
        }
        hook
    }

    fn known_turn_hook<H: TurnHook>(&self) -> Option<Rc<H>> {
        self.shared.hooks.borrow().iter().find_map(|hook| {
            let hook: Rc<dyn Any> = Rc::<dyn TurnHook>::clone(hook);
            hook.downcast().ok()
        })
    }

    /// Calls a method of each hook that needs no reactor. The list is not borrowed meanwhile: a
    /// hook may add others.
    pub(in crate::reactor) fn ask_turn_hooks<R>(
        &self,
        ask: impl Fn(&dyn TurnHook) -> R,
        mut take: impl FnMut(R),
    ) {
        for index in 0.. {
            let Some(hook) = self.shared.hooks.borrow().get(index).cloned() else { return };
            if let Some(answer) = contained(|| ask(&*hook)) {
                take(answer);
            }
        }
    }

    /// A waker that ends the wait of the loop, from any thread. It does nothing once the reactor
    /// has finished.
    pub fn waker(&self) -> Waker {
        match &*self.shared.waker.borrow() {
            Some(waker) => Waker::from(Arc::new(LoopWaker(Arc::downgrade(waker)))),
            None => Waker::noop().clone(),
        }
    }
}

/// Calls a method of a hook that needs no reactor. A panic is logged and counts as no answer.
fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(payload) => {
            log_panic(CallbackKind::TurnHook, None, payload);
            None
        }
    }
}

impl Reactor {
    /// Runs the hooks that have work.
    pub(in crate::reactor) fn run_turn_hooks(&mut self) {
        for index in 0.. {
            let hooks = self.handle.get().map(|handle| &handle.shared.hooks);
            let Some(hook) = hooks.and_then(|hooks| hooks.borrow().get(index).cloned()) else { return };
            // Only a call with work is timed, because timing reads the clock.
            if contained(|| hook.has_work()) == Some(true) {
                self.call(CallbackKind::TurnHook, |reactor| hook.run(reactor));
            }
        }
    }

    /// Ends all hooks, in the order in which they were added. They are found until all have ended.
    pub(in crate::reactor) fn finish_turn_hooks(&mut self, handle: &Handle) {
        for index in 0.. {
            let Some(hook) = handle.shared.hooks.borrow().get(index).cloned() else { break };
            let killed = self.lifecycle.killed;
            self.call(CallbackKind::TurnHook, |reactor| match killed {
                true => hook.kill(),
                false => hook.finish(reactor),
            });
        }
        for hook in handle.shared.hooks.take() {
            self.call(CallbackKind::Drop, |_| drop(hook));
        }
    }
}
