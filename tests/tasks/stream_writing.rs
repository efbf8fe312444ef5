//! A stream is written without waiting, drained within the water marks, ended, closed and aborted.

use std::rc::Rc;
use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::stream::{
    ConnectError, Server, StreamError, StreamReader, StreamWriter, open_connection, start_server,
};
use twistor::task::{join, sleep, spawn, timeout, yield_now};
use twistor::{Error, Handle, Reason};

const MOMENT: Duration = Duration::from_millis(2);

fn echo() -> Server {
    start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
        while let chunk @ [_, ..] = reader.read_chunk(100_000).await? {
            writer.write(chunk);
            writer.drain().await?;
        }
        Ok::<_, StreamError>(())
    })
    .unwrap()
}

#[test]
fn what_is_written_arrives_in_order() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = echo();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"one ");
            writer.write_sequence(&[b"two ", b"", b"three"]);
            writer.write(b"");
            writer.drain().await.unwrap();
            writer.write_eof();
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"one two three");
        });
    });
}

#[test]
fn the_facts_of_the_connection_can_be_asked_for() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = echo();
            let (reader, writer) = open_connection(server.address()).await.unwrap();
            assert_eq!((&writer.peer(), &reader.peer()), (server.address(), server.address()));
            let host = writer.host().unwrap();
            assert!(host.port().is_some_and(|port| port > 0));
            assert_eq!(writer.id(), reader.id());
            let id = writer.id().unwrap();
            assert!(with_reactor(|reactor| reactor.transport(id).is_some()));
            writer.set_tcp_nodelay(false).unwrap();
            assert!(!writer.is_closing());
            assert_eq!(writer.reason(), None);
            writer.close();
            assert!(writer.is_closing());
            assert_eq!(writer.wait_closed().await, Reason::Done);
            // Known still, as it was.
            assert_eq!((writer.host().unwrap(), &writer.peer()), (host, server.address()));
            assert_eq!(writer.reason(), Some(Reason::Done));
            assert_eq!(reader.reason(), Some(Reason::Done));
            assert!(matches!(writer.set_tcp_nodelay(true), Err(Error::NotConnected)));
        });
    });
}

#[test]
fn drain_waits_while_much_waits_to_be_sent() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |mut reader: StreamReader, _: StreamWriter| {
                reader.set_limit(1000);
                sleep(20 * MOMENT).await;
                while let [_, ..] = reader.read_chunk(100_000).await.unwrap() {}
            })
            .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let high = with_reactor(|reactor| reactor.settings().high_water);
            // Until the systems' own buffers are full.
            while timeout(MOMENT, writer.drain()).await.is_ok() {
                writer.write(&[0; 50_000]);
            }
            assert!(writer.write_buffer_size() > high);
            // Two wait for the same.
            let (one, two) = join(writer.drain(), writer.drain()).await;
            assert_eq!((one, two), (Ok(()), Ok(())));
            assert!(writer.write_buffer_size() <= high);
        });
    });
}

#[test]
fn its_own_water_marks_can_be_set() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = echo();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.set_water_marks(0, 0).unwrap();
            writer.write(b"x");
            assert_eq!(writer.write_buffer_size(), 1);
            writer.drain().await.unwrap();
            assert_eq!(writer.write_buffer_size(), 0);
            assert_eq!(reader.read_chunk(9).await, Ok(&b"x"[..]));
        });
    });
}

#[test]
fn one_that_writes_for_ever_lets_others_have_their_turn() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |mut reader: StreamReader, _: StreamWriter| {
                while let [_, ..] = reader.read_chunk(100_000).await? {}
                Ok::<_, StreamError>(())
            })
            .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let flood = spawn(async move {
                loop {
                    writer.write(&[0; 20_000]);
                    writer.drain().await.unwrap();
                }
            });
            for _ in 0..50 {
                yield_now().await;
            }
            drop(flood);
        });
    });
}

#[test]
fn the_end_that_is_written_is_read_and_the_other_way_goes_on() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    assert_eq!(reader.read_to_end(100).await.unwrap(), b"question");
                    sleep(MOMENT).await;
                    writer.write(b"answer");
                })
                .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"question");
            writer.write_eof();
            writer.write_eof();
            assert!(!writer.is_closing());
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"answer");
            assert_eq!(writer.wait_closed().await, Reason::Done);
        });
    });
}

#[test]
fn what_is_written_after_the_end_goes_nowhere_and_drain_says_so() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = echo();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"this");
            writer.write_eof();
            assert_eq!(writer.drain().await, Ok(()));
            writer.write(b"not this");
            writer.write_sequence(&[b"nor this"]);
            assert_eq!(writer.drain().await, Err(StreamError::WriteEnded));
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"this");
        });
    });
}

