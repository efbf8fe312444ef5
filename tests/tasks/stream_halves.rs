//! The two halves of a stream go their own ways: what becomes of the connection when one of them, or both, are dropped.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{join, sleep, spawn, yield_now};
use twistor::{Handle, Reason};

const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn they_work_in_different_tasks() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    while let chunk @ [_, ..] = reader.read_chunk(50_000).await? {
                        writer.write(chunk);
                        writer.drain().await?;
                    }
                    Ok::<_, StreamError>(())
                })
                .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            let writes = spawn(async move {
                for number in 0..1000u16 {
                    writer.write(&number.to_be_bytes().repeat(500));
                    writer.drain().await.unwrap();
                }
                writer.write_eof();
            });
            let reads = spawn(async move {
                let mut room = [0; 1000];
                for number in 0..1000u16 {
                    reader.read_exact(&mut room).await.unwrap();
                    assert_eq!(room[..], number.to_be_bytes().repeat(500));
                }
                assert_eq!(reader.read(&mut room).await, Ok(0));
            });
            let (wrote, read) = join(writes, reads).await;
            assert_eq!((wrote, read), (Ok(()), Ok(())));
        });
    });
}

#[test]
fn dropping_both_halves_sends_the_written_data_and_closes() {
    on_each_back_end(|world| {
        for reader_first in [true, false] {
            world.run_future(async {
                let server =
                    start_server("127.0.0.1:0", async move |reader: StreamReader, writer: StreamWriter| {
                        writer.write(&[b'x'; 300_000]);
                        if reader_first {
                            drop(reader);
                            sleep(MOMENT).await;
                            drop(writer);
                        } else {
                            drop(writer);
                            sleep(MOMENT).await;
                            drop(reader);
                        }
                    })
                    .unwrap();
                let (mut reader, writer) = open_connection(server.address()).await.unwrap();
                assert_eq!(reader.read_to_end(1_000_000).await.unwrap().len(), 300_000);
                writer.close();
                assert_eq!(writer.wait_closed().await, Reason::Done);
            });
        }
    });
}

#[test]
fn without_its_reader_a_writer_goes_on_and_input_is_discarded() {
    on_each_back_end(|world| {
        world.run_future(async {
            let said = Rc::new(RefCell::new(None));
            let heard = Rc::clone(&said);
            let server =
                start_server("127.0.0.1:0", async move |reader: StreamReader, writer: StreamWriter| {
                    drop(reader);
                    sleep(MOMENT).await;
                    writer.write(b"still here");
                    let reason = writer.wait_closed().await;
                    *heard.borrow_mut() = Some(reason);
                })
                .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            // More than fits into all buffers, if it is not read.
            for _ in 0..200 {
                writer.write(&[0; 50_000]);
                writer.drain().await.unwrap();
            }
            assert_eq!(reader.read_chunk(100).await, Ok(&b"still here"[..]));
            // It hears of the end, though it does not read.
            writer.abort();
            server.close();
            server.wait_closed().await;
            assert!(matches!(said.take(), Some(Reason::Lost(_))));
        });
    });
}

#[test]
fn a_reader_that_is_dropped_with_much_unread_lets_the_rest_come() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |reader: StreamReader, writer: StreamWriter| {
                let mut reader = reader;
                reader.set_limit(1);
                reader.read_chunk(1).await.unwrap();
                sleep(10 * MOMENT).await;
                drop(reader);
                sleep(MOMENT).await;
                writer.write(b"done");
            })
            .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            for _ in 0..200 {
                writer.write(&[0; 50_000]);
                writer.drain().await.unwrap();
            }
            assert_eq!(reader.read_to_end(100).await, Ok(b"done".to_vec()));
        });
    });
}

#[test]
fn without_its_writer_a_reader_goes_on_and_no_end_is_sent() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    writer.write(b"one");
                    // Nothing ends this but the peer's close.
                    let told = twistor::task::timeout(5 * MOMENT, reader.read_chunk(1)).await;
                    assert!(told.is_err(), "{told:?}");
                    writer.write(b"two");
                    writer.write_eof();
                    assert_eq!(reader.read_chunk(1).await, Ok(&b""[..]));
                })
                .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            drop(writer);
            assert_eq!(reader.read_to_end(100).await, Ok(b"onetwo".to_vec()));
            drop(reader);
            server.close();
            server.wait_closed().await;
        });
    });
}

#[test]
fn they_can_be_dropped_where_no_task_is_polled() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |mut reader: StreamReader, _: StreamWriter| {
                assert_eq!(reader.read_to_end(100).await, Ok(b"last words".to_vec()));
            })
            .unwrap();
            let (reader, writer) = open_connection(server.address()).await.unwrap();
            Handle::current().unwrap().call(move |_| {
                drop(reader);
                writer.write(b"last words");
                drop(writer);
            });
            yield_now().await;
            server.close();
            server.wait_closed().await;
        });
    });
}
