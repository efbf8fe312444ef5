//! A slow disk delays its operations, and nothing else.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::files;
use twistor::sim::{CallKind, Fault, FaultKind, Link, Simulation, Verdict};
use twistor::{Protocol, Settings, Transport};

const SECOND: Duration = Duration::from_secs(1);

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// Sends a byte every 10 ms, and keeps the longest time until it has come back.
struct Pinger {
    sent: twistor::Instant,
    slowest: Rc<Cell<Duration>>,
    count: Rc<Cell<u32>>,
}

impl Protocol for Pinger {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.sent = transport.now();
        transport.write(b"x");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        let took = transport.now() - self.sent;
        self.slowest.set(self.slowest.get().max(took));
        self.count.set(self.count.get() + 1);
        transport.call_later(Duration::from_millis(10), |pinger: &mut Pinger, transport| {
            pinger.connection_made(transport);
        });
    }
}

/// Runs an echo server that also works on files, and returns the slowest echo, and the time that
/// the work took.
fn work(slow: impl FnOnce(&Simulation)) -> (Duration, Duration) {
    let mut simulation = Simulation::new(3);
    simulation.set_links(Link::fixed(Duration::from_millis(1)));
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.disk(server).write("/file", vec![b'x'; 100_000]);
    simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo).unwrap();
    let (slowest, count) = (Rc::new(Cell::new(Duration::ZERO)), Rc::new(Cell::new(0)));
    let own = (Rc::clone(&slowest), Rc::clone(&count));
    let pinger =
        move || Pinger { sent: twistor::Instant::default(), slowest: own.0.clone(), count: own.1.clone() };
    simulation.reactor(client).connect_tcp("server:7", pinger).unwrap();
    simulation.run_for(SECOND).unwrap();
    slow(&simulation);
    let took = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&took);
    let reactor = simulation.reactor(server);
    let begin = reactor.now();
    let handle = reactor.handle();
    reactor
        .spawn(async move {
            let log = files::append_to("/log").await.unwrap();
            for _ in 0..5 {
                log.append(files::read("/file").await.unwrap()).await.unwrap();
                log.sync().await.unwrap();
            }
            *slot.borrow_mut() = handle.with_reactor(|reactor| reactor.now() - begin).ok();
        })
        .detach();
    simulation.run_for(600 * SECOND).unwrap();
    assert!(count.get() > 30_000);
    let took = took.take().expect("the work is done");
    (slowest.get(), took)
}

#[test]
fn a_slow_disk_delays_no_connection() {
    let (echo, work_of_fast) = work(|_| {});
    assert!(work_of_fast < SECOND / 10, "{work_of_fast:?}");
    let (echo_of_slow, work_of_slow) = work(|simulation| {
        let server = simulation.hosts()[0];
        simulation.disk(server).set_latency(SECOND);
    });
    assert!(work_of_slow > 10 * SECOND, "{work_of_slow:?}");
    assert!(echo_of_slow <= echo + Duration::from_micros(100), "{echo:?}, {echo_of_slow:?}");
    let (echo_of_delayed, work_of_delayed) = work(|simulation| {
        simulation.add_rule(Fault::call(CallKind::FileSync, Verdict::Delay(3 * SECOND)));
    });
    assert!(work_of_delayed > 15 * SECOND && work_of_delayed < 16 * SECOND, "{work_of_delayed:?}");
    assert!(echo_of_delayed <= echo + Duration::from_micros(100), "{echo:?}, {echo_of_delayed:?}");
}

#[test]
fn a_disk_that_hangs_occupies_its_threads_only() {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    simulation.set_settings(host, Settings { file_threads: 2, ..Settings::default() });
    simulation.disk(host).write("/file", "data");
    simulation.add_rule(Fault::call(CallKind::FileRead, Verdict::Delay(3600 * SECOND)).at_most(2));
    let (done, jobs) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let reactor = simulation.reactor(host);
    for _ in 0..5 {
        let done = Rc::clone(&done);
        files::read("/file").start(reactor, move |_, _| done.set(done.get() + 1)).unwrap();
        let jobs = Rc::clone(&jobs);
        reactor.call_in_thread(|| {}, move |_, _| jobs.set(jobs.get() + 1)).unwrap();
    }
    simulation.run_for(60 * SECOND).unwrap();
    assert_eq!((done.get(), jobs.get()), (0, 5), "jobs have threads of their own");
    simulation.run_for(3600 * SECOND).unwrap();
    assert_eq!(done.get(), 5);
    assert!(simulation.coverage().fault(FaultKind::SlowCall) == 2);
}
