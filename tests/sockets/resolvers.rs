//! A resolver of one's own is used for all names. It answers as it finds addresses, and a look-up
//! ends once: with an outcome, or cancelled without a call.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::world::{Record, Recorder, World, on_each_back_end, once};
use twistor::sim::Simulation;
use twistor::task::{self, timeout};
use twistor::{
    Address, AddressFamily, Answer, Answers, ConnectUdp, DatagramProtocol, DatagramTransport, Error, Handle,
    ListenUdp, NameError, Query, Reactor, Reason, Resolution, Resolve, ResolveError, SystemResolver,
    deferred,
};

const HOST: &str = "service.example";
const MILLISECOND: Duration = Duration::from_millis(1);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A resolver that keeps its requests until the test answers them.
#[derive(Clone, Default)]
struct Kept {
    queries: Rc<RefCell<Vec<(Query, Answers)>>>,
    cancelled: Rc<Cell<usize>>,
}

impl Kept {
    fn installed(reactor: &mut Reactor) -> Kept {
        let kept = Kept::default();
        reactor.set_resolver(kept.clone());
        kept
    }

    fn take(&self) -> Answers {
        self.queries.borrow_mut().remove(0).1
    }
}

impl Resolve for Kept {
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> twistor::Result<()> {
        let cancelled = Rc::clone(&self.cancelled);
        answers.on_cancel(reactor, move |_| cancelled.set(cancelled.get() + 1));
        self.queries.borrow_mut().push((query.clone(), answers));
        Ok(())
    }
}

/// Answers each name with these addresses at once, inside the call.
fn table(found: impl Into<Vec<SocketAddr>>) -> impl Resolve {
    let found = found.into();
    move |_: &mut Reactor, _: &Query, answers: Answers| {
        answers.finish_with(found.clone(), None);
        Ok(())
    }
}

/// The answers to a look-up, in order.
type Told = Rc<RefCell<Vec<Answer>>>;

fn look_up(reactor: &mut Reactor, query: impl Into<Query>) -> (twistor::Lookup, Told) {
    let told = Told::default();
    let telling = Rc::clone(&told);
    let lookup = reactor.look_up(query, move |_, answer| telling.borrow_mut().push(answer)).unwrap();
    assert!(told.borrow().is_empty(), "never inside the call");
    (lookup, told)
}

fn outcome(world: &World, reactor: &mut Reactor, told: &Told) -> Result<Resolution, Reason> {
    world.run_until(reactor, "the end", |_| matches!(told.borrow().last(), Some(Answer::End(_))));
    let Some(Answer::End(outcome)) = told.borrow_mut().pop() else { unreachable!() };
    outcome
}

fn failed(why: &str) -> Result<Resolution, Reason> {
    Err(Reason::LookupFailed { host: HOST.to_owned(), why: why.to_owned() })
}

#[test]
fn addresses_are_told_as_they_are_found() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let (_, told) = look_up(&mut reactor, (HOST, 80));
        let answers = kept.take();
        answers.add([at("192.0.2.1:0"), at("192.0.2.1:0"), at("192.0.2.2:8080")], Some(60 * MILLISECOND));
        world.run_until(&mut reactor, "the first", |_| told.borrow().len() == 1);
        answers.add([at("192.0.2.1:0")], Some(MILLISECOND));
        answers.add([at("[2001:db8::1]:0")], Some(20 * MILLISECOND));
        world.run_until(&mut reactor, "the second", |_| told.borrow().len() == 2);
        answers.finish();
        let resolution = outcome(world, &mut reactor, &told).unwrap();
        let all = ["192.0.2.1:80", "192.0.2.2:8080", "[2001:db8::1]:80"].map(at);
        assert_eq!(resolution.addresses, all);
        assert_eq!(resolution.ttl, Some(20 * MILLISECOND), "a repeated address does not count");
        assert_eq!(resolution.incomplete, None);
        let told: Vec<_> = told.take();
        let expected = [(&all[..2], 60 * MILLISECOND), (&all[2..], 20 * MILLISECOND)]
            .map(|(addresses, ttl)| Answer::Addresses { addresses: addresses.to_vec(), ttl: Some(ttl) });
        assert_eq!(told, expected);
        world.run_until_idle(&mut reactor);
        assert_eq!(kept.cancelled.get(), 0);
    });
}

