//! Queries in flight and waiting are limited.

use std::cell::Cell;
use std::rc::Rc;

use crate::lab::{Act, Begun, BoxedScript, Lab, MILLISECOND, SECOND};
use crate::message::Asked;
use twistor::dns::{DnsError, RecordType};
use twistor::{Error, Reactor};

/// Answers after a second, and counts the highest number of queries at a time.
fn counting(most: &Rc<Cell<usize>>, late: &Rc<Cell<usize>>) -> impl FnMut(&Asked) -> Vec<Act> + 'static {
    let (most, running) = (Rc::clone(most), Rc::clone(late));
    move |asked: &Asked| {
        running.set(running.get() + 1);
        most.set(most.get().max(running.get()));
        vec![Act::Later(SECOND, asked.reply().address(&asked.name, 60, "192.0.2.1"))]
    }
}

fn begin(lab: &mut Lab, count: usize) -> Vec<Begun> {
    (0..count).map(|index| lab.begin(&format!("name-{index}.example"), RecordType::A)).collect()
}

#[test]
fn one_server_has_a_limited_number_of_queries() {
    for (count, at_once) in [(99, 99), (100, 100), (101, 100), (250, 100)] {
        let (most, running) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut lab = Lab::new(counting(&most, &running));
        let all = begin(&mut lab, count);
        lab.wait(500 * MILLISECOND);
        assert_eq!(lab.count(0), at_once, "{count}");
        let client = lab.client;
        assert_eq!(lab.simulation.sockets(client), at_once);
        for one in &all {
            assert!(lab.finish(one).is_ok(), "those that wait are asked later");
        }
        lab.check_idle();
    }
}

#[test]
fn further_queries_go_to_the_next_server() {
    let scripts = (0..2).map(|_| {
        let (most, running) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        Box::new(counting(&most, &running)) as BoxedScript
    });
    let mut lab = Lab::with(scripts.collect(), |_| {});
    let all = begin(&mut lab, 150);
    lab.wait(500 * MILLISECOND);
    assert_eq!((lab.count(0), lab.count(1)), (100, 50));
    for one in &all {
        assert!(lab.finish(one).is_ok());
    }
    lab.check_idle();
}

#[test]
fn all_servers_together_have_a_limit() {
    for count in [9, 10, 11] {
        let (most, running) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let scripts: Vec<BoxedScript> =
            vec![Box::new(counting(&most, &running)), Box::new(counting(&most, &running))];
        let mut lab = Lab::with(scripts, |config| (config.max_in_flight, config.max_per_server) = (10, 6));
        let all = begin(&mut lab, count);
        lab.wait(500 * MILLISECOND);
        assert_eq!(lab.count(0) + lab.count(1), count.min(10));
        for one in &all {
            assert!(lab.finish(one).is_ok());
        }
        lab.check_idle();
    }
}

#[test]
fn pending_queries_are_limited() {
    for count in [4, 5, 6] {
        let mut lab = Lab::with(vec![Box::new(|_: &Asked| Vec::new())], |config| {
            (config.max_pending, config.max_in_flight) = (5, 2);
        });
        let resolver = lab.resolver.clone();
        let mut refused = 0;
        for index in 0..count {
            let name = format!("name-{index}.example").parse().unwrap();
            match resolver.query(lab.reactor(), &name, RecordType::A, |_, _| {}) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, DnsError::QueueFull(5));
                    refused += 1;
                }
            }
        }
        assert_eq!(refused, usize::from(count == 6));
        assert_eq!(resolver.statistics().refused, refused as u64);
        if count == 5 {
            let never = |_: &mut Reactor, _| panic!("not started");
            let error = lab.reactor().look_up(("other.example", 80), never).unwrap_err();
            assert!(matches!(error, Error::QueueFull(5)), "{error:?}");
        }
        lab.check_idle();
    }
}

#[test]
fn a_query_that_only_waits_fails_at_its_time_limit() {
    let mut lab = Lab::with(vec![Box::new(|_: &Asked| Vec::new())], |config| {
        (config.max_in_flight, config.timeout) = (1, 4 * SECOND);
        config.timeouts = vec![10 * SECOND];
    });
    let first = lab.begin("a.example", RecordType::A);
    let second = lab.begin("b.example", RecordType::A);
    let server = Some(lab.resolver.config().servers[0].address);
    assert_eq!(lab.finish(&first), Err(DnsError::TimedOut { after: 4 * SECOND, server }));
    let outcome = lab.finish(&second);
    let alone = Err(DnsError::TimedOut { after: 4 * SECOND, server: None });
    assert!(outcome == alone || matches!(outcome, Err(DnsError::TimedOut { .. })), "{outcome:?}");
    lab.check_idle();
}

#[test]
fn a_resolver_without_servers_says_so() {
    let mut lab = Lab::with(Vec::new(), |_| {});
    let resolver = lab.resolver.clone();
    let name = "a.example".parse().unwrap();
    let outcome = resolver.query(lab.reactor(), &name, RecordType::A, |_, _| {});
    assert_eq!(outcome, Err(DnsError::NoServers));
    let outcome = lab.look_up(("a.example", 80));
    assert!(matches!(outcome, Err(twistor::Reason::LookupFailed { .. })), "{outcome:?}");
}

#[test]
fn ten_thousand_addresses_in_one_answer_are_bounded() {
    let mut lab = Lab::new(|asked: &Asked| {
        let mut message = asked.reply();
        if !asked.tcp {
            return vec![message.flag(0x200, true).into()];
        }
        // Names are compressed to the question, so that four thousand records fit in.
        for index in 0..4000_u16 {
            let [high, low] = index.to_be_bytes();
            message = message.raw_record(1, &[0xc0, 12], 1, 1, 60, &[10, 0, high, low]);
        }
        vec![message.into()]
    });
    let response = lab.ask("many.example", RecordType::A).unwrap();
    assert_eq!((response.addresses().len(), response.answers().count()), (256, 4000));
    lab.check_idle();
}
