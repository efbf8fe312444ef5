//! Answers are kept for their time, negative ones for that of the zone, failures for a short time,
//! and all within limits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::lab::{Act, Lab, MILLISECOND, SECOND, no_data, nonexistent, silent, table};
use crate::message::Asked;
use twistor::dns::{RecordType, ResponseCode};
use twistor::{AddressFamily, Query};

#[test]
fn an_answer_is_kept_for_its_time_to_live() {
    let mut lab = Lab::new(|asked: &Asked| {
        vec![asked.reply().address(&asked.name, 60, "192.0.2.1").address(&asked.name, 10, "192.0.2.2").into()]
    });
    let first = lab.ask("www.example", RecordType::A).unwrap();
    assert_eq!((first.cached(), first.ttl()), (false, 10 * SECOND), "the shortest time counts");
    lab.wait(4 * SECOND);
    let second = lab.ask("WWW.Example", RecordType::A).unwrap();
    assert!(second.cached() && second == first);
    assert_eq!(second.ttl() + second.age(), 10 * SECOND);
    assert!(second.age() >= 4 * SECOND, "{:?}", second.age());
    assert_eq!(lab.count(0), 1);
    lab.wait(6 * SECOND);
    assert!(!lab.ask("www.example", RecordType::A).unwrap().cached());
    assert_eq!(lab.count(0), 2);
}

#[test]
fn times_of_zero_and_beyond_the_limit() {
    for (ttl, kept) in [(0, 0), (1, 1), (86_400, 86_400), (1 << 31, 86_400), (u32::MAX, 86_400)] {
        let mut lab =
            Lab::new(move |asked: &Asked| vec![asked.reply().address(&asked.name, ttl, "192.0.2.1").into()]);
        let response = lab.ask("www.example", RecordType::A).unwrap();
        assert_eq!(response.ttl(), Duration::from_secs(kept), "{ttl}");
        let cached = lab.ask("www.example", RecordType::A).unwrap().cached();
        assert_eq!(cached, ttl > 0, "{ttl}");
        let outcome = lab.look_up(Query { family: AddressFamily::Ipv4, ..Query::new("www.example", 80) });
        assert!(outcome.unwrap().ttl.unwrap() <= Duration::from_secs(kept));
    }
}

#[test]
fn a_name_that_does_not_exist_is_known_for_all_types() {
    let mut lab = Lab::new(|asked: &Asked| vec![nonexistent(asked).into()]);
    let response = lab.ask("www.example", RecordType::A).unwrap();
    assert_eq!((response.code(), response.ttl()), (ResponseCode::NXDOMAIN, 300 * SECOND));
    let other = lab.ask("www.example", RecordType::MX).unwrap();
    assert_eq!((other.code(), other.cached()), (ResponseCode::NXDOMAIN, true));
    lab.wait(301 * SECOND);
    assert!(!lab.ask("www.example", RecordType::MX).unwrap().cached());
    assert_eq!(lab.count(0), 2);
}

#[test]
fn a_name_without_data_is_known_for_that_type() {
    let mut lab = Lab::new(|asked: &Asked| match asked.record_type {
        1 => vec![asked.reply().address(&asked.name, 60, "192.0.2.1").into()],
        _ => vec![no_data(asked).into()],
    });
    let response = lab.ask("www.example", RecordType::AAAA).unwrap();
    assert_eq!((response.code(), response.answers().count()), (ResponseCode::NOERROR, 0));
    assert_eq!(response.authorities().count(), 1);
    assert!(lab.ask("www.example", RecordType::AAAA).unwrap().cached());
    assert_eq!(lab.address("www.example"), ["192.0.2.1"]);
    assert_eq!(lab.count(0), 2);
}

#[test]
fn a_negative_answer_without_a_zone_is_not_kept() {
    type Reply = fn(&Asked) -> crate::message::Message;
    let replies: [(Reply, Option<u64>); 5] = [
        (|asked| asked.reply().code(3), None),
        (|asked| asked.reply().code(3).start_of_zone("example", 20, 300), Some(20)),
        (|asked| asked.reply().code(3).start_of_zone("example", 600, 0), None),
        // The zone of another name says nothing about this one.
        (|asked| asked.reply().code(3).start_of_zone("other", 600, 300), None),
        (|asked| asked.reply().code(3).start_of_zone("example", 1_000_000, 1_000_000), Some(3600)),
    ];
    for (index, (reply, kept)) in replies.into_iter().enumerate() {
        let mut lab = Lab::new(move |asked: &Asked| vec![reply(asked).into()]);
        let response = lab.ask("www.example", RecordType::A).unwrap();
        assert_eq!(response.ttl(), Duration::from_secs(kept.unwrap_or(0)), "reply {index}");
        let again = lab.ask("www.example", RecordType::A).unwrap();
        assert_eq!(again.cached(), kept.is_some(), "reply {index}");
    }
}