#[test]
fn an_answer_inside_the_call_is_told_after_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.set_resolver(table([at("192.0.2.1:0")]));
        let (_, told) = look_up(&mut reactor, (HOST, 80));
        let resolution = outcome(world, &mut reactor, &told).unwrap();
        assert_eq!(resolution.addresses, [at("192.0.2.1:80")]);
        assert_eq!(told.borrow().len(), 1);
        // The simple form.
        let found = Rc::new(RefCell::new(None));
        let telling = Rc::clone(&found);
        reactor.resolve(HOST, 81, move |_, addresses| *telling.borrow_mut() = Some(addresses)).unwrap();
        assert!(found.borrow().is_none());
        world.run_until_idle(&mut reactor);
        assert_eq!(found.take().unwrap().unwrap(), [at("192.0.2.1:81")]);
    });
}

#[test]
fn a_cancelled_lookup_is_told_nothing_and_its_resolver_is_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let (lookup, told) = look_up(&mut reactor, (HOST, 80));
        let (other, _) = look_up(&mut reactor, (HOST, 80));
        let answers = kept.take();
        answers.add([at("192.0.2.1:0")], None);
        lookup.cancel(&mut reactor).unwrap();
        assert!(matches!(lookup.cancel(&mut reactor), Err(Error::TimerNotActive)));
        assert_eq!(kept.cancelled.get(), 0, "never inside the call");
        world.run_until(&mut reactor, "the cancellation", |_| kept.cancelled.get() == 1);
        // Answers that come later, and the drop, have no effect.
        answers.add([at("192.0.2.2:0")], None);
        drop(answers);
        assert_eq!(reactor.resource_count(), 1);
        other.cancel(&mut reactor).unwrap();
        world.run_until_idle(&mut reactor);
        assert!(told.borrow().is_empty());
        assert_eq!(kept.cancelled.get(), 2);
        // A resolver that asks to be told after the cancellation is told too.
        let late = kept.take();
        let noted = Rc::clone(&kept.cancelled);
        late.on_cancel(&mut reactor, move |_| noted.set(10));
        world.run_until(&mut reactor, "the call", |_| kept.cancelled.get() == 10);
    });
}

#[test]
fn a_lookup_can_be_cancelled_by_its_own_callback() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let own = Rc::new(Cell::new(None::<twistor::Lookup>));
        let (cancels, held) = (Rc::clone(&own), Rc::new(()));
        let inside = Rc::clone(&held);
        let lookup = reactor
            .look_up((HOST, 80), move |reactor, answer| {
                let _inside = &inside;
                assert!(matches!(answer, Answer::Addresses { .. }), "nothing after the cancellation");
                cancels.get().unwrap().cancel(reactor).unwrap();
            })
            .unwrap();
        own.set(Some(lookup));
        kept.take().finish_with([at("192.0.2.1:0")], None);
        world.run_until_idle(&mut reactor);
        assert_eq!((Rc::strong_count(&held), reactor.statistics().panics), (1, 0));
    });
}

#[test]
fn a_lookup_ends_at_its_time_limit_with_what_was_found() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let query = Query { timeout: 20 * MILLISECOND, ..Query::new(HOST, 80) };
        let timed_out = Reason::LookupTimedOut { host: HOST.to_owned(), limit: query.timeout };
        let (_, none) = look_up(&mut reactor, query.clone());
        let (_, some) = look_up(&mut reactor, query);
        let _silent = kept.take();
        let answers = kept.take();
        answers.add([at("192.0.2.1:0")], None);
        assert_eq!(outcome(world, &mut reactor, &none), Err(timed_out.clone()));
        let resolution = outcome(world, &mut reactor, &some).unwrap();
        assert_eq!(
            (resolution.addresses, resolution.incomplete),
            (vec![at("192.0.2.1:80")], Some(timed_out))
        );
        assert!(resolution.took >= 20 * MILLISECOND);
        world.run_until_idle(&mut reactor);
        assert_eq!(kept.cancelled.get(), 2);
    });
}

