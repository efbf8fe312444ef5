//! The normal stop is no failure: each thing that waits can tell it from one.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use crate::world::{World, on_each_back_end, raise};
use twistor::stream::{StreamReader, StreamWriter, listen, open_connection, start_server};
use twistor::task::{self, TaskError, join, spawn, stopping, until_stopping};
use twistor::{Error, Handle, Reactor, Settings, Signal};

fn signalled(world: &World) -> Reactor {
    let mut reactor = world.reactor_that_signals_stop(Settings::default());
    reactor.call_when_running(|_| raise(Signal::Terminate));
    reactor
}

#[test]
fn a_program_that_runs_forever_ends_without_an_error() {
    on_each_back_end(|world| {
        let mut reactor = signalled(world);
        assert_eq!(reactor.block_on(until_stopping(pending::<()>())).unwrap(), None);
        reactor.run().unwrap();

        let mut reactor = signalled(world);
        let error = reactor.block_on(pending::<()>()).unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error}");

        let mut reactor = world.reactor();
        assert_eq!(reactor.block_on(until_stopping(async { 7 })).unwrap(), Some(7));
    });
}

#[test]
fn a_task_tells_the_stop_from_a_cancel() {
    on_each_back_end(|world| {
        let mut reactor = signalled(world);
        let (stopped, cancelled) = (reactor.spawn(pending::<()>()), reactor.spawn(pending::<()>()));
        cancelled.cancel();
        reactor.run().unwrap();
        let late = reactor.spawn(async {});
        let mut other = world.reactor();
        let both = other.block_on(join(stopped, cancelled)).unwrap();
        assert_eq!(both, (Err(TaskError::Stopped), Err(TaskError::Cancelled)));
        assert_eq!(other.block_on(late).unwrap(), Err(TaskError::Stopped));
    });
}

#[test]
fn accept_and_reads_end_at_the_stop() {
    on_each_back_end(|world| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let note = |what: &'static str| {
            let seen = Rc::clone(&seen);
            move || seen.borrow_mut().push(what)
        };
        let (accepted, read) = (note("accept ended"), note("EOF"));
        let mut reactor = world.reactor_that_signals_stop(Settings::default());
        reactor
            .spawn(async move {
                let listener = listen("127.0.0.1:0").unwrap();
                assert!(listener.accept().await.is_none());
                accepted();
                assert!(listener.accept().await.is_none(), "and stays so");
            })
            .detach();
        let read = Rc::new(Cell::new(Some(read)));
        reactor
            .spawn(async move {
                let server =
                    start_server("127.0.0.1:0", async move |mut reader: StreamReader, _: StreamWriter| {
                        assert_eq!(reader.read_chunk(10).await, Ok(&b"hello"[..]));
                        raise(Signal::Interrupt);
                        assert_eq!(reader.read_chunk(10).await, Ok(&b""[..]));
                        (read.take().unwrap())();
                    })
                    .unwrap();
                let (mut reader, writer) = open_connection(server.address()).await.unwrap();
                writer.write(b"hello");
                stopping().await;
                let mut more = Vec::new();
                while let Ok(chunk @ [_, ..]) = reader.read_chunk(10).await {
                    more.extend_from_slice(chunk);
                }
                assert!(more.is_empty());
                let error = open_connection("127.0.0.1:1").await.unwrap_err();
                assert!(error.to_string().contains("stopping"), "{error}");
                server.wait_closed().await;
            })
            .detach();
        reactor.run().unwrap();
        let mut seen = seen.take();
        seen.sort_unstable();
        assert_eq!(seen, ["EOF", "accept ended"]);
    });
}

#[test]
fn a_stop_inside_a_task_is_seen_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let order = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&order);
        let result = reactor.block_on(until_stopping(async move {
            let other = Rc::clone(&theirs);
            let helper = spawn(async move {
                stopping().await;
                other.borrow_mut().push("helper");
            });
            task::yield_now().await;
            Handle::current().unwrap().with_reactor(|reactor| reactor.stop_gracefully()).unwrap();
            helper.await.unwrap();
            theirs.borrow_mut().push("not reached");
        }));
        assert_eq!((result.unwrap(), order.take()), (None, vec![]));
    });
}
