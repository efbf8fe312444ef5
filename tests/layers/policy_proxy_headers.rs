//! A PROXY header is parsed alike for any fragmentation, and every invalid one is refused with a
//! specific error.

use std::net::SocketAddr;

use twistor::proxy_protocol::{Header, HeaderError, Side, Value, Version};
use twistor::{Address, UnixAddress};

fn tcp(text: &str) -> Address {
    Address::Tcp(text.parse().unwrap())
}

fn udp(text: &str) -> Address {
    Address::Udp(text.parse::<SocketAddr>().unwrap())
}

fn path(text: &str) -> Address {
    Address::Unix(UnixAddress::of_path(text).unwrap())
}

/// A binary header with a matching length field.
fn binary(version_command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([version_command, kind]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x01, 0xbb];

fn four(values: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&FOUR[..], values].concat())
}

fn unix_block(source: &[u8], destination: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 216];
    block[..source.len()].copy_from_slice(source);
    block[108..108 + destination.len()].copy_from_slice(destination);
    block
}

/// Parses the bytes whole, byte by byte, and in any two pieces, and asserts equal results.
fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let whole = Header::parse(bytes);
    // The first prefix with a result decides.
    let by_bytes = (0..=bytes.len()).map(|end| Header::parse(&bytes[..end])).find(|seen| *seen != Ok(None));
    assert_eq!(by_bytes.unwrap_or(Ok(None)), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in 0..=bytes.len() {
        let seen = match Header::parse(&bytes[..cut]) {
            Ok(None) => Header::parse(bytes),
            decided => decided,
        };
        assert_eq!(seen, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

/// Parses a valid header followed by application data.
fn good(header: &[u8]) -> Header {
    let mut bytes = header.to_vec();
    bytes.extend(b"\r\nPROXY bytes of the application");
    let (seen, length) = parse(&bytes).unwrap().unwrap();
    assert_eq!(length, header.len(), "{}", header.escape_ascii());
    assert_eq!(parse(header).unwrap().unwrap().0, seen);
    seen
}

#[test]
fn a_line_says_both_addresses() {
    for (line, source, destination) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n", "192.0.2.7:40000", "198.51.100.1:443"),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535", "0.0.0.0:0"),
        ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "[2001:db8::7]:1", "[::1]:2"),
        ("PROXY TCP6 2001:DB8::7 ::ffff:1.2.3.4 1 2\r\n", "[2001:db8::7]:1", "[::ffff:1.2.3.4]:2"),
    ] {
        let header = good(line.as_bytes());
        assert_eq!(header, Header::new(Version::One, tcp(source), tcp(destination)));
    }
}

#[test]
fn unknown_leaves_the_addresses_whatever_else_the_line_says() {
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \r\n",
        "PROXY UNKNOWN anything at all\r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    ] {
        assert_eq!(good(line.as_bytes()), Header::local(Version::One));
    }
}

#[test]
fn a_line_has_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    for length in [106, 107] {
        assert_eq!(line(length).len(), length);
        good(line(length).as_bytes());
    }
    assert_eq!(parse(line(108).as_bytes()), Err(HeaderError::LineTooLong));
    // Refused as soon as the limit is reached, before the end of the line.
    assert_eq!(parse(&line(500).as_bytes()[..107]), Err(HeaderError::LineTooLong));
    assert_eq!(parse(&line(500).as_bytes()[..106]), Ok(None));
}

#[test]
fn a_wrong_line_is_refused_by_name() {
    let address = |side, text: &str| HeaderError::BadAddress(side, text.to_owned());
    let port = |side, text: &str| HeaderError::BadPort(side, text.to_owned());
    let protocol = |text: &str| HeaderError::BadProtocol(text.to_owned());
    for (line, error) in [
        ("GET / HTTP/1.1\r\n\r\n", HeaderError::Missing),
        ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Missing),
        ("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", HeaderError::Missing),
        ("PROXY\r\n", HeaderError::Missing),
        ("\0", HeaderError::Missing),
        ("PROXY \r\n", protocol("")),
        ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", protocol("TCP5")),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", protocol("tcp4")),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", protocol("UDP4")),
        ("PROXY UNKNOWNX\r\n", protocol("UNKNOWNX")),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", protocol("")),
        ("PROXY TCP4\r\n", HeaderError::BadFields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", HeaderError::BadFields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", HeaderError::BadFields),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", HeaderError::BadFields),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", address(Side::Source, "1.2.3.256")),
        ("PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n", address(Side::Destination, "1.2.3.04")),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", address(Side::Source, "::1")),
        ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", address(Side::Source, "1.2.3.4")),
        ("PROXY TCP6 ::1 ::1%lo 1 2\r\n", address(Side::Destination, "::1%lo")),
        ("PROXY TCP4 1.2.3.4  1 2\r\n", address(Side::Destination, "")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", port(Side::Source, "65536")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", port(Side::Destination, "65536")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", port(Side::Source, "01")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", port(Side::Source, "+1")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", port(Side::Source, "-1")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", port(Side::Destination, "")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", port(Side::Destination, "2\\n")),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \x002\r\n", port(Side::Destination, "\\x002")),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
    }
}

