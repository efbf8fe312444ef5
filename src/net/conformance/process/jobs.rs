//! Jobs on the pool, and host name look-ups.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use crate::net::conformance::bench::Bench;
use crate::net::conformance::bench::drivers::{JOB_QUEUE, LOOKUP_QUEUE, LOOKUP_THREADS};
use crate::net::conformance::programs;
use crate::net::{Job, LookedUp, LookupId, LookupProgress, NameError, NotAsked};

programs![
    a_job_runs,
    one_thread_runs_jobs_in_their_order,
    a_job_beyond_the_queue_is_given_back,
    a_job_given_back_is_whole,
    there_is_room_again_when_jobs_are_done,
    processes_have_queues_of_their_own,
    jobs_that_have_not_begun_end_with_their_process,
    an_address_is_its_own_name,
    an_address_of_ipv6_is_its_own_name,
    localhost_is_this_machine,
    an_unknown_name_is_an_error,
    an_invalid_name_is_an_error,
    several_names_can_be_looked_up_at_once,
    interfaces_have_numbers,
    the_source_of_datagrams_to_this_machine_is_itself,
    a_name_that_hangs_holds_up_no_other,
    equal_names_occupy_one_thread_and_all_are_answered,
    a_look_up_beyond_the_threads_waits_for_one,
    a_look_up_beyond_the_limit_is_refused,
    a_cancelled_look_up_makes_room_and_is_not_answered,
    a_hanging_look_up_keeps_its_thread_when_it_is_cancelled,
];

fn a_job_runs(bench: &mut Bench) {
    let log = Log::default();
    assert!(bench.net().run_job(log.writes("ran")).is_ok());
    assert!(bench.wait_until(|_| log.lines() == ["ran"]));
}

fn one_thread_runs_jobs_in_their_order(bench: &mut Bench) {
    let log = Log::default();
    let release = bench.occupy();
    assert!(bench.net().run_job(log.writes("first")).is_ok());
    assert!(bench.net().run_job(log.writes("second")).is_ok());
    assert!(log.lines().is_empty());
    release();
    assert!(bench.wait_until(|_| log.lines().len() == 2));
    assert_eq!(log.lines(), ["first", "second"]);
}

fn a_job_beyond_the_queue_is_given_back(bench: &mut Bench) {
    let log = Log::default();
    let release = bench.occupy();
    for _ in 0..JOB_QUEUE {
        assert!(bench.net().run_job(log.writes("waits")).is_ok(), "up to the limit");
    }
    assert!(bench.net().run_job(log.writes("too many")).is_err(), "beyond the limit");
    release();
    assert!(bench.wait_until(|_| log.lines().len() == JOB_QUEUE));
    bench.settle();
    assert_eq!(log.lines(), ["waits"; JOB_QUEUE]);
}

fn a_job_given_back_is_whole(bench: &mut Bench) {
    let log = Log::default();
    let release = bench.occupy();
    let back = (0..=JOB_QUEUE).filter_map(|_| bench.net().run_job(log.writes("ran")).err());
    back.for_each(|job| job());
    assert_eq!(log.lines(), ["ran"]);
    release();
    assert!(bench.wait_until(|_| log.lines().len() == JOB_QUEUE + 1));
}

fn there_is_room_again_when_jobs_are_done(bench: &mut Bench) {
    let log = Log::default();
    let release = bench.occupy();
    while bench.net().run_job(log.writes("ran")).is_ok() {}
    release();
    assert!(bench.wait_until(|_| log.lines().len() == JOB_QUEUE));
    assert!(bench.net().run_job(log.writes("again")).is_ok());
    assert!(bench.wait_until(|_| log.lines().last() == Some(&"again")));
}

fn processes_have_queues_of_their_own(bench: &mut Bench) {
    let log = Log::default();
    let release = bench.occupy();
    while bench.net().run_job(log.writes("first")).is_ok() {}
    bench.enter(1);
    assert!(bench.net().run_job(log.writes("second")).is_ok());
    assert!(bench.wait_until(|_| log.lines().contains(&"second")));
    release();
    assert!(bench.wait_until(|_| log.lines().len() == JOB_QUEUE + 1));
}

