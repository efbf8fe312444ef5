//! No setting, time or size, however small or large, makes a reactor panic, spin or hang.

use std::time::Duration;

use crate::world::peer::{connection, turns};
use crate::world::{Record, Recorder, World, abort_all, idle_protocol, on_each_back_end, once};
use twistor::deferred::defer_later;
use twistor::policy::{FileSender, ProtocolTimeout, RateLimits, TokenBucket, idle_timeout, throttled};
use twistor::proxy_protocol::{ProxyOptions, TrustedProxies, behind_proxy};
use twistor::service::Backoff;
use twistor::sim::{Chaos, FaultKind, Latency, Link, Simulation};
use twistor::task::{interval, sleep, timeout};
use twistor::{ConnectTcp, Factory, ListenTcp, LoopingCall, Reactor, Settings};

const TIMES: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
const SIZES: [usize; 3] = [0, 1, usize::MAX];

/// All settings at their extreme values, with their names.
fn settings() -> Vec<(&'static str, Settings)> {
    // Destructured so that a new field is a compile error here.
    let Settings {
        max_connections: _,
        accepts_per_turn: _,
        read_buffer: _,
        bytes_per_turn: _,
        high_water: _,
        write_buffer_limit: _,
        close_timeout: _,
        handshake_timeout: _,
        linger: _,
        graceful_stop_timeout: _,
        calls_per_turn: _,
        threads: _,
        job_queue: _,
        lookup_threads: _,
        file_threads: _,
        file_queue: _,
        thread_call_queue: _,
        slow_callback: _,
        busy_poll: _,
        handle_signals: _,
    } = Settings::default();
    let mut all = Vec::new();
    for size in SIZES {
        all.push(("max_connections", Settings { max_connections: size, ..Settings::default() }));
        all.push(("accepts_per_turn", Settings { accepts_per_turn: size, ..Settings::default() }));
        all.push(("read_buffer", Settings { read_buffer: size, ..Settings::default() }));
        all.push(("bytes_per_turn", Settings { bytes_per_turn: size, ..Settings::default() }));
        all.push(("high_water", Settings { high_water: size, ..Settings::default() }));
        all.push(("buffer_limit", Settings { write_buffer_limit: size, ..Settings::default() }));
        all.push(("calls_per_turn", Settings { calls_per_turn: size, ..Settings::default() }));
        all.push(("threads", Settings { threads: size, ..Settings::default() }));
        all.push(("thread_queue", Settings { job_queue: size, ..Settings::default() }));
        all.push(("lookup_threads", Settings { lookup_threads: size, ..Settings::default() }));
        all.push(("file_threads", Settings { file_threads: size, ..Settings::default() }));
        all.push(("file_queue", Settings { file_queue: size, ..Settings::default() }));
        all.push(("thread_calls", Settings { thread_call_queue: size, ..Settings::default() }));
    }
    for time in TIMES {
        all.push(("closing_limit", Settings { close_timeout: time, ..Settings::default() }));
        all.push(("handshake_timeout", Settings { handshake_timeout: time, ..Settings::default() }));
        all.push(("linger", Settings { linger: time, ..Settings::default() }));
        all.push(("drain_limit", Settings { graceful_stop_timeout: time, ..Settings::default() }));
        all.push(("slow_callback", Settings { slow_callback: Some(time), ..Settings::default() }));
        all.push(("spin", Settings { busy_poll: time, ..Settings::default() }));
    }
    all.push(("no slow_callback", Settings { slow_callback: None, ..Settings::default() }));
    for on in [false, true] {
        all.push(("handle_signals", Settings { handle_signals: on, ..Settings::default() }));
    }
    all
}

#[test]
fn a_reactor_works_with_any_setting() {
    on_each_back_end(|world| {
        for (name, settings) in settings() {
            let what = format!("{name} of {settings:?}");
            let mut reactor = world.reactor_with(settings);
            let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().echoing()).unwrap();
            let client = idle_protocol().acting(|what, transport, _| {
                if what == "made" {
                    transport.write(&[b'x'; 50_000]);
                    transport.lose_connection();
                }
            });
            reactor.connect_tcp(listener.address(), once(client, &Record::new())).unwrap();
            let idle = world.connect(listener.address());
            // Both are refused where the queue has no room.
            let _ = reactor.call_in_thread(|| (), |_, _| {});
            let _ = reactor.remote().call_from_thread(|_| {});
            let _ = twistor::files::metadata("/").start(&mut reactor, |_, _| {});
            let end = reactor.now() + Duration::from_millis(5);
            world.run_until(&mut reactor, &what, |reactor| reactor.now() >= end);
            rests(&mut reactor, &what);
            ends(world, reactor, &what);
            drop(idle);
        }
    });
}

