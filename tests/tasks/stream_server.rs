//! A server runs each connection as a task of its own: what goes wrong in one concerns no other, and all of them end when
//! they are told to.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::Reason;
use twistor::policy::limit_total;
use twistor::stream::{
    ServerOptions, StreamError, StreamReader, StreamWriter, factory, open_connection, start_server,
    start_server_with,
};
use twistor::task::{sleep, timeout, yield_now};

const MOMENT: Duration = Duration::from_millis(2);

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
        writer.write(chunk);
        writer.drain().await?;
    }
    Ok(())
}

#[test]
fn connections_are_served_beside_each_other() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let mut open = Vec::new();
            for _ in 0..5 {
                open.push(open_connection(server.address()).await.unwrap());
            }
            for (number, (_, writer)) in open.iter().enumerate().rev() {
                writer.write(format!("number {number}").as_bytes());
                writer.write_eof();
            }
            for (number, (reader, _)) in open.iter_mut().enumerate() {
                assert_eq!(reader.read_to_end(100).await.unwrap(), format!("number {number}").as_bytes());
            }
            drop(open);
            server.close();
            server.wait_closed().await;
            assert_eq!(server.connections(), 0);
        });
    });
}

#[test]
fn a_handler_task_has_its_peers_name_and_the_servers_location() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let line = line!() - 1;
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"x");
            reader.read_chunk(1).await.unwrap();
            assert_eq!(server.connections(), 1);
            let tasks = with_reactor(|reactor| reactor.tasks());
            let host = writer.host().unwrap().to_string();
            let task = tasks.iter().find(|task| task.name.as_deref() == Some(host.as_str())).unwrap();
            assert_eq!((task.location.file(), task.location.line()), (file!(), line));
        });
    });
}

#[test]
fn a_returning_handler_flushes_and_closes_its_connection() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, writer: StreamWriter| {
                writer.write(&[b'x'; 300_000]);
            })
            .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            assert_eq!(reader.read_to_end(1_000_000).await.unwrap().len(), 300_000);
            writer.close();
            assert_eq!(writer.wait_closed().await, Reason::Done);
        });
    });
}

#[test]
fn a_panic_resets_that_connection_alone() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    while let Some(line) = reader.read_line().await? {
                        assert_ne!(line, b"bad", "a bad line");
                        writer.write_sequence(&[line, b"\n"]);
                    }
                    Ok::<_, StreamError>(())
                })
                .unwrap();
            let (mut good, good_writer) = open_connection(server.address()).await.unwrap();
            let (mut bad, bad_writer) = open_connection(server.address()).await.unwrap();
            bad_writer.write(b"bad\n");
            let lost = bad.read_chunk(9).await.unwrap_err();
            assert!(matches!(lost, StreamError::Lost(Reason::Lost(_))), "{lost}");
            good_writer.write(b"good\n");
            assert_eq!(good.read_line().await, Ok(Some(&b"good"[..])));
            assert_eq!(server.connections(), 1);
        });
        let logged = world.logged();
        assert!(logged.len() == 1 && logged[0].contains("a bad line"), "{logged:?}");
    });
}

#[test]
fn a_handler_error_closes_the_connection_and_logs_the_peer() {
    on_each_back_end(|world| {
        let peer = world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, writer: StreamWriter| {
                writer.write(b"almost");
                Err("out of luck")
            })
            .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"almost");
            writer.host().unwrap()
        });
        let logged = world.logged();
        let said = format!("{peer}: connection handler failed: out of luck");
        assert!(logged.len() == 1 && logged[0].contains(&said), "{logged:?}");
    });
}

#[test]
fn that_a_peer_went_is_no_warning() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"x");
            reader.read_chunk(1).await.unwrap();
            writer.abort();
            server.close();
            server.wait_closed().await;
        });
    });
}

#[test]
fn a_server_that_closes_lets_its_connections_go_on() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"x");
            reader.read_chunk(1).await.unwrap();
            server.close();
            server.close();
            assert!(open_connection(server.address()).await.is_err());
            assert!(timeout(MOMENT, server.wait_closed()).await.is_err());
            writer.write(b"still");
            writer.write_eof();
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"still");
            server.wait_closed().await;
        });
    });
}

#[test]
fn its_clients_can_be_closed_and_what_was_written_is_sent() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_reader: StreamReader, writer: StreamWriter| {
                writer.write(b"farewell");
                pending::<()>().await;
            })
            .unwrap();
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            while server.connections() == 0 {
                yield_now().await;
            }
            server.close();
            yield_now().await;
            server.close_clients();
            server.wait_closed().await;
            assert_eq!(reader.read_to_end(100).await.unwrap(), b"farewell");
        });
    });
}