fn jobs_that_have_not_begun_end_with_their_process(bench: &mut Bench) {
    let log = Log::default();
    // The running job ends when the queued one is dropped, since the process waits for it.
    let held = Held(Some(bench.occupy()));
    let waits = log.writes("ran");
    let job = move || {
        drop(held);
        waits();
    };
    assert!(bench.net().run_job(Box::new(job)).is_ok());
    bench.end(0);
    bench.settle();
    assert!(log.lines().is_empty());
}

fn an_address_is_its_own_name(bench: &mut Bench) {
    assert_eq!(look_up(bench, "192.0.2.7").unwrap(), ["192.0.2.7:80".parse().unwrap()]);
}

fn an_address_of_ipv6_is_its_own_name(bench: &mut Bench) {
    assert_eq!(look_up(bench, "2001:db8::7").unwrap(), ["[2001:db8::7]:80".parse().unwrap()]);
}

fn localhost_is_this_machine(bench: &mut Bench) {
    let found = look_up(bench, "localhost").unwrap();
    assert!(!found.is_empty());
    for address in found {
        assert!(address.ip().is_loopback() && address.port() == 80, "{address}");
    }
}

fn an_unknown_name_is_an_error(bench: &mut Bench) {
    assert!(look_up(bench, "no-such-host.invalid").is_err());
}

fn an_invalid_name_is_an_error(bench: &mut Bench) {
    assert!(look_up(bench, "no name").is_err());
    assert!(look_up(bench, "no\0name").is_err());
}

fn several_names_can_be_looked_up_at_once(bench: &mut Bench) {
    let found = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|name| (name, ask(bench, name).1));
    for (name, answer) in found {
        let address = SocketAddr::new(name.parse::<IpAddr>().unwrap(), 80);
        assert!(bench.wait_until(|_| answer.lock().unwrap().is_some()));
        assert_eq!(answer.lock().unwrap().take().unwrap().unwrap(), [address]);
    }
}

fn interfaces_have_numbers(bench: &mut Bench) {
    assert!(bench.net().interface_index("lo").unwrap() > 0);
    for name in ["", "no_such_if", "longer_than_any_name_of_an_interface"] {
        assert!(bench.net().interface_index(name).is_err(), "{name}");
    }
}

fn the_source_of_datagrams_to_this_machine_is_itself(bench: &mut Bench) {
    for address in ["127.0.0.1:0", "127.0.0.1:80", "[::1]:0", "[::1]:80"] {
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(bench.net().source_address(address).unwrap(), address.ip());
    }
}

fn a_name_that_hangs_holds_up_no_other(bench: &mut Bench) {
    bench.hold_name("hangs.test", true);
    let (_, hangs) = ask(bench, "hangs.test");
    for _ in 0..3 {
        assert!(look_up(bench, "127.0.0.1").is_ok());
    }
    assert!(hangs.lock().unwrap().is_none());
    bench.hold_name("hangs.test", false);
    assert!(bench.wait_until(|_| hangs.lock().unwrap().is_some()));
}

fn equal_names_occupy_one_thread_and_all_are_answered(bench: &mut Bench) {
    bench.hold_name("hangs.test", true);
    let asked = ["hangs.test", "HANGS.test", "hangs.test"].map(|name| ask(bench, name).1);
    assert!(look_up(bench, "127.0.0.1").is_ok(), "one thread is free");
    bench.hold_name("hangs.test", false);
    assert!(bench.wait_until(|_| asked.iter().all(|answer| answer.lock().unwrap().is_some())));
}

/// Starts a hanging look-up on each thread.
fn occupy_threads(bench: &mut Bench) -> Vec<(LookupId, Found)> {
    let names: Vec<String> = (0..LOOKUP_THREADS).map(|number| format!("hangs{number}.test")).collect();
    let asked = names.iter().map(|name| {
        bench.hold_name(name, true);
        ask(bench, name)
    });
    let asked: Vec<_> = asked.collect();
    let runs = |bench: &mut Bench, id| matches!(bench.net().lookup_progress(id), LookupProgress::Running(_));
    assert!(bench.wait_until(|bench| asked.iter().all(|(id, _)| runs(bench, *id))));
    asked
}