#[test]
fn each_failure_of_a_resolver_is_told_as_such() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let told: Vec<_> = (0..6).map(|_| look_up(&mut reactor, (HOST, 80)).1).collect();
        kept.take().fail(NameError::NotFound("no such name".to_owned()));
        kept.take().fail(NameError::Failed("SERVFAIL".to_owned()));
        kept.take().fail(NameError::TimedOut(5 * MILLISECOND));
        kept.take().finish();
        drop(kept.take());
        let some = kept.take();
        some.add([at("192.0.2.1:0")], None);
        some.fail(NameError::Failed("no answer for AAAA".to_owned()));
        let outcomes: Vec<_> = told.iter().map(|told| outcome(world, &mut reactor, told)).collect();
        let host = || HOST.to_owned();
        let unresolved = |why: &str| Err(Reason::Unresolved { host: host(), why: why.to_owned() });
        assert_eq!(outcomes[0], unresolved("no such name"));
        assert_eq!(outcomes[1], failed("SERVFAIL"));
        assert_eq!(outcomes[2], Err(Reason::LookupTimedOut { host: host(), limit: 5 * MILLISECOND }));
        assert_eq!(outcomes[3], unresolved("the answer is empty"));
        assert_eq!(outcomes[4], failed("the resolver gave no answer"));
        let some = outcomes[5].clone().unwrap();
        assert_eq!(some.addresses, [at("192.0.2.1:80")]);
        assert_eq!(Err(some.incomplete.unwrap()), failed("no answer for AAAA"));
        world.run_until_idle(&mut reactor);
        assert_eq!(kept.cancelled.get(), 0);
    });
}

#[test]
fn a_family_leaves_its_own_addresses() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let both = ["192.0.2.1:0", "[2001:db8::1]:0"].map(at);
        reactor.set_resolver(table(both));
        for (family, host, expected) in [
            (AddressFamily::Any, HOST, &["192.0.2.1:80", "[2001:db8::1]:80"][..]),
            (AddressFamily::Ipv4, HOST, &["192.0.2.1:80"]),
            (AddressFamily::Ipv6, HOST, &["[2001:db8::1]:80"]),
            // An IP address is not asked for.
            (AddressFamily::Ipv6, "::1", &["[::1]:80"]),
            (AddressFamily::Ipv6, "127.0.0.1", &[]),
        ] {
            let (_, told) = look_up(&mut reactor, Query { family, ..Query::new(host, 80) });
            match outcome(world, &mut reactor, &told) {
                Ok(resolution) => {
                    assert_eq!(
                        resolution.addresses,
                        expected.iter().map(|text| at(text)).collect::<Vec<_>>()
                    );
                    assert!(resolution.addresses.iter().all(|address| family.contains(*address)));
                }
                Err(reason) => {
                    let why = "all addresses are of another family".to_owned();
                    assert_eq!(reason, Reason::Unresolved { host: host.to_owned(), why });
                    assert!(expected.is_empty());
                }
            }
        }
    });
}

#[test]
fn a_resolver_that_panics_fails_that_lookup_only() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let panics = |_: &mut Reactor, query: &Query, answers: Answers| match query.host.as_str() {
            HOST => panic!("it is broken"),
            _ => {
                answers.finish_with([at("192.0.2.1:0")], None);
                Ok(())
            }
        };
        reactor.set_resolver(panics);
        let record = Record::new();
        let (_, told) = look_up(&mut reactor, (HOST, 80));
        let (_, other) = look_up(&mut reactor, ("other.example", 80));
        reactor.connect_tcp((HOST, 80), once(Recorder::new(&record), &record)).unwrap();
        assert_eq!(outcome(world, &mut reactor, &told), failed("the resolver panicked: it is broken"));
        assert!(outcome(world, &mut reactor, &other).is_ok());
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed LookupFailed", "stopped"]);
        assert_eq!(reactor.statistics().panics, 2);
        assert_eq!(world.logged(), ["panic in a resolver: it is broken"; 2]);
    });
}

