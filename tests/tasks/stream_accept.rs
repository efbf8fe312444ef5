//! `accept` hands out each connection once. While none is taken, clients wait in the kernel.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::folder::Folder;
use crate::world::{on_each_back_end, with_reactor};
use twistor::stream::{
    ServerOptions, StreamError, StreamReader, StreamWriter, listen, listen_with, open_connection,
};
use twistor::task::{self, join, sleep, timeout, yield_now};
use twistor::{Address, Error, Reason};

const MOMENT: Duration = Duration::from_millis(2);

type Halves = (StreamReader, StreamWriter);

async fn clients(address: &Address, count: usize) -> Vec<Halves> {
    let mut open = Vec::new();
    for number in 0..count {
        let (reader, writer) = open_connection(address).await.unwrap();
        writer.write(format!("{number}\n").as_bytes());
        open.push((reader, writer));
    }
    open
}

/// The connections that the reactor has accepted.
fn accepted() -> u64 {
    with_reactor(|reactor| reactor.statistics().accepts)
}

#[test]
fn each_connection_is_handed_out_once_and_in_order() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            let (open, served) = join(clients(listener.address(), 3), async {
                let mut served = Vec::new();
                for number in 0..3 {
                    let (mut reader, writer) = listener.accept().await.unwrap();
                    let line = reader.read_line().await.unwrap().unwrap();
                    assert_eq!(line, format!("{number}").as_bytes());
                    assert_eq!(reader.peer(), writer.peer());
                    served.push((reader, writer));
                }
                served
            })
            .await;
            for ((_, client), (reader, _)) in open.iter().zip(&served) {
                assert_eq!(client.host().unwrap(), reader.peer());
            }
        });
    });
}

#[test]
fn unix_sockets_are_accepted_as_well() {
    on_each_back_end(|world| {
        let folder = Folder::new();
        let endpoint = format!("unix:{}", folder.path("socket").display());
        world.run_future(async {
            let listener = listen(&endpoint).unwrap();
            let (opened, accepted) = join(open_connection(&endpoint), listener.accept()).await;
            let ((mut reader, writer), (mut inner, answer)) = (opened.unwrap(), accepted.unwrap());
            writer.write(b"question\n");
            assert_eq!(inner.read_line().await, Ok(Some(&b"question"[..])));
            answer.write(b"answer\n");
            assert_eq!(reader.read_line().await, Ok(Some(&b"answer"[..])));
            assert!(matches!(inner.peer(), Address::Unix(_)));
        });
    });
}

#[test]
fn a_full_queue_leaves_clients_in_the_backlog() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            listener.set_queue_limit(4);
            let mut open = clients(listener.address(), 10).await;
            while listener.queued() < 4 {
                sleep(MOMENT).await;
            }
            sleep(MOMENT).await;
            assert_eq!((listener.queued(), accepted()), (4, 4));
            // At half of the limit it accepts again.
            let first = listener.accept().await.unwrap();
            sleep(MOMENT).await;
            assert_eq!((listener.queued(), accepted()), (3, 4));
            let second = listener.accept().await.unwrap();
            while accepted() < 6 {
                sleep(MOMENT).await;
            }
            sleep(MOMENT * 2).await;
            assert_eq!((listener.queued(), accepted()), (4, 6));
            listener.set_queue_limit(1);
            let mut served = vec![first, second];
            while served.len() < 10 {
                served.push(listener.accept().await.unwrap());
            }
            for (number, (reader, writer)) in served.iter_mut().enumerate() {
                let line = reader.read_line().await.unwrap().unwrap();
                assert_eq!(line, format!("{number}").as_bytes(), "none was lost, all in order");
                writer.write_sequence(&[line, b"!\n"]);
            }
            for (number, (reader, _)) in open.iter_mut().enumerate() {
                let line = reader.read_line().await.unwrap().unwrap();
                assert_eq!(line, format!("{number}!").as_bytes());
            }
        });
    });
}

