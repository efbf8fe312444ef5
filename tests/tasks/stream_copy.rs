//! Two streams that are copied into each other behave like one: bytes, backpressure, half-closes
//! and ends pass in both directions.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_each_back_end;
use twistor::sim::{Chaos, FaultKind, Simulation};
use twistor::stream::{
    CopyError, Server, StreamError, StreamReader, StreamWriter, copy_bidirectional, open_connection,
    start_server,
};
use twistor::task::{sleep, timeout};
use twistor::{Address, Reactor, Reason};

type Counts = Result<(u64, u64), CopyError>;

/// A proxy to `target` that stores the result of its last connection.
fn proxy(target: &Address, result: &Rc<Cell<Option<Counts>>>) -> Server {
    let (target, result) = (target.clone(), Rc::clone(result));
    start_server("127.0.0.1:0", async move |mut reader: StreamReader, writer: StreamWriter| {
        let (mut target_reader, target_writer) = open_connection(&target).await?;
        let counts = copy_bidirectional((&mut reader, &writer), (&mut target_reader, &target_writer)).await;
        result.set(Some(counts));
        Ok::<_, Box<dyn std::error::Error>>(())
    })
    .unwrap()
}

async fn stored(result: &Cell<Option<Counts>>) -> Counts {
    loop {
        if let Some(counts) = result.take() {
            return counts;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn bytes_and_half_closes_pass_in_each_order() {
    on_each_back_end(|world| {
        for client_first in [true, false] {
            world.run_future(async {
                let target = start_server(
                    "127.0.0.1:0",
                    async move |mut reader: StreamReader, writer: StreamWriter| {
                        if !client_first {
                            writer.write(b"answer");
                            writer.write_eof();
                        }
                        assert_eq!(reader.read_to_end(100).await?, b"question");
                        if client_first {
                            writer.write(b"answer");
                        }
                        Ok::<_, StreamError>(())
                    },
                )
                .unwrap();
                let result = Rc::default();
                let proxy = proxy(target.address(), &result);
                let (mut reader, writer) = open_connection(proxy.address()).await.unwrap();
                if client_first {
                    writer.write(b"question");
                    writer.write_eof();
                }
                assert_eq!(reader.read_to_end(100).await.unwrap(), b"answer");
                if !client_first {
                    writer.write(b"question");
                    writer.write_eof();
                }
                assert_eq!(stored(&result).await, Ok((8, 6)));
            });
        }
    });
}

#[test]
fn a_reset_aborts_the_other_side_after_its_bytes() {
    on_each_back_end(|world| {
        for by_client in [true, false] {
            world.run_future(async {
                let heard = Rc::new(Cell::new(0));
                let seen = Rc::clone(&heard);
                let target = start_server(
                    "127.0.0.1:0",
                    async move |mut reader: StreamReader, writer: StreamWriter| {
                        let mut hello = [0; 5];
                        reader.read_exact(&mut hello).await?;
                        seen.set(seen.get() + 5);
                        if !by_client {
                            writer.abort();
                            return Ok(());
                        }
                        let end = reader.read(&mut hello).await;
                        assert!(matches!(end, Err(StreamError::Lost(_))), "{end:?}");
                        seen.set(seen.get() + 1);
                        Ok::<_, StreamError>(())
                    },
                )
                .unwrap();
                let result = Rc::default();
                let proxy = proxy(target.address(), &result);
                let (mut reader, writer) = open_connection(proxy.address()).await.unwrap();
                writer.write(b"hello");
                while heard.get() < 5 {
                    sleep(Duration::from_millis(1)).await;
                }
                if by_client {
                    writer.abort();
                } else {
                    let end = reader.read_to_end(100).await;
                    assert!(matches!(end, Err(StreamError::Lost(_))), "{end:?}");
                }
                let error = stored(&result).await.unwrap_err();
                assert_eq!((error.a_to_b, error.b_to_a), (5, 0));
                assert!(matches!(error.error, StreamError::Lost(Reason::Lost(_))), "{error:?}");
                while heard.get() < 5 + usize::from(by_client) {
                    sleep(Duration::from_millis(1)).await;
                }
            });
        }
    });
}

#[test]
fn a_side_that_takes_nothing_stops_the_other_one() {
    on_each_back_end(|world| {
        world.run_future(async {
            let (go, heard) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let (going, count) = (Rc::clone(&go), Rc::clone(&heard));
            let target =
                start_server("127.0.0.1:0", async move |mut reader: StreamReader, _writer: StreamWriter| {
                    reader.set_limit(1);
                    while !going.get() {
                        sleep(Duration::from_millis(1)).await;
                    }
                    reader.set_limit(64 * 1024);
                    while let chunk @ [_, ..] = reader.read_chunk(100_000).await? {
                        count.set(count.get() + chunk.len());
                    }
                    Ok::<_, StreamError>(())
                })
                .unwrap();
            let result = Rc::default();
            let proxy = proxy(target.address(), &result);
            let (_reader, writer) = open_connection(proxy.address()).await.unwrap();
            let (mut sent, piece) = (0, [b'x'; 50_000]);
            // The kernel's buffers take some megabytes, and the proxy a few pieces.
            while sent < MOST {
                writer.write(&piece);
                sent += piece.len();
                if timeout(Duration::from_millis(200), writer.drain()).await.is_err() {
                    break;
                }
            }
            assert!(sent < MOST, "nothing stopped it");
            go.set(true);
            for _ in 0..20 {
                writer.drain().await.unwrap();
                writer.write(&piece);
                sent += piece.len();
            }
            writer.write_eof();
            assert_eq!(stored(&result).await, Ok((sent as u64, 0)));
            while heard.get() < sent {
                sleep(Duration::from_millis(1)).await;
            }
        });
    });
}

/// More bytes than all buffers on the way hold.
const MOST: usize = 40_000_000;

#[test]
fn a_close_by_the_owner_closes_the_other_side() {
    on_each_back_end(|world| {
        world.run_future(async {
            let target =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    writer.write(b"greeting");
                    assert_eq!(reader.read_to_end(10).await?, b"");
                    Ok::<_, StreamError>(())
                })
                .unwrap();
            let ended = Rc::new(Cell::new(None));
            let (result, address) = (Rc::clone(&ended), target.address().clone());
            let proxy =
                start_server("127.0.0.1:0", async move |mut reader: StreamReader, writer: StreamWriter| {
                    let (mut target_reader, target_writer) = open_connection(&address).await?;
                    let writer = Rc::new(writer);
                    let owner = Rc::clone(&writer);
                    let close = twistor::task::spawn(async move {
                        sleep(Duration::from_millis(20)).await;
                        owner.close();
                    });
                    let target = (&mut target_reader, &target_writer);
                    let counts = copy_bidirectional((&mut reader, &writer), target).await;
                    close.await?;
                    result.set(Some(counts));
                    Ok::<_, Box<dyn std::error::Error>>(())
                })
                .unwrap();
            let (mut reader, writer) = open_connection(proxy.address()).await.unwrap();
            assert_eq!(reader.read_to_end(10).await.unwrap(), b"greeting");
            let error = stored(&ended).await.unwrap_err();
            assert_eq!((error.b_to_a, error.error), (8, StreamError::Lost(Reason::Done)));
            drop(writer);
        });
    });
}

/// Through a proxy, with chaos: the bytes that come back are those that were sent, and all of them
/// if the end is in good order.
#[test]
fn no_part_is_taken_for_the_whole_under_chaos() {
    let mut whole = 0;
    for seed in 0..10 {
        let mut simulation = Simulation::new(seed);
        let hosts = ["server", "proxy", "client"].map(|name| simulation.host(name));
        let echo = |reactor: &mut Reactor| {
            let echo = twistor::stream::factory(async |mut reader: StreamReader, writer: StreamWriter| {
                while let chunk @ [_, ..] = reader.read_chunk(10_000).await? {
                    writer.write(chunk);
                    writer.drain().await?;
                }
                Ok::<_, StreamError>(())
            });
            reactor.listen_tcp("0.0.0.0:7", echo).map(drop)
        };
        simulation.boot(hosts[0], echo).unwrap();
        let proxy = |reactor: &mut Reactor| {
            let proxy = twistor::stream::factory(async |mut reader: StreamReader, writer: StreamWriter| {
                let Ok((mut other, other_writer)) = open_connection("server:7").await else {
                    writer.abort();
                    return Ok(());
                };
                copy_bidirectional((&mut reader, &writer), (&mut other, &other_writer)).await?;
                Ok::<_, Box<dyn std::error::Error>>(())
            });
            reactor.listen_tcp("0.0.0.0:8", proxy).map(drop)
        };
        simulation.boot(hosts[1], proxy).unwrap();
        let mut random = simulation.random("copy");
        simulation.start_chaos(Chaos {
            strikes: vec![FaultKind::Reset, FaultKind::Partition, FaultKind::SlowReader],
            mean_interval: Duration::from_millis(700),
            failures: 0.0,
            ..Chaos::draw(&mut random)
        });
        let done = Rc::<Cell<usize>>::default();
        for _ in 0..20 {
            let (total, count) = (1 + random.index(100_000), Rc::clone(&done));
            let sent: Vec<u8> = (0..total).map(|place| (place * 31 + place / 251) as u8).collect();
            let asking = async move {
                let (mut reader, writer) = open_connection("proxy:8").await?;
                writer.write(&sent);
                writer.write_eof();
                let got = reader.read_to_end(total).await?;
                assert!(got == sent, "{} bytes of {total}", got.len());
                count.set(count.get() + 1);
                Ok::<_, Box<dyn std::error::Error>>(())
            };
            let asking = async move { drop(asking.await) };
            simulation.reactor(hosts[2]).spawn(asking).detach();
            simulation.run_for(Duration::from_millis(500)).unwrap();
        }
        simulation.stop_chaos();
        simulation.run_for(Duration::from_secs(300)).unwrap();
        assert_eq!(simulation.panics(), 0, "seed {seed}");
        for host in hosts {
            let tasks = simulation.reactor_ref(host).map_or(Vec::new(), Reactor::tasks);
            assert_eq!(tasks.len(), 0, "seed {seed}: {tasks:?}");
        }
        whole += done.get();
    }
    assert!(whole > 0);
}
