//! Codecs give the same frames and the same errors however their input is cut, and those that a naive reading gives.

use crate::world::random::Random;
use twistor::framing::{
    CountDecoder, LengthPrefix, LineDecoder, LineTooLong, NetstringDecoder, PrefixDecoder, StringError,
    StringTooLong, encode_line, encode_netstring, encode_string,
};

/// What a decoder made of its input: frames, an error if there was one, and what of the input was no frame.
type Outcome<E> = (Vec<Vec<u8>>, Option<E>, Vec<u8>);

fn lines<'a>(decoder: &mut LineDecoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome<LineTooLong> {
    let (mut lines, mut error, mut left) = (Vec::new(), None, Vec::new());
    for mut piece in pieces {
        while error.is_none() {
            match decoder.next(&mut piece) {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break,
                Err(bad) => {
                    assert_eq!(decoder.next(&mut piece), Err(bad), "it says the same again");
                    error = Some(bad);
                    left = decoder.clear();
                }
            }
        }
        left.extend_from_slice(piece);
    }
    if error.is_none() {
        left = decoder.clear();
    }
    (lines, error, left)
}

/// The first line that is too long ends it, as soon as that is certain.
fn naive_lines(delimiter: &[u8], max: usize, mut bytes: &[u8]) -> Outcome<LineTooLong> {
    let mut lines = Vec::new();
    while let Some(at) = bytes.windows(delimiter.len()).position(|window| window == delimiter) {
        if at > max {
            break;
        }
        lines.push(bytes[..at].to_vec());
        bytes = &bytes[at + delimiter.len()..];
    }
    let error = (bytes.len() >= max + delimiter.len()).then_some(LineTooLong { limit: max });
    (lines, error, bytes.to_vec())
}

/// Each way to cut in two, and into pieces of each size.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let halves = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
    let even = (1..=bytes.len().max(1)).map(|size| bytes.chunks(size).collect());
    halves.chain(even).collect()
}

/// At random, with empty pieces among them.
fn cut_at_random<'a>(random: &mut Random, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.below(bytes.len().min(9) + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn drawn(random: &mut Random, from: &[u8], most: usize) -> Vec<u8> {
    (0..random.below(most)).map(|_| from[random.below(from.len())]).collect()
}

const DELIMITERS: [&[u8]; 6] = [b"\n", b"\r\n", b"\r\n\r\n", b"aa", b"aba", b"\0end\0"];

#[test]
fn lines_are_the_same_at_every_split_for_every_delimiter() {
    for delimiter in DELIMITERS {
        let mut bytes = Vec::new();
        for line in [&b"one"[..], b"", b"", b"t\rw\no", b"b", b"1234567890"] {
            encode_line(&mut bytes, line, delimiter);
        }
        bytes.extend_from_slice(b"unfinished\r");
        for max in [0, 3, 10, 1000] {
            let expected = naive_lines(delimiter, max, &bytes);
            for pieces in cuts(&bytes) {
                let mut decoder = LineDecoder::new(delimiter, max);
                assert_eq!(lines(&mut decoder, pieces.iter().copied()), expected, "{pieces:?} at most {max}");
            }
        }
    }
}

#[test]
fn lines_are_those_of_a_naive_reading_for_any_bytes() {
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let delimiter = DELIMITERS[random.below(DELIMITERS.len())];
        let max = random.below(12);
        let bytes = drawn(&mut random, b"ab\r\r\n\n\0end", 60);
        let expected = naive_lines(delimiter, max, &bytes);
        let pieces = cut_at_random(&mut random, &bytes);
        let mut decoder = LineDecoder::new(delimiter, max);
        assert_eq!(lines(&mut decoder, pieces.iter().copied()), expected, "seed {seed}, {pieces:?}");
    }
}

