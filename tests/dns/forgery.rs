//! Forged answers: an attacker has to guess the port and the id of a query.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::count;
use crate::lab::{Act, Lab, MILLISECOND, table};
use crate::message::{Asked, wire};
use twistor::dns::RecordType;
use twistor::sim::Random;

const FORGED: &str = "203.0.113.66";
const TRUE: &str = "192.0.2.1";

#[test]
fn an_attacker_who_does_not_know_the_port_gets_nothing_in() {
    let forged = count("TWISTOR_FORGED_PORTS", 100_000);
    let mut lab = Lab::new(|asked: &Asked| {
        vec![Act::Later(1500 * MILLISECOND, asked.reply().address(&asked.name, 60, TRUE))]
    });
    let attacker = lab.simulation.host("attacker");
    let client = SocketAddr::new(lab.simulation.address(lab.client), 0);
    // The attacker sends with the address of the server: from another socket on the server's host
    // it would be another port.
    let server = lab.simulation.address(lab.servers[0]);
    lab.simulation.bind_any_address(attacker);
    let socket = lab.simulation.bind_datagrams(attacker, SocketAddr::new(server, 53)).unwrap();
    let mut random = Random::new(3, "ports");
    let (mut sent, per_query) = (0, 2_000);
    let mut index = 0;
    while sent < forged {
        let name = format!("name-{index}.example");
        index += 1;
        let begun = lab.begin(&name, RecordType::A);
        lab.wait(5 * MILLISECOND);
        let asked = lab.logs[0].borrow().last().unwrap().clone();
        for _ in 0..per_query {
            // The worst case for us: the attacker knows the id.
            let port = 1024 + random.below(64_512) as u16;
            if port == asked.from.port() {
                continue;
            }
            let message = asked.reply().address(&asked.name, 60, FORGED);
            let to = SocketAddr::new(client.ip(), port);
            socket.send_to(&message.bytes(), to).unwrap();
            sent += 1;
        }
        let response = lab.finish(&begun).unwrap();
        assert_eq!(response.addresses(), [TRUE.parse::<std::net::IpAddr>().unwrap()]);
    }
    assert_eq!(lab.resolver.statistics().mismatches, 0, "not one reached a socket");
    // Who knows both gets in: the test has sent what counts.
    let begun = lab.begin("last.example", RecordType::A);
    lab.wait(5 * MILLISECOND);
    let asked = lab.logs[0].borrow().last().unwrap().clone();
    let message = asked.reply().address(&asked.name, 60, FORGED);
    socket.send_to(&message.bytes(), SocketAddr::new(client.ip(), asked.from.port())).unwrap();
    let response = lab.finish(&begun).unwrap();
    assert_eq!(response.addresses(), [FORGED.parse::<std::net::IpAddr>().unwrap()]);
    lab.check_idle();
}

#[test]
fn an_attacker_who_knows_the_port_has_eight_guesses() {
    let queries = count("TWISTOR_FORGED_QUERIES", 300);
    let accepted = Rc::new(Cell::new(0_u64));
    let mut random = Random::new(5, "ids");
    let mut lab = Lab::new(move |asked: &Asked| {
        let real = asked.reply().address(&asked.name, 60, TRUE);
        if asked.tcp {
            return vec![real.into()];
        }
        let mut acts = Vec::new();
        for _ in 0..12 {
            let mut forged = asked.reply().address(&asked.name, 60, FORGED);
            forged.id = random.below(65_536) as u16;
            acts.push(Act::Reply(forged));
        }
        acts.push(Act::Reply(real));
        acts
    });
    for index in 0..queries {
        let before = lab.resolver.statistics().mismatches;
        let response = lab.ask(&format!("name-{index}.example"), RecordType::A).unwrap();
        let guesses = lab.resolver.statistics().mismatches - before;
        if response.addresses() == [FORGED.parse::<std::net::IpAddr>().unwrap()] {
            accepted.set(accepted.get() + 1);
        } else {
            assert_eq!(guesses, 8, "then it goes to TCP");
            assert_eq!(response.transport(), twistor::dns::Transport::Tcp);
        }
    }
    // 8 of 65,536 for each query: by chance alone more than ten times as many do not come.
    let expected = queries as f64 * 8.0 / 65_536.0;
    assert!((accepted.get() as f64) < 3.0 + 3.0 * expected, "{} of {queries}", accepted.get());
    lab.check_idle();
}

