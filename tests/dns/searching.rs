//! Host names are completed with the search list, and some are never asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::lab::{Act, BoxedScript, Lab, MILLISECOND, SECOND, no_data, nonexistent, silent};
use crate::message::Asked;
use twistor::dns::ResolverConfig;
use twistor::dns::system::{Hosts, no_interfaces};
use twistor::{AddressFamily, Answer, Query, Reactor, Reason};

fn search(config: &mut ResolverConfig) {
    config.search = vec!["corp.example".parse().unwrap(), "example".parse().unwrap()];
}

/// A server that knows one name.
fn only(known: &'static str) -> BoxedScript {
    Box::new(move |asked: &Asked| match (asked.name == known, asked.record_type) {
        (false, _) => vec![nonexistent(asked).into()],
        (true, 1) => vec![asked.reply().address(known, 60, "192.0.2.1").into()],
        (true, _) => vec![no_data(asked).into()],
    })
}

#[test]
fn a_short_name_is_tried_with_each_suffix() {
    let mut lab = Lab::with(vec![only("host.example")], search);
    let resolution = lab.look_up(("Host", 80)).unwrap();
    assert_eq!(resolution.addresses, ["192.0.2.1:80".parse().unwrap()]);
    let both = ["host.corp.example A", "host.corp.example AAAA", "host.example A", "host.example AAAA"];
    assert_eq!(lab.asked(0), both);
    lab.check_idle();
    let mut lab = Lab::with(vec![only("host")], search);
    assert!(lab.look_up(("host", 80)).is_ok());
    assert_eq!(lab.asked(0).len(), 6, "as it is, in the end");
}

#[test]
fn dots_decide_what_is_tried_first() {
    for (host, ndots, first) in [
        ("host.site", 1, "host.site A"),
        ("host.site", 2, "host.site.corp.example A"),
        ("a.host.site", 2, "a.host.site A"),
        ("host", 0, "host A"),
    ] {
        let mut lab = Lab::with(vec![only("none")], |config| {
            search(config);
            config.ndots = ndots;
        });
        let outcome = lab.look_up(Query { family: AddressFamily::Ipv4, ..Query::new(host, 80) });
        assert!(matches!(outcome, Err(Reason::Unresolved { .. })), "{outcome:?}");
        let log = lab.logs[0].borrow();
        assert_eq!(format!("{} A", log[0].name), first, "{host} {ndots}");
        assert_eq!(log.len(), 3, "all are tried in the end");
    }
}

#[test]
fn a_name_with_a_dot_at_the_end_is_complete() {
    let mut lab = Lab::with(vec![only("host")], search);
    assert!(lab.look_up(("host.", 80)).is_ok());
    assert_eq!(lab.asked(0), ["host A", "host AAAA"]);
}

#[test]
fn a_name_that_is_too_long_with_a_suffix_is_tried_without() {
    let long = [["a"; 60].concat(), ["b"; 60].concat(), ["c"; 60].concat(), ["d"; 60].concat()].join(".");
    let known: &'static str = Box::leak(long.clone().into_boxed_str());
    let mut lab = Lab::with(vec![only(known)], |config| {
        search(config);
        config.ndots = 10;
    });
    assert!(lab.look_up((long.as_str(), 80)).is_ok());
    // 243 characters, and 8 of the short suffix: 252 fit.
    let log = lab.logs[0].borrow();
    assert_eq!(log[0].name, format!("{long}.example"));
    assert_eq!(log.len(), 4);
}

#[test]
fn a_failure_of_one_name_leads_to_the_next_and_is_reported() {
    let fails = |asked: &Asked| match asked.name.as_str() {
        "host.corp.example" => vec![asked.reply().code(2).into()],
        _ => vec![nonexistent(asked).into()],
    };
    let mut lab = Lab::with(vec![Box::new(fails)], search);
    let outcome = lab.look_up(("host", 80));
    assert!(
        matches!(&outcome, Err(Reason::LookupFailed { why, .. }) if why.contains("SERVFAIL")),
        "{outcome:?}"
    );
    assert_eq!(lab.count(0), 6);
}

#[test]
fn a_silence_ends_the_search() {
    let mut lab = Lab::with(vec![silent()], search);
    let (outcome, took) = lab.look_up_timed(("host", 80));
    let limit = Duration::from_secs(10);
    assert_eq!(outcome, Err(Reason::LookupTimedOut { host: "host".to_owned(), limit }));
    assert!(took <= 10 * SECOND + MILLISECOND, "{took:?}");
}

#[test]
fn both_families_are_asked_together_and_told_as_they_come() {
    let mut lab = Lab::new(|asked: &Asked| match asked.record_type {
        1 => vec![asked.reply().address(&asked.name, 60, "192.0.2.1").into()],
        _ => vec![Act::Later(700 * MILLISECOND, asked.reply().address(&asked.name, 30, "2001:db8::1"))],
    });
    let told = Rc::new(RefCell::new(Vec::new()));
    let telling = Rc::clone(&told);
    let on_answer = move |reactor: &mut Reactor, answer| telling.borrow_mut().push((reactor.now(), answer));
    lab.reactor().look_up(("www.example", 80), on_answer).unwrap();
    lab.wait(SECOND);
    let told = told.take();
    let [(early, Answer::Addresses { ttl, .. }), (late, _), (_, Answer::End(Ok(all)))] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*ttl, Some(60 * SECOND));
    assert_eq!(*late - *early, 700 * MILLISECOND);
    assert_eq!((all.addresses.len(), all.ttl, &all.incomplete), (2, Some(30 * SECOND), &None));
    assert_eq!(lab.asked(0), ["www.example A", "www.example AAAA"]);
    lab.check_idle();
}