#[test]
fn a_line_of_the_limit_passes_and_one_more_byte_does_not() {
    let too_long = Err(LineTooLong { limit: 10 });
    for at in 0..=12 {
        let mut decoder = LineDecoder::new(b"\r\n", 10);
        let (mut first, mut second) = b"0123456789\r\n".split_at(at);
        let mut taken = Vec::new();
        for piece in [&mut first, &mut second] {
            while let Some(line) = decoder.next(piece).unwrap() {
                taken.push(line.to_vec());
            }
        }
        assert_eq!(taken, [b"0123456789"], "cut at {at}");
    }
    for bytes in [&b"0123456789a\r\n"[..], b"0123456789a\r", b"0123456789ab", b"0123456789\r\r"] {
        assert_eq!(LineDecoder::new(b"\r\n", 10).next(&mut { bytes }), too_long, "{bytes:?}");
    }
    // A part of the delimiter may wait, or what could still be one.
    for bytes in [&b"0123456789\r"[..], b"0123456789a"] {
        let mut decoder = LineDecoder::new(b"\r\n", 10);
        assert_eq!(decoder.next(&mut { bytes }), Ok(None));
        assert_eq!(decoder.unfinished(), bytes);
        assert_eq!(decoder.next(&mut &b"\r"[..]), too_long);
    }
}

#[test]
fn lines_go_on_after_one_that_is_too_long_has_been_skipped() {
    for delimiter in DELIMITERS {
        let mut bytes = Vec::new();
        for line in [&b"one"[..], b"much too long", b"two", b"too long as well", b"", b"six"] {
            encode_line(&mut bytes, line, delimiter);
        }
        for pieces in cuts(&bytes) {
            let mut decoder = LineDecoder::new(delimiter, 5);
            let mut taken = Vec::new();
            for mut piece in pieces {
                loop {
                    match decoder.next(&mut piece) {
                        Ok(Some(line)) => taken.push(line.to_vec()),
                        Ok(None) => break,
                        Err(LineTooLong { limit: 5 }) => decoder.skip_line(),
                        Err(other) => panic!("{other}"),
                    }
                }
                assert_eq!(piece, b"");
            }
            assert_eq!(taken, [&b"one"[..], b"two", b"", b"six"], "{delimiter:?}");
        }
    }
}

#[test]
fn what_is_skipped_is_not_kept() {
    let mut decoder = LineDecoder::new(b"\r\n", 5);
    decoder.skip_line();
    for _ in 0..100 {
        assert_eq!(decoder.next(&mut &[b'x'; 1000][..]), Ok(None));
        assert_eq!(decoder.unfinished(), b"");
    }
    assert_eq!(decoder.next(&mut &b"\r\nhello\r\n"[..]), Ok(Some(&b"hello"[..])));
}

#[test]
fn a_frame_that_lies_whole_in_the_input_is_not_copied() {
    let input = b"line\r\n4:abcd,\x04efgh";
    let within = |frame: &[u8]| input.as_ptr_range().contains(&frame.as_ptr());
    let mut rest = &input[..];
    assert!(within(LineDecoder::default().next(&mut rest).unwrap().unwrap()));
    assert!(within(NetstringDecoder::default().next(&mut rest).unwrap().unwrap()));
    assert!(within(PrefixDecoder::new(LengthPrefix::Int8, 100).next(&mut rest).unwrap().unwrap()));
    assert!(within(CountDecoder::default().next(4, &mut &input[3..]).unwrap()));
    assert_eq!(rest, b"");
}

#[test]
fn an_empty_delimiter_ends_no_line() {
    let mut decoder = LineDecoder::new(b"", 3);
    assert_eq!(decoder.next(&mut &b"ab"[..]), Ok(None));
    assert_eq!(decoder.next(&mut &b"c"[..]), Err(LineTooLong { limit: 3 }));
}

