//! While much comes in, tasks look at it between callbacks; what they bring about themselves waits for the next turn.

use std::cell::RefCell;
use std::rc::Rc;

use crate::world::{on_each_back_end, with_reactor};
use twistor::stream::{StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{Sender, channel, spawn, yield_now};
use twistor::{Protocol, Transport};

const CONNECTIONS: usize = 16;

/// As much as is read at once.
const PIECE: usize = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Data,
    Task,
    /// The task, after it has given way.
    Again,
}

/// What happened, and in which turn.
type Notes = Rc<RefCell<Vec<(What, u64)>>>;

struct Tells {
    notes: Notes,
    task: Sender<usize>,
}

impl Protocol for Tells {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let turn = transport.reactor().statistics().turns;
        self.notes.borrow_mut().push((What::Data, turn));
        self.task.try_send(data.len()).unwrap();
    }
}

#[test]
fn tasks_run_amid_large_input_and_yield_until_the_next_turn() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let notes = Notes::default();
        let (sender, mut receiver) = channel(10_000);
        let factory = {
            let notes = Rc::clone(&notes);
            move || Tells { notes: Rc::clone(&notes), task: sender.clone() }
        };
        let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
        let (received, heard) = (Rc::new(RefCell::new(0)), Rc::clone(&notes));
        let count = Rc::clone(&received);
        let task = reactor.spawn(async move {
            let note = |what| {
                let turn = with_reactor(|reactor| reactor.statistics().turns);
                heard.borrow_mut().push((what, turn));
            };
            while let Some(length) = receiver.recv().await {
                note(What::Task);
                yield_now().await;
                note(What::Again);
                *count.borrow_mut() += length;
            }
        });
        let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| world.connect(listener.address())).collect();
        world.run_until(&mut reactor, "connected", |reactor| reactor.resource_count() > CONNECTIONS);
        for peer in &mut peers {
            peer.send(&[7; PIECE]);
        }
        world.run_until(&mut reactor, "read", |_| *received.borrow() == CONNECTIONS * PIECE);
        let notes = notes.take();
        let amid = notes.windows(2).any(
            |pair| matches!(pair, [(What::Task | What::Again, turn), (What::Data, same)] if turn == same),
        );
        assert!(amid, "{notes:?}");
        let of_task: Vec<_> = notes.iter().filter(|(what, _)| *what != What::Data).collect();
        for pair in of_task.windows(2) {
            if let [(What::Task, before), (What::Again, after)] = pair {
                assert!(before < after, "{notes:?}");
            }
        }
        drop((peers, task));
        world.close(&mut reactor, &listener);
        world.run_until_idle(&mut reactor);
    });
}

/// Bytes by place, of this connection.
fn pattern(connection: usize, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place * 7 + place / 251 + connection * 13) as u8).collect()
}

#[test]
fn large_pieces_reach_their_readers_in_order_in_any_read_size() {
    on_each_back_end(|world| {
        world.run_future(async {
            let echo = async |mut reader: StreamReader, writer: StreamWriter| {
                while let chunk @ [_, ..] = reader.read_chunk(usize::MAX).await.unwrap() {
                    writer.write(chunk);
                    writer.drain().await.unwrap();
                }
            };
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let mut all = Vec::new();
            for connection in 0..4 {
                let (mut reader, writer) = open_connection(server.address()).await.unwrap();
                let total = 300_000 + connection * 50_001;
                let writes = spawn(async move {
                    let mut written = 0;
                    while written < total {
                        // Below what is kept whole, and above.
                        let count = (1 + written * 31 % 40_000).min(total - written);
                        writer.write(&pattern(connection, written, count));
                        writer.drain().await.unwrap();
                        written += count;
                    }
                    writer.write_eof();
                    writer
                });
                let reads = spawn(async move {
                    let mut read = 0;
                    loop {
                        // Some of it stays unread while more comes.
                        let chunk = reader.read_chunk(1 + read * 17 % 30_000).await.unwrap();
                        if chunk.is_empty() {
                            return read;
                        }
                        assert!(chunk == pattern(connection, read, chunk.len()), "{connection}, at {read}");
                        read += chunk.len();
                        yield_now().await;
                    }
                });
                all.push((total, writes, reads));
            }
            for (total, writes, reads) in all {
                assert_eq!(reads.await, Ok(total));
                drop(writes.await);
            }
        });
    });
}
