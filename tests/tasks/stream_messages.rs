//! A task reads whole messages of any framing, however the bytes are divided, and what it has not
//! read stays for others.

use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::framing::{
    Encoder, LengthPrefix, LineDecoder, LineEncoder, LineTooLong, NetstringDecoder, PrefixDecoder,
};
use twistor::stream::{
    ReadError, Server, StreamError, StreamReader, StreamWriter, open_connection, start_server,
};
use twistor::task::{sleep, timeout};

/// A server that sends pieces, a moment apart, and then ends its output.
fn sends(pieces: Vec<Vec<u8>>) -> Server {
    start_server("127.0.0.1:0", async move |mut reader: StreamReader, writer: StreamWriter| {
        for piece in &pieces {
            writer.write(piece);
            writer.drain().await?;
            sleep(Duration::from_millis(1)).await;
        }
        writer.write_eof();
        reader.read_to_end(0).await?;
        Ok::<_, StreamError>(())
    })
    .unwrap()
}

fn prefixed() -> PrefixDecoder {
    PrefixDecoder::new(LengthPrefix::Int16, 10_000)
}

fn bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in [&b"one"[..], b"", &[b'x'; 300], b"four"] {
        LengthPrefix::Int16.encode(string, &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn messages_survive_any_fragmentation() {
    on_each_back_end(|world| {
        for size in [1, 3, 100, 1000] {
            world.run_future(async {
                let server = sends(bytes().chunks(size).map(<[u8]>::to_vec).collect());
                let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
                let mut decoder = prefixed();
                let mut lengths = Vec::new();
                while let Some(string) = reader.read_message(&mut decoder).await.unwrap() {
                    lengths.push(string.len());
                }
                assert_eq!(lengths, [3, 0, 300, 4]);
                assert!(reader.at_eof());
            });
        }
    });
}

#[test]
fn what_follows_a_message_stays_for_another_decoder() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = sends(vec![b"three\r\n\0\x03one5:hello,".to_vec(), b"rest".to_vec()]);
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            let line = reader.read_message(&mut LineDecoder::default()).await.unwrap();
            assert_eq!(line.as_deref(), Some(&b"three"[..]));
            assert_eq!(reader.read_message(&mut prefixed()).await.unwrap().unwrap(), b"one");
            let string = reader.read_message(&mut NetstringDecoder::default()).await.unwrap();
            assert_eq!(string.as_deref(), Some(&b"hello"[..]));
            assert_eq!(reader.read_to_end(10).await.unwrap(), b"rest");
        });
    });
}

#[test]
fn a_cancelled_read_goes_on_with_the_same_decoder() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = sends(bytes().chunks(20).map(<[u8]>::to_vec).collect());
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            let (mut decoder, mut lengths, mut cancelled) = (prefixed(), Vec::new(), 0);
            loop {
                match timeout(Duration::from_micros(200), reader.read_message(&mut decoder)).await {
                    Err(_) => cancelled += 1,
                    Ok(Ok(Some(string))) => lengths.push(string.len()),
                    Ok(end) => break assert_eq!(end, Ok(None)),
                }
            }
            assert_eq!(lengths, [3, 0, 300, 4]);
            assert!(cancelled > 0);
        });
    });
}

#[test]
fn errors_say_what_was_wrong() {
    on_each_back_end(|world| {
        world.run_future(async {
            let too_long = ReadError::Invalid(LineTooLong { limit: 3 });
            let cut = |read| ReadError::Stream(StreamError::UnexpectedEof { read });
            for (bytes, expected) in
                [(&b"one\nfour\n"[..], Err(too_long)), (b"one\ntw", Err(cut(2))), (b"one\ntwo\n", Ok(None))]
            {
                let server = sends(vec![bytes.to_vec()]);
                let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
                let mut lines = LineDecoder::new(b"\n", 3);
                assert_eq!(reader.read_message(&mut lines).await.unwrap().unwrap(), b"one");
                let mut last = reader.read_message(&mut lines).await;
                if let Ok(Some(_)) = last {
                    last = reader.read_message(&mut lines).await;
                }
                assert_eq!(last, expected);
            }
        });
    });
}

/// Takes four bytes at once, and nothing less.
struct Fours;

impl twistor::framing::Decoder for Fours {
    type Message = [u8; 4];
    type Error = std::convert::Infallible;

    fn decode(&mut self, input: &mut &[u8]) -> Result<Option<[u8; 4]>, std::convert::Infallible> {
        let Some((four, rest)) = input.split_first_chunk() else { return Ok(None) };
        *input = rest;
        Ok(Some(*four))
    }
}

#[test]
fn the_readers_limit_is_that_of_a_message() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = sends(vec![b"fourfour".to_vec()]);
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            reader.set_limit(4);
            assert_eq!(reader.read_message(&mut Fours).await, Ok(Some(*b"four")));
            reader.set_limit(3);
            let too_long = ReadError::Stream(StreamError::TooLong { limit: 3 });
            assert_eq!(reader.read_message(&mut Fours).await, Err(too_long));
            reader.set_limit(4);
            assert_eq!(reader.read_message(&mut Fours).await, Ok(Some(*b"four")));
            assert_eq!(reader.read_message(&mut Fours).await, Ok(None));
        });
    });
}

#[test]
fn a_message_is_written_whole_or_not_at_all() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    assert_eq!(reader.read_to_end(100).await?, b"one\r\n\x03two");
                    writer.write(b"seen");
                    Ok::<_, StreamError>(())
                })
                .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write_message(&mut LineEncoder::default(), b"one").unwrap();
            assert!(writer.write_message(&mut LineEncoder::default(), b"in\r\njected").is_err());
            assert!(writer.write_message(&mut LengthPrefix::Int8, &[0; 300]).is_err());
            writer.write_message(&mut LengthPrefix::Int8, b"two").unwrap();
            writer.write_eof();
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"seen");
        });
    });
}
