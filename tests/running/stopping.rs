//! A stop is a request: the shutdown comes with the next turn, and every open object is notified.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, World, idle_protocol, on_each_back_end, once, with_reactor};
use twistor::stream::{
    ConnectError, StreamError, StreamReader, StreamWriter, factory, open_connection, start_server,
};
use twistor::task::{select, sleep, stopping, yield_now};
use twistor::{
    Error, Handle, OutputError, OutputOptions, Phase, ProcessOutput, Reactor, Settings, SpawnProcess,
    SystemEvent, error_chain,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn later(reactor: &mut Reactor, call: impl FnOnce(&mut Reactor) + 'static) {
    reactor.call_later(Duration::ZERO, call);
}

#[test]
fn stop_returns_before_the_shutdown_begins() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let (stopping, triggered) = (record.clone(), record.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| {
            triggered.add("shutdown")
        });
        later(&mut reactor, move |reactor| {
            assert!(reactor.stop());
            stopping.add("asked");
            assert!(reactor.running());
            assert!(!reactor.stop(), "a second time");
            assert!(!reactor.stop_gracefully());
            assert_eq!(reactor.statistics().turns, 1);
        });
        world.run(&mut reactor);
        assert_eq!(record.events(), ["asked", "shutdown"]);
        assert!(!reactor.running());
    });
}

#[test]
fn a_reactor_that_does_not_run_cannot_be_stopped() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        assert!(!reactor.stop() && !reactor.stop_gracefully());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, |reactor, _| {
            assert!(!reactor.stop());
        });
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, |reactor, _| {
            assert!(reactor.stop(), "it runs now");
        });
        world.run(&mut reactor);
    });
}

#[test]
fn everything_that_is_open_or_under_way_is_lost_and_hears_so() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = once(Recorder::named("server", &record), &Record::new());
        let listener = reactor.listen_tcp(world.anywhere(), server).unwrap();
        let (connecting, waiting) = (Record::new(), Record::new());
        let address = listener.address().clone();
        let (attempt, waits) = (connecting.clone(), waiting.clone());
        let client = Recorder::named("client", &record).acting(move |what, transport, _| match what {
            "made" => {
                let reactor = transport.reactor();
                // In progress when the reactor stops: the `connect` call comes in the next turn at
                // the earliest.
                let factory = once(idle_protocol(), &attempt);
                reactor.connect_tcp(&address, factory).unwrap();
                let id = reactor.connect_tcp(
                    &address,
                    once(idle_protocol(), &waits).acting(|what, connector| {
                        if what == "gone" {
                            assert!(!connector.connect(), "nothing new can begin");
                        }
                    }),
                );
                let _ = id.unwrap();
                reactor.stop();
            }
            // A panic here affects no other connection.
            "lost" => panic!("no"),
            _ => {}
        });
        let gone = Record::new();
        reactor.connect_tcp(listener.address(), once(client, &gone)).unwrap();
        world.run(&mut reactor);
        assert_eq!(record.count("server: lost Stopped"), record.count("server: made"));
        assert!(record.has("client: lost Stopped"));
        assert_eq!(gone.events(), ["started", "connecting", "gone Stopped", "stopped"]);
        for record in [connecting, waiting] {
            let last = record.events();
            let last = last.last().unwrap();
            assert!(["stopped", "failed Stopped"].contains(&last.as_str()), "{last}");
        }
        assert_eq!(world.logged().len(), 1, "the panic");
    });
}

#[test]
fn a_waiting_connector_and_its_factory_end_with_the_reactor() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let client = once(idle_protocol(), &record).acting(|what, connector| {
            if what == "failed" {
                assert!(connector.connect_later(Duration::from_secs(60)));
                later(connector.reactor(), |reactor| {
                    reactor.stop();
                });
            }
        });
        reactor.connect_tcp(world.unused(), client).unwrap();
        world.run(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed Refused", "stopped"]);
    });
}

