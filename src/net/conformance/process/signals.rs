//! Signals as events. All cases use signals that are ignored by default.

use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;
use crate::net::{Signal, Watch};

programs![
    a_watched_signal_comes_as_an_event,
    a_signal_that_is_watched_once_comes_as_an_event,
    a_signal_ends_a_poll_without_a_limit,
    every_process_that_watches_gets_a_signal,
    the_set_of_watched_signals_can_change,
    a_signal_that_is_watched_no_more_does_not_come,
    an_unwatched_signal_does_not_come,
];

fn a_watched_signal_comes_as_an_event(bench: &mut Bench) {
    watch(bench, &[Signal::WindowChange]);
    for _ in 0..3 {
        bench.signals.clear();
        bench.raise(Signal::WindowChange);
        assert!(comes(bench, 0, Signal::WindowChange));
    }
}

fn a_signal_that_is_watched_once_comes_as_an_event(bench: &mut Bench) {
    bench.net().set_signals(&[Watch { signal: Signal::WindowChange, once: true }]).unwrap();
    bench.raise(Signal::WindowChange);
    assert!(comes(bench, 0, Signal::WindowChange));
}

fn a_signal_ends_a_poll_without_a_limit(bench: &mut Bench) {
    watch(bench, &[Signal::WindowChange]);
    bench.raise(Signal::WindowChange);
    let mut events = Vec::new();
    bench.net().poll(&mut events, None).unwrap();
}

fn every_process_that_watches_gets_a_signal(bench: &mut Bench) {
    watch(bench, &[Signal::WindowChange]);
    bench.enter(1);
    watch(bench, &[Signal::Child, Signal::WindowChange]);
    bench.raise(Signal::WindowChange);
    assert!(comes(bench, 0, Signal::WindowChange));
    assert!(comes(bench, 1, Signal::WindowChange));
    bench.raise(Signal::Child);
    assert!(comes(bench, 1, Signal::Child));
    assert!(!bench.signals.contains(&(0, Signal::Child)));
}

fn the_set_of_watched_signals_can_change(bench: &mut Bench) {
    watch(bench, &[Signal::WindowChange]);
    watch(bench, &[Signal::Child]);
    bench.raise(Signal::Child);
    assert!(comes(bench, 0, Signal::Child));
    watch(bench, &[Signal::Child, Signal::WindowChange]);
    bench.raise(Signal::WindowChange);
    assert!(comes(bench, 0, Signal::WindowChange));
}

fn a_signal_that_is_watched_no_more_does_not_come(bench: &mut Bench) {
    watch(bench, &[Signal::WindowChange]);
    bench.raise(Signal::WindowChange);
    watch(bench, &[]);
    bench.raise(Signal::WindowChange);
    bench.settle();
    assert!(bench.signals.is_empty());
}

fn an_unwatched_signal_does_not_come(bench: &mut Bench) {
    bench.raise(Signal::WindowChange);
    watch(bench, &[Signal::Child]);
    bench.raise(Signal::WindowChange);
    bench.settle();
    assert!(!bench.signals.contains(&(0, Signal::WindowChange)));
}

fn watch(bench: &mut Bench, signals: &[Signal]) {
    let watches: Vec<Watch> = signals.iter().map(|signal| Watch { signal: *signal, once: false }).collect();
    bench.net().set_signals(&watches).unwrap();
}

fn comes(bench: &mut Bench, process: usize, signal: Signal) -> bool {
    bench.wait_until(|bench| bench.signals.contains(&(process, signal)))
}
