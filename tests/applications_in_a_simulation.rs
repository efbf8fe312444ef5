//! The monitor, the traffic reader and the echo run in a simulated world as they are, and tell the truth there.
#![cfg(feature = "monitor")]

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use twistor::monitor::{Cause, Change, Event, Monitor, Reporter, Settings, State, Summary, Target};
use twistor::sim::{Chaos, FaultKind, Host, Random, Simulation};
use twistor::traffic::{Feed, FeedEvent, News, Observer, Traffic};
use twistor::{Protocol, Reactor, Reason, Transport};

/// Takes connections, and says nothing.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// A target's name, when, and what it came to.
type Events = Rc<RefCell<Vec<(String, SystemTime, Change)>>>;

struct Noting(Events);

impl Reporter for Noting {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.0.borrow_mut().push((event.target.name().to_owned(), event.wall, event.change));
        Ok(())
    }

    fn summary(&mut self, _: &Summary<'_>) -> io::Result<()> {
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The longest that a probe needs to see it: an interval, and the wait for an answer; a held connection's
/// keepalive needs twice its idle time, and a little.
const SEEN_WITHIN: Duration = Duration::from_secs(75);

#[test]
fn the_monitor_tells_every_outage_once_and_in_time_and_nothing_else() {
    let total = Cell::new(0);
    Simulation::explore(0..4, |simulation| {
        let mut random = simulation.random("outages");
        let hosts: Vec<Host> = (0..20).map(|n| simulation.host(&format!("host{n}"))).collect();
        for host in &hosts {
            simulation.boot(*host, |reactor| reactor.listen_tcp("0.0.0.0:80", || Silent).map(drop)).unwrap();
        }
        let watcher = simulation.host("watcher");
        let targets: Vec<Target> = (0..20)
            .flat_map(|n| [format!("hold{n}=hold://host{n}:80"), format!("tcp{n}=tcp://host{n}:80")])
            .map(|text| text.parse().unwrap())
            .collect();
        let events = Events::default();
        let midnight = simulation.reactor(watcher).wall();
        let settings = Settings { interval: HOUR / 120, ..Settings::default() };
        Monitor::start(simulation.reactor(watcher), targets, settings, Noting(Rc::clone(&events)));

        let mut outages = Vec::new();
        for (number, host) in hosts.iter().copied().enumerate() {
            let from = random.between(HOUR / 10, 9 * HOUR);
            let until = from + random.between(HOUR / 20, 2 * HOUR);
            let kind = random.index(3);
            simulation.at(from, move |simulation| match kind {
                0 => simulation.kill(host),
                1 => simulation.crash(host),
                _ => simulation.partition(host, watcher),
            });
            simulation.at(until, move |simulation| match kind {
                2 => simulation.heal(host, watcher),
                _ => simulation.restart(host).unwrap(),
            });
            outages.push((number, midnight + from, midnight + until));
        }
        simulation.run_for(12 * HOUR).unwrap();

        let events = events.borrow();
        for (number, from, until) in outages {
            for name in [format!("hold{number}"), format!("tcp{number}")] {
                let told: Vec<_> = events.iter().filter(|(other, ..)| *other == name).collect();
                let downs = told.iter().filter(|(.., change)| matches!(change, Change::Down { .. }));
                let downs: Vec<SystemTime> = downs.map(|(_, at, _)| *at).collect();
                assert_eq!(downs.len(), 1, "{name}: {told:?}");
                assert!(downs[0] >= from && downs[0] <= from + SEEN_WITHIN, "{name}: {from:?} {told:?}");
                // Up at first, and up again.
                let ups = told.iter().filter(|(.., change)| matches!(change, Change::Up { .. }));
                let ups: Vec<SystemTime> = ups.map(|(_, at, _)| *at).collect();
                assert_eq!(ups.len(), 2, "{name}: {told:?}");
                assert!(ups[1] >= until && ups[1] <= until + 2 * SEEN_WITHIN, "{name}: {until:?} {told:?}");
                total.set(total.get() + 1);
            }
        }
    });
    assert!(total.get() >= 40);
}

#[test]
fn a_name_that_is_not_found_is_told_as_such_and_a_port_of_ones_own_is_never_up() {
    let mut simulation = Simulation::new(1);
    let watcher = simulation.host("watcher");
    // A port that connections may come from, on the watcher itself.
    let targets = ["tcp://nowhere:80", "tcp://127.0.0.1:40000"].map(|text| text.parse().unwrap()).to_vec();
    let events = Events::default();
    let settings = Settings { every_result: true, ..Settings::default() };
    let monitor = Monitor::start(simulation.reactor(watcher), targets, settings, Noting(Rc::clone(&events)));
    simulation.run_for(HOUR).unwrap();
    assert!(!monitor.all_up());
    let events = events.borrow();
    assert!(events.len() > 700, "{}", events.len());
    for (name, _, change) in events.iter() {
        let cause = match change {
            Change::Down { cause, .. } | Change::StillDown { cause, .. } => *cause,
            other => panic!("{name}: {other:?}"),
        };
        let expected = if name.contains("nowhere") { Cause::Unresolved } else { Cause::Refused };
        assert_eq!(State::Down(cause), State::Down(expected), "{name}");
    }
}

// -- traffic --

/// Answers each request with a feed, in the way that the request's number asks for.
struct Server(Rc<Cell<usize>>);

impl Protocol for Server {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        if !data.ends_with(b"\r\n\r\n") {
            return;
        }
        let number = self.0.get();
        self.0.set(number + 1);
        let whole = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        match number % 7 {
            0 => transport.write(&whole("200 OK", r#"{"vehicles": 7}"#)),
            1 => transport.write(&whole("503 Service Unavailable", "later")),
            2 => transport.write(&whole("200 OK", "no JSON")),
            // A half of an answer, and the end.
            3 => {
                transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
                transport.lose_connection();
            }
            4 => transport.abort_connection(),
            // Never.
            5 => {}
            // A byte now and then.
            _ => drip(transport, whole("200 OK", r#"{"vehicles": 8}"#)),
        }
    }
}

fn drip(transport: &mut Transport<'_>, mut rest: Vec<u8>) {
    if !rest.is_empty() {
        transport.write(&[rest.remove(0)]);
        transport.call_later(Duration::from_millis(10), |_: &mut Server, transport| drip(transport, rest));
    }
}

struct Readings(Rc<RefCell<Vec<String>>>);

impl Observer for Readings {
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        self.0.borrow_mut().push(match event.news {
            News::Reading(_) => "reading".to_owned(),
            News::Error(error) => error.code().to_owned(),
        });
        Ok(())
    }
}

#[test]
fn the_traffic_reader_tells_what_every_kind_of_server_did() {
    let mut simulation = Simulation::new(1);
    let (server, reader) = (simulation.host("roads"), simulation.host("reader"));
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    let serve = move |reactor: &mut Reactor| {
        let counted = Rc::clone(&counted);
        reactor.listen_tcp("0.0.0.0:80", move || Server(Rc::clone(&counted))).map(drop)
    };
    simulation.boot(server, serve).unwrap();
    let news = Rc::new(RefCell::new(Vec::new()));
    let feeds = vec![Feed::new("http://roads/traffic.json".parse().unwrap())];
    let observer = Readings(Rc::clone(&news));
    Traffic::start(simulation.reactor(reader), feeds, Default::default(), observer);
    simulation.run_for(Duration::from_secs(65)).unwrap();
    let one_round = ["reading", "status", "json", "http", "closed", "timed_out", "reading"];
    assert_eq!(*news.borrow(), one_round);
    // Refused, then behind a filter.
    simulation.refuse(server, None);
    simulation.reset_connections(reader, server);
    simulation.run_for(Duration::from_secs(10)).unwrap();
    simulation.admit(server, None);
    simulation.silence(server, None);
    simulation.run_for(Duration::from_secs(10)).unwrap();
    assert_eq!(news.borrow()[7..], ["connect", "timed_out"]);
}

// -- echo --

/// The echo of `twistor echo` and of the example.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// Sends what it has drawn, and compares what comes back.
struct Caller {
    sent: Vec<u8>,
    back: usize,
    done: Rc<Cell<usize>>,
}

impl Caller {
    fn new(random: &mut Random, done: &Rc<Cell<usize>>) -> Caller {
        let sent = (0..random.below(200_000)).map(|_| random.next() as u8).collect();
        Caller { sent, back: 0, done: Rc::clone(done) }
    }
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&self.sent);
        transport.lose_write_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        assert_eq!(data, &self.sent[self.back..self.back + data.len()]);
        self.back += data.len();
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        assert_eq!(self.back, self.sent.len(), "{reason}");
        self.done.set(self.done.get() + 1);
    }
}

#[test]
fn the_echo_returns_every_byte_however_the_network_behaves() {
    let seen = Simulation::explore(0..10, |simulation| {
        let mut random = simulation.random("callers");
        let (server, client) = (simulation.host("server"), simulation.host("client"));
        simulation.reactor(server).listen_tcp("0.0.0.0:7", || Echo).unwrap();
        // Whatever does not end a connection.
        simulation.unleash(Chaos {
            strikes: vec![FaultKind::Partition, FaultKind::SlowReader, FaultKind::Pause],
            short_reads: 0.2,
            short_writes: 0.2,
            would_block: 0.1,
            interrupted: 0.1,
            loss: 0.05,
            delays: 0.05,
            ..Chaos::default()
        });
        let done = Rc::new(Cell::new(0));
        for _ in 0..50 {
            let mut caller = Some(Caller::new(&mut random, &done));
            let mut to = twistor::ConnectTcp::new("server", 7);
            to.timeout = HOUR;
            let build = move || caller.take().expect("it connects once");
            simulation.reactor(client).connect_tcp(to, build).unwrap();
        }
        simulation.run_for(Duration::from_secs(60)).unwrap();
        simulation.calm();
        simulation.run_until(|_| done.get() == 50).unwrap();
    });
    for kind in [FaultKind::ShortRead, FaultKind::ShortWrite, FaultKind::WouldBlock, FaultKind::Loss] {
        assert!(seen.coverage.fault(kind) > 100, "{kind}");
    }
}