#[test]
fn a_binary_header_says_both_addresses_of_every_family() {
    let six = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
    let unix = unix_block(b"/run/client", b"\0server");
    let server = Address::Unix(UnixAddress::of_abstract("server").unwrap());
    for (bytes, source, destination) in [
        (four(b""), tcp("192.0.2.7:40000"), tcp("198.51.100.1:443")),
        (binary(0x21, 0x12, &FOUR), udp("192.0.2.7:40000"), udp("198.51.100.1:443")),
        (binary(0x21, 0x21, &six), tcp("[2001:db8::7]:1"), tcp("[::1]:2")),
        (binary(0x21, 0x22, &six), udp("[2001:db8::7]:1"), udp("[::1]:2")),
        (binary(0x21, 0x31, &unix), path("/run/client"), server.clone()),
        (binary(0x21, 0x32, &unix), path("/run/client"), server),
        (
            binary(0x21, 0x31, &unix_block(b"", &[b'p'; 107])),
            Address::Unix(UnixAddress::UNNAMED),
            path(&"p".repeat(107)),
        ),
    ] {
        assert_eq!(good(&bytes), Header::new(Version::Two, source, destination));
    }
}

#[test]
fn local_and_unspecified_leave_the_addresses() {
    for bytes in [
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, &FOUR),
        // Other contents of a LOCAL header are ignored.
        binary(0x20, 0x11, b"short"),
        binary(0x21, 0x00, b""),
        binary(0x21, 0x01, b""),
        binary(0x21, 0x10, &FOUR),
    ] {
        assert_eq!(good(&bytes), Header::local(Version::Two), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_binary_header_has_at_most_536_bytes_and_2_kib_of_values() {
    let of_length = |length: usize| {
        let value = length - 16 - FOUR.len() - 3;
        let mut values = vec![0xe0];
        values.extend((value as u16).to_be_bytes());
        values.resize(3 + value, b'v');
        four(&values)
    };
    for length in [2583, 2584] {
        let bytes = of_length(length);
        assert_eq!(bytes.len(), length);
        let (header, used) = Header::parse(&bytes).unwrap().unwrap();
        assert_eq!((used, header.values[0].bytes.len()), (length, length - 31));
    }
    // Refused before the bytes have arrived.
    assert_eq!(parse(&of_length(2585)[..16]), Err(HeaderError::TooLong(2585)));
    assert_eq!(parse(&of_length(2585)[..15]), Ok(None));
}

#[test]
fn the_values_are_told_and_the_checksum_is_checked() {
    let authority = [2, 0, 4, b'h', b'o', b's', b't'];
    let padding = [4, 0, 2, 9, 9];
    let header = good(&four(&[&padding[..], &authority, &[0xe1, 0, 0]].concat()));
    let values = [Value { kind: 2, bytes: b"host".to_vec() }, Value { kind: 0xe1, bytes: Vec::new() }];
    assert_eq!(header.values, values);

    // Encoded headers have a checksum, at any position.
    let encoded = Header { values: values.to_vec(), ..header.clone() }.encode();
    assert_eq!(good(&encoded), header);
    for place in 0..encoded.len() {
        let mut wrong = encoded.clone();
        wrong[place] ^= 0x40;
        if let Ok(Some((seen, _))) = Header::parse(&wrong) {
            // A bit that changes the header to LOCAL, to a family without addresses, or the
            // checksum's type.
            assert_ne!(seen, header, "a flipped bit at {place} is not seen");
        }
    }
    let mut wrong = encoded.clone();
    wrong[16] ^= 1;
    assert!(matches!(parse(&wrong), Err(HeaderError::BadChecksum { .. })));
    assert_eq!(parse(&four(&[3, 0, 3, 1, 2, 3])), Err(HeaderError::BadChecksumLength(3)));
}

#[test]
fn a_wrong_binary_header_is_refused_by_name() {
    let long_path = unix_block(b"/run/client", &[b'p'; 108]);
    let nul_in_path = unix_block(b"a\0b", b"/run/server");
    for (bytes, error) in [
        (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), HeaderError::Missing),
        (b"\r\n\r\nGET".to_vec(), HeaderError::Missing),
        (binary(0x11, 0x11, &FOUR), HeaderError::BadVersion(1)),
        (binary(0x31, 0x11, &FOUR), HeaderError::BadVersion(3)),
        (binary(0x22, 0x11, &FOUR), HeaderError::BadCommand(2)),
        (binary(0x2f, 0x11, &FOUR), HeaderError::BadCommand(15)),
        (binary(0x21, 0x41, &FOUR), HeaderError::BadFamily(4)),
        (binary(0x21, 0x13, &FOUR), HeaderError::BadTransport(3)),
        // One byte less than the addresses need.
        (binary(0x21, 0x11, &FOUR[..11]), HeaderError::AddressesCut(11)),
        (binary(0x21, 0x21, &[0; 35]), HeaderError::AddressesCut(35)),
        (binary(0x21, 0x31, &[0; 215]), HeaderError::AddressesCut(215)),
        (binary(0x21, 0x10, &FOUR[..11]), HeaderError::AddressesCut(11)),
        (binary(0x21, 0x31, &long_path), HeaderError::BadAddress(Side::Destination, "p".repeat(108))),
        (binary(0x21, 0x31, &nul_in_path), HeaderError::BadAddress(Side::Source, "a\\x00b".to_owned())),
        (four(&[2]), HeaderError::ValueCut(None)),
        (four(&[2, 0]), HeaderError::ValueCut(None)),
        (four(&[2, 0, 1]), HeaderError::ValueCut(Some(2))),
        (four(&[2, 0, 1, b'x', 5, 0, 9, 1]), HeaderError::ValueCut(Some(5))),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_encoded_is_read_back() {
    let (a, b) = (tcp("192.0.2.7:40000"), tcp("198.51.100.1:443"));
    let (c, d) = (tcp("[2001:db8::7]:1"), tcp("[::1]:2"));
    for version in [Version::One, Version::Two] {
        for header in [
            Header::new(version, a.clone(), b.clone()),
            Header::new(version, c.clone(), d.clone()),
            Header::local(version),
        ] {
            assert_eq!(good(&header.encode()), header);
        }
        // Addresses of different families cannot be encoded.
        assert_eq!(good(&Header::new(version, a.clone(), d.clone()).encode()), Header::local(version));
    }
    let unix = Header::new(Version::Two, Address::Unix(UnixAddress::UNNAMED), path("/run/x"));
    assert_eq!(good(&unix.encode()), unix);
    let unix = Header { version: Version::One, ..unix };
    assert_eq!(unix.encode(), b"PROXY UNKNOWN\r\n");
}

#[test]
fn every_header_that_was_read_is_read_back_with_its_values() {
    let value = |kind: u8, length: usize| {
        let [high, low] = (length as u16).to_be_bytes();
        [&[kind, high, low][..], &vec![b'v'; length]].concat()
    };
    let unix = unix_block(b"/run/client", b"\0server");
    let blocks: [(u8, &[u8]); 8] = [
        (0x00, b""),
        (0x01, b""),
        (0x02, b""),
        (0x10, &FOUR),
        (0x11, &FOUR),
        (0x12, &FOUR),
        (0x31, &unix),
        (0x32, &unix),
    ];
    for command in [0x20, 0x21] {
        for (kind, block) in blocks {
            let room = 2584 - 16 - block.len();
            for values in [
                Vec::new(),
                value(2, 0),
                [value(2, 0), value(0xe0, 0), value(2, 9)].concat(),
                // The longest with a checksum, the shortest without one, and the longest of all.
                value(2, room - 10),
                value(2, room - 9),
                value(2, room - 3),
                [value(5, 1), value(2, room - 7)].concat(),
            ] {
                let bytes = binary(command, kind, &[block, &values].concat());
                let (header, _) = Header::parse(&bytes).unwrap().unwrap();
                assert_eq!(header.values.is_empty(), command == 0x20 || values.is_empty());
                let encoded = header.encode();
                assert!(encoded.len() <= 2584);
                let again = Header::parse(&encoded).unwrap().unwrap();
                assert_eq!(again, (header, encoded.len()), "{command:x} {kind:x} {}", values.len());
            }
        }
    }
}

#[test]
fn what_does_not_fit_or_belongs_to_encode_is_left_out() {
    let value = |kind, length| Value { kind, bytes: vec![b'v'; length] };
    let local = Header::local(Version::Two);
    let of = |values: &[Value]| good(&Header { values: values.to_vec(), ..local.clone() }.encode()).values;
    assert_eq!(of(&[value(3, 4), value(4, 1), value(2, 1)]), [value(2, 1)]);
    assert_eq!(of(&[value(2, 2566), value(5, 0)]), [value(5, 0)]);
    assert_eq!(of(&[value(2, 2565), value(5, 0)]), [value(2, 2565)]);
    assert_eq!(of(&[value(2, 70_000)]), []);
    assert_eq!(
        Header { version: Version::One, values: vec![value(2, 1)], ..local }.encode(),
        b"PROXY UNKNOWN\r\n"
    );
}

/// Random headers, most of them almost valid: no panic, and the same result for any fragmentation.
#[test]
fn any_bytes_are_read_or_refused() {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let seeds = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(),
        Header::new(Version::Two, tcp("192.0.2.7:40000"), tcp("198.51.100.1:443")).encode(),
        Header::new(Version::Two, path("/a"), path("/b")).encode(),
        four(&[2, 0, 4, b'h', b'o', b's', b't', 4, 0, 1, 0]),
    ];
    for _ in 0..20_000 {
        let mut bytes = seeds[random(seeds.len())].clone();
        for _ in 0..random(4) {
            let place = random(bytes.len());
            match random(3) {
                0 => bytes[place] = random(256) as u8,
                1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, random(256) as u8),
            }
        }
        let cut = random(bytes.len() + 1);
        let whole = Header::parse(&bytes);
        match Header::parse(&bytes[..cut]) {
            Ok(None) => {}
            decided => assert_eq!(decided, whole, "{}", bytes.escape_ascii()),
        }
    }
}