fn a_look_up_beyond_the_threads_waits_for_one(bench: &mut Bench) {
    let asked = occupy_threads(bench);
    let (id, waits) = ask(bench, "127.0.0.1");
    bench.settle();
    assert_eq!(bench.net().lookup_progress(id), LookupProgress::Waiting);
    bench.hold_name("hangs0.test", false);
    assert!(bench.wait_until(|_| waits.lock().unwrap().is_some()));
    assert_eq!(bench.net().lookup_progress(id), LookupProgress::Over);
    assert!(asked[0].1.lock().unwrap().is_some() && asked[1].1.lock().unwrap().is_none());
}

fn a_look_up_beyond_the_limit_is_refused(bench: &mut Bench) {
    let asked = occupy_threads(bench);
    for number in asked.len()..LOOKUP_QUEUE {
        ask(bench, &format!("waits{number}.test"));
    }
    let refused = bench.net().resolve("127.0.0.1", 80, Box::new(|_| panic!("it was answered")));
    assert!(matches!(refused, Err(NotAsked::QueueFull)), "{refused:?}");
}

fn a_cancelled_look_up_makes_room_and_is_not_answered(bench: &mut Bench) {
    let asked = occupy_threads(bench);
    let waiting: Vec<_> =
        (asked.len()..LOOKUP_QUEUE).map(|number| ask(bench, &format!("waits{number}.test"))).collect();
    for (id, _) in &waiting {
        bench.net().cancel_lookup(*id);
        bench.net().cancel_lookup(*id);
        assert_eq!(bench.net().lookup_progress(*id), LookupProgress::Over);
    }
    let (_, answer) = ask(bench, "127.0.0.1");
    bench.hold_name("hangs0.test", false);
    assert!(bench.wait_until(|_| answer.lock().unwrap().is_some()));
    assert!(waiting.iter().all(|(_, answer)| answer.lock().unwrap().is_none()));
}

fn a_hanging_look_up_keeps_its_thread_when_it_is_cancelled(bench: &mut Bench) {
    let asked = occupy_threads(bench);
    for (id, _) in &asked {
        bench.net().cancel_lookup(*id);
    }
    let (waiting, answer) = ask(bench, "127.0.0.1");
    let (joined, again) = ask(bench, "hangs1.test");
    bench.settle();
    assert_eq!(bench.net().lookup_progress(waiting), LookupProgress::Waiting);
    assert!(matches!(bench.net().lookup_progress(joined), LookupProgress::Running(_)));
    bench.hold_name("hangs1.test", false);
    assert!(bench.wait_until(|_| answer.lock().unwrap().is_some() && again.lock().unwrap().is_some()));
    assert!(asked.iter().all(|(_, answer)| answer.lock().unwrap().is_none()));
}

/// Lines written by jobs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn writes(&self, line: &'static str) -> Job {
        let log = Arc::clone(&self.0);
        Box::new(move || log.lock().unwrap().push(line))
    }

    fn lines(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// Releases a held job when dropped.
struct Held(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|release| release());
    }
}

type Found = Arc<Mutex<Option<Result<Vec<SocketAddr>, NameError>>>>;

fn ask(bench: &mut Bench, name: &str) -> (LookupId, Found) {
    let found = Found::default();
    let slot = Arc::clone(&found);
    let answer = move |answer: LookedUp| *slot.lock().unwrap() = Some(answer.found);
    let asked = bench.net().resolve(name, 80, Box::new(answer));
    (asked.expect("room for one more"), found)
}

fn look_up(bench: &mut Bench, name: &str) -> Result<Vec<SocketAddr>, NameError> {
    let (_, found) = ask(bench, name);
    bench.max_rounds = LOOKUP_MAX_ROUNDS;
    assert!(bench.wait_until(|_| found.lock().unwrap().is_some()), "an answer");
    found.lock().unwrap().take().expect("the answer that has come")
}

/// Max polls for a look-up. A resolver whose servers do not answer takes a minute or more.
const LOOKUP_MAX_ROUNDS: usize = 60_000;