#[test]
fn a_callback_that_panics_ends_its_lookup() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        reactor.look_up((HOST, 80), |_, _| panic!("it is broken")).unwrap();
        let answers = kept.take();
        answers.add([at("192.0.2.1:0")], None);
        answers.add([at("192.0.2.2:0")], None);
        world.run_until_idle(&mut reactor);
        world.run_until(&mut reactor, "the cancellation", |_| kept.cancelled.get() == 1);
        drop(answers);
        world.run_until_idle(&mut reactor);
        assert_eq!((reactor.statistics().panics, world.logged().len()), (1, 1));
    });
}

#[test]
fn a_refusal_of_the_resolver_is_returned() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.set_resolver(|_: &mut Reactor, _: &Query, answers: Answers| {
            answers.finish_with([at("192.0.2.1:0")], None);
            Err(Error::QueueFull(7))
        });
        let refused = reactor.look_up((HOST, 80), |_, _| panic!("it was refused"));
        assert!(matches!(refused, Err(Error::QueueFull(7))));
        let record = Record::new();
        reactor.connect_tcp((HOST, 80), once(Recorder::new(&record), &record)).unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events(), ["started", "connecting", "failed LookupFailed", "stopped"]);
        assert_eq!(reactor.statistics().panics, 0);
    });
}

#[test]
fn lookups_of_every_resolver_are_limited() {
    const LIMIT: usize = 100_000;
    let mut simulation = Simulation::new(1);
    let host = simulation.host("client");
    let reactor = simulation.reactor(host);
    let kept = Kept::installed(reactor);
    let look_up = |reactor: &mut Reactor, name: &str| reactor.look_up((name, 80), |_, _| ());
    let first = look_up(reactor, HOST).unwrap();
    for _ in 1..LIMIT {
        look_up(reactor, HOST).unwrap();
    }
    assert!(matches!(look_up(reactor, HOST), Err(Error::QueueFull(LIMIT))));
    look_up(reactor, "192.0.2.1").unwrap();
    simulation.run_for(MILLISECOND).unwrap();
    let reactor = simulation.reactor(host);
    first.cancel(reactor).unwrap();
    look_up(reactor, HOST).unwrap();
    kept.queries.take();
    simulation.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(simulation.reactor(host).resource_count(), 0);
}

#[test]
fn answers_may_come_from_another_thread() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let threads = Rc::<RefCell<Vec<thread::JoinHandle<()>>>>::default();
        let started = Rc::clone(&threads);
        reactor.set_resolver(move |_: &mut Reactor, _: &Query, answers: Answers| {
            let answering = move || answers.finish_with([at("192.0.2.1:0")], None);
            started.borrow_mut().push(thread::spawn(answering));
            Ok(())
        });
        let (_, told) = look_up(&mut reactor, (HOST, 80));
        // A simulation must not wait for another thread's time.
        threads.take().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(outcome(world, &mut reactor, &told).unwrap().addresses, [at("192.0.2.1:80")]);
    });
}

#[test]
fn other_names_can_be_passed_on_to_the_system() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        reactor.set_resolver(|reactor: &mut Reactor, query: &Query, answers: Answers| {
            if query.host == HOST {
                answers.finish_with([at("192.0.2.1:0")], None);
                return Ok(());
            }
            SystemResolver.resolve(reactor, query, answers)
        });
        let (_, told) = look_up(&mut reactor, ("localhost", 80));
        let found = outcome(world, &mut reactor, &told).unwrap();
        assert!(found.addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        let (cancelled, told) = look_up(&mut reactor, ("localhost", 80));
        cancelled.cancel(&mut reactor).unwrap();
        world.run_until_idle(&mut reactor);
        assert!(told.borrow().is_empty());
    });
}

