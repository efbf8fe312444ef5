//! Every system call may fail with every error that it has, at any time: that ends what it concerns, with that error as
//! the reason, and nothing else.
//!
//! The scenario of `failing` runs in the simulation, once for each call, each error, and the first, second and tenth
//! time. Calls that a side never makes are a table with reasons: [`cases::NEVER`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::failing::cases::{self, Case};
use crate::failing::judge::{self, Harm};
use crate::failing::scenario::{MUCH_LATER, is_late};
use crate::failing::{Outcome, Side, run, run_with};
use crate::failing::{local, mail};
use twistor::sim::{Call, CallKind, Fault, Host, Random, Rule, Verdict};

#[test]
fn a_failed_call_ends_only_the_affected_object_with_its_error() {
    let mut found = Found::default();
    for case in cases::all() {
        let Case { side, kind, errno, nth } = case;
        let outcome = run(side, Fault::fail(kind, errno).nth(nth));
        let mut wrong = judge::of_a_failure(&outcome, case.harm(), errno.raw(), side == Side::Server);
        wrong.extend(not_struck(&outcome, 1));
        wrong.extend(busy(&outcome, 5, 4));
        found.add(format!("{side:?} {kind} {errno} {nth}, harm {:?}", case.harm()), wrong, outcome);
    }
    found.all_is_well(400);
}

#[test]
fn a_short_empty_or_slow_call_does_no_harm() {
    let mut found = Found::default();
    for (side, kind, verdict) in unusual() {
        for nth in cases::times(side, kind) {
            let outcome = run(side, Fault::call(kind, verdict).nth(*nth));
            let mut wrong = judge::of_a_failure(&outcome, Harm::Harmless, 0, true);
            wrong.extend(not_struck(&outcome, 1));
            wrong.extend(busy(&outcome, 5, 4));
            found.add(format!("{side:?} {kind} {verdict:?} {nth}"), wrong, outcome);
        }
    }
    found.all_is_well(90);
}

#[test]
fn a_series_of_short_empty_or_slow_calls_does_no_harm() {
    let mut found = Found::default();
    for (side, kind, verdict) in unusual() {
        let storm = Fault::call(kind, verdict).between(Duration::ZERO, MUCH_LATER).at_most(1000);
        let outcome = run(side, storm);
        let mut wrong = judge::of_a_failure(&outcome, Harm::Harmless, 0, true);
        wrong.extend((outcome.struck < 10).then(|| format!("it struck {} times", outcome.struck)));
        // Each may cost a turn on either side.
        wrong.extend(busy(&outcome, 5, 1));
        found.add(format!("{side:?} {kind} {verdict:?}, a storm"), wrong, outcome);
    }
    found.all_is_well(30);
}

#[test]
fn after_calls_that_failed_for_a_while_everything_is_as_before() {
    let mut found = Found::default();
    for (side, kind) in cases::calls() {
        for errno in kind.errors() {
            let storm = Fault::fail(kind, *errno).between(Duration::ZERO, MUCH_LATER).at_most(25);
            let outcome = run(side, storm);
            let late = judge::unserved(&outcome.book).into_iter().filter(|number| is_late(*number));
            let mut wrong: Vec<_> = late.map(|number| format!("client {number} was not served")).collect();
            wrong.extend((outcome.struck < 10).then(|| format!("it struck {} times", outcome.struck)));
            wrong.extend(busy(&outcome, 3, 2));
            found.add(format!("{side:?} {kind} {errno}, a storm"), wrong, outcome);
        }
    }
    found.all_is_well(100);
}

#[test]
fn a_server_without_descriptors_goes_on_when_it_has_some_again() {
    // Ten listeners and one connection, and what a process has anyway.
    let few = 10 + 1 + 6;
    let outcome = run_with(|simulation, host| {
        let server = host(Side::Server);
        simulation
            .at(Duration::from_millis(1), move |simulation| simulation.set_descriptor_limit(server, few));
        simulation.at(MUCH_LATER, move |simulation| simulation.set_descriptor_limit(server, 1000));
        Rc::default()
    });
    let unserved = judge::unserved(&outcome.book);
    let mut wrong = Vec::new();
    wrong.extend((outcome.server.accepts_shed == 0).then(|| "no connection was shed".to_owned()));
    wrong.extend(unserved.iter().find(|number| is_late(**number)).map(|number| format!("{number} unserved")));
    wrong.extend(
        (unserved.len() as u64 > outcome.server.accepts_shed).then(|| format!("{unserved:?} unserved")),
    );
    let mut found = Found::default();
    found.add(format!("{} shed", outcome.server.accepts_shed), wrong, outcome);
    found.all_is_well(1);
}

