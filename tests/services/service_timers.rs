//! A timer service calls once a period, in phase with its start, whatever the calls do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::service::{Service, StopToken, TimerService};
use twistor::task::Tick;
use twistor::testing::MemoryReactor;

const PERIOD: Duration = Duration::from_millis(2);

type Ticks = Rc<RefCell<Vec<Tick>>>;

fn numbers(ticks: &Ticks) -> Vec<(u64, u64)> {
    ticks.borrow().iter().map(|tick| (tick.count, tick.skipped)).collect()
}

#[test]
fn the_first_call_comes_at_the_start_and_none_after_the_stop() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let ticks = Ticks::default();
        let noted = Rc::clone(&ticks);
        let mut service = TimerService::new(PERIOD, move |_, tick| noted.borrow_mut().push(tick));
        for _ in 0..2 {
            service.start(&mut reactor).unwrap();
            service.start(&mut reactor).unwrap();
            assert!(service.running() && ticks.borrow().is_empty(), "never inside the call");
            world.run_until(&mut reactor, "three ticks", |_| ticks.borrow().len() >= 3);
            let told = Rc::new(Cell::new(false));
            let tells = Rc::clone(&told);
            let stopped = StopToken::new(&mut reactor, move |_| tells.set(true));
            service.stop(&mut reactor, stopped);
            assert!(!service.running());
            world.run_until(&mut reactor, "stopped", |_| told.get());
            world.run_until_idle(&mut reactor);
            // Each call knows which one it is, however late: numbers and what was skipped add up.
            let mut next = 0;
            for tick in ticks.take() {
                assert_eq!(tick.count, next + tick.skipped);
                next = tick.count + 1;
            }
        }
    });
}

#[test]
fn it_keeps_its_phase_and_counts_what_it_could_not_do_in_time() {
    let mut memory = MemoryReactor::new();
    let ticks = Ticks::default();
    let (noted, network) = (Rc::clone(&ticks), memory.network());
    let mut service = TimerService::new(Duration::from_secs(10), move |_, tick| {
        noted.borrow_mut().push(tick);
        if tick.count == 2 {
            network.0.advance_host_clock(network.1, Duration::from_secs(25));
        }
    });
    service.start(&mut memory.reactor()).unwrap();
    memory.start();
    assert_eq!(numbers(&ticks), [(0, 0)]);
    memory.advance(Duration::from_secs(9));
    assert_eq!(ticks.borrow().len(), 1);
    memory.advance(Duration::from_secs(1));
    assert_eq!(numbers(&ticks), [(0, 0), (1, 0)]);
    // The call at 20 s takes until 45 s: that of 30 s is skipped, that of 40 s comes late, the next one in phase.
    memory.advance(Duration::from_secs(40));
    assert_eq!(numbers(&ticks), [(0, 0), (1, 0), (2, 0), (4, 1), (5, 0)]);
    service.stop(&mut memory.reactor(), StopToken::ignored());
    memory.advance(Duration::from_secs(100));
    assert_eq!(ticks.borrow().len(), 5);
}

#[test]
fn a_panic_in_a_call_does_not_end_it_and_a_call_may_stop_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let calls = Rc::new(Cell::new(0));
        let slot: Rc<RefCell<Option<TimerService>>> = Rc::default();
        let (count, own) = (Rc::clone(&calls), Rc::clone(&slot));
        let mut service = TimerService::new(PERIOD, move |reactor, _| {
            count.set(count.get() + 1);
            assert!(count.get() > 2, "it panics");
            if let Some(service) = own.borrow_mut().as_mut().filter(|_| count.get() == 5) {
                service.stop(reactor, StopToken::ignored());
            }
        });
        *slot.borrow_mut() = Some(service.clone());
        service.start(&mut reactor).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(calls.get(), 5);
        assert_eq!(world.logged(), ["panic in a timed call: it panics"; 2]);
        slot.take();
    });
}