#[test]
fn an_answer_to_another_question_is_dropped() {
    type Change = fn(&Asked) -> Vec<u8>;
    let changes: [Change; 8] = [
        |asked| {
            let mut other = asked.reply().address("evil.example", 60, FORGED);
            other.question = [wire("evil.example"), vec![0, 1, 0, 1]].concat();
            other.bytes()
        },
        |asked| {
            let mut other = asked.reply().address(&asked.name, 60, FORGED);
            let length = other.question.len();
            other.question[length - 3] = 28;
            other.bytes()
        },
        |asked| {
            let mut other = asked.reply().address(&asked.name, 60, FORGED);
            let length = other.question.len();
            other.question[length - 1] = 3;
            other.bytes()
        },
        |asked| asked.reply().flag(0x8000, false).address(&asked.name, 60, FORGED).bytes(),
        |asked| asked.reply().flag(0x2000, true).address(&asked.name, 60, FORGED).bytes(),
        |asked| {
            let mut none = asked.reply().address(&asked.name, 60, FORGED);
            (none.counts[0], none.question) = (0, Vec::new());
            none.bytes()
        },
        |asked| {
            let mut two = asked.reply().address(&asked.name, 60, FORGED);
            two.counts[0] = 2;
            two.question = [two.question.clone(), two.question].concat();
            two.bytes()
        },
        |_| b"short".to_vec(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut lab = Lab::new(move |asked: &Asked| {
            let real = asked.reply().address(&asked.name, 60, TRUE);
            vec![Act::Raw(change(asked)), Act::Later(100 * MILLISECOND, real)]
        });
        assert_eq!(lab.address("www.example"), [TRUE], "change {index}");
        assert_eq!(lab.resolver.statistics().mismatches, 1, "change {index}");
        lab.check_idle();
    }
}

#[test]
fn ids_and_ports_are_spread_over_their_range() {
    let mut lab = Lab::new(table(TRUE));
    for index in 0..2000 {
        lab.address(&format!("name-{index}.example"));
    }
    let log = lab.logs[0].borrow();
    let ids: BTreeSet<u16> = log.iter().map(|asked| asked.id).collect();
    let ports: BTreeSet<u16> = log.iter().map(|asked| asked.from.port()).collect();
    // 2,000 of 65,536: about 30 are expected to coincide.
    assert!(ids.len() > 1940 && ports.len() > 1940, "{} ids, {} ports", ids.len(), ports.len());
    assert!(ports.iter().all(|port| *port >= 1024 && *port != 53));
    // Eight parts of the range: 250 are expected in each, with a deviation of about 15.
    for all in [&ids, &ports] {
        for part in 0..8_u32 {
            let count = all.iter().filter(|number| u32::from(**number) >> 13 == part).count();
            assert!((170..330).contains(&count), "{count} in part {part}");
        }
    }
}

#[test]
fn mixed_case_has_to_come_back() {
    let exact = |asked: &Asked| vec![asked.reply().address(&asked.name, 60, TRUE).into()];
    let mut lab = Lab::with(vec![Box::new(exact)], |config| config.mixed_case = true);
    let name = "a-rather-long-name-for-many-bits.example";
    assert_eq!(lab.address(name), [TRUE]);
    let sent = lab.logs[0].borrow()[0].name.clone();
    assert!(sent != name && sent.to_lowercase() == name, "{sent}");
    // The cache has one entry for both cases.
    assert_eq!(lab.address(&name.to_uppercase()), [TRUE]);
    assert_eq!(lab.count(0), 1);
    let lower = |asked: &Asked| {
        let real = asked.reply().address(&asked.name, 60, TRUE);
        let mut changed = asked.reply().address(&asked.name, 60, FORGED);
        changed.question.make_ascii_lowercase();
        vec![Act::Reply(changed), Act::Reply(real)]
    };
    let mut lab = Lab::with(vec![Box::new(lower)], |config| config.mixed_case = true);
    assert_eq!(lab.address(name), [TRUE]);
    assert_eq!(lab.resolver.statistics().mismatches, 1);
}

#[test]
fn records_of_other_names_are_not_used() {
    let mut lab = Lab::new(|asked: &Asked| {
        let message = asked.reply().address("bank.example", 60, FORGED).address(&asked.name, 60, TRUE);
        let message = message.record(3, "bank.example", 1, 60, &[203, 0, 113, 66]);
        match asked.name.as_str() {
            "www.example" => vec![message.into()],
            _ => vec![asked.reply().address(&asked.name, 60, "192.0.2.2").into()],
        }
    });
    assert_eq!(lab.address("www.example"), [TRUE]);
    assert_eq!(lab.address("bank.example"), ["192.0.2.2"], "asked for, and not taken from the other answer");
    // A record of another class is of no use either.
    let mut lab = Lab::new(|asked: &Asked| {
        let chaos = asked.reply().raw_record(1, &wire(&asked.name), 1, 3, 60, &[203, 0, 113, 66]);
        vec![chaos.into()]
    });
    assert!(lab.address("www.example").is_empty());
}