#[test]
fn settings_that_nothing_could_work_with_are_raised_or_lowered() {
    on_each_back_end(|world| {
        for (name, settings) in settings() {
            let reactor = world.reactor_with(settings.clone());
            let came = reactor.settings().clone();
            let changed = Settings {
                max_connections: settings.max_connections,
                handle_signals: settings.handle_signals,
                ..came.clone()
            } != settings;
            let zero = [
                settings.accepts_per_turn,
                settings.read_buffer,
                settings.bytes_per_turn,
                settings.calls_per_turn,
                settings.threads,
                settings.lookup_threads,
                settings.file_threads,
            ]
            .contains(&0);
            let large = settings.read_buffer > 64 << 20;
            assert_eq!(changed, zero || large, "{name}: {came:?}");
            assert!(came.read_buffer <= 64 << 20);
        }
    });
}

#[test]
fn timed_calls_take_any_time() {
    on_each_back_end(|world| {
        for first in TIMES {
            for second in TIMES {
                let mut reactor = world.reactor();
                let record = Record::new();
                let (id, _peer) = connection(world, &mut reactor, Recorder::new(&record));
                let (own, its) = (record.clone(), record.clone());
                let call = reactor.call_later(first, move |_| own.add("own"));
                let _ = reactor.iterate(Some(Duration::ZERO));
                // An immediate call has already run.
                let _ = call.reset(&mut reactor, second);
                let _ = call.delay(&mut reactor, first);
                let mut transport = reactor.transport(id).unwrap();
                transport.call_later(second, move |_: &mut Recorder, _| its.add("its"));
                let mut limit = ProtocolTimeout::default();
                limit.set(&mut transport, first, |_: &mut Recorder, _| {});
                limit.reset(&mut transport);
                let looping = LoopingCall::new(|_, _| ());
                let _running = looping.start(&mut reactor, first).unwrap();
                let later = LoopingCall::new(|_, _| ());
                let _waiting = later.start_later(&mut reactor, second).unwrap();
                let deferred = defer_later(&mut reactor, first).timeout(&mut reactor, second);
                deferred.done(|_, _| {});
                turns(&mut reactor);
                // An event ends any wait.
                let remote = reactor.remote();
                remote.call_from_thread(|_| {}).unwrap();
                reactor.iterate(Some(first)).unwrap();
                assert_eq!(record.has("its"), second != Duration::MAX);
                assert!(record.has("own") || [first, second].contains(&Duration::MAX));
                ends(world, reactor, "timed calls");
            }
        }
    });
}

#[test]
fn connections_take_any_time_and_size() {
    on_each_back_end(|world| {
        for time in TIMES {
            for size in SIZES {
                let what = format!("{time:?} and {size}");
                let mut reactor = world.reactor();
                let listen = ListenTcp {
                    backlog: u32::try_from(size).unwrap_or(u32::MAX),
                    send_buffer: Some(size),
                    receive_buffer: Some(size),
                    ..ListenTcp::new(world.anywhere())
                };
                let listener = reactor.listen_tcp(listen, || idle_protocol().echoing()).unwrap();
                let options = ConnectTcp {
                    timeout: time,
                    attempt_delay: time,
                    send_buffer: Some(size),
                    receive_buffer: Some(size),
                    ..listener.address().try_into().unwrap()
                };
                let client = idle_protocol().acting(move |what, transport, _| {
                    if what == "made" {
                        transport.set_water_marks(size, usize::MAX - size);
                        // The system accepts the value or reports an error.
                        let _ = transport.set_tcp_keepalive(Some(time));
                        let file = FileSender::new(&b"file"[..]).piece(size);
                        file.send(transport, |_, _| {}).unwrap();
                        transport.lose_connection_timeout(time);
                    }
                });
                // Connects again, after any time.
                let again = once(client, &Record::new()).acting(move |what, connector| {
                    if what != "connecting" {
                        connector.connect_later(time);
                    }
                });
                reactor.connect_tcp(options, again).unwrap();
                turns(&mut reactor);
                ends(world, reactor, &what);
            }
        }
    });
}

