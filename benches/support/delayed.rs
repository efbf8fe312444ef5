//! Delayed calls behind one face: twistor's, the structure one writes first, and tokio's.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::runtime::{EnterGuard, Runtime};
use tokio::time::Sleep;
use twistor::{DelayedCall, Reactor};

use super::Result;

/// Closures that count themselves when they are called.
pub trait Timers: Sized {
    type Call;

    fn new() -> Result<Self>;
    fn schedule(&mut self, delay: Duration) -> Self::Call;
    fn reset(&mut self, call: &mut Self::Call, delay: Duration);
    fn cancel(&mut self, call: &Self::Call);
    /// Calls all that is due; the caller sees to it that everything is.
    fn fire(&mut self) -> Result<()>;
    fn outstanding(&self) -> usize;
    fn fired(&self) -> usize;
}

pub struct Twistor {
    reactor: Reactor,
    fired: Rc<Cell<usize>>,
}

impl Timers for Twistor {
    type Call = DelayedCall;

    fn new() -> Result<Twistor> {
        Ok(Twistor { reactor: Reactor::new()?, fired: Rc::default() })
    }

    fn schedule(&mut self, delay: Duration) -> DelayedCall {
        let fired = Rc::clone(&self.fired);
        self.reactor.call_later(delay, move |_| fired.set(fired.get() + 1))
    }

    fn reset(&mut self, call: &mut DelayedCall, delay: Duration) {
        let _ = call.reset(&mut self.reactor, delay); // the bench checks the counts at the end
    }

    fn cancel(&mut self, call: &DelayedCall) {
        let _ = call.cancel(&mut self.reactor);
    }

    fn fire(&mut self) -> Result<()> {
        while self.reactor.delayed_call_count() > 0 {
            self.reactor.iterate(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.reactor.delayed_call_count()
    }

    fn fired(&self) -> usize {
        self.fired.get()
    }
}

/// `BinaryHeap` of times, closures in a slab. What is cancelled or moved stays in the heap until its time comes.
pub struct Heap {
    times: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    calls: Slab<(u64, Box<dyn FnOnce()>)>,
    /// Tells a call from an earlier one in the same slot, and the newest time of a call from its old ones.
    generation: u64,
    /// Read once for many calls, as a loop does.
    now: Instant,
    fired: Rc<Cell<usize>>,
}

impl Heap {
    fn entry(&mut self, delay: Duration, slot: usize) -> u64 {
        self.generation += 1;
        self.times.push(Reverse((self.now + delay, slot, self.generation)));
        self.generation
    }
}

impl Timers for Heap {
    type Call = (usize, u64);

    fn new() -> Result<Heap> {
        Ok(Heap {
            times: BinaryHeap::new(),
            calls: Slab::new(),
            generation: 0,
            now: Instant::now(),
            fired: Rc::default(),
        })
    }

    fn schedule(&mut self, delay: Duration) -> (usize, u64) {
        let fired = Rc::clone(&self.fired);
        let slot = self.calls.vacant_key();
        let generation = self.entry(delay, slot);
        self.calls.insert((generation, Box::new(move || fired.set(fired.get() + 1))));
        (slot, generation)
    }

    fn reset(&mut self, call: &mut (usize, u64), delay: Duration) {
        if self.calls.get(call.0).is_some_and(|&(generation, _)| generation == call.1) {
            call.1 = self.entry(delay, call.0);
            self.calls[call.0].0 = call.1;
        }
    }

    fn cancel(&mut self, call: &(usize, u64)) {
        if self.calls.get(call.0).is_some_and(|&(generation, _)| generation == call.1) {
            drop(self.calls.remove(call.0));
        }
    }

    fn fire(&mut self) -> Result<()> {
        self.now = Instant::now();
        while let Some(&Reverse((time, slot, generation))) = self.times.peek()
            && time <= self.now
        {
            self.times.pop();
            if self.calls.get(slot).is_some_and(|&(newest, _)| newest == generation) {
                self.calls.remove(slot).1();
            }
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.calls.len()
    }

    fn fired(&self) -> usize {
        self.fired.get()
    }
}

/// tokio's timer, as a future sees it: a `Sleep` on the heap that has been polled once, whose waker counts. A task or a closure
/// around it comes on top; there is none here.
pub struct Tokio {
    sleeps: Slab<Pin<Box<Sleep>>>,
    woken: Arc<Woken>,
    waker: Waker,
    /// The runtime is this thread's as long as this lives.
    _entered: EnterGuard<'static>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tokio {
    fn runtime() -> Result<&'static Runtime> {
        static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
        let runtime =
            RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_time().build());
        runtime.as_ref().map_err(|error| error.to_string().into())
    }

    /// Until it has been polled, the timer is not set.
    fn poll(&mut self, slot: usize) {
        if let Some(sleep) = self.sleeps.get_mut(slot) {
            let _ = sleep.as_mut().poll(&mut Context::from_waker(&self.waker));
        }
    }
}

impl Timers for Tokio {
    type Call = usize;

    fn new() -> Result<Tokio> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        Ok(Tokio { sleeps: Slab::new(), woken, waker, _entered: Tokio::runtime()?.enter() })
    }

    fn schedule(&mut self, delay: Duration) -> usize {
        let slot = self.sleeps.insert(Box::pin(tokio::time::sleep(delay)));
        self.poll(slot);
        slot
    }

    fn reset(&mut self, &mut slot: &mut usize, delay: Duration) {
        if let Some(sleep) = self.sleeps.get_mut(slot) {
            sleep.as_mut().reset(tokio::time::Instant::now() + delay);
        }
        self.poll(slot);
    }

    fn cancel(&mut self, &slot: &usize) {
        drop(self.sleeps.try_remove(slot));
    }

    fn fire(&mut self) -> Result<()> {
        let runtime = Tokio::runtime()?;
        while self.fired() < self.sleeps.len() {
            runtime.block_on(tokio::time::sleep(Duration::from_millis(1)));
        }
        self.sleeps.clear();
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.sleeps.len()
    }

    fn fired(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}