#[test]
fn failures_are_kept_for_one_to_thirty_seconds() {
    let mut lab = Lab::new(|asked: &Asked| vec![asked.reply().code(2).into()]);
    for kept in [1, 2, 4, 8, 16, 30, 30] {
        let before = lab.count(0);
        assert!(!lab.ask("www.example", RecordType::A).unwrap().cached(), "{kept}");
        lab.wait(Duration::from_secs(kept) - 500 * MILLISECOND);
        assert!(lab.ask("www.example", RecordType::A).unwrap().cached(), "{kept}");
        assert_eq!(lab.count(0), before + 1, "{kept}");
        lab.wait(SECOND);
    }
    // A silence is a failure too.
    let mut lab = Lab::with(vec![silent()], |config| config.timeouts = vec![SECOND]);
    let first = lab.ask("www.example", RecordType::A).unwrap_err();
    assert_eq!((lab.ask("www.example", RecordType::A).unwrap_err(), lab.count(0)), (first, 1));
    assert_eq!(lab.resolver.statistics().cache_entries, 1);
    lab.wait(2 * SECOND);
    lab.ask("www.example", RecordType::A).unwrap_err();
    assert_eq!(lab.count(0), 2);
}

#[test]
fn an_answer_ends_the_count_of_failures() {
    let fails = Rc::new(Cell::new(true));
    let failing = Rc::clone(&fails);
    let mut lab = Lab::new(move |asked: &Asked| match failing.get() {
        true => vec![asked.reply().code(2).into()],
        false => vec![asked.reply().address(&asked.name, 1, "192.0.2.1").into()],
    });
    lab.ask("www.example", RecordType::A).unwrap();
    lab.wait(SECOND);
    fails.set(false);
    assert_eq!(lab.address("www.example"), ["192.0.2.1"]);
    fails.set(true);
    lab.wait(SECOND);
    assert_eq!(lab.ask("www.example", RecordType::A).unwrap().code(), ResponseCode::SERVFAIL);
    lab.wait(1100 * MILLISECOND);
    fails.set(false);
    assert_eq!(lab.address("www.example"), ["192.0.2.1"], "one second again, not two");
}

#[test]
fn the_cache_is_bounded_and_drops_the_least_used() {
    for (entries, evicted) in [(10, false), (9, false), (11, true)] {
        let mut lab = Lab::with(vec![Box::new(table("192.0.2.1"))], |config| config.max_cache_entries = 10);
        for index in 0..entries - 1 {
            lab.address(&format!("name-{index}.example"));
        }
        // The oldest one is used again, so the second one is next to be dropped.
        lab.address("name-0.example");
        lab.address("last.example");
        assert_eq!(lab.resolver.statistics().cache_entries, entries.min(10));
        let before = lab.count(0);
        lab.address("name-0.example");
        lab.address("last.example");
        assert_eq!(lab.count(0), before);
        lab.address("name-1.example");
        assert_eq!(lab.count(0), before + usize::from(evicted), "{entries}");
    }
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    let long = |asked: &Asked| {
        let text = [&[250][..], &[b'x'; 250]].concat();
        vec![asked.reply().record(1, &asked.name, 16, 60, &text).into()]
    };
    let mut lab = Lab::with(vec![Box::new(long)], |config| config.max_cache_bytes = 10_000);
    for index in 0..50 {
        lab.ask(&format!("name-{index}.example"), RecordType::TXT).unwrap();
    }
    let statistics = lab.resolver.statistics();
    assert!((9_000..=10_000).contains(&statistics.cache_bytes), "{statistics:?}");
    assert!((14..40).contains(&statistics.cache_entries), "{statistics:?}");
    lab.resolver.clear_cache();
    let statistics = lab.resolver.statistics();
    assert_eq!((statistics.cache_bytes, statistics.cache_entries), (0, 0));
    assert!(!lab.ask("name-49.example", RecordType::TXT).unwrap().cached());
}

#[test]
fn a_cache_without_entries_keeps_nothing() {
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1"))], |config| config.max_cache_entries = 0);
    for _ in 0..3 {
        assert_eq!(lab.address("www.example"), ["192.0.2.1"]);
    }
    assert_eq!(lab.count(0), 3);
}

#[test]
fn a_look_up_uses_the_cache_for_both_families() {
    let both = |asked: &Asked| {
        let address = if asked.record_type == 1 { "192.0.2.1" } else { "2001:db8::1" };
        vec![Act::Reply(asked.reply().address(&asked.name, 60, address))]
    };
    let mut lab = Lab::new(both);
    let first = lab.look_up(("www.example", 80)).unwrap();
    assert_eq!(first.addresses.len(), 2);
    lab.wait(20 * SECOND);
    let (again, took) = lab.look_up_timed(("www.example", 443));
    let again = again.unwrap();
    assert_eq!(took, Duration::ZERO);
    assert!(again.ttl.unwrap() <= 40 * SECOND);
    assert!(again.addresses.iter().all(|address| address.port() == 443) && again.addresses.len() == 2);
    // One family expires for itself.
    assert_eq!((lab.count(0), lab.resolver.statistics().cache_hits), (2, 1));
}