#[test]
fn connections_are_made_to_the_addresses_of_the_resolver() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = world.serve(&mut reactor, Recorder::new(&Record::new()).echoing());
        let address = listener.address().socket_address().unwrap();
        // The refused address comes first.
        reactor.set_resolver(table([world.unused(), address]));
        let client = Recorder::new(&record).acting(|what, transport, _| match what {
            "made" => transport.write(b"hello"),
            "data" => transport.lose_connection(),
            _ => {}
        });
        reactor.connect_tcp((HOST, 9), once(client, &record)).unwrap();
        world.run_until(&mut reactor, "an echo", |_| record.has("data hello"));
        world.close(&mut reactor, &listener);
    });
}

/// Records the datagrams of a socket, and answers the first with another.
struct Mail {
    record: Record,
    first: Option<&'static [u8]>,
}

impl DatagramProtocol for Mail {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        if let Some(first) = self.first {
            transport.write(first).unwrap();
        }
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        self.record.add(String::from_utf8_lossy(data));
        transport.stop_listening();
    }
}

#[test]
fn datagrams_are_sent_to_the_address_of_the_resolver() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = Mail { record: record.clone(), first: None };
        let server = reactor.listen_udp(ListenUdp::new(world.anywhere()), server).unwrap();
        let address = reactor.datagram_transport(server).unwrap().host().socket_address().unwrap();
        reactor.set_resolver(table([address]));
        let client = Mail { record: record.clone(), first: Some(b"hello") };
        let client = reactor.connect_udp(ConnectUdp::new(HOST, 9), client).unwrap();
        world.run_until(&mut reactor, "a datagram", |_| record.has("hello"));
        reactor.datagram_transport(client).unwrap().stop_listening();
        world.run_until_idle(&mut reactor);
    });
}

#[cfg(feature = "http")]
#[test]
fn an_http_client_asks_the_resolver() {
    use twistor::http::Client;
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = Recorder::new(&Record::new()).acting(|what, transport, _| {
            if what == "data" {
                transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
                transport.lose_connection();
            }
        });
        let listener = world.serve(&mut reactor, server);
        reactor.set_resolver(table([listener.address().socket_address().unwrap()]));
        let told = record.clone();
        let call = Client::default().get(format!("http://{HOST}/"));
        call.timeout(Duration::from_secs(20)).start(&mut reactor, move |_, fetched| {
            told.add(String::from_utf8_lossy(&fetched.unwrap().response.body));
        });
        world.run_until(&mut reactor, "a response", |_| record.has("hi"));
        world.close(&mut reactor, &listener);
    });
}

/// Counts its drops.
struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_stop_drops_pending_lookups_without_a_call() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let drops = Rc::new(Cell::new(0));
        let (each, done) = (Dropped(Rc::clone(&drops)), Dropped(Rc::clone(&drops)));
        let never = |dropped: &Dropped| panic!("called after {} drops", dropped.0.get());
        reactor.look_up((HOST, 80), move |_, _| never(&each)).unwrap();
        reactor.resolve(HOST, 80, move |_, _| never(&done)).unwrap();
        let record = Record::new();
        reactor.connect_tcp((HOST, 80), once(Recorder::new(&record), &record)).unwrap();
        let deferred = Dropped(Rc::clone(&drops));
        deferred::resolve(&mut reactor, (HOST, 80)).done(move |_, outcome| {
            assert!(outcome.is_err());
            drop(deferred);
        });
        let waiting = kept.clone();
        reactor.call_later(MILLISECOND, move |reactor| {
            assert_eq!(waiting.queries.borrow().len(), 4);
            reactor.stop();
        });
        world.run(&mut reactor);
        assert_eq!(drops.get(), 3);
        assert_eq!(record.events(), ["started", "connecting", "failed Stopped", "stopped"]);
        // Answers for a reactor that has finished are ignored.
        for (_, answers) in kept.queries.take() {
            answers.finish_with([at("192.0.2.1:0")], None);
        }
        drop(reactor);
    });
}