#[test]
fn its_clients_can_be_aborted() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_reader: StreamReader, _writer: StreamWriter| {
                pending::<()>().await;
            })
            .unwrap();
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            while server.connections() == 0 {
                yield_now().await;
            }
            server.abort_clients();
            let lost = reader.read_chunk(9).await.unwrap_err();
            assert!(matches!(lost, StreamError::Lost(Reason::Lost(_))), "{lost}");
            // It listens still.
            assert!(open_connection(server.address()).await.is_ok());
        });
    });
}

#[test]
fn dropping_a_server_ends_its_handlers_and_detaching_does_not() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let address = reactor
            .block_on(async {
                let server = start_server("127.0.0.1:0", echo).unwrap();
                let (mut reader, writer) = open_connection(server.address()).await.unwrap();
                writer.write(b"x");
                reader.read_chunk(1).await.unwrap();
                drop(server);
                assert_eq!(reader.read_chunk(1).await, Ok(&b""[..]));
                let server = start_server("127.0.0.1:0", echo).unwrap();
                let address = server.address().clone();
                server.detach();
                address
            })
            .unwrap();
        reactor
            .block_on(async {
                let (mut reader, writer) = open_connection(&address).await.unwrap();
                writer.write(b"y");
                assert_eq!(reader.read_chunk(9).await, Ok(&b"y"[..]));
            })
            .unwrap();
        assert_eq!(reactor.listeners().len(), 1);
    });
}

#[test]
fn there_are_no_more_connections_than_its_limits_allow() {
    on_each_back_end(|world| {
        for options in [
            ServerOptions { max_connections: 1, ..ServerOptions::default() },
            ServerOptions { max_per_peer: 1, ..ServerOptions::default() },
        ] {
            world.run_future(async {
                let server = start_server_with("127.0.0.1:0", options, echo).unwrap();
                let (mut first, first_writer) = open_connection(server.address()).await.unwrap();
                first_writer.write(b"x");
                assert_eq!(first.read_chunk(1).await, Ok(&b"x"[..]));
                let (mut second, _writer) = open_connection(server.address()).await.unwrap();
                assert!(matches!(second.read_chunk(1).await, Ok(b"") | Err(StreamError::Lost(_))));
                first_writer.close();
                first_writer.wait_closed().await;
                while server.connections() > 0 {
                    sleep(MOMENT / 10).await;
                }
                sleep(MOMENT).await;
                let (mut third, writer) = open_connection(server.address()).await.unwrap();
                writer.write(b"y");
                assert_eq!(third.read_chunk(1).await, Ok(&b"y"[..]));
            });
        }
    });
}

#[test]
fn a_factory_of_streams_serves_a_program_of_callbacks() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let served = Rc::new(Cell::new(0));
        let counted = Rc::clone(&served);
        let factory = factory(async move |reader: StreamReader, writer: StreamWriter| {
            counted.set(counted.get() + 1);
            echo(reader, writer).await
        });
        let listener = reactor.listen_tcp(world.anywhere(), limit_total(factory, 10)).unwrap();
        let mut peer = world.connect(listener.address());
        peer.send(b"hello");
        peer.finish();
        assert_eq!(peer.read_to_end(&mut reactor), (b"hello".to_vec(), None));
        drop(peer);
        world.close(&mut reactor, &listener);
        assert_eq!(served.get(), 1);
    });
}

#[test]
fn handlers_end_with_their_reactor() {
    on_each_back_end(|world| {
        let ended = Rc::new(RefCell::new(Vec::new()));
        let mut reactor = world.reactor();
        let seen = Rc::clone(&ended);
        let ran = reactor.block_on(async move {
            let server =
                start_server("127.0.0.1:0", async move |mut reader: StreamReader, _: StreamWriter| {
                    let at_the_end = Told(Rc::clone(&seen));
                    let read = reader.read_chunk(9).await.map(<[u8]>::len);
                    at_the_end.0.borrow_mut().push(format!("{read:?}"));
                })
                .unwrap();
            let _halves = open_connection(server.address()).await.unwrap();
            while server.connections() == 0 {
                yield_now().await;
            }
            yield_now().await;
            with_reactor(|reactor| reactor.stop());
            server.wait_closed().await;
            pending::<()>().await;
        });
        assert!(ran.is_err());
        assert_eq!((reactor.resource_count(), reactor.statistics().panics), (0, 0));
        assert_eq!(ended.borrow().last().map(String::as_str), Some("dropped"));
    });
}

/// Says that it was dropped.
struct Told(Rc<RefCell<Vec<String>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push("dropped".to_string());
    }
}