#[test]
fn close_sends_what_was_written_first() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, writer: StreamWriter| {
                writer.write(&[b'x'; 500_000]);
                writer.close();
                writer.close();
                assert_eq!(writer.drain().await, Ok(()), "everything is sent");
                assert_eq!(writer.wait_closed().await, Reason::Done);
                assert_eq!(writer.drain().await, Err(StreamError::Lost(Reason::Done)));
            })
            .unwrap();
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            sleep(MOMENT).await;
            assert_eq!(reader.read_to_end(1_000_000).await.unwrap().len(), 500_000);
            server.close();
            server.wait_closed().await;
        });
    });
}

#[test]
fn a_loss_ends_every_wait_of_the_writer() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, writer: StreamWriter| {
                sleep(10 * MOMENT).await;
                writer.abort();
            })
            .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let fill = async {
                loop {
                    writer.write(&[0; 50_000]);
                    if let Err(error) = writer.drain().await {
                        return error;
                    }
                }
            };
            let (error, reason) = join(fill, writer.wait_closed()).await;
            assert!(matches!(&reason, Reason::Lost(_)), "{reason}");
            assert_eq!(error, StreamError::Lost(reason));
            // And nothing comes of more.
            writer.write(b"x");
            assert!(writer.drain().await.is_err());
            writer.close();
        });
    });
}

#[test]
fn a_writer_can_be_used_where_no_task_is_polled() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = echo();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            let writer = Rc::new(writer);
            for sleeps in [false, true] {
                let there = Rc::clone(&writer);
                Handle::current().unwrap().call(move |_| {
                    there.write(b"from a call, ");
                    there.write_sequence(&[b"in ", b"order, "]);
                    assert_eq!(there.write_buffer_size(), 0, "unknown outside of the task");
                });
                writer.write(b"a task before it, ");
                if sleeps {
                    sleep(MOMENT).await;
                } else {
                    yield_now().await;
                }
                writer.write(b"and a task after it. ");
            }
            let there = Rc::clone(&writer);
            Handle::current().unwrap().call(move |_| {
                there.write(b"The ");
                there.write(b"end.");
                there.write_eof();
            });
            let all = reader.read_to_end(1000).await.unwrap();
            let once = "a task before it, from a call, in order, and a task after it. ";
            assert_eq!(String::from_utf8(all).unwrap(), format!("{once}{once}The end."));
        });
    });
}

#[test]
fn what_waits_for_a_stopped_reactor_ends() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (mut read, mut closed) = (None, None);
        let ended = reactor.block_on(async {
            let server = echo();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            with_reactor(|reactor| reactor.stop());
            let both = join(reader.read_chunk(9), writer.wait_closed()).await;
            read = Some(both.0.map(<[u8]>::to_vec));
            closed = Some(both.1);
        });
        // Whether the future has a turn after that or not.
        if ended.is_ok() {
            assert_eq!(read, Some(Err(StreamError::Lost(Reason::Stopped))));
            assert_eq!(closed, Some(Reason::Stopped));
        }
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn halves_that_outlive_their_reactor_know_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let (mut reader, writer) = reactor
            .block_on(async {
                let server = echo();
                let halves = open_connection(server.address()).await.unwrap();
                server.detach();
                halves
            })
            .unwrap();
        drop(reactor);
        writer.write(b"x");
        writer.close();
        assert!(writer.is_closing());
        assert_eq!((writer.reason(), reader.reason()), (Some(Reason::Stopped), Some(Reason::Stopped)));
        world.run_future(async {
            assert_eq!(reader.read_chunk(9).await, Err(StreamError::Lost(Reason::Stopped)));
            assert_eq!(writer.drain().await, Err(StreamError::Lost(Reason::Stopped)));
            assert_eq!(writer.wait_closed().await, Reason::Stopped);
        });
    });
}

#[test]
fn outside_of_a_task_nothing_is_opened() {
    on_each_back_end(|_| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::pin::pin!(open_connection("127.0.0.1:1")).poll(&mut context);
        assert!(matches!(
            polled,
            std::task::Poll::Ready(Err(ConnectError::Reactor(Error::ReactorUnavailable)))
        ));
        let server = start_server("127.0.0.1:0", async |_: StreamReader, _: StreamWriter| {});
        assert!(matches!(server, Err(ConnectError::Reactor(Error::ReactorUnavailable))));
    });
}
