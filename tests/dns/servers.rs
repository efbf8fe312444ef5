//! Servers that are lost, late, dead, refusing or broken.

use std::time::Duration;

use crate::lab::{Act, BoxedScript, Lab, MILLISECOND, SECOND, nonexistent, silent, table};
use crate::message::Asked;
use twistor::Reason;
use twistor::dns::{DnsError, RecordType, ResponseCode, Transport};
use twistor::sim::{Fault, Link, PacketKind, Verdict};

#[test]
fn an_answer_has_its_records_and_its_origin() {
    let mut lab = Lab::new(table("192.0.2.1"));
    let response = lab.ask("www.example", RecordType::A).unwrap();
    let records: Vec<String> = response.answers().map(|record| record.to_string()).collect();
    assert_eq!(records, ["www.example. 3600 IN A 192.0.2.1"]);
    assert_eq!((response.code(), response.cached()), (ResponseCode::NOERROR, false));
    assert_eq!(response.server(), lab.resolver.config().servers[0].address);
    assert_eq!(response.transport(), Transport::Udp);
    assert_eq!(response.took(), 2 * MILLISECOND, "one way takes a millisecond");
    let flags = response.flags();
    assert!(flags.recursion_desired && flags.recursion_available);
    assert!(!flags.authoritative && !flags.truncated && !flags.authentic_data);
    lab.check_idle();
}

#[test]
fn a_lost_query_is_repeated_after_two_three_and_five_seconds() {
    for lost in 1..=3 {
        let mut lab = Lab::new(table("192.0.2.1"));
        let to_server = Fault::packet(PacketKind::Datagram, Verdict::Drop).on(lab.servers[0]).at_most(lost);
        lab.simulation.add_rule(to_server);
        let start = lab.simulation.now();
        let outcome = lab.ask("www.example", RecordType::A);
        let took = lab.simulation.now() - start;
        match lost {
            1 => assert!(outcome.is_ok() && took < 2100 * MILLISECOND, "{took:?}"),
            2 => assert!(outcome.is_ok() && took < 5100 * MILLISECOND, "{took:?}"),
            _ => {
                let server = Some(lab.resolver.config().servers[0].address);
                assert_eq!(outcome, Err(DnsError::TimedOut { after: 10 * SECOND, server }));
            }
        }
        lab.check_idle();
    }
}

#[test]
fn a_late_answer_is_ignored_and_the_next_attempt_counts() {
    let mut lab = Lab::new(|asked: &Asked| {
        let message = asked.reply().address(&asked.name, 60, "192.0.2.1");
        vec![Act::Later(2500 * MILLISECOND, message)]
    });
    let response = lab.ask("www.example", RecordType::A).unwrap();
    assert_eq!(response.took(), 2502 * MILLISECOND, "the second attempt waits for three seconds");
    assert_eq!(lab.count(0), 2);
    lab.check_idle();
}

#[test]
fn a_dead_first_server_delays_nxdomain_by_less_than_2_5_s() {
    let dead = |asked: &Asked| vec![nonexistent(asked).into()];
    let mut lab = Lab::with(vec![silent(), Box::new(dead)], |config| {
        config.search = vec!["a.example".parse().unwrap(), "b.example".parse().unwrap()];
    });
    let (outcome, took) = lab.look_up_timed(("host", 80));
    assert!(matches!(outcome, Err(Reason::Unresolved { .. })), "{outcome:?}");
    assert!(took < 2500 * MILLISECOND, "{took:?} for three names in two families");
    // The server is avoided from then on.
    let (_, took) = lab.look_up_timed(("other", 80));
    assert!(took < 20 * MILLISECOND, "{took:?}");
    assert_eq!((lab.count(0), lab.count(1)), (2, 12));
    lab.check_idle();
}

