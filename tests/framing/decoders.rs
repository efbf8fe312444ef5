//! Decoders give the same messages at any cut, in linear time, and within their limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use twistor::framing::{
    CountDecoder, Decoder, DelimiterInLine, Encoder, LengthPrefix, LineDecoder, LineEncoder, LineTooLong,
    MessageBuffer, MessageError, NetstringDecoder, NetstringEncoder, PrefixDecoder, StringError,
    StringTooLong,
};
use twistor::testing::assert_any_cut;

#[test]
fn shipped_codecs_give_the_same_messages_at_any_cut() {
    let prefixed = || PrefixDecoder::new(LengthPrefix::Int16, 20);
    let (strings, ended) = assert_any_cut(prefixed, b"\0\x03one\0\0\0\x06twelve\0\x05rest");
    assert_eq!(strings, [&b"one"[..], b"", b"twelve"]);
    assert_eq!(ended, Err(MessageError::UnexpectedEof { read: 6 }));
    let (_, ended) = assert_any_cut(prefixed, b"\0\x03one\0\x15");
    assert_eq!(ended, Err(MessageError::Invalid(StringTooLong { length: 21, limit: 20 })));

    let lines = || LineDecoder::new(b"\r\n", 8);
    let (got, ended) = assert_any_cut(lines, b"one\r\n\r\n12345678\r\n\r\r\n");
    assert_eq!((got, ended), (vec![b"one".to_vec(), vec![], b"12345678".to_vec(), b"\r".to_vec()], Ok(())));
    let (got, ended) = assert_any_cut(lines, b"one\r\n123456789\r\ntwo\r\n");
    assert_eq!((got.len(), ended), (1, Err(MessageError::Invalid(LineTooLong { limit: 8 }))));

    let netstrings = NetstringDecoder::default;
    let (strings, ended) = assert_any_cut(netstrings, b"3:one,0:,12:");
    assert_eq!((strings.len(), ended), (2, Err(MessageError::UnexpectedEof { read: 3 })));
    let (_, ended) = assert_any_cut(netstrings, b"3:one,3:two.");
    assert_eq!(ended, Err(MessageError::Invalid(StringError::NoComma { found: b'.' })));
}

#[test]
fn encoders_are_the_inverse_of_decoders() {
    let mut bytes = Vec::new();
    for string in [&b"one"[..], b"", b"three"] {
        NetstringEncoder.encode(string, &mut bytes).unwrap();
    }
    assert_eq!(assert_any_cut(NetstringDecoder::default, &bytes).0, [&b"one"[..], b"", b"three"]);
    for (delimiter, line, at) in [(&b"aa"[..], &b"xa"[..], 1), (b"\r\n", b"a\r\nb\r\n", 1), (b"a", b"a", 0)] {
        let mut out = b"before".to_vec();
        let refused = LineEncoder::new(delimiter).encode(line, &mut out);
        assert_eq!((refused, out.as_slice()), (Err(DelimiterInLine { at }), &b"before"[..]));
    }
    for (delimiter, line) in [(&b"\r\n"[..], &b"a\r"[..]), (b"ab", b"a"), (b"", b"abc")] {
        let mut out = Vec::new();
        LineEncoder::new(delimiter).encode(line, &mut out).unwrap();
        assert_eq!(out, [line, delimiter].concat());
    }
}

/// Blocks behind a length of four bytes, read from the start each time. Counts the bytes it sees.
struct Blocks {
    wanted: usize,
    hints: bool,
    seen: Rc<Cell<usize>>,
}

