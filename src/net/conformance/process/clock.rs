//! Time, randomness and the descriptor limit.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;

programs![
    time_never_goes_back,
    time_goes_on_while_a_poll_waits,
    processes_agree_on_the_time,
    the_calendar_is_in_this_century,
    the_calendar_goes_on_with_the_clock,
    random_numbers_differ,
    random_numbers_use_all_bits,
    processes_have_different_random_numbers,
    the_descriptor_limit_stays,
    the_descriptor_limit_leaves_room_for_sockets,
];

fn time_never_goes_back(bench: &mut Bench) {
    let mut last = bench.net().now();
    for _ in 0..10_000 {
        let now = bench.net().now();
        assert!(now >= last);
        last = now;
    }
}

fn time_goes_on_while_a_poll_waits(bench: &mut Bench) {
    for wait in [1, 3, 10].map(Duration::from_millis) {
        let before = bench.net().now();
        bench.net().poll(&mut Vec::new(), Some(wait)).unwrap();
        assert!(bench.net().now() - before >= wait);
    }
}

fn processes_agree_on_the_time(bench: &mut Bench) {
    let first = bench.net().now();
    bench.enter(1);
    let second = bench.net().now();
    bench.enter(0);
    let third = bench.net().now();
    assert!(first <= second && second <= third);
}

fn the_calendar_is_in_this_century(bench: &mut Bench) {
    let since_1970 = bench.net().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let years = since_1970.as_secs() / (365 * 24 * 60 * 60);
    assert!((30..130).contains(&years));
}

/// Fails if the system's calendar is set back during the case.
fn the_calendar_goes_on_with_the_clock(bench: &mut Bench) {
    let before = bench.net().wall();
    bench.net().poll(&mut Vec::new(), Some(Duration::from_millis(10))).unwrap();
    assert!(bench.net().wall() > before);
}

fn random_numbers_differ(bench: &mut Bench) {
    let numbers: BTreeSet<u64> = (0..1000).map(|_| bench.net().random()).collect();
    assert_eq!(numbers.len(), 1000);
}

/// A bit that is equal in 200 numbers occurs once in 2^192 runs.
fn random_numbers_use_all_bits(bench: &mut Bench) {
    let numbers: Vec<u64> = (0..200).map(|_| bench.net().random()).collect();
    assert_eq!(numbers.iter().fold(0, |all, number| all | number), u64::MAX);
    assert_eq!(numbers.iter().fold(u64::MAX, |all, number| all & number), 0);
}

fn processes_have_different_random_numbers(bench: &mut Bench) {
    let mut numbers = BTreeSet::new();
    for process in 0..4 {
        bench.enter(process);
        numbers.extend((0..100).map(|_| bench.net().random()));
    }
    assert_eq!(numbers.len(), 400);
}

fn the_descriptor_limit_stays(bench: &mut Bench) {
    let limit = bench.net().descriptor_limit();
    bench.pair("a", "b");
    assert_eq!(bench.net().descriptor_limit(), limit);
    bench.enter(1);
    assert_eq!(bench.net().descriptor_limit(), limit);
}

fn the_descriptor_limit_leaves_room_for_sockets(bench: &mut Bench) {
    assert!(bench.net().descriptor_limit() >= 64);
    for number in 0..20 {
        bench.pair(&format!("a{number}"), &format!("b{number}"));
    }
}