#[test]
fn several_tasks_share_the_connections() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = Rc::new(listen("127.0.0.1:0").unwrap());
            let taken = Rc::new(RefCell::new(Vec::new()));
            let workers: Vec<_> = (0..3)
                .map(|worker| {
                    let (listener, taken) = (Rc::clone(&listener), Rc::clone(&taken));
                    task::spawn(async move {
                        while let Some((mut reader, _writer)) = listener.accept().await {
                            let line = reader.read_line().await.unwrap().unwrap().to_vec();
                            taken.borrow_mut().push((worker, line));
                        }
                    })
                })
                .collect();
            yield_now().await;
            let address = listener.address().clone();
            let _open = clients(&address, 30).await;
            while taken.borrow().len() < 30 {
                sleep(MOMENT).await;
            }
            listener.close();
            for worker in workers {
                worker.await.unwrap();
            }
            let mut lines: Vec<_> = taken.borrow().iter().map(|(_, line)| line.clone()).collect();
            lines.sort();
            lines.dedup();
            assert_eq!(lines.len(), 30, "each once");
            for worker in 0..3 {
                assert!(taken.borrow().iter().any(|(other, _)| *other == worker), "{worker} has starved");
            }
        });
    });
}

#[test]
fn an_accept_that_was_given_up_loses_no_connection() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            assert!(timeout(MOMENT, listener.accept()).await.is_err());
            let _open = clients(listener.address(), 1).await;
            let (mut reader, _) = listener.accept().await.unwrap();
            assert_eq!(reader.read_line().await, Ok(Some(&b"0"[..])));
        });
    });
}

#[test]
fn close_lets_the_queue_be_taken_and_drop_resets_it() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            let mut open = clients(listener.address(), 3).await;
            while listener.queued() < 3 {
                sleep(MOMENT).await;
            }
            listener.close();
            listener.close();
            open_connection(listener.address()).await.unwrap_err();
            let (_, writer) = listener.accept().await.unwrap();
            writer.write(b"served");
            drop(listener);
            drop(writer);
            let (reader, _) = &mut open[0];
            assert_eq!(reader.read_exact(&mut [0; 6]).await, Ok(()), "a taken one continues");
            for (reader, _) in &mut open[1..] {
                let lost = reader.read_chunk(1).await.unwrap_err();
                assert!(matches!(lost, StreamError::Lost(Reason::Lost(_))), "{lost}");
            }
        });
    });
}

#[test]
fn limits_apply_and_taken_connections_count() {
    on_each_back_end(|world| {
        world.run_future(async {
            let options = ServerOptions { max_connections: 1, ..ServerOptions::default() };
            let listener = listen_with("127.0.0.1:0", options).unwrap();
            let _first = clients(listener.address(), 1).await;
            let taken = listener.accept().await.unwrap();
            let (mut reader, _) = open_connection(listener.address()).await.unwrap();
            assert_eq!(reader.read_chunk(1).await, Ok(&b""[..]));
            drop(taken);
            while with_reactor(|reactor| reactor.connections().len()) > 2 {
                sleep(MOMENT).await;
            }
            drop(reader);
            assert_eq!(listener.queued(), 0);
        });
    });
}

#[test]
fn listening_outside_of_a_task_or_twice_is_an_error() {
    on_each_back_end(|world| {
        assert!(listen("127.0.0.1:0").is_err());
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            let port = listener.address().port().unwrap();
            assert!(listen(format!("127.0.0.1:{port}")).is_err());
            assert!(listen("what:is:this").is_err());
        });
    });
}

#[test]
fn an_accept_ends_with_the_reactor_of_its_listener() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let listener = reactor.block_on(async { listen("127.0.0.1:0").unwrap() }).unwrap();
        let mut other = world.reactor();
        let waits = other.spawn(async move { listener.accept().await.is_none() });
        other.iterate(Some(Duration::ZERO)).unwrap();
        assert!(!waits.is_finished());
        drop(reactor);
        assert_eq!(other.block_on(waits).unwrap(), Ok(true));
    });
}

#[test]
fn a_paused_listener_accepts_nothing_until_it_resumes() {
    on_each_back_end(|world| {
        world.run_future(async {
            let listener = listen("127.0.0.1:0").unwrap();
            let of_reactor = with_reactor(|reactor| reactor.listeners().remove(0));
            with_reactor(|reactor| reactor.pause_listening(&of_reactor)).unwrap();
            with_reactor(|reactor| reactor.pause_listening(&of_reactor)).unwrap();
            let _open = clients(listener.address(), 2).await;
            sleep(MOMENT).await;
            assert_eq!(accepted(), 0);
            with_reactor(|reactor| reactor.resume_listening(&of_reactor)).unwrap();
            for _ in 0..2 {
                listener.accept().await.unwrap();
            }
            listener.close();
            let error = with_reactor(|reactor| reactor.pause_listening(&of_reactor)).unwrap_err();
            assert!(matches!(error, Error::NotListening), "{error}");
        });
    });
}
