//! A stream is read in any pieces, to its end, within limits, and nothing of it is lost.

use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::Reason;
use twistor::stream::{Server, StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{sleep, timeout, yield_now};

const MOMENT: Duration = Duration::from_millis(2);

/// Pieces that come one after the other; then the end, if they are followed by one.
async fn coming(pieces: &'static [&'static [u8]], ends: bool) -> (Server, StreamReader, StreamWriter) {
    let server = start_server("127.0.0.1:0", async move |mut reader: StreamReader, writer: StreamWriter| {
        for piece in pieces {
            writer.write(piece);
            sleep(MOMENT).await;
        }
        if ends {
            writer.write_eof();
        }
        // Until the other side is done.
        reader.read_to_end(0).await.unwrap();
    })
    .unwrap();
    let (reader, writer) = open_connection(server.address()).await.unwrap();
    (server, reader, writer)
}

#[test]
fn what_comes_is_read_as_it_comes_until_the_end() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"one", b"two"], true).await;
            let (mut all, mut room) = (Vec::new(), [0; 1024]);
            assert!(!reader.at_eof());
            loop {
                match reader.read(&mut room).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&room[..count]),
                }
            }
            assert_eq!((all.as_slice(), reader.at_eof()), (&b"onetwo"[..], true));
            // The end stays.
            assert_eq!(reader.read(&mut room).await, Ok(0));
            assert_eq!(reader.read_chunk(9).await, Ok(&b""[..]));
            assert_eq!(reader.reason(), None, "it can be written still");
        });
    });
}

#[test]
fn no_more_is_read_than_is_asked_for() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"abcdef"], true).await;
            let mut two = [0; 2];
            assert_eq!((reader.read(&mut two).await, &two), (Ok(2), b"ab"));
            assert_eq!(reader.read(&mut []).await, Ok(0));
            assert_eq!(reader.read_chunk(0).await, Ok(&b""[..]));
            assert_eq!(reader.read_chunk(3).await, Ok(&b"cde"[..]));
            assert!(!reader.at_eof());
            assert_eq!(reader.read_chunk(3).await, Ok(&b"f"[..]));
        });
    });
}

#[test]
fn an_exact_read_waits_for_all_of_it_and_takes_nothing_else() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"ab", b"cd", b"efg"], true).await;
            let mut room = [0; 5];
            reader.read_exact(&mut room).await.unwrap();
            assert_eq!(&room, b"abcde");
            assert_eq!(reader.read_exact(&mut room).await, Err(StreamError::UnexpectedEof { read: 2 }));
            assert_eq!(reader.read_exact(&mut []).await, Ok(()));
            // What was there is still there.
            assert_eq!(reader.read_to_end(10).await.unwrap(), b"fg");
            assert_eq!(reader.read_exact(&mut room).await, Err(StreamError::UnexpectedEof { read: 0 }));
        });
    });
}

#[test]
fn a_delimiter_is_found_however_it_is_cut() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"a\r", b"\nb", b"\r\n\r", b"\nrest"], true).await;
            let mut next =
                async || reader.read_until(b"\r\n", 100).await.map(|found| found.map(<[u8]>::to_vec));
            assert_eq!(next().await, Ok(Some(b"a\r\n".to_vec())));
            assert_eq!(next().await, Ok(Some(b"b\r\n".to_vec())));
            assert_eq!(next().await, Ok(Some(b"\r\n".to_vec())));
            assert_eq!(next().await, Err(StreamError::UnexpectedEof { read: 4 }));
            assert_eq!(reader.read_until(b"", 9).await, Ok(Some(&b""[..])));
            assert_eq!(reader.read_until(b"t", 9).await, Ok(Some(&b"rest"[..])));
            assert_eq!(reader.read_until(b"t", 9).await, Ok(None));
        });
    });
}

#[test]
fn a_delimiter_beyond_the_limit_is_an_error_that_loses_nothing() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"123", b"45;", b"rest"], false).await;
            // At one below the length, at it, and above.
            assert_eq!(reader.read_until(b";", 5).await, Err(StreamError::TooLong { limit: 5 }));
            assert_eq!(reader.read_until(b";", 0).await, Err(StreamError::TooLong { limit: 0 }));
            assert_eq!(reader.read_chunk(1).await, Ok(&b"1"[..]));
            assert_eq!(reader.read_until(b";", 5).await, Ok(Some(&b"2345;"[..])));
            assert_eq!(reader.read_until(b"t", 5).await, Ok(Some(&b"rest"[..])));
        });
    });
}

#[test]
fn lines_come_without_their_ends_and_the_last_one_needs_none() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) =
                coming(&[b"one\ntw", b"o\r", b"\n\n\r\nla", b"st"], true).await;
            let mut lines = Vec::new();
            while let Some(line) = reader.read_line().await.unwrap() {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
            assert_eq!(lines, ["one", "two", "", "", "last"]);
            assert_eq!(reader.read_line().await, Ok(None));
        });
    });
}