impl Decoder for Blocks {
    type Message = Vec<u8>;
    type Error = Infallible;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        assert!(input.len() >= self.min_input());
        self.seen.set(self.seen.get() + input.len());
        let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if self.hints {
            self.wanted = 4 + length;
        }
        let Some((block, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        *input = rest;
        self.wanted = 1;
        Ok(Some(block.to_vec()))
    }

    fn min_input(&self) -> usize {
        self.wanted
    }
}

fn blocks(hints: bool) -> (Blocks, Rc<Cell<usize>>) {
    let seen = Rc::<Cell<usize>>::default();
    (Blocks { wanted: 1, hints, seen: Rc::clone(&seen) }, seen)
}

fn block(length: usize) -> Vec<u8> {
    [&u32::try_from(length).unwrap().to_be_bytes()[..], &vec![b'x'; length]].concat()
}

#[test]
fn a_known_length_makes_the_time_linear() {
    for (piece, hints) in [(1, true), (7, true), (4096, false), (usize::MAX, false)] {
        let (decoder, seen) = blocks(hints);
        let mut buffer = MessageBuffer::new(decoder);
        let bytes = block(90_000).repeat(4);
        let mut count = 0;
        for mut piece in bytes.chunks(piece.min(bytes.len())) {
            while buffer.next(&mut piece).unwrap().is_some() {
                count += 1;
            }
        }
        assert_eq!((count, buffer.unfinished()), (4, &b""[..]));
        // Without a hint, pieces of 4096 are read again 22 times a block.
        let most = if piece == 4096 { 30 } else { 3 };
        assert!(seen.get() <= most * bytes.len(), "{} bytes seen in pieces of {piece}", seen.get());
    }
}

#[test]
fn small_messages_behind_a_cut_one_are_not_copied_again() {
    let mut buffer = MessageBuffer::new(blocks(false).0);
    let bytes = block(10).repeat(10_000);
    let (mut count, (mut first, mut second)) = (0, bytes.split_at(5));
    while buffer.next(&mut first).unwrap().is_some() {}
    while buffer.next(&mut second).unwrap().is_some() {
        count += 1;
        assert!(buffer.unfinished().is_empty(), "the rest goes back to the input");
    }
    assert_eq!((count, second.len()), (10_000, 0));
}

#[test]
fn the_limit_is_exact_at_any_cut() {
    for (length, hints) in [(95, false), (96, false), (97, false), (95, true), (96, true), (97, true)] {
        let bytes = [block(3), block(length), block(3)].concat();
        for size in [1, 2, 50, 99, 100, 101, 1000] {
            let mut buffer = MessageBuffer::with_max_length(blocks(hints).0, 100);
            let (mut lengths, mut error) = (Vec::new(), None);
            for mut piece in bytes.chunks(size) {
                while error.is_none() {
                    match buffer.next(&mut piece) {
                        Ok(Some(block)) => lengths.push(block.len()),
                        Ok(None) => break,
                        Err(bad) => error = Some(bad),
                    }
                }
            }
            let (fits, too_long) = (vec![3, length, 3], MessageError::TooLong { limit: 100 });
            let expected = if length <= 96 { (fits, None) } else { (vec![3], Some(too_long)) };
            assert_eq!((lengths, error), expected, "{length} bytes in pieces of {size}");
        }
    }
}

/// Parts of the shipped ones: a line with a length, then as many bytes.
#[derive(Default)]
struct Chunks {
    line: LineDecoder,
    body: CountDecoder,
    length: Option<usize>,
}

impl Decoder for Chunks {
    type Message = Vec<u8>;
    type Error = LineTooLong;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, LineTooLong> {
        let length = match self.length {
            Some(length) => length,
            None => match self.line.next(input)? {
                Some(line) => *self.length.insert(line.len()),
                None => return Ok(None),
            },
        };
        let Some(body) = self.body.next(length, input) else { return Ok(None) };
        self.length = None;
        Ok(Some(body.to_vec()))
    }

    fn buffered(&self) -> usize {
        self.line.unfinished().len() + self.body.unfinished().len() + usize::from(self.length.is_some())
    }
}

#[test]
fn a_decoder_of_shipped_parts_consumes_as_it_goes() {
    let (chunks, ended) = assert_any_cut(Chunks::default, b"xxx\r\none\r\nxxxx\r\nfour");
    assert_eq!((chunks, ended), (vec![b"one".to_vec(), vec![], b"four".to_vec()], Ok(())));
    let (_, ended) = assert_any_cut(Chunks::default, b"xxx\r\n");
    assert_eq!(ended, Err(MessageError::UnexpectedEof { read: 1 }));
    // What it has consumed is not in the buffer, so its messages may be longer than the limit.
    let mut buffer = MessageBuffer::with_max_length(Chunks::default(), 8);
    let bytes = [&[b'x'; 50][..], b"\r\n", &[b'y'; 50]].concat();
    assert_eq!(buffer.next(&mut bytes.as_slice()), Ok(Some(vec![b'y'; 50])));
}

/// Runs of equal bytes, each known to be over when another byte has come, and several at once.
#[derive(Default)]
struct Runs {
    found: Vec<(u8, usize)>,
}

impl Decoder for Runs {
    type Message = (u8, usize);
    type Error = Infallible;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<(u8, usize)>, Infallible> {
        while let Some(first) = input.first()
            && let Some(length) = input.iter().position(|byte| byte != first)
        {
            self.found.insert(0, (*first, length));
            *input = &input[length..];
        }
        Ok(self.found.pop())
    }

    fn decode_eof(&mut self, input: &mut &[u8]) -> Result<Option<(u8, usize)>, Infallible> {
        let last = input.first().map(|first| (*first, input.len()));
        *input = &[];
        Ok(last)
    }

    fn min_input(&self) -> usize {
        usize::from(self.found.is_empty())
    }
}

#[test]
fn a_decoder_may_look_ahead_and_hold_messages() {
    let (runs, ended) = assert_any_cut(Runs::default, b"aaabbcaaaaaa");
    assert_eq!((runs, ended), (vec![(b'a', 3), (b'b', 2), (b'c', 1), (b'a', 6)], Ok(())));
}

/// Puts a slice of its own in the place of the input.
struct Swapping;

impl Decoder for Swapping {
    type Message = ();
    type Error = Infallible;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<()>, Infallible> {
        *input = b"much longer than what there was";
        Ok(None)
    }
}

#[test]
fn a_decoder_that_misuses_the_slice_does_no_harm() {
    let mut buffer = MessageBuffer::new(Swapping);
    let mut input = &b"abc"[..];
    assert_eq!((buffer.next(&mut input), input), (Ok(None), &b""[..]));
    assert_eq!((buffer.next(&mut &b"d"[..]), buffer.unfinished()), (Ok(None), &b"abcd"[..]));
    assert_eq!(buffer.take_rest(), b"abcd");
}
