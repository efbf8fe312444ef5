//! The two ends of an in-memory stream behave like those of a connection.

use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::stream::{
    StreamError, StreamReader, StreamWriter, copy_bidirectional, duplex, open_connection, start_server,
};
use twistor::task::{self, join, timeout, yield_now};
use twistor::{Address, Error, Reactor, Reason, Settings};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn bytes_and_ends_pass_in_both_directions() {
    on_each_back_end(|world| {
        world.run_future(async {
            let ((mut a, to_b), (mut b, to_a)) = duplex(64).unwrap();
            to_b.write(b"question\nmore");
            assert_eq!(b.read_line().await, Ok(Some(&b"question"[..])));
            to_b.write_eof();
            assert_eq!(b.read_to_end(100).await.unwrap(), b"more");
            assert!(b.at_eof() && to_a.reason().is_none(), "one direction has ended");
            to_a.write_sequence(&[b"ans", b"wer"]);
            to_a.drain().await.unwrap();
            assert_eq!(to_a.write_buffer_size(), 6);
            to_a.write_eof();
            to_a.drain().await.unwrap();
            assert_eq!((to_a.wait_closed().await, to_b.wait_closed().await), (Reason::Done, Reason::Done));
            assert_eq!(a.read_to_end(100).await.unwrap(), b"answer", "it stays readable");
            assert_eq!((a.peer(), to_a.host().unwrap(), b.id()), (Address::Pipe, Address::Pipe, None));
            to_a.write(b"late");
            assert_eq!(to_a.drain().await, Err(StreamError::Lost(Reason::Done)));
        });
    });
}

#[test]
fn a_writer_waits_for_a_reader_that_is_behind() {
    on_each_back_end(|world| {
        world.run_future(async {
            let ((mut a, _to_b), (_b, to_a)) = duplex(10).unwrap();
            to_a.write(&[1; 10]);
            to_a.drain().await.unwrap();
            to_a.write(&[2]);
            timeout(MOMENT, to_a.drain()).await.unwrap_err();
            let mut one = [0];
            a.read_exact(&mut one).await.unwrap();
            to_a.drain().await.unwrap();
            to_a.write(&[3; 5]);
            a.read_exact(&mut one).await.unwrap();
            timeout(MOMENT, to_a.drain()).await.unwrap_err();
            // A message longer than the capacity passes, in the steps of the writer.
            let writing = async {
                for number in 0..100 {
                    to_a.drain().await.unwrap();
                    to_a.write(&[number; 7]);
                }
                to_a.write_eof();
            };
            let (all, ()) = join(a.read_to_end(10_000), writing).await;
            assert_eq!(all.unwrap().len(), 14 + 700);
        });
    });
}

#[test]
fn a_drain_after_the_end_waits_for_no_reader() {
    on_each_back_end(|world| {
        world.run_future(async {
            // Each side writes more than the other has room for, and waits before it reads.
            let ((mut a, to_b), (mut b, to_a)) = duplex(10).unwrap();
            let there = async {
                to_b.write(&[b'x'; 100]);
                to_b.write_eof();
                to_b.drain().await.unwrap();
                a.read_to_end(1000).await.unwrap().len()
            };
            let back = async {
                let question = b.read_to_end(1000).await.unwrap().len();
                to_a.write(&[b'y'; 50]);
                to_a.write_eof();
                to_a.drain().await.unwrap();
                question
            };
            assert_eq!(timeout(100 * MOMENT, join(there, back)).await, Ok((50, 100)));
        });
    });
}

#[test]
fn a_long_message_is_collected_beyond_every_limit() {
    on_each_back_end(|world| {
        let settings = Settings { write_buffer_limit: 1000, ..Settings::default() };
        let mut reactor = world.reactor_with(settings);
        let read = reactor.block_on(async {
            let ((mut a, _to_b), (_b, to_a)) = duplex(10).unwrap();
            let writing = async {
                for _ in 0..100 {
                    to_a.write(&[0; 100]);
                    to_a.drain().await.unwrap();
                }
                to_a.write_eof();
            };
            join(a.read_to_end(100_000), writing).await.0.unwrap().len()
        });
        assert_eq!(read.unwrap(), 10_000);
    });
}

#[test]
fn a_writer_that_never_waits_is_stopped_at_the_limit() {
    on_each_back_end(|world| {
        let settings = Settings { write_buffer_limit: 1000, ..Settings::default() };
        let mut reactor: Reactor = world.reactor_with(settings);
        reactor
            .block_on(async {
                let ((mut a, to_b), (_b, to_a)) = duplex(100).unwrap();
                for _ in 0..20 {
                    to_a.write(&[0; 100]);
                }
                assert_eq!(to_a.drain().await, Err(StreamError::Lost(Reason::BufferLimit(1000))));
                let lost = to_b.wait_closed().await;
                assert!(matches!(&lost, Reason::Lost(_)), "{lost}");
                assert!(a.read_to_end(10_000).await.is_err(), "not taken for the whole");
            })
            .unwrap();
    });
}