#[test]
fn a_line_over_the_readers_limit_is_an_error_without_loss() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"1234\n12345\n"], true).await;
            reader.set_limit(5);
            assert_eq!(reader.read_line().await, Ok(Some(&b"1234"[..])));
            assert_eq!(reader.read_line().await, Err(StreamError::TooLong { limit: 5 }));
            reader.set_limit(6);
            assert_eq!(reader.read_line().await, Ok(Some(&b"12345"[..])));
            assert_eq!(reader.read_line().await, Ok(None));
        });
    });
}

#[test]
fn everything_is_read_up_to_the_end_unless_that_is_too_much() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"abc", b"def"], true).await;
            assert_eq!(reader.read_to_end(5).await, Err(StreamError::TooLong { limit: 5 }));
            assert_eq!(reader.read_to_end(6).await, Ok(b"abcdef".to_vec()));
            assert_eq!(reader.read_to_end(0).await, Ok(Vec::new()));
        });
    });
}

#[test]
fn a_connection_that_broke_is_an_error_after_what_had_come() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_reader: StreamReader, writer: StreamWriter| {
                writer.write(b"before");
                sleep(MOMENT).await;
                writer.abort();
            })
            .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            let Reason::Lost(lost) = writer.wait_closed().await else { panic!("no reset") };
            let lost = StreamError::Lost(Reason::Lost(lost));
            assert!(!reader.at_eof());
            assert_eq!(reader.read_until(b";", 100).await, Err(lost.clone()));
            assert_eq!(reader.read_exact(&mut [0; 7]).await, Err(lost.clone()));
            assert_eq!(reader.read_to_end(100).await, Err(lost.clone()));
            assert_eq!(reader.read_chunk(100).await, Ok(&b"before"[..]));
            assert_eq!(reader.read(&mut [0; 7]).await, Err(lost.clone()));
            assert_eq!(reader.read_line().await, Err(lost.clone()));
            assert!(reader.at_eof());
            let error = std::io::Error::from(lost);
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn what_had_come_stays_when_a_read_is_given_up() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (_server, mut reader, _writer) = coming(&[b"half a li", b"ne\n", b"more\n"], true).await;
            let mut given_up = 0;
            let mut lines = Vec::new();
            loop {
                match timeout(MOMENT / 4, reader.read_line()).await {
                    Ok(Ok(Some(line))) => lines.push(line.to_vec()),
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => given_up += 1,
                }
                let _ = timeout(Duration::ZERO, reader.read_exact(&mut [0; 100])).await;
                let _ = timeout(Duration::ZERO, reader.read_until(b"#", 100)).await;
                let _ = timeout(Duration::ZERO, reader.read_to_end(100)).await.map(|all| {
                    assert!(all.as_ref().is_ok_and(Vec::is_empty), "{all:?}");
                });
            }
            assert_eq!(lines, [&b"half a line"[..], b"more"]);
            assert!(given_up > 0);
        });
    });
}

#[test]
fn a_reader_that_does_not_read_stops_the_peer() {
    const LIMIT: usize = 10_000;
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, _writer: StreamWriter| {
                    reader.set_limit(LIMIT);
                    // Not read: what the system holds is all that the peer can send beside.
                    sleep(50 * MOMENT).await;
                    let mut seen = 0usize;
                    while let chunk @ [_, ..] = reader.read_chunk(1000).await.unwrap() {
                        assert!(chunk.iter().enumerate().all(|(at, byte)| *byte == (seen + at) as u8));
                        seen += chunk.len();
                    }
                    assert_eq!(seen, 12_800_000);
                })
                .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let piece: Vec<u8> = (0..=255).cycle().take(25_600).collect();
            let send = async {
                for _ in 0..500 {
                    writer.write(&piece);
                    writer.drain().await.unwrap();
                }
            };
            let mut send = std::pin::pin!(send);
            assert!(timeout(25 * MOMENT, &mut send).await.is_err(), "the writer was not stopped");
            send.await;
            writer.write_eof();
            server.close();
            server.wait_closed().await;
        });
    });
}

#[test]
fn what_needs_more_than_the_limit_is_read_all_the_same() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, writer: StreamWriter| {
                writer.write(&[b'x'; 300_000]);
                writer.write(b"\n");
                writer.write(&[b'y'; 300_000]);
                writer.drain().await.unwrap();
            })
            .unwrap();
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            reader.set_limit(1);
            let line = reader.read_until(b"\n", 1_000_000).await.unwrap().unwrap();
            assert_eq!(line.len(), 300_001);
            let mut room = vec![0; 200_000];
            reader.read_exact(&mut room).await.unwrap();
            assert_eq!(reader.read_to_end(1_000_000).await.unwrap().len(), 100_000);
        });
    });
}

#[test]
fn a_read_that_waits_ends_when_this_side_closes_or_aborts() {
    on_each_back_end(|world| {
        world.run_future(async {
            for abort in [false, true] {
                let (_server, mut reader, writer) = coming(&[b"x"], false).await;
                assert_eq!(reader.read_chunk(1).await, Ok(&b"x"[..]));
                let end = async {
                    yield_now().await;
                    if abort { writer.abort() } else { writer.close() }
                };
                let (read, ()) = twistor::task::join(reader.read(&mut [0; 9]), end).await;
                match abort {
                    false => assert_eq!(read, Ok(0)),
                    true => assert_eq!(read, Err(StreamError::Lost(Reason::Aborted))),
                }
            }
        });
    });
}