/// Stops the reactor of a server with much unsent data. Returns the number of bytes that a reading
/// client receives: all of them if `graceful`.
fn stop_with_bytes_waiting(world: &World, graceful: bool) -> usize {
    const MUCH: usize = 8 << 20;
    let settings = Settings { write_buffer_limit: 2 * MUCH, ..Settings::default() };
    let mut reactor = world.reactor_with(settings);
    let server = idle_protocol().acting(move |what, transport, _| {
        if what == "made" {
            transport.write(&vec![b'x'; MUCH]);
            assert!(transport.write_buffer_size() > 0, "more than the system takes");
            match graceful {
                true => transport.reactor().stop_gracefully(),
                false => transport.reactor().stop(),
            };
        }
    });
    let listener = world.serve(&mut reactor, server);
    let read = world.run_read_by(&mut reactor, world.connect(listener.address()));
    match graceful {
        true => assert_eq!(read, MUCH),
        false => assert!(read < MUCH),
    }
    read
}

#[test]
fn a_graceful_stop_sends_what_waits_and_a_plain_one_does_not() {
    on_each_back_end(|world| {
        assert!(stop_with_bytes_waiting(world, false) < stop_with_bytes_waiting(world, true));
    });
}

#[test]
fn a_graceful_stop_waits_for_a_stuck_peer_up_to_its_limit() {
    on_each_back_end(|world| {
        let settings = Settings {
            graceful_stop_timeout: Duration::from_millis(20),
            write_buffer_limit: 32 << 20,
            ..Settings::default()
        };
        let mut reactor = world.reactor_with(settings);
        let record = Record::new();
        let server = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.write(&vec![b'x'; 16 << 20]);
                transport.reactor().stop_gracefully();
            }
        });
        let listener = reactor.listen_tcp(world.anywhere(), once(server, &record)).unwrap();
        let silent = world.connect(listener.address());
        world.run(&mut reactor);
        assert!(record.has("lost Stopped"), "{:?}", record.events());
        drop(silent);
    });
}

#[test]
fn a_graceful_stop_begins_nothing_new() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), once(idle_protocol(), &record)).unwrap();
        let address = listener.address().clone();
        let lost = record.clone();
        let client = Recorder::new(&record).acting(move |what, transport, _| match what {
            "made" => {
                transport.reactor().stop_gracefully();
            }
            "lost" => {
                let again = once(idle_protocol(), &Record::new());
                let reactor = transport.reactor();
                assert!(matches!(reactor.connect_tcp(&address, again), Err(Error::Stopping)));
                let port = reactor.listen_tcp(&address, idle_protocol);
                assert!(matches!(port, Err(Error::Stopping)));
                lost.add("refused");
            }
            _ => {}
        });
        world.ask(&mut reactor, &listener, client);
        world.run(&mut reactor);
        assert!(record.has("lost Done") && record.has("refused"), "{:?}", record.events());
    });
}

// -- tasks --

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
        writer.write(chunk);
        writer.drain().await?;
    }
    Ok(())
}

/// A reactor that stops gracefully a little later, with a time limit for the future.
fn stopping_soon(world: &World, limit: Duration) -> Reactor {
    let mut reactor = world.reactor_with(Settings { graceful_stop_timeout: limit, ..Settings::default() });
    reactor.call_later(Duration::from_millis(5), |reactor| {
        reactor.stop_gracefully();
    });
    reactor
}

#[test]
fn a_future_that_awaits_the_stop_ends_with_its_result() {
    on_each_back_end(|world| {
        let mut reactor = stopping_soon(world, LONG);
        let talked = reactor.block_on(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            assert!(!Handle::current().unwrap().is_stopping());
            stopping().await;
            assert!(Handle::current().unwrap().is_stopping() && with_reactor(|reactor| reactor.running()));
            stopping().await;
            // The connection is open, and another one can be made, for example to report the end.
            writer.write(b"good-bye");
            let mut answer = [0; 8];
            reader.read_exact(&mut answer).await.unwrap();
            let (mut second, writer) = open_connection(server.address()).await.unwrap();
            writer.write(&answer);
            second.read_exact(&mut answer).await.unwrap();
            sleep(Duration::from_millis(5)).await;
            answer
        });
        assert_eq!(talked.unwrap(), *b"good-bye");
        assert!(reactor.running(), "the rest of the stop is for the next run");
        world.run(&mut reactor);
    });
}

#[test]
fn a_future_that_asks_for_the_stop_ends_with_its_result() {
    on_each_back_end(|world| {
        let mut reactor = stopping_soon(world, LONG);
        let asked = reactor.block_on(async {
            let mut asked = 0;
            while !Handle::current().unwrap().is_stopping() {
                sleep(Duration::from_millis(1)).await;
                asked += 1;
            }
            asked
        });
        assert!(asked.unwrap() > 0);
    });
}

