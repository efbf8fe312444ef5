//! What a task writes between two waits is handed to the system in one call, in the order of the writes, also if other tasks write.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::Reason;
use twistor::sim::{Call, CallKind, Random, Rule, Simulation, Verdict};
use twistor::stream::{StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::sleep;

/// Counts how often anything is sent.
struct Sends(Rc<Cell<usize>>);

impl Rule for Sends {
    fn call(&mut self, call: &Call, _: &mut Random) -> Verdict {
        if call.kind == CallKind::Send {
            self.0.set(self.0.get() + 1);
        }
        Verdict::Pass
    }
}

async fn sink(mut reader: StreamReader, _: StreamWriter) {
    while let Ok([_, ..]) = reader.read_chunk(100_000).await {}
}

#[test]
fn many_small_writes_are_one_call() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("here");
    let sends = Rc::new(Cell::new(0));
    simulation.add_rule(Sends(Rc::clone(&sends)));
    let program = async move {
        let server = start_server("127.0.0.1:0", sink).unwrap();
        let (_reader, writer) = open_connection(server.address()).await.unwrap();
        for _ in 0..100 {
            writer.write(b"a few bytes, ");
            writer.write_sequence(&[b"and", b" ", b"more"]);
            writer.drain().await.unwrap();
        }
        assert_eq!((sends.get(), writer.write_buffer_size()), (0, 100 * 21));
        sleep(Duration::from_millis(1)).await;
        assert_eq!((sends.get(), writer.write_buffer_size()), (1, 0));
    };
    let task = simulation.reactor(host).spawn(program);
    simulation.run_for(Duration::from_secs(60)).unwrap();
    assert!(task.is_finished());
    drop(task);
}

#[test]
fn stream_writes_stay_in_order_with_those_of_other_writers() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, writer: StreamWriter| {
                    let all = reader.read_to_end(1_000_000).await.unwrap();
                    writer.write(&all);
                })
                .unwrap();
            let (mut one, one_writer) = open_connection(server.address()).await.unwrap();
            let (mut other, other_writer) = open_connection(server.address()).await.unwrap();
            let id = one_writer.id().unwrap();
            let large = [b'L'; 40_000];
            one_writer.write(b"1");
            with_reactor(|reactor| reactor.transport(id).unwrap().write(b"2"));
            one_writer.write(b"3");
            other_writer.write(b"x");
            one_writer.write(b"4");
            one_writer.write(&large);
            other_writer.write(&large);
            one_writer.write(b"5");
            with_reactor(|reactor| reactor.transport(id).unwrap().write(b"6"));
            other_writer.write(b"y");
            one_writer.write(b"7");
            one_writer.write_eof();
            other_writer.close();
            let all = one.read_to_end(1_000_000).await.unwrap();
            let large = String::from_utf8(large.to_vec()).unwrap();
            assert_eq!(String::from_utf8(all).unwrap(), format!("1234{large}567"));
            assert_eq!(other.read_to_end(9).await.unwrap(), b"");
            assert_eq!(other_writer.wait_closed().await, Reason::Done);
        });
    });
}

#[test]
fn an_abort_throws_them_away() {
    on_each_back_end(|world| {
        world.run_future(async {
            let seen = Rc::new(Cell::new(usize::MAX));
            let counted = Rc::clone(&seen);
            let server =
                start_server("127.0.0.1:0", async move |mut reader: StreamReader, _: StreamWriter| {
                    assert!(reader.read_to_end(100).await.is_err());
                    counted.set(reader.read_chunk(100).await.map_or(0, <[u8]>::len));
                })
                .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"never mind");
            writer.abort();
            writer.write(b"nor this");
            assert_eq!(writer.wait_closed().await, Reason::Aborted);
            while seen.get() == usize::MAX {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(seen.get(), 0);
        });
    });
}

#[test]
fn a_task_that_panics_after_a_write_holds_nobody_up() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", sink).unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let panics = twistor::task::spawn(async move {
                writer.write(b"x");
                panic!("after a write");
            });
            assert!(panics.await.is_err());
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"y");
            sleep(Duration::from_millis(1)).await;
            assert_eq!(writer.write_buffer_size(), 0);
        });
        assert_eq!(world.logged().len(), 1);
    });
}

#[test]
fn what_a_task_has_sent_is_counted() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", sink).unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            let sent = || with_reactor(|reactor| reactor.statistics().bytes_sent);
            let before = sent();
            writer.write(b"hello ");
            writer.write(b"there");
            sleep(Duration::from_millis(1)).await;
            assert_eq!(sent() - before, 11);
            server.close();
        });
    });
}
