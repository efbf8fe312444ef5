//! Records of all types, as values and as text of a zone file.

use crate::lab::Lab;
use crate::message::{Asked, wire};
use twistor::dns::{DnsError, Name, RecordData, RecordType};

/// The text of a record's data that a server sends.
fn shown(record_type: u16, data: Vec<u8>) -> (String, RecordData) {
    let mut lab = Lab::new(move |asked: &Asked| {
        vec![asked.reply().record(1, &asked.name, asked.record_type, 60, &data).into()]
    });
    let response = lab.ask("a.example", RecordType(record_type)).unwrap();
    let record = response.answers().next().unwrap();
    assert_eq!((record.name().to_string(), record.ttl(), record.class()), ("a.example.".to_owned(), 60, 1));
    let text = record.to_string();
    let start = format!("a.example. 60 IN {} ", RecordType(record_type));
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    (text.strip_prefix(&start).unwrap().to_owned(), record.data())
}

fn string(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

#[test]
fn each_type_is_shown_as_in_a_zone_file() {
    let number = |number: u16| number.to_be_bytes().to_vec();
    let start = [wire("ns.example"), wire("admin.example"), [0, 0, 0, 7].repeat(5)].concat();
    let cases: Vec<(u16, Vec<u8>, &str)> = vec![
        (1, vec![192, 0, 2, 1], "192.0.2.1"),
        (28, [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat(), "2001:db8::1"),
        (5, wire("b.example"), "b.example."),
        (2, wire("ns.example"), "ns.example."),
        (12, wire("host.example"), "host.example."),
        (39, wire("b.example"), "b.example."),
        (15, [number(10), wire("mail.example")].concat(), "10 mail.example."),
        (15, [number(0), wire("")].concat(), "0 ."),
        (16, [string("v=spf1 -all"), string("say \"hi\" \\")].concat(), r#""v=spf1 -all" "say \"hi\" \\""#),
        (16, vec![3, 0, 27, 255], r#""\000\027\255""#),
        (33, [number(1), number(2), number(443), wire("h.example")].concat(), "1 2 443 h.example."),
        (6, start, "ns.example. admin.example. 7 7 7 7 7"),
        (257, [vec![128], string("issue"), b"ca.example".to_vec()].concat(), r#"128 issue "ca.example""#),
        (64, [number(0), wire("b.example")].concat(), "0 b.example."),
        (65280, vec![1, 0xab], r"\# 2 01AB"),
        (65280, vec![], r"\# 0"),
    ];
    for (record_type, data, text) in cases {
        assert_eq!(shown(record_type, data.clone()).0, text, "{record_type} {data:?}");
    }
}

#[test]
fn service_bindings_are_shown_with_their_parameters() {
    let parameter = |key: u16, value: &[u8]| {
        [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let all = [
        vec![0, 1, 0],
        parameter(0, &[0, 1, 0, 4]),
        parameter(1, b"\x02h2\x05a,b\\\x01"),
        parameter(2, b""),
        parameter(3, &[1, 187]),
        parameter(4, &[192, 0, 2, 1, 192, 0, 2, 2]),
        parameter(5, b"abcd"),
        parameter(6, &[[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[1]].concat()),
        parameter(7, b"/dns{?dns}"),
    ]
    .concat();
    let (text, data) = shown(65, all);
    let expected = concat!(
        r#"1 . mandatory=alpn,ipv4hint alpn="h2,a\\,b\\\\\001" no-default-alpn port=443 "#,
        r#"ipv4hint=192.0.2.1,192.0.2.2 ech=YWJjZA== ipv6hint=2001:db8::1 key7="/dns{?dns}""#
    );
    assert_eq!(text, expected);
    let RecordData::Svcb { priority: 1, target, parameters } = data else { panic!("{data:?}") };
    assert!(target.is_root() && parameters.len() == 8);
}

#[test]
fn data_that_does_not_fit_its_type_has_the_generic_form() {
    for (record_type, data, text) in [
        (1, vec![1, 2, 3], r"\# 3 010203"),
        (15, vec![0], r"\# 1 00"),
        (16, vec![9, b'x'], r"\# 2 0978"),
        (257, vec![0, 3, b'a', 27, b'b'], r"\# 5 0003611B62"),
    ] {
        // The resolver itself reads addresses: such an answer is malformed.
        if record_type == 1 {
            let mut lab = Lab::new(move |asked: &Asked| {
                vec![asked.reply().record(1, &asked.name, 1, 60, &[1, 2, 3]).into()]
            });
            assert!(matches!(lab.ask("a.example", RecordType::A), Err(DnsError::Malformed { .. })));
            continue;
        }
        assert_eq!(shown(record_type, data).0, text);
    }
}

#[test]
fn other_known_types_have_their_own_form() {
    // DS: tag, algorithm, digest type, digest.
    let (text, data) = shown(43, vec![0x30, 0x39, 8, 2, 0xab, 0xcd]);
    assert!(text.to_uppercase().contains("12345 8 2 ABCD"), "{text}");
    assert!(matches!(data, RecordData::Other { record_type: RecordType(43), .. }));
}

#[test]
fn names_have_a_text_and_an_order_of_bytes() {
    for (text, shown) in [
        (".", "."),
        ("a", "a."),
        ("a.b.", "a.b."),
        (r"a\.b.c", r"a\.b.c."),
        (r"\097\032\255.x", r"a\032\255.x."),
        (r"a\\b", r"a\\b."),
    ] {
        let name: Name = text.parse().unwrap();
        assert_eq!(name.to_string(), shown);
        assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
    }
    let long = |count: usize| {
        ["a"; 63].concat() + &format!(".{}", ["b"; 63].concat()).repeat(2) + "." + &"c".repeat(count)
    };
    for (text, valid) in [
        (String::new(), false),
        ("..".to_owned(), false),
        ("a..b".to_owned(), false),
        (".a".to_owned(), false),
        (r"a\".to_owned(), false),
        (r"a\25".to_owned(), false),
        (r"a\256".to_owned(), false),
        ("caf\u{e9}.example".to_owned(), false),
        ("a".repeat(63), true),
        ("a".repeat(64), false),
        (long(60), true),
        (long(61), true),
        (long(62), false),
    ] {
        let outcome = text.parse::<Name>();
        assert_eq!(outcome.is_ok(), valid, "{text}");
        assert!(valid || matches!(outcome, Err(DnsError::InvalidName { .. })));
    }
    let reverse = Name::reverse("2001:db8::567:89ab".parse().unwrap()).to_string();
    assert_eq!(reverse, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.");
    assert!("nosuchtype".parse::<RecordType>().is_err());
}

#[test]
fn names_from_outside_are_escaped() {
    let evil = [&[9][..], b"\x1b[31mred\n", &[3], b"a.b", &[0]].concat();
    let (text, data) = shown(12, evil);
    assert_eq!(text, r"\027[31mred\010.a\.b.");
    let RecordData::Ptr(name) = data else { panic!("{data:?}") };
    assert_eq!(name.labels().count(), 2);
}