#[test]
fn a_server_that_is_back_is_found_again() {
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1")), Box::new(table("192.0.2.2"))], |_| {});
    let (client, first) = (lab.client, lab.servers[0]);
    lab.simulation.partition(client, first);
    assert_eq!(lab.address("a.example"), ["192.0.2.2"]);
    lab.simulation.heal(client, first);
    lab.simulation.set_link(client, lab.servers[1], Link::fixed(50 * MILLISECOND));
    let mut slow = 0;
    for index in 0..200 {
        if lab.address(&format!("name-{index}.example")) == ["192.0.2.1"] {
            break;
        }
        slow += 1;
        lab.wait(SECOND);
    }
    assert!((1..100).contains(&slow), "{slow}");
    lab.check_idle();
}

#[test]
fn a_closed_port_leads_to_the_next_server_at_once() {
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1")), Box::new(table("192.0.2.2"))], |_| {});
    let first = lab.servers[0];
    lab.simulation.kill(first);
    let response = lab.ask("www.example", RecordType::A).unwrap();
    assert_eq!(response.addresses(), ["192.0.2.2".parse::<std::net::IpAddr>().unwrap()]);
    assert!(lab.simulation.now().since_origin() < 10 * MILLISECOND);
    let second = lab.servers[1];
    lab.simulation.kill(second);
    let outcome = lab.ask("other.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::Unreachable { .. })), "{outcome:?}");
    lab.check_idle();
}

#[test]
fn servfail_and_refused_lead_to_the_next_server() {
    for code in [2, 5] {
        let fails = move |asked: &Asked| vec![asked.reply().code(code).into()];
        let mut lab = Lab::with(vec![Box::new(fails), Box::new(table("192.0.2.2"))], |_| {});
        assert_eq!(lab.address("www.example"), ["192.0.2.2"]);
        assert_eq!((lab.count(0), lab.count(1)), (1, 1));
        lab.check_idle();
        // When all servers fail, their code is the response.
        let mut lab = Lab::with(vec![Box::new(fails), Box::new(fails)], |_| {});
        let response = lab.ask("www.example", RecordType::A).unwrap();
        assert_eq!((response.code(), lab.count(0), lab.count(1)), (ResponseCode(code), 1, 1));
        let outcome = lab.look_up(("www.example", 80));
        assert!(matches!(outcome, Err(Reason::LookupFailed { .. })), "{outcome:?}");
        lab.check_idle();
    }
}

#[test]
fn a_malformed_or_lame_answer_leads_to_the_next_server() {
    let half = |asked: &Asked| {
        let mut bytes = asked.reply().address(&asked.name, 60, "192.0.2.9").bytes();
        bytes.truncate(bytes.len() - 3);
        vec![Act::Raw(bytes)]
    };
    let lame = |asked: &Asked| vec![asked.reply().flag(0x80, false).into()];
    let mut lab = Lab::with(vec![Box::new(half), Box::new(lame), Box::new(table("192.0.2.3"))], |_| {});
    assert_eq!(lab.address("www.example"), ["192.0.2.3"]);
    lab.check_idle();
    let mut lab = Lab::with(vec![Box::new(half)], |_| {});
    let outcome = lab.ask("www.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::Malformed { .. })), "{outcome:?}");
    let mut lab = Lab::with(vec![Box::new(lame)], |_| {});
    let outcome = lab.ask("www.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::Lame { .. })), "{outcome:?}");
}

#[test]
fn the_times_of_the_configuration_replace_the_defaults() {
    let mut lab = Lab::with(vec![silent(), silent()], |config| {
        config.timeouts = vec![SECOND; 4];
        config.timeout = 30 * SECOND;
    });
    let outcome = lab.ask("www.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::TimedOut { after, .. }) if after == 4 * SECOND), "{outcome:?}");
    assert_eq!((lab.count(0), lab.count(1)), (2, 2));
    let mut lab = Lab::with(vec![silent()], |config| config.timeout = 2500 * MILLISECOND);
    let outcome = lab.ask("www.example", RecordType::A);
    let short = Duration::from_millis(2500);
    assert!(matches!(outcome, Err(DnsError::TimedOut { after, .. }) if after == short), "{outcome:?}");
    lab.check_idle();
}

#[test]
fn servers_take_turns_with_rotate() {
    let scripts: Vec<BoxedScript> = (0..3).map(|_| Box::new(table("192.0.2.1")) as Box<_>).collect();
    let mut lab = Lab::with(scripts, |config| config.rotate = true);
    for index in 0..9 {
        lab.address(&format!("name-{index}.example"));
    }
    assert_eq!([0, 1, 2].map(|server| lab.count(server)), [3; 3]);
}

#[test]
fn edns_is_left_out_for_a_server_that_cannot_read_it() {
    for (code, bare) in [(1, false), (1, true), (4, false), (16, false)] {
        let mut lab = Lab::new(move |asked: &Asked| match asked.edns {
            Some(size) => {
                assert_eq!(size, 1232);
                let mut message = asked.reply().code(code & 15);
                if bare {
                    (message.counts[0], message.question) = (0, Vec::new());
                }
                if code == 16 {
                    // The upper bits are in the TTL of the OPT record.
                    message = message.raw_record(3, &[0], 41, 1232, 1 << 24, &[]);
                }
                vec![message.into()]
            }
            None => vec![asked.reply().address(&asked.name, 60, "192.0.2.1").into()],
        });
        assert_eq!(lab.address("a.example"), ["192.0.2.1"], "{code} {bare}");
        assert_eq!(lab.count(0), 2);
        assert_eq!(lab.address("b.example"), ["192.0.2.1"]);
        assert_eq!(lab.count(0), 3, "the server is remembered");
        lab.check_idle();
    }
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1"))], |config| config.edns = false);
    lab.address("a.example");
    assert_eq!(lab.logs[0].borrow()[0].edns, None);
}

#[test]
fn the_flag_of_validation_comes_from_trusted_servers_alone() {
    for trust in [false, true] {
        let script =
            |asked: &Asked| vec![asked.reply().flag(0x20, true).address(&asked.name, 60, "192.0.2.1").into()];
        let mut lab = Lab::with(vec![Box::new(script)], |config| config.trust_ad = trust);
        let response = lab.ask("a.example", RecordType::A).unwrap();
        assert_eq!((response.flags().authentic_data, lab.logs[0].borrow()[0].authentic), (trust, trust));
    }
}

#[test]
fn a_host_without_descriptors_fails_its_own_queries_only() {
    let mut lab = Lab::new(table("192.0.2.1"));
    let client = lab.client;
    lab.simulation.set_descriptor_limit(client, 0);
    let outcome = lab.ask("a.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::NoSocket(_))), "{outcome:?}");
    lab.simulation.set_descriptor_limit(client, 100);
    assert_eq!(lab.address("a.example"), ["192.0.2.1"], "the failure is not cached");
    lab.check_idle();
}

#[test]
fn queries_of_a_reactor_that_ends_are_dropped() {
    let mut lab = Lab::new(|_| Vec::new());
    let held = std::rc::Rc::new(());
    for end in ["stop", "kill"] {
        let inside = std::rc::Rc::clone(&held);
        let resolver = lab.resolver.clone();
        let name = "a.example".parse().unwrap();
        let done = move |_: &mut twistor::Reactor, _| drop(inside);
        resolver.query(lab.reactor(), &name, RecordType::A, done).unwrap();
        lab.wait(SECOND);
        let client = lab.client;
        match end {
            "stop" => {
                lab.reactor().stop();
                lab.wait(SECOND);
            }
            _ => lab.simulation.kill(client),
        }
        assert_eq!(std::rc::Rc::strong_count(&held), 1, "{end}");
        assert_eq!(lab.resolver.statistics().pending, 0, "{end}");
        lab.simulation.restart(client).unwrap();
        lab.reactor().set_resolver(resolver);
    }
}