#[test]
fn without_a_fault_all_clients_are_served_by_expected_calls() {
    struct Calls(Rc<RefCell<Vec<(Host, CallKind)>>>);
    impl Rule for Calls {
        fn call(&mut self, call: &Call, _: &mut Random) -> Verdict {
            self.0.borrow_mut().push((call.host, call.kind));
            Verdict::Pass
        }
    }
    let made = Rc::new(RefCell::new(Vec::new()));
    let sides = Cell::new(None);
    let outcome = run_with(|simulation, host| {
        simulation.add_rule(Calls(Rc::clone(&made)));
        sides.set(Some([host(Side::Server), host(Side::Client)]));
        Rc::default()
    });
    let [server, client] = sides.get().unwrap();
    for (side, host) in [(Side::Server, server), (Side::Client, client)] {
        for kind in CallKind::ALL {
            let count = made.borrow().iter().filter(|call| **call == (host, *kind)).count();
            match cases::NEVER.iter().find(|(where_, what, _)| (*where_, *what) == (side, *kind)) {
                Some((_, _, why)) => assert_eq!(count, 0, "{side:?} {kind}, although {why}"),
                None => assert!(count >= 10, "{side:?} {kind}: {count}"),
            }
        }
    }
    let wrong = judge::of_a_failure(&outcome, Harm::Harmless, 0, true);
    let mut found = Found::default();
    found.add("no fault".into(), wrong, outcome);
    found.all_is_well(1);
}

#[test]
fn a_failed_datagram_call_loses_at_most_one_and_is_reported() {
    let (mut cases, mut bad) = (0, String::new());
    for (side, kind, times) in mail::CALLS {
        for (errno, nth) in kind.errors().iter().flat_map(|errno| times.iter().map(move |nth| (*errno, *nth)))
        {
            let outcome = mail::run(*side, Fault::fail(*kind, errno).nth(nth));
            let wrong = mail::judge(&outcome, *side, *kind, errno);
            cases += 1;
            if !wrong.is_empty() {
                bad += &format!("{side:?} {kind} {errno} {nth}: {}\n{}\n", wrong.join("; "), outcome.trace);
            }
        }
    }
    for (side, kind, _) in mail::CALLS.iter().filter(|(_, _, times)| times.len() > 1) {
        for verdict in mail::unusual() {
            let outcome = mail::run(*side, Fault::call(*kind, verdict).at_most(30));
            let wrong = mail::judge_harmless(&outcome);
            cases += 1;
            if !wrong.is_empty() {
                bad += &format!("{side:?} {kind} {verdict:?}: {}\n{}\n", wrong.join("; "), outcome.trace);
            }
        }
    }
    assert!(bad.is_empty(), "of {cases}:\n{bad}");
    assert!(cases >= 140, "{cases} cases");
}

#[test]
fn a_failed_unix_socket_call_ends_only_the_affected_object() {
    let (mut cases, mut bad) = (0, String::new());
    for (kind, times) in local::CALLS {
        for (errno, nth) in kind.errors().iter().flat_map(|errno| times.iter().map(move |nth| (*errno, *nth)))
        {
            let outcome = local::run(Fault::fail(*kind, errno).nth(nth));
            let wrong = local::judge(&outcome, *kind, errno);
            cases += 1;
            if !wrong.is_empty() {
                bad += &format!("{kind} {errno} {nth}: {}\n", wrong.join("; "));
                if bad.len() < 2000 {
                    bad += &outcome.trace;
                }
            }
        }
    }
    assert!(bad.is_empty(), "of {cases}:\n{bad}");
    assert!(cases >= 150, "{cases} cases");
}

/// What a call can do beside failing, where it can.
fn unusual() -> impl Iterator<Item = (Side, CallKind, Verdict)> {
    cases::calls().flat_map(|(side, kind)| {
        let moves = matches!(kind, CallKind::Recv | CallKind::Send);
        let blocks = moves || kind == CallKind::Accept;
        let verdicts = [
            moves.then_some(Verdict::Short(1)),
            blocks.then_some(Verdict::Drop),
            // Where it is no use to try again, that is a failure: see the matrix.
            Some(Verdict::Delay(Duration::from_millis(3))),
        ];
        verdicts.into_iter().flatten().map(move |verdict| (side, kind, verdict))
    })
}

fn not_struck(outcome: &Outcome, times: u64) -> Option<String> {
    (outcome.struck != times).then(|| format!("it struck {} times", outcome.struck))
}

/// A loop that turns much more often than without a fault is busy with it.
fn busy(outcome: &Outcome, most: u64, of: u64) -> Option<String> {
    thread_local! {
        static USUAL: u64 = run_with(|_, _| Rc::default()).turns;
    }
    let usual = USUAL.with(|turns| *turns);
    (outcome.turns > usual * most / of).then(|| format!("{} turns, usually {usual}", outcome.turns))
}

/// What is wrong in which cases.
#[derive(Default)]
struct Found {
    cases: usize,
    bad: Vec<String>,
    trace: String,
}

impl Found {
    fn add(&mut self, case: String, mut wrong: Vec<String>, outcome: Outcome) {
        self.cases += 1;
        wrong.extend(outcome.wrong);
        if wrong.is_empty() {
            return;
        }
        if self.bad.is_empty() {
            self.trace = outcome.trace;
        }
        self.bad.push(format!("{case}: {}", wrong.join("; ")));
    }

    fn all_is_well(self, least: usize) {
        let Found { cases, bad, trace } = self;
        assert!(bad.is_empty(), "{} of {cases}:\n{}\n\nthe first:\n{trace}", bad.len(), bad.join("\n"));
        assert!(cases >= least, "{cases} cases");
        println!("{cases} cases");
    }
}
