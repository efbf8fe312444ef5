//! Random operations on Deferreds in random order: each awaited one has one outcome, and nothing is left of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use crate::world::random::Random;
use twistor::deferred::{CancelHandle, PauseGuard, gather, race};
use twistor::{Deferred, Failure, Reactor, Resolver};

/// All that is under way, and how often each that was waited for came to its end.
struct Play {
    random: Random,
    deferreds: Vec<Deferred<u64>>,
    resolvers: Vec<Resolver<u64>>,
    pauses: Vec<PauseGuard>,
    handles: Vec<CancelHandle>,
    ends: Rc<RefCell<Vec<u32>>>,
    callbacks: Rc<Cell<u64>>,
    /// Everything that callbacks keep has one.
    life: Rc<()>,
}

impl Play {
    fn new(seed: u64) -> Play {
        Play {
            random: Random::new(seed),
            deferreds: Vec::new(),
            resolvers: Vec::new(),
            pauses: Vec::new(),
            handles: Vec::new(),
            ends: Rc::default(),
            callbacks: Rc::default(),
            life: Rc::new(()),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    /// Takes one of them out.
    fn take(&mut self) -> Option<Deferred<u64>> {
        let length = self.deferreds.len();
        (length > 0).then(|| {
            let index = self.below(length);
            self.deferreds.swap_remove(index)
        })
    }

    fn begin(&mut self, reactor: &Reactor) {
        let (handle, held) = (reactor.handle(), Rc::clone(&self.life));
        let (resolver, deferred) = match self.below(4) {
            0 => Deferred::new(&handle),
            1 => Deferred::with_canceller(&handle, move |_, _| drop(held)),
            2 => Deferred::with_canceller(&handle, move |_, resolver| {
                drop(held);
                let _ = resolver.callback(1);
            }),
            _ => Deferred::with_canceller(&handle, move |_, _| {
                let _held = held;
                panic!("a canceller");
            }),
        };
        self.resolvers.push(resolver);
        self.deferreds.push(deferred);
    }

    fn extend(&mut self, reactor: &mut Reactor) {
        let Some(deferred) = self.take() else { return };
        let (held, callbacks) = (Rc::clone(&self.life), Rc::clone(&self.callbacks));
        let called = move || {
            let _ = &held;
            callbacks.set(callbacks.get() + 1);
        };
        let extended = match self.below(8) {
            0 => deferred.map(move |_, number| {
                called();
                number + 1
            }),
            1 => deferred.or_else(move |_, _| {
                called();
                Ok(2)
            }),
            2 => deferred.then_always(move |_, outcome| {
                called();
                outcome.map(|number| number + 3)
            }),
            3 => deferred.then(move |_, _| {
                called();
                Err(Failure::new("a callback"))
            }),
            4 => deferred.map(move |_, _| {
                called();
                panic!("a callback")
            }),
            5 => deferred.timeout(reactor, Duration::from_micros(300)),
            _ => match self.take() {
                Some(other) => deferred.then_always(move |_, _| {
                    called();
                    other
                }),
                None => deferred,
            },
        };
        self.deferreds.push(extended);
    }

    fn wait_for(&mut self, deferred: Deferred<u64>) {
        let (held, ends) = (Rc::clone(&self.life), Rc::clone(&self.ends));
        let index = ends.borrow().len();
        ends.borrow_mut().push(0);
        deferred.done(move |_, _| {
            let _held = held;
            ends.borrow_mut()[index] += 1;
        });
    }

    fn step(&mut self, reactor: &mut Reactor) {
        match self.below(20) {
            0..=3 => self.begin(reactor),
            4..=8 => self.extend(reactor),
            9 | 10 if !self.resolvers.is_empty() => {
                let index = self.below(self.resolvers.len());
                let _ = match self.below(3) {
                    0 => self.resolvers[index].errback(Failure::new("a resolver")),
                    _ => self.resolvers[index].callback(7),
                };
            }
            11 if !self.resolvers.is_empty() => {
                let index = self.below(self.resolvers.len());
                drop(self.resolvers.swap_remove(index));
            }
            12 => self.deferreds.iter().take(1).for_each(Deferred::cancel),
            13 => drop(self.take()),
            14 => {
                self.pauses.extend(self.deferreds.last().map(Deferred::pause));
                self.handles.extend(self.deferreds.first().map(Deferred::cancel_handle));
            }
            15 => drop(self.pauses.pop()),
            16 => self.handles.pop().iter().for_each(CancelHandle::cancel),
            17 => {
                let several: Vec<_> = (0..3).filter_map(|_| self.take()).collect();
                let handle = reactor.handle();
                let together = match self.below(2) {
                    0 => gather(&handle, several).map(|_, numbers| numbers.iter().sum()),
                    _ => race(&handle, several).map(|_, (_, number)| number),
                };
                self.deferreds.push(together);
            }
            18 => {
                if let Some(deferred) = self.take() {
                    self.wait_for(deferred);
                }
            }
            _ => {
                reactor.iterate(Some(Duration::ZERO)).unwrap();
            }
        }
    }

    fn end(mut self, reactor: &mut Reactor) {
        for deferred in std::mem::take(&mut self.deferreds) {
            self.wait_for(deferred);
        }
        self.pauses.clear();
        self.resolvers.clear();
        let ended = |ends: &[u32]| ends.iter().all(|count| *count > 0);
        for _ in 0..1000 {
            if ended(&self.ends.borrow()) && reactor.delayed_call_count() == 0 {
                break;
            }
            reactor.iterate(Some(Duration::from_millis(1))).unwrap();
        }
        assert!(self.ends.borrow().iter().all(|count| *count == 1), "{:?}", self.ends.borrow());
        // Deferreds without a waiter are over as well.
        for _ in 0..3 {
            reactor.iterate(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(Rc::strong_count(&self.life), 1, "something is left");
    }
}

#[test]
fn each_that_is_waited_for_has_one_outcome_and_nothing_is_left() {
    on_each_back_end(|world| {
        let mut callbacks = 0;
        for seed in 0..150 {
            let mut reactor = world.reactor();
            let mut play = Play::new(seed);
            let count = Rc::clone(&play.callbacks);
            for _ in 0..200 {
                play.step(&mut reactor);
            }
            play.end(&mut reactor);
            callbacks += count.get();
        }
        assert!(callbacks > 1000, "{callbacks} callbacks ran");
        // Failures that were not handled.
        assert!(!world.logged().is_empty());
    });
}
