//! A call with a delay of zero runs in the next turn, so that a chain of them starves no other
//! work.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, on_each_back_end};
use twistor::Reactor;

#[test]
fn a_zero_delay_call_set_by_a_timed_call_runs_in_the_next_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let turns = Rc::new(Cell::new((0, 0)));
        let noted = Rc::clone(&turns);
        reactor.call_later(Duration::ZERO, move |reactor| {
            let first = reactor.statistics().turns;
            reactor.call_later(Duration::ZERO, move |reactor| {
                noted.set((first, reactor.statistics().turns));
            });
        });
        world.run_until_idle(&mut reactor);
        let (first, second) = turns.get();
        assert_eq!(second, first + 1);
    });
}

#[test]
fn a_call_reset_to_zero_by_a_timed_call_runs_in_the_next_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let turns = Rc::new(Cell::new((0, 0)));
        let (early, late) = (Rc::clone(&turns), Rc::clone(&turns));
        let far = Duration::from_secs(60);
        let other = reactor.call_later(far, move |reactor| {
            late.set((late.get().0, reactor.statistics().turns));
        });
        reactor.call_later(Duration::ZERO, move |reactor| {
            early.set((reactor.statistics().turns, 0));
            other.reset(reactor, Duration::ZERO).unwrap();
        });
        world.run_until_idle(&mut reactor);
        let (first, second) = turns.get();
        assert_eq!(second, first + 1);
    });
}

/// Records its turn and sets the next call of the chain.
fn link(reactor: &mut Reactor, links: usize, turns: Rc<RefCell<Vec<u64>>>) {
    turns.borrow_mut().push(reactor.statistics().turns);
    if links > 1 {
        reactor.call_when_running(move |reactor| link(reactor, links - 1, turns));
    }
}

#[test]
fn chained_calls_in_a_running_reactor_take_one_turn_each() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        let turns: Rc<RefCell<Vec<u64>>> = Rc::default();
        let noted = Rc::clone(&turns);
        reactor.call_when_running(move |reactor| link(reactor, 5, noted));
        world.run_until(&mut reactor, "all links", |_| turns.borrow().len() == 5);
        let first = turns.borrow()[0];
        assert!(turns.borrow().iter().copied().eq(first..first + 5), "{:?}", turns.borrow());
    });
}

/// Sets itself again while `wanted` is true.
fn spin(reactor: &mut Reactor, wanted: Rc<Cell<bool>>, rounds: Rc<Cell<u64>>) {
    rounds.set(rounds.get() + 1);
    if wanted.get() {
        reactor.call_later(Duration::ZERO, move |reactor| spin(reactor, wanted, rounds));
    }
}

#[test]
fn a_call_that_repeats_without_delay_starves_no_connection() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (wanted, rounds) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
        spin(&mut reactor, Rc::clone(&wanted), Rc::clone(&rounds));
        let record = Record::new();
        let server = Recorder::named("server", &record).echoing();
        let listener = world.serve(&mut reactor, server);
        let client = Recorder::named("client", &record).acting(|what, transport, _| match what {
            "made" => transport.write(b"hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run_until(&mut reactor, "the echo", |_| record.has("server: lost Done"));
        assert!(record.has("client: data hello"));
        assert!(rounds.get() > 1, "meanwhile the chain went on");
        wanted.set(false);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_chain_takes_one_turn_for_each_link() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (wanted, rounds) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
        spin(&mut reactor, Rc::clone(&wanted), Rc::clone(&rounds));
        let before = (rounds.get(), reactor.statistics().turns);
        for _ in 0..10 {
            assert!(reactor.iterate(Some(Duration::from_secs(1))).unwrap());
        }
        assert_eq!((rounds.get(), reactor.statistics().turns), (before.0 + 10, before.1 + 10));
        wanted.set(false);
        world.run_until_idle(&mut reactor);
    });
}