fn netstrings<'a>(max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome<StringError> {
    let mut decoder = NetstringDecoder::new(max);
    let (mut strings, mut error, mut left) = (Vec::new(), None, Vec::new());
    for mut piece in pieces {
        while error.is_none() {
            match decoder.next(&mut piece) {
                Ok(Some(string)) => strings.push(string.to_vec()),
                Ok(None) => break,
                Err(bad) => error = Some(bad),
            }
        }
        if let Some(bad) = &error {
            assert_eq!(decoder.next(&mut piece).as_ref(), Err(bad), "it says the same again");
            assert_eq!(decoder.error(), Some(bad));
            left.extend_from_slice(piece);
        }
    }
    (strings, error, left)
}

/// All at once, and byte by byte only in a length.
fn naive_netstrings(max: usize, bytes: &[u8]) -> (Vec<Vec<u8>>, Option<StringError>) {
    let mut strings = Vec::new();
    let mut at = 0;
    loop {
        let mut length = 0;
        for index in 0.. {
            let Some(&byte) = bytes.get(at) else { return (strings, None) };
            let found = byte;
            match byte {
                b'0'..=b'9' if index == 1 && length == 0 => return (strings, Some(StringError::LeadingZero)),
                b'0'..=b'9' => {
                    length = length * 10 + usize::from(byte - b'0');
                    if length > max {
                        return (strings, Some(StringTooLong { length, limit: max }.into()));
                    }
                }
                _ if index == 0 => return (strings, Some(StringError::NoLength { found })),
                b':' => break,
                _ => return (strings, Some(StringError::NoColon { found })),
            }
            at += 1;
        }
        let start = at + 1;
        match bytes.get(start + length) {
            None => return (strings, None),
            Some(b',') => strings.push(bytes[start..start + length].to_vec()),
            Some(&found) => return (strings, Some(StringError::NoComma { found })),
        }
        at = start + length + 1;
    }
}

#[test]
fn netstrings_are_the_same_at_every_split() {
    let mut bytes = Vec::new();
    for string in [&b"one"[..], b"", b"3:abc,", b"1234567890", b""] {
        encode_netstring(&mut bytes, string);
    }
    assert_eq!(bytes, b"3:one,0:,6:3:abc,,10:1234567890,0:,");
    bytes.extend_from_slice(b"4:fou");
    let (expected, none) = naive_netstrings(10, &bytes);
    assert_eq!((expected.len(), none), (5, None));
    for pieces in cuts(&bytes) {
        let (strings, error, _) = netstrings(10, pieces.iter().copied());
        assert_eq!((strings, error), (expected.clone(), None), "{pieces:?}");
    }
}

#[test]
fn a_netstring_that_is_none_is_known_at_its_first_wrong_byte() {
    let too_long = |length| StringError::TooLong(StringTooLong { length, limit: 99_999 });
    let bad = [
        (&b"00:,"[..], StringError::LeadingZero, &b"0:,"[..]),
        (b"01:a,", StringError::LeadingZero, b"1:a,"),
        (b":abc,", StringError::NoLength { found: b':' }, b":abc,"),
        (b"abc", StringError::NoLength { found: b'a' }, b"abc"),
        (b" 3:abc,", StringError::NoLength { found: b' ' }, b" 3:abc,"),
        (b"-1:a,", StringError::NoLength { found: b'-' }, b"-1:a,"),
        (b"+3:abc,", StringError::NoLength { found: b'+' }, b"+3:abc,"),
        (b"3abc,", StringError::NoColon { found: b'a' }, b"abc,"),
        (b"3 :abc,", StringError::NoColon { found: b' ' }, b" :abc,"),
        (b"3:abcd,", StringError::NoComma { found: b'd' }, b","),
        (b"3:ab,x", StringError::NoComma { found: b'x' }, b""),
        (b"0:0:,", StringError::NoComma { found: b'0' }, b":,"),
        (b"100000:", too_long(100_000), b"0:"),
        (b"99999999999999999999999999:", too_long(999_999), b"99999999999999999999:"),
    ];
    for (bytes, error, behind) in bad {
        for pieces in cuts(bytes) {
            let (strings, found, left) = netstrings(99_999, pieces.iter().copied());
            assert_eq!((strings, found.as_ref()), (Vec::new(), Some(&error)), "{pieces:?}");
            assert!(left.ends_with(behind), "{left:?}");
        }
    }
    // One that is well up to there does not help.
    let (strings, error, _) = netstrings(99_999, [&b"3:abc,x3:def,"[..]]);
    assert_eq!((strings, error), (vec![b"abc".to_vec()], Some(StringError::NoLength { found: b'x' })));
}

