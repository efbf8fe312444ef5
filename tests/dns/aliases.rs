//! Aliases are followed, within one answer and over several, up to eight.

use crate::lab::{Lab, SECOND};
use crate::message::{Asked, Message};
use twistor::dns::{DnsError, RecordType, ResponseCode};

#[test]
fn aliases_in_one_answer_are_followed_in_any_order() {
    let mut lab = Lab::new(|asked: &Asked| {
        let message = asked.reply();
        let message = message.address("c.example", 300, "192.0.2.1").alias("b.example", 20, "c.example");
        vec![message.alias("WWW.example", 200, "B.example").into()]
    });
    let response = lab.ask("www.example", RecordType::A).unwrap();
    assert_eq!(response.addresses().len(), 1);
    assert_eq!(response.ttl(), 20 * SECOND);
    assert_eq!((response.answers().count(), lab.count(0)), (3, 1));
}

/// A server that does not follow aliases.
fn step(asked: &Asked, last: u32) -> Message {
    let number: u32 = asked.name.split('.').next().unwrap().parse().unwrap();
    match number == last {
        true => asked.reply().address(&asked.name, 60, "192.0.2.1"),
        false => asked.reply().alias(&asked.name, 30, &format!("{}.example", number + 1)),
    }
}

#[test]
fn up_to_eight_aliases_are_followed_over_several_answers() {
    for last in [7, 8, 9] {
        let mut lab = Lab::new(move |asked: &Asked| vec![step(asked, last).into()]);
        let outcome = lab.ask("0.example", RecordType::A);
        match last {
            9 => assert_eq!(outcome, Err(DnsError::TooManyAliases)),
            _ => {
                let response = outcome.unwrap();
                assert_eq!(response.addresses().len(), 1);
                assert_eq!((response.ttl(), response.answers().count()), (30 * SECOND, last as usize + 1));
            }
        }
        assert_eq!(lab.count(0), 9.min(last as usize + 1));
        let again = lab.ask("0.example", RecordType::A);
        assert_eq!((again.is_ok(), lab.count(0)), (last < 9, 9.min(last as usize + 1)), "cached");
        lab.check_idle();
    }
}

#[test]
fn up_to_eight_aliases_are_followed_in_one_answer() {
    for last in [8, 9] {
        let mut lab = Lab::new(move |asked: &Asked| {
            let mut message = asked.reply();
            for number in 0..last {
                message = message.alias(&format!("{number}.example"), 60, &format!("{}.example", number + 1));
            }
            vec![message.address(&format!("{last}.example"), 60, "192.0.2.1").into()]
        });
        let outcome = lab.ask("0.example", RecordType::A);
        assert_eq!(outcome.is_ok(), last == 8, "{outcome:?}");
    }
}

#[test]
fn a_loop_of_aliases_ends() {
    let inside = |asked: &Asked| {
        vec![asked.reply().alias("a.example", 60, "b.example").alias("b.example", 60, "a.example").into()]
    };
    let mut lab = Lab::new(inside);
    assert_eq!(lab.ask("a.example", RecordType::A), Err(DnsError::TooManyAliases));
    assert_eq!(lab.count(0), 1);
    let over = |asked: &Asked| {
        let other = if asked.name == "a.example" { "b.example" } else { "a.example" };
        vec![asked.reply().alias(&asked.name, 60, other).into()]
    };
    let mut lab = Lab::new(over);
    assert_eq!(lab.ask("a.example", RecordType::A), Err(DnsError::TooManyAliases));
    assert_eq!(lab.count(0), 9);
    let outcome = lab.look_up(("a.example", 80));
    assert!(outcome.unwrap_err().to_string().contains("aliases"));
    lab.check_idle();
}

#[test]
fn a_question_for_the_alias_itself_is_answered_with_it() {
    let mut lab = Lab::new(|asked: &Asked| vec![asked.reply().alias(&asked.name, 60, "b.example").into()]);
    let response = lab.ask("a.example", RecordType::CNAME).unwrap();
    let records: Vec<String> = response.answers().map(|record| record.to_string()).collect();
    assert_eq!((records, lab.count(0)), (vec!["a.example. 60 IN CNAME b.example.".to_owned()], 1));
}

#[test]
fn the_end_of_an_alias_may_be_missing() {
    // The target does not exist: that is not cached for other types of the alias.
    let mut lab = Lab::new(|asked: &Asked| match asked.record_type {
        1 => {
            let message = asked.reply().code(3).alias(&asked.name, 60, "b.example");
            vec![message.start_of_zone("example", 600, 300).into()]
        }
        _ => vec![asked.reply().alias(&asked.name, 60, "b.example").start_of_zone("example", 9, 9).into()],
    });
    let response = lab.ask("a.example", RecordType::A).unwrap();
    assert_eq!((response.code(), response.ttl()), (ResponseCode::NXDOMAIN, 60 * SECOND));
    let response = lab.ask("a.example", RecordType::AAAA).unwrap();
    assert_eq!((response.code(), response.ttl()), (ResponseCode::NOERROR, 9 * SECOND));
    assert_eq!(lab.count(0), 2);
}
