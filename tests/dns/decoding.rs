//! Messages are decoded as another decoder does it, and no bytes cause a panic.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use crate::lab::{Act, Lab};
use crate::message::{Asked, Message, wire};
use simple_dns::rdata::RData;
use simple_dns::{Packet, ResourceRecord};
use twistor::dns::{DnsError, RecordData, RecordType, Response};
use twistor::sim::Random;

/// Asks once, and answers with these bytes after the header and the question.
fn decode(change: impl FnMut(&Asked) -> Vec<u8> + 'static) -> Result<Response, DnsError> {
    let change = RefCell::new(change);
    let script = move |asked: &Asked| match asked.tcp {
        false => vec![Act::Raw((change.borrow_mut())(asked))],
        true => vec![Act::Close],
    };
    let mut lab = Lab::with(vec![Box::new(script)], |config| config.timeouts = vec![crate::lab::SECOND]);
    lab.ask("www.example", RecordType::ANY)
}

/// The fields of a record, as text.
fn ours(response: &Response, section: usize) -> Vec<String> {
    let record = |record: twistor::dns::Record<'_>| {
        let name = record.name().to_string().to_lowercase();
        format!("{name} {} {} {}", record.ttl(), record.record_type().0, value(&record.data()))
    };
    match section {
        0 => response.answers().map(record).collect(),
        1 => response.authorities().map(record).collect(),
        _ => response.additionals().filter(|one| one.record_type() != RecordType::OPT).map(record).collect(),
    }
}

fn value(data: &RecordData) -> String {
    match data {
        RecordData::A(address) => address.to_string(),
        RecordData::Aaaa(address) => address.to_string(),
        RecordData::Cname(name) | RecordData::Ns(name) | RecordData::Ptr(name) => name.to_string(),
        RecordData::Mx { preference, exchange } => format!("{preference} {exchange}"),
        RecordData::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target}"),
        RecordData::Soa { primary, administrator, serial, minimum, .. } => {
            format!("{primary} {administrator} {serial} {minimum}")
        }
        _ => "other".to_owned(),
    }
    .to_lowercase()
}

fn theirs(records: &[ResourceRecord<'_>]) -> Vec<String> {
    let dot = |name: &simple_dns::Name<'_>| match name.to_string() {
        text if text.is_empty() => ".".to_owned(),
        text => format!("{text}."),
    };
    let record = |record: &ResourceRecord<'_>| {
        let value = match &record.rdata {
            RData::A(data) => IpAddr::from(data.address.to_be_bytes()).to_string(),
            RData::AAAA(data) => IpAddr::from(data.address.to_be_bytes()).to_string(),
            RData::CNAME(data) => dot(&data.0),
            RData::NS(data) => dot(&data.0),
            RData::PTR(data) => dot(&data.0),
            RData::MX(data) => format!("{} {}", data.preference, dot(&data.exchange)),
            RData::SRV(data) => {
                format!("{} {} {} {}", data.priority, data.weight, data.port, dot(&data.target))
            }
            RData::SOA(data) => {
                format!("{} {} {} {}", dot(&data.mname), dot(&data.rname), data.serial, data.minimum)
            }
            _ => "other".to_owned(),
        };
        let record_type = u16::from(record.rdata.type_code());
        format!("{} {} {record_type} {value}", dot(&record.name), record.ttl).to_lowercase()
    };
    records.iter().map(record).collect()
}

/// A message with random records and random compression.
fn generated(random: &mut Random, asked: &Asked) -> Message {
    let mut message = asked.reply();
    for section in 1..=3 {
        for _ in 0..random.below(4) {
            let name = name(random);
            let ttl = random.below(1 << 31) as u32;
            let number = |random: &mut Random| (random.below(65_536) as u16).to_be_bytes();
            let (record_type, data) = match random.below(9) {
                0 => (1, vec![192, 0, 2, random.below(256) as u8]),
                1 => (28, (0..16).map(|_| random.below(256) as u8).collect()),
                2 => (5, self::name(random)),
                3 => (2, self::name(random)),
                4 => (12, self::name(random)),
                5 => (15, [number(random).to_vec(), self::name(random)].concat()),
                6 => (
                    33,
                    [[number(random), number(random), number(random)].concat(), wire("t.example")].concat(),
                ),
                7 => (16, [3, b'a', b'b', b'c'].to_vec()),
                _ => {
                    let numbers: Vec<u8> = (0..10).flat_map(|_| number(random)).collect();
                    (6, [self::name(random), self::name(random), numbers].concat())
                }
            };
            // The answer section is of the name, so that the resolver uses it.
            let name = if section == 1 { vec![0xc0, 12] } else { name };
            message = message.raw_record(section, &name, record_type, 1, ttl, &data);
        }
    }
    message
}

/// A name, which may end with a pointer to the question: `www.example`, or `example`.
fn name(random: &mut Random) -> Vec<u8> {
    let mut name = Vec::new();
    for _ in 0..random.below(3) {
        let length = 1 + random.below(6) as u8;
        name.push(length);
        name.extend((0..length).map(|_| b'a' + random.below(26) as u8));
    }
    match random.below(3) {
        0 => name.push(0),
        1 => name.extend([0xc0, 12]),
        _ => name.extend([0xc0, 16]),
    }
    name
}