#[test]
fn netstrings_are_those_of_a_naive_reading_for_any_bytes() {
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let max = random.below(30);
        let mut bytes = Vec::new();
        for _ in 0..random.below(6) {
            let string = drawn(&mut random, b"ab:,12", 20);
            encode_netstring(&mut bytes, &string);
        }
        if !bytes.is_empty() && random.below(2) == 0 {
            let at = random.below(bytes.len());
            bytes[at] = b"0123456789:,a\xff"[random.below(14)];
        }
        let expected = naive_netstrings(max, &bytes);
        let pieces = cut_at_random(&mut random, &bytes);
        let (strings, error, _) = netstrings(max, pieces.iter().copied());
        assert_eq!((strings, error), expected, "seed {seed}, {:?}", String::from_utf8_lossy(&bytes));
    }
}

fn prefixed<'a>(
    prefix: LengthPrefix,
    max: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<StringTooLong>) {
    let mut decoder = PrefixDecoder::new(prefix, max);
    let (mut strings, mut error) = (Vec::new(), None);
    for mut piece in pieces {
        while error.is_none() {
            match decoder.next(&mut piece) {
                Ok(Some(string)) => strings.push(string.to_vec()),
                Ok(None) => break,
                Err(bad) => {
                    let before = piece;
                    assert_eq!(decoder.next(&mut piece), Err(bad), "it says the same again");
                    assert_eq!(piece, before);
                    error = Some(bad);
                }
            }
        }
    }
    (strings, error)
}

fn naive_prefixed(
    prefix: LengthPrefix,
    max: usize,
    mut bytes: &[u8],
) -> (Vec<Vec<u8>>, Option<StringTooLong>) {
    let mut strings = Vec::new();
    while bytes.len() >= prefix.size() {
        let (head, rest) = bytes.split_at(prefix.size());
        let length = head.iter().fold(0, |number, byte| number * 256 + usize::from(*byte));
        if length > max {
            return (strings, Some(StringTooLong { length, limit: max }));
        }
        if rest.len() < length {
            break;
        }
        let (string, rest) = rest.split_at(length);
        strings.push(string.to_vec());
        bytes = rest;
    }
    (strings, None)
}

const PREFIXES: [LengthPrefix; 3] = [LengthPrefix::Int8, LengthPrefix::Int16, LengthPrefix::Int32];

#[test]
fn prefixed_strings_are_the_same_at_every_split() {
    for prefix in PREFIXES {
        let mut bytes = Vec::new();
        let strings = [&b"one"[..], b"", b"", b"0123456789", b"\0\0\x01"];
        for string in strings {
            encode_string(&mut bytes, prefix, string).unwrap();
        }
        let expected: Vec<Vec<u8>> = strings.iter().map(|string| string.to_vec()).collect();
        for pieces in cuts(&bytes) {
            assert_eq!(prefixed(prefix, 10, pieces.iter().copied()), (expected.clone(), None), "{pieces:?}");
        }
        let too_long = Some(StringTooLong { length: 10, limit: 9 });
        for pieces in cuts(&bytes) {
            assert_eq!(prefixed(prefix, 9, pieces.iter().copied()), (expected[..3].to_vec(), too_long));
        }
    }
}

