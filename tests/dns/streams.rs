//! Answers that are too long for UDP come by TCP, at any cut, and connections may fail.

use std::cell::Cell;
use std::rc::Rc;

use crate::lab::{Act, Lab, MILLISECOND, SECOND, framed, table};
use crate::message::{Asked, Message};
use twistor::dns::{DnsError, NameServer, RecordType, Transport};
use twistor::sim::{CallKind, Fault, Verdict};

fn truncated(asked: &Asked) -> Message {
    asked.reply().flag(0x200, true)
}

/// A text of about this number of bytes.
fn text(asked: &Asked, size: usize) -> Message {
    let mut data = Vec::new();
    while data.len() < size {
        data.push(255);
        data.extend_from_slice(&[b'x'; 255]);
    }
    asked.reply().record(1, &asked.name, 16, 60, &data)
}

#[test]
fn a_truncated_answer_is_asked_for_by_tcp() {
    for size in [100, 4_000, 60_000] {
        let mut lab = Lab::new(move |asked: &Asked| match asked.tcp {
            false => vec![truncated(asked).into()],
            true => vec![text(asked, size).into()],
        });
        let response = lab.ask("www.example", RecordType::TXT).unwrap();
        assert_eq!(response.transport(), Transport::Tcp);
        assert!(response.message().len() > size && !response.flags().truncated);
        assert_eq!((lab.count(0), lab.resolver.statistics().truncated), (2, 1));
        lab.check_idle();
    }
}

#[test]
fn a_datagram_that_was_cut_is_asked_for_by_tcp() {
    // Without the flag: longer than our buffer.
    let mut lab = Lab::new(|asked: &Asked| vec![text(asked, 5000).into()]);
    let response = lab.ask("www.example", RecordType::TXT).unwrap();
    assert_eq!((response.transport(), response.message().len() > 5000), (Transport::Tcp, true));
}

#[test]
fn a_message_may_be_cut_at_any_byte() {
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1"))], |config| config.tcp_only = true);
    let client = lab.client;
    lab.simulation.add_rule(Fault::call(CallKind::Recv, Verdict::Short(1)).on(client));
    for index in 0..10 {
        assert_eq!(lab.address(&format!("name-{index}.example")), ["192.0.2.1"]);
    }
    lab.check_idle();
}

#[test]
fn a_connection_carries_several_queries_and_ends_when_idle() {
    let connections = Rc::new(Cell::new(0));
    let mut lab = Lab::with(
        vec![Box::new(|asked: &Asked| {
            assert!(asked.tcp);
            // Later ones are answered first.
            let delay = if asked.name.starts_with('a') { 200 } else { 100 };
            vec![Act::Later(delay * MILLISECOND, asked.reply().address(&asked.name, 60, "192.0.2.1"))]
        })],
        |config| config.tcp_only = true,
    );
    let begun = ["a.example", "b.example", "c.example"].map(|name| lab.begin(name, RecordType::A));
    for one in &begun {
        assert_eq!(lab.finish(one).unwrap().transport(), Transport::Tcp);
    }
    let client = lab.client;
    connections.set(lab.simulation.sockets(client));
    assert_eq!(connections.get(), 1);
    lab.wait(SECOND);
    lab.address("d.example");
    let from: Vec<_> = lab.logs[0].borrow().iter().map(|asked| asked.from).collect();
    assert!(from.iter().all(|one| *one == from[0]), "{from:?}");
    lab.wait(10 * SECOND);
    assert_eq!(lab.simulation.sockets(client), 0);
    lab.check_idle();
}

#[test]
fn a_server_may_close_a_connection_that_it_has_served() {
    let mut lab = Lab::with(
        vec![Box::new(|asked: &Asked| {
            let message = asked.reply().address(&asked.name, 60, "192.0.2.1");
            // The second query on the way is lost with the connection.
            match asked.name.as_str() {
                "a.example" => vec![message.into(), Act::Close],
                _ => vec![message.into()],
            }
        })],
        |config| config.tcp_only = true,
    );
    let begun = ["a.example", "b.example"].map(|name| lab.begin(name, RecordType::A));
    for one in &begun {
        assert!(lab.finish(one).is_ok());
    }
    lab.check_idle();
}

#[test]
fn a_server_without_tcp_leads_to_the_next() {
    let closes = |asked: &Asked| if asked.tcp { vec![Act::Close] } else { vec![truncated(asked).into()] };
    let mut lab = Lab::with(vec![Box::new(closes), Box::new(table("192.0.2.2"))], |_| {});
    assert_eq!(lab.address("www.example"), ["192.0.2.2"]);
    lab.check_idle();
    let mut lab = Lab::with(vec![Box::new(closes), Box::new(table("192.0.2.2"))], |_| {});
    let first = lab.servers[0];
    lab.simulation.refuse(first, Some(53));
    assert_eq!(lab.address("www.example"), ["192.0.2.2"]);
    lab.check_idle();
    let mut lab = Lab::new(closes);
    let outcome = lab.ask("www.example", RecordType::A);
    assert!(matches!(outcome, Err(DnsError::Unreachable { .. })), "{outcome:?}");
    lab.check_idle();
    // One that accepts and is silent takes the time of an attempt.
    let silent = |asked: &Asked| if asked.tcp { Vec::new() } else { vec![truncated(asked).into()] };
    let mut lab = Lab::with(vec![Box::new(silent), Box::new(table("192.0.2.2"))], |_| {});
    assert_eq!(lab.address("www.example"), ["192.0.2.2"]);
    assert!((2 * SECOND..3 * SECOND).contains(&lab.simulation.now().since_origin()));
    lab.check_idle();
}

#[test]
fn other_messages_on_a_connection_are_ignored() {
    let mut lab = Lab::with(
        vec![Box::new(|asked: &Asked| {
            let mut other = asked.reply().address(&asked.name, 60, "203.0.113.66");
            other.id = other.id.wrapping_add(1);
            let mut wrong = asked.reply().address(&asked.name, 60, "203.0.113.66");
            wrong.question = [crate::message::wire("evil.example"), vec![0, 1, 0, 1]].concat();
            let real = asked.reply().address(&asked.name, 60, "192.0.2.1");
            let all = [other.bytes(), Vec::new(), vec![1], wrong.bytes(), real.bytes()];
            vec![Act::Raw(all.iter().flat_map(|message| framed(message)).collect())]
        })],
        |config| config.tcp_only = true,
    );
    assert_eq!(lab.address("www.example"), ["192.0.2.1"]);
    lab.check_idle();
}

#[test]
fn a_server_can_be_asked_by_tcp_alone() {
    let mut lab = Lab::with(vec![Box::new(table("192.0.2.1"))], |config| {
        let server = NameServer { transport: Transport::Tcp, ..config.servers[0].clone() };
        config.servers = vec![server];
    });
    assert_eq!(lab.ask("www.example", RecordType::A).unwrap().transport(), Transport::Tcp);
    lab.wait(SECOND);
    let client = lab.client;
    assert_eq!(lab.simulation.sockets(client), 1, "kept for the next query");
    lab.simulation.kill(client);
    lab.simulation.restart(client).unwrap();
    let resolver = lab.resolver.clone();
    lab.reactor().set_resolver(resolver);
    assert_eq!(lab.address("other.example"), ["192.0.2.1"]);
    lab.check_idle();
}