#[test]
fn generated_messages_are_read_as_by_another_decoder() {
    let mut random = Random::new(11, "messages");
    let sent = Rc::new(RefCell::new(Vec::new()));
    for index in 0..crate::count("TWISTOR_DNS_MESSAGES", 300) {
        let mut own = Random::new(random.next(), "one");
        let sending = Rc::clone(&sent);
        let response = decode(move |asked| {
            let bytes = generated(&mut own, asked).bytes();
            *sending.borrow_mut() = bytes.clone();
            bytes
        });
        let response = response.unwrap_or_else(|error| panic!("message {index}: {error}"));
        let bytes = sent.take();
        let packet = Packet::parse(&bytes).unwrap();
        for (section, records) in
            [&packet.answers, &packet.name_servers, &packet.additional_records].into_iter().enumerate()
        {
            assert_eq!(ours(&response, section), theirs(records), "message {index}, section {section}");
        }
    }
}

#[test]
fn mutated_messages_cause_no_panic_and_no_difference() {
    let mut random = Random::new(13, "mutations");
    let (mut both, mut neither, mut differ) = (0, 0, 0);
    for _ in 0..crate::count("TWISTOR_DNS_MUTATIONS", 2000) {
        let mut own = Random::new(random.next(), "one");
        let sent = Rc::new(RefCell::new(Vec::new()));
        let sending = Rc::clone(&sent);
        let outcome = decode(move |asked| {
            let mut bytes = generated(&mut own, asked).bytes();
            let fixed = 12 + asked.question.len();
            for _ in 0..1 + own.below(4) {
                if bytes.len() == fixed {
                    break;
                }
                // Id and question stay, because the resolver drops other messages.
                let at = match own.below(4) {
                    0 => 6 + own.index(6),
                    _ => fixed + own.index(bytes.len() - fixed),
                };
                match own.below(5) {
                    0 if at >= fixed => bytes.truncate(at),
                    1 if at >= fixed => bytes.insert(at, own.below(256) as u8),
                    2 => bytes[at] = 0xc0,
                    3 => bytes[at] = bytes[at].wrapping_add(1),
                    _ => bytes[at] = own.below(256) as u8,
                }
            }
            *sending.borrow_mut() = bytes.clone();
            bytes
        });
        let bytes = sent.take();
        let packet = Packet::parse(&bytes);
        if let Ok(response) = &outcome {
            // Showing everything is a part of the test.
            let _ = format!(
                "{response:?} {:?}",
                response.authorities().chain(response.additionals()).collect::<Vec<_>>()
            );
        }
        match (&outcome, &packet) {
            (Ok(response), Ok(packet)) => {
                let answers = ours(response, 0);
                let other = theirs(&packet.answers);
                // Where both read the same number of records, they read the same.
                let odd = |text: &String| text.contains("other") || text.contains('\\') || !text.is_ascii();
                if answers.len() == other.len() && !answers.iter().chain(&other).any(odd) {
                    both += 1;
                    differ += usize::from(answers != other);
                }
            }
            (Err(_), Err(_)) => neither += 1,
            _ => {}
        }
    }
    assert!(both > 100 && neither > 10, "{both} {neither}");
    assert!(differ * 50 <= both, "{differ} of {both} differ");
}

#[test]
fn random_bytes_behind_a_question_cause_no_panic() {
    let mut random = Random::new(17, "bytes");
    for _ in 0..crate::count("TWISTOR_DNS_BYTES", 2000) {
        let mut own = Random::new(random.next(), "one");
        let outcome = decode(move |asked| {
            let mut bytes = asked.reply().bytes();
            for byte in &mut bytes[6..12] {
                *byte = [0, 0, 0, 1, 2, own.below(256) as u8][own.index(6)];
            }
            for _ in 0..own.below(80) {
                bytes.push([0, 0xc0, 12, 1, 5, 28, own.below(256) as u8][own.index(7)]);
            }
            bytes
        });
        if let Ok(response) = outcome {
            let all = response.answers().chain(response.authorities()).chain(response.additionals());
            assert!(all.map(|record| record.to_string()).all(|text| text.is_ascii()));
        }
    }
}

#[test]
fn compression_cannot_loop_or_point_ahead() {
    let at = 12 + wire("www.example").len() + 4;
    let pointer = |to: usize| vec![0xc0 | (to >> 8) as u8, to as u8];
    let long: Vec<u8> = (0..4).flat_map(|_| [&[63][..], &[b'x'; 63]].concat()).collect();
    let names: Vec<(&str, Vec<u8>)> = vec![
        ("to itself", pointer(at)),
        ("ahead", pointer(at + 40)),
        ("behind the end", pointer(0x3fff)),
        ("into its own label", [vec![1, b'a'], pointer(at)].concat()),
        ("a reserved label type", vec![0x80, 0]),
        ("another reserved label type", vec![0x40, 0]),
        ("too long", [long, vec![0]].concat()),
        ("without an end", vec![5, b'a']),
    ];
    for (what, name) in names {
        let outcome =
            decode(move |asked| asked.reply().raw_record(1, &name, 1, 1, 60, &[192, 0, 2, 1]).bytes());
        assert!(matches!(outcome, Err(DnsError::Malformed { .. })), "{what}: {outcome:?}");
    }
    // A long chain of pointers, each to the one before, in one message after the other.
    let outcome = decode(move |asked| {
        let mut message = asked.reply();
        for index in 0..300 {
            let name = if index == 0 { pointer(12) } else { pointer(at + (index - 1) * 12) };
            message = message.raw_record(1, &name, 65280, 1, 60, &[]);
        }
        message.bytes()
    });
    assert!(matches!(outcome, Err(DnsError::Malformed { .. })), "{outcome:?}");
    // Counts and lengths that lie.
    let outcome = decode(|asked| {
        let mut message = asked.reply().address("www.example", 60, "192.0.2.1");
        message.counts[1] = 200;
        message.bytes()
    });
    assert!(matches!(outcome, Err(DnsError::Malformed { .. })), "{outcome:?}");
}