#[test]
fn an_excessive_length_prefix_is_refused_before_its_string() {
    let cases = [
        (LengthPrefix::Int8, &[11][..], 11),
        (LengthPrefix::Int16, &[1, 0], 256),
        (LengthPrefix::Int32, &[255, 255, 255, 255], 4_294_967_295),
    ];
    for (prefix, bytes, length) in cases {
        let error = Some(StringTooLong { length, limit: 10 });
        assert_eq!(prefixed(prefix, 10, bytes.chunks(1)), (Vec::new(), error));
        // One byte of the prefix less, and nothing is known.
        assert_eq!(prefixed(prefix, 10, bytes[1..].chunks(1)).1, None);
    }
}

#[test]
fn a_string_that_was_refused_can_be_let_pass() {
    let mut decoder = PrefixDecoder::new(LengthPrefix::Int8, 2);
    let mut input = &b"\x03abc"[..];
    assert_eq!(decoder.next(&mut input), Err(StringTooLong { length: 3, limit: 2 }));
    decoder.set_max_length(3);
    assert_eq!(decoder.next(&mut input), Ok(Some(&b"abc"[..])));
}

#[test]
fn prefixed_strings_are_those_of_a_naive_reading_for_any_bytes() {
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let prefix = PREFIXES[random.below(3)];
        let max = random.below(20);
        let bytes = drawn(&mut random, &[0, 0, 0, 0, 1, 2, 3, 7, 19], 80);
        let expected = naive_prefixed(prefix, max, &bytes);
        let pieces = cut_at_random(&mut random, &bytes);
        assert_eq!(prefixed(prefix, max, pieces.iter().copied()), expected, "seed {seed}, {pieces:?}");
    }
}

#[test]
fn a_string_that_its_prefix_cannot_say_is_not_sent() {
    for (prefix, max_length) in [(LengthPrefix::Int8, 255), (LengthPrefix::Int16, 65_535)] {
        assert_eq!(prefix.max_length(), max_length);
        let mut out = b"before".to_vec();
        let string = vec![b'x'; max_length + 1];
        let error = StringTooLong { length: max_length + 1, limit: max_length };
        assert_eq!(encode_string(&mut out, prefix, &string), Err(error));
        assert_eq!(out, b"before");
        assert_eq!(encode_string(&mut out, prefix, &string[1..]), Ok(()));
        assert_eq!(out.len(), 6 + prefix.size() + max_length);
        let expected = (vec![string[1..].to_vec()], None);
        assert_eq!(prefixed(prefix, max_length, [&out[6..]]), expected);
    }
}

#[test]
fn counts_are_those_of_a_naive_reading_whatever_is_asked_for() {
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(100)).map(|byte| byte as u8).collect();
        let pieces = cut_at_random(&mut random, &bytes);
        let mut decoder = CountDecoder::default();
        let (mut taken, mut fed) = (0, 0);
        for mut piece in pieces {
            fed += piece.len();
            // What is asked for changes now and then, whatever has come.
            loop {
                let count = random.below(12);
                match decoder.next(count, &mut piece) {
                    Some(frame) => {
                        assert_eq!(frame, &bytes[taken..taken + count], "seed {seed}");
                        taken += count;
                    }
                    None => break assert!(fed - taken < count, "seed {seed}"),
                }
            }
            assert_eq!(piece, b"");
            assert_eq!(decoder.unfinished(), &bytes[taken..fed]);
        }
        assert_eq!(decoder.clear(), &bytes[taken..]);
    }
}

#[test]
fn arbitrary_bytes_yield_frames_or_errors_but_never_a_panic() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        let pieces = cut_at_random(&mut random, &bytes);
        let max = [0, 1, 100, usize::MAX][random.below(4)];
        for delimiter in DELIMITERS {
            lines(&mut LineDecoder::new(delimiter, max), pieces.iter().copied());
        }
        netstrings(max, pieces.iter().copied());
        for prefix in PREFIXES {
            prefixed(prefix, max, pieces.iter().copied());
        }
    }
    // A length that no memory has.
    let mut decoder = NetstringDecoder::new(usize::MAX);
    assert_eq!(decoder.next(&mut &b"99999999999999999999999:abc,"[..]), Ok(None));
}