#[test]
fn policies_take_any_time_and_rate() {
    on_each_back_end(|world| {
        for time in TIMES {
            serves(world, idle_timeout(|| idle_protocol().echoing(), time), &format!("idle for {time:?}"));
            let receiving = ProxyOptions { timeout: time, ..ProxyOptions::from(TrustedProxies::everybody()) };
            serves(
                world,
                behind_proxy(|| idle_protocol().echoing(), receiving),
                &format!("header in {time:?}"),
            );
        }
        for rate in [0, 1, u64::MAX].map(Some) {
            let rates = RateLimits { read: rate, write: rate, read_together: rate, write_together: rate };
            serves(world, throttled(|| idle_protocol().echoing(), rates), &format!("{rates:?}"));
        }
    });
    assert_eq!(TokenBucket::new(0).rate(), 1);
    for time in TIMES {
        for random in [0, u64::MAX] {
            let backoff = Backoff { initial: time, max: time, jitter: 0.5, ..Backoff::default() };
            let delay = backoff.delay(u32::MAX, random);
            assert!(delay >= time / 4 && delay <= time, "{delay:?}");
        }
    }
}

/// Serves one connection with `factory` and exchanges some bytes.
fn serves(world: &World, factory: impl Factory, what: &str) {
    let mut reactor = world.reactor();
    let listener = reactor.listen_tcp(world.anywhere(), factory).unwrap();
    let mut peer = world.connect(listener.address());
    peer.send(&[b'x'; 1000]);
    let end = reactor.now() + Duration::from_millis(5);
    world.run_until(&mut reactor, what, |reactor| reactor.now() >= end);
    rests(&mut reactor, what);
    ends(world, reactor, what);
}

#[test]
fn tasks_take_any_time() {
    on_each_back_end(|world| {
        world.run_future(async {
            for time in TIMES {
                let mut ticks = interval(time);
                ticks.tick().await;
                assert_eq!(timeout(time, async { 7 }).await, Ok(7));
                let second = timeout(Duration::from_millis(5), ticks.tick()).await;
                assert_eq!(second.is_ok(), time != Duration::MAX);
                let slept = timeout(Duration::from_millis(5), sleep(time)).await;
                assert_eq!(slept.is_ok(), time != Duration::MAX);
            }
        });
    });
}

#[test]
fn a_simulation_takes_any_time() {
    for time in TIMES {
        let mut simulation = Simulation::new(1);
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        let latencies = [
            Latency::Fixed(time),
            Latency::Uniform { least: Duration::ZERO, most: time },
            Latency::Exponential { least: time, mean: time },
            Latency::LongTail { least: time, usual: time, worst: time },
        ];
        for latency in latencies {
            simulation.set_links(Link { latency, bandwidth: Some(0), ..Link::default() });
            simulation.reactor(server).listen_tcp("0.0.0.0:0", || idle_protocol().echoing()).unwrap();
            simulation
                .reactor(client)
                .connect_tcp("server:7", once(idle_protocol(), &Record::new()))
                .unwrap();
            simulation.run_for(Duration::from_secs(1)).unwrap();
        }
        simulation.start_chaos(Chaos {
            strikes: vec![FaultKind::Silence],
            mean_interval: time,
            mean_duration: time,
            ..Chaos::default()
        });
        simulation.after(time, |_| {});
        simulation.run_for(Duration::from_secs(1)).unwrap();
        simulation.stop_chaos();
        simulation.step_clock(client, i64::MAX);
        simulation.step_clock(client, i64::MAX);
        simulation.set_call_cost(client, time);
        let network = simulation.network();
        simulation.reactor(client).call_later(time, move |_| network.advance_host_clock(client, time));
        simulation.run_for(time.min(Duration::from_secs(1))).unwrap();
    }
}

/// Checks that a loop without work sleeps.
fn rests(reactor: &mut Reactor, what: &str) {
    let before = reactor.now();
    for _ in 0..10 {
        reactor.iterate(Some(Duration::from_millis(2))).unwrap();
    }
    let rested = reactor.now() - before;
    assert!(rested >= Duration::from_millis(4), "{what}: ten turns took {rested:?}");
}

/// Checks that the reactor stops without a panic.
fn ends(world: &World, mut reactor: Reactor, what: &str) {
    abort_all(&mut reactor);
    reactor.stop();
    while reactor.iterate(Some(Duration::ZERO)).unwrap() {}
    assert_eq!(reactor.statistics().panics, 0, "{what}");
    drop(reactor);
    let logged = world.logged();
    assert!(!logged.iter().any(|line| line.contains("panic")), "{what}: {logged:?}");
}