#[test]
fn one_family_that_fails_leaves_the_other_incomplete() {
    let mut lab = Lab::new(|asked: &Asked| match asked.record_type {
        1 => vec![asked.reply().address(&asked.name, 60, "192.0.2.1").into()],
        _ => vec![asked.reply().code(2).into()],
    });
    let resolution = lab.look_up(("www.example", 80)).unwrap();
    assert_eq!(resolution.addresses.len(), 1);
    assert!(matches!(resolution.incomplete, Some(Reason::LookupFailed { .. })), "{resolution:?}");
    // A family that is not wanted is not asked for.
    let outcome = lab.look_up(Query { family: AddressFamily::Ipv4, ..Query::new("other.example", 80) });
    assert_eq!(outcome.unwrap().incomplete, None);
    assert_eq!(lab.asked(0), ["other.example A", "www.example A", "www.example AAAA"]);
}

#[test]
fn negative_answers_say_what_is_missing() {
    let mut lab = Lab::new(|asked: &Asked| match asked.name.as_str() {
        "empty.example" => vec![no_data(asked).into()],
        _ => vec![nonexistent(asked).into()],
    });
    for (host, text) in [("empty.example", "NODATA"), ("none.example", "NXDOMAIN")] {
        let reason = lab.look_up((host, 80)).unwrap_err();
        assert!(matches!(&reason, Reason::Unresolved { why, .. } if why.contains(text)), "{reason:?}");
    }
}

#[test]
fn special_names_are_not_sent() {
    let mut lab = Lab::new(|_| panic!("asked"));
    for host in ["localhost", "LOCALHOST.", "a.localhost"] {
        let resolution = lab.look_up((host, 80)).unwrap();
        assert_eq!(resolution.addresses, ["[::1]:80", "127.0.0.1:80"].map(|text| text.parse().unwrap()));
        let query = Query { family: AddressFamily::Ipv4, ..Query::new(host, 80) };
        assert_eq!(lab.look_up(query).unwrap().addresses, ["127.0.0.1:80".parse().unwrap()]);
    }
    for host in ["invalid", "a.b.Invalid", "invalid."] {
        assert!(matches!(lab.look_up((host, 80)), Err(Reason::Unresolved { .. })));
    }
    for (host, address) in [("192.0.2.9", "192.0.2.9:80"), ("2001:db8::9", "[2001:db8::9]:80")] {
        assert_eq!(lab.look_up((host, 80)).unwrap().addresses, [address.parse().unwrap()]);
    }
    for host in ["0x7f.1", "127.1", "a..b", "", "a b", &"x".repeat(64)] {
        let outcome = lab.reactor().look_up((host, 80), |_, _| {});
        assert!(outcome.is_err() || lab.look_up((host, 80)).is_err(), "{host}");
    }
    lab.wait(SECOND);
    assert_eq!(lab.resolver.statistics().queries, u64::from(lab.count(0) as u32));
}

#[test]
fn names_of_the_table_of_hosts_are_not_asked_for() {
    let file = b"192.0.2.7 db.example db\n2001:db8::7 DB\n192.0.2.8 four\n";
    let mut lab = Lab::with(vec![only("four")], |config| {
        config.hosts = Hosts::parse(file, no_interfaces);
        search(config);
    });
    let both = lab.look_up(("Db", 80)).unwrap();
    let mut addresses: Vec<String> = both.addresses.iter().map(ToString::to_string).collect();
    addresses.sort();
    assert_eq!((addresses, both.ttl), (vec!["192.0.2.7:80".into(), "[2001:db8::7]:80".into()], None));
    let six = Query { family: AddressFamily::Ipv6, ..Query::new("db.", 80) };
    assert_eq!(lab.look_up(six).unwrap().addresses, ["[2001:db8::7]:80".parse().unwrap()]);
    assert_eq!(lab.look_up(("four", 80)).unwrap().addresses, ["192.0.2.8:80".parse().unwrap()]);
    assert_eq!(lab.count(0), 0);
    // An address of the other family is of no use: the servers are asked.
    let six = Query { family: AddressFamily::Ipv6, ..Query::new("four", 80) };
    assert!(lab.look_up(six).is_err());
    assert!(lab.asked(0).iter().all(|asked| asked.ends_with("AAAA")) && lab.count(0) == 3);
}

#[test]
fn families_and_short_names_can_be_left_out() {
    let mut lab = Lab::with(vec![only("none")], |config| {
        search(config);
        (config.no_aaaa, config.no_tld_query) = (true, true);
    });
    assert!(lab.look_up(("host", 80)).is_err());
    assert_eq!(lab.asked(0), ["host.corp.example A", "host.example A"]);
    assert!(lab.look_up(("host.", 80)).is_err());
    assert_eq!(lab.count(0), 3, "a complete name is asked for as it is");
}