#[test]
fn a_future_that_awaits_the_stop_ends_in_time_or_is_cut_off() {
    on_each_back_end(|world| {
        let limit = Duration::from_millis(20);
        let mut reactor = stopping_soon(world, limit);
        let handle = reactor.handle();
        let told = Rc::new(Cell::new(None));
        let tells = Rc::clone(&told);
        let ended = reactor.block_on(async move {
            stopping().await;
            tells.set(handle.with_reactor(|reactor| reactor.now()).ok());
            pending::<()>().await;
        });
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
        let took = reactor.now() - told.get().unwrap();
        assert!(took >= limit, "{took:?}");
        assert_eq!(reactor.resource_count(), 0);
    });
}

#[test]
fn a_future_that_does_not_await_the_stop_is_cut_off_at_once() {
    on_each_back_end(|world| {
        for awaited_before in [false, true] {
            let mut reactor = stopping_soon(world, LONG);
            let watchdog = reactor.call_later(LONG / 2, |_| panic!("it has the whole limit"));
            let ended = reactor.block_on(async {
                if awaited_before {
                    select(stopping(), yield_now()).await;
                }
                pending::<()>().await;
            });
            assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
            assert!(watchdog.time(&reactor).is_none());
            assert_eq!(reactor.statistics().panics, 0);
        }
    });
}

#[test]
fn a_plain_stop_is_awaited_as_a_graceful_one_is() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { graceful_stop_timeout: LONG, ..Settings::default() });
        let ended = reactor.block_on(async {
            with_reactor(|reactor| reactor.stop());
            stopping().await;
            sleep(Duration::from_millis(1)).await;
            7
        });
        assert_eq!(ended.unwrap(), 7);
        world.run(&mut reactor);
    });
}

#[test]
fn what_a_task_writes_when_it_hears_of_the_stop_is_sent() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let server = factory(async |_: StreamReader, writer: StreamWriter| {
            Handle::current().unwrap().call(|reactor| {
                reactor.stop_gracefully();
            });
            stopping().await;
            writer.write(b"good-bye");
            pending::<()>().await;
        });
        let listener = reactor.listen_tcp(world.anywhere(), server).unwrap();
        let peer = world.connect(listener.address());
        assert_eq!(world.run_read_by(&mut reactor, peer), 8);
    });
}

#[test]
fn a_reactor_that_is_dropped_tells_its_tasks() {
    on_each_back_end(|world| {
        let (mut reactor, told) = (world.reactor(), Rc::new(Cell::new(false)));
        let tells = Rc::clone(&told);
        reactor
            .spawn(async move {
                stopping().await;
                tells.set(true);
            })
            .detach();
        reactor.iterate(Some(Duration::ZERO)).unwrap();
        let handle = reactor.handle();
        assert!(!handle.is_stopping());
        drop(reactor);
        assert!(told.get() && handle.is_stopping());
    });
}

#[test]
fn what_a_task_begins_while_connections_close_fails_at_once() {
    on_each_back_end(|world| {
        let mut reactor = stopping_soon(world, LONG);
        let failed = reactor.block_on(async {
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let (mut reader, _writer) = open_connection(server.address()).await.unwrap();
            // A task that ignores the stop sees its connection close, and connects again.
            let _ = reader.read_chunk(1).await;
            let connected = open_connection(server.address()).await.map(drop).unwrap_err();
            let listening = start_server("127.0.0.1:0", echo).map(drop).unwrap_err();
            let spawned = Handle::current().unwrap().with_reactor(|reactor| {
                let collect = |_: &mut Reactor, _: Result<ProcessOutput, OutputError>| {};
                reactor.process_output(SpawnProcess::new("true", [""; 0]), OutputOptions::default(), collect)
            });
            let spawned = ConnectError::from(spawned.unwrap().map(drop).unwrap_err());
            [connected, listening, spawned]
        });
        // The future saw the end of its connection before it was dropped.
        for error in failed.unwrap() {
            assert!(matches!(error, ConnectError::Reactor(Error::Stopping)), "{error:?}");
            assert!(error_chain(&error).to_string().contains("the reactor is stopping"), "{error}");
        }
    });
}