#[test]
fn dropping_closing_and_aborting_end_the_other_side() {
    on_each_back_end(|world| {
        world.run_future(async {
            // Dropped: EOF after the data, then EPIPE.
            let ((mut a, to_b), b) = duplex(10).unwrap();
            b.1.write(b"bye");
            drop(b);
            assert_eq!(a.read_to_end(10).await.unwrap(), b"bye");
            to_b.write(b"?");
            let lost = to_b.drain().await.unwrap_err();
            assert!(lost.to_string().contains("write: Broken pipe"), "{lost}");

            // Closed, while the other one waits to write and to read.
            let ((mut a, to_b), (b, to_a)) = duplex(1).unwrap();
            to_b.write(b"123");
            let waiting = join(a.read_chunk(1), to_b.drain());
            let close = async {
                yield_now().await;
                assert!(!to_a.is_closing());
                to_a.close();
                assert!(to_a.is_closing());
            };
            let ((read, drained), ()) = join(waiting, close).await;
            assert_eq!((read, drained), (Ok(&b""[..]), Ok(())));
            assert_eq!(to_a.wait_closed().await, Reason::Done);
            to_b.write_eof();
            assert_eq!(to_b.wait_closed().await, Reason::Done);
            drop(b);

            // Aborted.
            let ((mut a, _to_b), (_b, to_a)) = duplex(10).unwrap();
            to_a.write(b"12");
            to_a.abort();
            assert_eq!(to_a.wait_closed().await, Reason::Aborted);
            a.read_exact(&mut [0; 2]).await.unwrap();
            let lost = a.read_chunk(1).await.unwrap_err();
            assert!(matches!(lost, StreamError::Lost(Reason::Lost(_))), "{lost}");
        });
    });
}

#[test]
fn a_dropped_reader_discards_and_does_not_hold_the_writer_up() {
    on_each_back_end(|world| {
        world.run_future(async {
            let ((a, to_b), (mut b, to_a)) = duplex(1).unwrap();
            to_a.write(b"12345");
            let (drained, ()) = join(to_a.drain(), async { drop(a) }).await;
            drained.unwrap();
            to_a.write(&[0; 5000]);
            to_a.drain().await.unwrap();
            to_b.write(b"still there");
            to_b.write_eof();
            assert_eq!(b.read_to_end(100).await.unwrap(), b"still there");
        });
    });
}

async fn shout(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    while let Some(line) = reader.read_line().await? {
        writer.write_sequence(&[&line.to_ascii_uppercase(), b"\n"]);
        writer.drain().await?;
    }
    Ok(())
}

#[test]
fn it_stands_in_for_a_connection_and_joins_with_one() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", shout).unwrap();
            let address = server.address().clone();
            let ((mut reader, writer), (mut inner, to_inner)) = duplex(100).unwrap();
            let bridge = task::spawn(async move {
                let (mut far, to_far) = open_connection(address).await.unwrap();
                copy_bidirectional((&mut inner, &to_inner), (&mut far, &to_far)).await.unwrap()
            });
            let lines = "hello\n".repeat(1000);
            let writing = async {
                for line in lines.as_bytes().chunks(60) {
                    writer.write(line);
                    writer.drain().await.unwrap();
                }
                writer.write_eof();
            };
            let (read, ()) = join(reader.read_to_end(10_000), writing).await;
            assert_eq!(read.unwrap(), lines.to_ascii_uppercase().as_bytes());
            assert_eq!(bridge.await.unwrap(), (6000, 6000));
        });
    });
}

#[test]
fn an_end_leaves_nothing_behind_and_needs_a_task() {
    on_each_back_end(|world| {
        assert!(matches!(duplex(1), Err(Error::ReactorUnavailable)));
        let mut reactor = world.reactor();
        let ends = reactor.block_on(async {
            let (a, b) = duplex(1).unwrap();
            assert_eq!(with_reactor(|reactor| reactor.resource_count()), 0);
            (a, b)
        });
        let ((mut a, _to_b), (_b, to_a)) = ends.unwrap();
        // Outside of a task as well.
        to_a.write(b"12");
        reactor.stop();
        drop(reactor);
        let mut other = world.reactor();
        other
            .block_on(async {
                a.read_exact(&mut [0; 2]).await.unwrap();
                assert_eq!(a.read_chunk(1).await, Err(StreamError::Lost(Reason::Stopped)));
                assert_eq!(to_a.drain().await, Err(StreamError::Lost(Reason::Stopped)));
            })
            .unwrap();
    });
}
