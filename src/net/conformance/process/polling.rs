//! Polls: timeouts, wake-ups and reports.

use std::thread;
use std::time::Duration;

use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;
use crate::net::{Event, Readiness, Token};

programs![
    a_poll_without_time_returns,
    a_poll_waits_for_its_time,
    a_poll_returns_how_long_it_was_silent,
    unread_bytes_are_counted,
    a_poll_appends_to_what_is_there,
    a_report_ends_a_poll,
    a_poll_without_a_limit_ends_with_a_report,
    a_wake_before_the_poll_is_not_lost,
    a_wake_ends_a_poll_without_a_limit,
    a_wake_is_no_event,
    many_wakes_are_one,
    a_wake_from_another_thread_ends_a_poll,
    a_wake_from_a_job_ends_a_poll,
    each_process_has_its_own_waker,
    all_wakers_of_a_process_wake_it,
    a_waker_may_outlive_its_process,
    hundreds_of_sockets_are_all_reported,
    a_read_of_one_socket_keeps_the_report_of_the_others,
    a_listener_is_reported_after_each_accept,
    a_paused_listener_is_not_reported,
    connections_during_a_pause_are_reported_after_it,
];

fn a_poll_without_time_returns(bench: &mut Bench) {
    for _ in 0..100 {
        assert!(polled(bench, Duration::ZERO).is_empty());
    }
}

fn a_poll_waits_for_its_time(bench: &mut Bench) {
    let before = bench.net().now();
    assert!(polled(bench, SHORT).is_empty());
    assert!(bench.net().now() - before >= SHORT);
}

fn a_poll_returns_how_long_it_was_silent(bench: &mut Bench) {
    let silent = |bench: &mut Bench, wait| bench.net().poll(&mut Vec::new(), wait).unwrap();
    assert_eq!(silent(bench, Some(Duration::ZERO)), Some(Duration::ZERO));
    let before = bench.net().now();
    let waited = silent(bench, Some(SHORT)).unwrap();
    assert!(waited >= SHORT && waited <= bench.net().now() - before + Duration::from_millis(1), "{waited:?}");
    bench.net().waker().wake();
    assert_eq!(silent(bench, Some(LONG)), None);
    bench.play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok").unwrap();
    assert_eq!(silent(bench, Some(LONG)), None);
}

fn unread_bytes_are_counted(bench: &mut Bench) {
    let unread = |bench: &mut Bench| {
        let (net, token) = bench.net_of("b");
        net.unread(token).unwrap()
    };
    bench.play("pair a b").unwrap();
    assert_eq!(unread(bench), 0);
    bench.play("send a hello -> 5\n wait b readable -> yes").unwrap();
    assert_eq!(unread(bench), 5);
    bench.play("recv_now b 3 -> \"hel\"").unwrap();
    assert_eq!(unread(bench), 2);
    // EOF does not count as a byte. A reset does not discard unread bytes.
    bench.play("reset a\n wait b closed -> yes").unwrap();
    assert_eq!(unread(bench), 2);
    bench.play("recv_now b -> \"lo\"").unwrap();
    assert_eq!(unread(bench), 0);
}

fn a_poll_appends_to_what_is_there(bench: &mut Bench) {
    bench.play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok").unwrap();
    let mut events = vec![Event::Ready(Token::NONE, Readiness::ALL)];
    bench.net().poll(&mut events, Some(LONG)).unwrap();
    assert!(matches!(events[0], Event::Ready(Token::NONE, Readiness::ALL)));
    assert!(events.len() > 1);
}

fn a_report_ends_a_poll(bench: &mut Bench) {
    bench.play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok").unwrap();
    let before = bench.net().now();
    assert!(!polled(bench, LONG).is_empty());
    assert!(bench.net().now() - before < LONG);
}

fn a_poll_without_a_limit_ends_with_a_report(bench: &mut Bench) {
    bench.play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok").unwrap();
    let mut events = Vec::new();
    bench.net().poll(&mut events, None).unwrap();
    assert!(!events.is_empty());
}

fn a_wake_before_the_poll_is_not_lost(bench: &mut Bench) {
    bench.net().waker().wake();
    assert!(ends_early(bench));
}

fn a_wake_ends_a_poll_without_a_limit(bench: &mut Bench) {
    bench.net().waker().wake();
    bench.net().poll(&mut Vec::new(), None).unwrap();
}

fn a_wake_is_no_event(bench: &mut Bench) {
    bench.net().waker().wake();
    assert!(polled(bench, LONG).is_empty());
}