#[test]
fn a_deferred_has_the_result_and_cancels_the_lookup() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let kept = Kept::installed(&mut reactor);
        let record = Record::new();
        let told = record.clone();
        deferred::resolve(&mut reactor, (HOST, 80)).done(move |_, resolution| {
            told.add(format!("{:?}", resolution.unwrap().addresses));
        });
        let told = record.clone();
        let name = "unknown.example";
        deferred::resolve(&mut reactor, (name, 80)).done(move |_, resolution| {
            let failure = resolution.unwrap_err();
            assert!(failure.downcast_ref::<Reason>().is_some(), "{failure}");
            told.add("failed");
        });
        deferred::resolve(&mut reactor, ("a b", 80)).done(|_, resolution| {
            let failure = resolution.unwrap_err();
            assert!(matches!(failure.downcast_ref(), Some(Error::BadAddress(_))), "{failure}");
        });
        kept.take().finish_with([at("192.0.2.1:0")], None);
        kept.take().fail(NameError::NotFound("no such name".to_owned()));
        world.run_until(&mut reactor, "the results", |_| record.events().len() == 2);
        assert_eq!(record.events(), ["[192.0.2.1:80]", "failed"]);

        let dropped = deferred::resolve(&mut reactor, (HOST, 80));
        let limited = deferred::resolve(&mut reactor, (HOST, 80)).timeout(&mut reactor, MILLISECOND);
        let told = record.clone();
        limited.done(move |_, resolution| told.add(format!("late {}", resolution.is_err())));
        drop(dropped);
        world.run_until(&mut reactor, "the cancellations", |_| kept.cancelled.get() == 2);
        world.run_until_idle(&mut reactor);
        assert_eq!(record.events().last().unwrap(), "late true");
    });
}

#[test]
fn a_task_has_the_result_and_its_drop_cancels_the_lookup() {
    on_each_back_end(|world| {
        let kept = Kept::default();
        let resolver = kept.clone();
        world.run_future(async {
            let handle = Handle::current().unwrap();
            handle.with_reactor(|reactor| reactor.set_resolver(resolver)).unwrap();
            let asked = task::spawn(task::resolve((HOST, 80)));
            let unknown = task::spawn(task::resolve(("unknown.example", 80)));
            while kept.queries.borrow().len() < 2 {
                task::yield_now().await;
            }
            let answers = kept.take();
            answers.add([at("192.0.2.1:0")], None);
            kept.take().fail(NameError::NotFound("no such name".to_owned()));
            assert!(matches!(unknown.await.unwrap(), Err(ResolveError::Failed(Reason::Unresolved { .. }))));
            answers.finish_with([at("192.0.2.2:0")], None);
            assert_eq!(asked.await.unwrap().unwrap().addresses, ["192.0.2.1:80", "192.0.2.2:80"].map(at));
            assert!(matches!(
                task::resolve(("a b", 80)).await,
                Err(ResolveError::Reactor(Error::BadAddress(_)))
            ));
            assert_eq!(kept.cancelled.get(), 0);

            assert!(timeout(MILLISECOND, task::resolve((HOST, 80))).await.is_err());
            while kept.cancelled.get() == 0 {
                task::yield_now().await;
            }
            let query = Query { timeout: MILLISECOND, ..Query::new(HOST, 80) };
            assert!(matches!(
                task::resolve(query).await,
                Err(ResolveError::Failed(Reason::LookupTimedOut { .. }))
            ));
        });
    });
}

#[test]
fn a_resolver_is_dropped_when_another_replaces_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let drops = Rc::new(Cell::new(0));
        for expected in 0..3 {
            let held = Dropped(Rc::clone(&drops));
            reactor.set_resolver(move |_: &mut Reactor, _: &Query, _: Answers| {
                panic!("not asked, {} drops", held.0.get())
            });
            assert_eq!(drops.get(), expected);
        }
        // It lives as long as the reactor runs.
        reactor.call_when_running(|reactor| {
            reactor.stop();
        });
        world.run(&mut reactor);
        assert_eq!(drops.get(), 3);
    });
}