fn many_wakes_are_one(bench: &mut Bench) {
    let waker = bench.net().waker();
    for _ in 0..1000 {
        waker.wake();
    }
    assert!(ends_early(bench));
    assert!(takes_full_time(bench));
    waker.wake();
    assert!(ends_early(bench));
    assert!(takes_full_time(bench));
}

fn a_wake_from_another_thread_ends_a_poll(bench: &mut Bench) {
    let waker = bench.net().waker();
    thread::spawn(move || waker.wake()).join().unwrap();
    assert!(ends_early(bench));
}

fn a_wake_from_a_job_ends_a_poll(bench: &mut Bench) {
    let waker = bench.net().waker();
    assert!(bench.net().run_job(Box::new(move || waker.wake())).is_ok());
    assert!(ends_early(bench));
}

fn each_process_has_its_own_waker(bench: &mut Bench) {
    let first = bench.net().waker();
    bench.enter(1);
    first.wake();
    assert!(takes_full_time(bench));
    bench.enter(0);
    assert!(ends_early(bench));
}

fn all_wakers_of_a_process_wake_it(bench: &mut Bench) {
    let wakers = [bench.net().waker(), bench.net().waker()];
    for waker in wakers {
        waker.wake();
        assert!(ends_early(bench));
    }
}

fn a_waker_may_outlive_its_process(bench: &mut Bench) {
    let waker = bench.net().waker();
    bench.end(0);
    waker.wake();
    assert!(takes_full_time(bench));
}

fn hundreds_of_sockets_are_all_reported(bench: &mut Bench) {
    for number in 0..100 {
        bench.pair(&format!("a{number}"), &format!("b{number}"));
    }
    for number in 0..100 {
        assert_eq!(bench.recv_now(&format!("b{number}"), 9), "WouldBlock");
        assert_eq!(bench.send(&format!("a{number}"), b"hello"), "5");
    }
    for number in 0..100 {
        assert_eq!(bench.recv(&format!("b{number}"), 9), "\"hello\"");
    }
}

/// Readiness that is not used up after one poll is reported by the next ones, or was reported
/// already.
fn a_read_of_one_socket_keeps_the_report_of_the_others(bench: &mut Bench) {
    bench
        .play(
            "pair a b
            pair c d
            send a hello -> 5
            send c world -> 5
            wait d readable -> yes
            recv_now d -> \"world\"
            wait b readable -> yes
            recv_now b -> \"hello\"",
        )
        .unwrap();
}

fn polled(bench: &mut Bench, wait: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    bench.net().poll(&mut events, Some(wait)).unwrap();
    events
}

/// Whether an event ended a long poll.
fn ends_early(bench: &mut Bench) -> bool {
    let before = bench.net().now();
    polled(bench, LONG);
    bench.net().now() - before < LONG
}

fn takes_full_time(bench: &mut Bench) -> bool {
    let before = bench.net().now();
    polled(bench, SHORT);
    bench.net().now() - before >= SHORT
}

fn a_listener_is_reported_after_each_accept(bench: &mut Bench) {
    bench
        .play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok\n connect b l -> ok\n connect c l -> ok")
        .unwrap();
    bench.play("wait c writable -> yes\n settle").unwrap();
    for name in ["d", "e", "f"] {
        assert!(bench.wait_for("l", Readiness::READABLE), "{name} waits");
        assert!(bench.accept_now("l", name).starts_with("from"), "{name}");
    }
}

fn a_paused_listener_is_not_reported(bench: &mut Bench) {
    bench.play("listen l 127.0.0.1:0 -> ok\n connect a l -> ok\n wait a writable -> yes").unwrap();
    pause(bench, true);
    bench.play("connect b l -> ok\n wait b writable -> yes\n settle\n forget l\n settle").unwrap();
    assert!(!bench.socket("l").ready.has(Readiness::READABLE));
}

fn connections_during_a_pause_are_reported_after_it(bench: &mut Bench) {
    bench.play("listen l 127.0.0.1:0 -> ok").unwrap();
    pause(bench, true);
    bench.play("connect a l -> ok\n wait a writable -> yes\n settle\n forget l").unwrap();
    pause(bench, false);
    bench.play("accept l b -> from 127.0.0.1:a\n accept_now l c -> WouldBlock\n forget l").unwrap();
    bench.play("connect d l -> ok\n accept l e -> from 127.0.0.1:d").unwrap();
}

fn pause(bench: &mut Bench, paused: bool) {
    let (net, listener) = bench.net_of("l");
    net.set_listener_paused(listener, paused);
}

const LONG: Duration = Duration::from_secs(60);

const SHORT: Duration = Duration::from_millis(5);
