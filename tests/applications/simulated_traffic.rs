//! The reader of traffic feeds runs unchanged in a simulated network, and what it tells is the truth about a server that
//! answers slowly, in half, wrongly or not at all.

use crate::warnings;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{CallKind, Errno, Fault, FaultKind, Host, Latency, Link, Simulation};
use twistor::traffic::{Difference, Feed, FeedEvent, FeedReader, FeedSettings};
use twistor::{Protocol, Transport};

const SECOND: Duration = Duration::from_secs(1);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    /// An answer at once.
    Quick,
    /// An answer after this time.
    Slow(Duration),
    /// A byte of the answer every so often.
    Dripping(Duration),
    /// Half an answer, and a reset.
    ResetMidway,
    /// Half an answer, and the end.
    EndMidway,
    /// Half an answer, and silence.
    SilentMidway,
    /// Nothing.
    Silent,
    /// The end, without a word.
    Closing,
    /// Bytes that are no HTTP.
    Garbage,
    /// Status 503.
    Unavailable,
    /// An answer that is no JSON.
    NoJson,
}

/// A feed that counts its requests, and says how many there were.
#[derive(Clone)]
struct Server {
    mood: Rc<Cell<Mood>>,
    requests: Rc<Cell<u64>>,
    /// What came of the request so far.
    request: Vec<u8>,
}

impl Server {
    fn answer(&mut self, transport: &mut Transport<'_>) {
        self.requests.set(self.requests.get() + 1);
        let ok = answer("200 OK", &format!("{{\"vehicles\": {}}}", self.requests.get()));
        let half = &ok[..ok.len() / 2];
        match self.mood.get() {
            Mood::Quick => transport.write(&ok),
            Mood::Slow(time) => {
                transport.call_later(time, move |_: &mut Server, transport| transport.write(&ok));
            }
            Mood::Dripping(every) => drip(transport, every, ok),
            Mood::ResetMidway => {
                transport.write(half);
                transport.call_later(SECOND, |_: &mut Server, transport| transport.abort_connection());
            }
            Mood::EndMidway => {
                transport.write(half);
                transport.lose_connection();
            }
            Mood::SilentMidway => transport.write(half),
            Mood::Silent => {}
            Mood::Closing => transport.lose_connection(),
            Mood::Garbage => transport.write(b"220 mail.example ready\r\n"),
            Mood::Unavailable => transport.write(&answer("503 Service Unavailable", "{}")),
            Mood::NoJson => transport.write(&answer("200 OK", "<html>")),
        }
    }
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn drip(transport: &mut Transport<'_>, every: Duration, mut rest: Vec<u8>) {
    if !rest.is_empty() {
        let later = rest.split_off(1);
        transport.write(&rest);
        transport.call_later(every, move |_: &mut Server, transport| drip(transport, every, later));
    }
}

impl Protocol for Server {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.request.extend_from_slice(data);
        while let Some(end) = self.request.windows(4).position(|four| four == b"\r\n\r\n") {
            self.request.drain(..end + 4);
            self.answer(transport);
        }
    }
}

/// A reading's count and how it differs from the one before; or an error's code.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Vehicles(u64, Difference),
    Error(&'static str),
}

/// A server with a mood, a reader with one feed of it, and what the reader said, with the time that it took.
struct Scene {
    server: Host,
    reader: Host,
    mood: Rc<Cell<Mood>>,
    requests: Rc<Cell<u64>>,
    said: Rc<RefCell<Vec<(Said, Duration)>>>,
}

impl Scene {
    fn new(simulation: &mut Simulation, rounds: Option<u32>) -> Scene {
        let scene = Scene {
            server: simulation.host("server"),
            reader: simulation.host("reader"),
            mood: Rc::new(Cell::new(Mood::Quick)),
            requests: Rc::default(),
            said: Rc::default(),
        };
        let (mood, requests) = (Rc::clone(&scene.mood), Rc::clone(&scene.requests));
        let server = Server { mood, requests, request: Vec::new() };
        let boot = move |reactor: &mut twistor::Reactor| {
            let server = server.clone();
            reactor.listen_tcp("0.0.0.0:80", move || server.clone()).map(drop)
        };
        simulation.boot(scene.server, boot).unwrap();
        let feed = Feed::new("http://server/traffic.json".parse().unwrap());
        let settings =
            FeedSettings { fields: vec!["/vehicles".parse().unwrap()], rounds, ..FeedSettings::default() };
        let said = Rc::clone(&scene.said);
        let note = move |event: &FeedEvent<'_>| {
            let news = match event.result {
                Err(error) => Said::Error(error.code()),
                Ok(reading) => {
                    let (_, value, difference) = &reading.values[0];
                    Said::Vehicles(value.as_u64().unwrap(), difference.clone())
                }
            };
            said.borrow_mut().push((news, event.latency));
            Ok(())
        };
        FeedReader::start(simulation.reactor(scene.reader), vec![feed], settings, note);
        scene
    }

    fn said(&self) -> Vec<Said> {
        self.said.borrow().iter().map(|(said, _)| said.clone()).collect()
    }
}

fn added(number: u64) -> Difference {
    Difference::Added(number.into())
}

const TIMEOUT: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

/// The feed is read well; then the server is in a mood for one reading; then it is well again. What was said
/// of the second, and how long it took.
fn in_between(mood: Mood) -> (Said, Duration) {
    let result = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&result);
    Simulation::explore(0..4, move |simulation| {
        let scene = Scene::new(simulation, Some(3));
        simulation.run_for(5 * SECOND).unwrap();
        scene.mood.set(mood);
        simulation.run_for(11 * SECOND).unwrap();
        scene.mood.set(Mood::Quick);
        simulation.run_for(10 * SECOND).unwrap();
        let said = scene.said.borrow().clone();
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0].0, Said::Vehicles(1, Difference::First));
        // Every request was counted, those included that came to nothing.
        let last = scene.requests.get();
        let before = if let Said::Vehicles(number, _) = said[1].0 { number } else { 1 };
        assert_eq!(said[2].0, Said::Vehicles(last, added(last - before)));
        seen.replace(Some(said[1].clone()));
    });
    result.take().unwrap()
}

#[test]
fn a_slow_answer_is_reported_with_its_time_until_it_times_out() {
    let (said, took) = in_between(Mood::Slow(3 * SECOND));
    assert_eq!(said, Said::Vehicles(2, added(1)));
    // There and back, on the connection that was kept.
    assert_eq!(took, 3 * SECOND + 2 * MS);
    assert_eq!(in_between(Mood::Slow(7 * SECOND)), (Said::Error("timed_out"), TIMEOUT));
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_put_together() {
    let (said, took) = in_between(Mood::Dripping(20 * MS));
    assert_eq!(said, Said::Vehicles(2, added(1)));
    assert!(took > SECOND, "{took:?}");
    assert_eq!(in_between(Mood::Dripping(500 * MS)), (Said::Error("timed_out"), TIMEOUT));
}

#[test]
fn half_an_answer_is_none() {
    for (mood, code) in [
        (Mood::ResetMidway, "closed"),
        (Mood::EndMidway, "http"),
        (Mood::SilentMidway, "timed_out"),
        (Mood::Silent, "timed_out"),
    ] {
        assert_eq!(in_between(mood).0, Said::Error(code), "{mood:?}");
    }
}

#[test]
fn a_connection_closed_instead_of_an_answer_is_retried_once() {
    assert_eq!(in_between(Mood::Closing).0, Said::Error("closed"));
}

#[test]
fn what_is_no_answer_is_told_as_what_it_is() {
    for (mood, code) in [(Mood::Garbage, "http"), (Mood::Unavailable, "status"), (Mood::NoJson, "json")] {
        assert_eq!(in_between(mood).0, Said::Error(code), "{mood:?}");
    }
}

/// As [`in_between`], with something that happens to the server; it lasts from before the second reading to after it, or
/// is over before it.
fn struck(kind: FaultKind, over_before: bool) -> Said {
    let result = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&result);
    Simulation::explore(0..4, move |simulation| {
        let scene = Scene::new(simulation, Some(3));
        let (server, reader) = (scene.server, scene.reader);
        // Names are the reader's to find.
        let host = if kind == FaultKind::NameFailure { reader } else { server };
        let other = if host == reader { server } else { reader };
        simulation.at(5 * SECOND, move |simulation| simulation.inject_fault(kind, host, other));
        let until = if over_before { 8 } else { 16 };
        simulation.at(until * SECOND, move |simulation| simulation.clear_fault(kind, host, other));
        simulation.run_for(26 * SECOND).unwrap();
        let said = scene.said();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(matches!(said[2], Said::Vehicles(..)), "{said:?}");
        seen.replace(Some(said[1].clone()));
    });
    result.take().unwrap()
}

#[test]
fn a_kept_connection_that_broke_is_replaced_silently() {
    use FaultKind::{Crash, Kill, OneWayPartition, Partition, Pause, Refusal, Reset, Silence};
    // After a crash it is half open: the server that came back knows nothing of it.
    for kind in [Reset, Kill, Crash, Partition, OneWayPartition, Pause, Refusal, Silence] {
        assert_eq!(struck(kind, true), Said::Vehicles(2, added(1)), "{kind}");
    }
}

#[test]
fn a_server_that_is_gone_is_told_by_how_it_is_gone() {
    use FaultKind::{Crash, Kill, NameFailure, OneWayPartition, Partition, Pause, Refusal, Silence};
    for (kind, code) in [
        (Kill, "connect"),
        (Crash, "timed_out"),
        (Partition, "timed_out"),
        (OneWayPartition, "timed_out"),
        (Pause, "timed_out"),
    ] {
        assert_eq!(struck(kind, false), Said::Error(code), "{kind}");
    }
    // What only new connections meet is nothing to one that is kept.
    for kind in [Refusal, Silence, NameFailure] {
        assert_eq!(struck(kind, false), Said::Vehicles(2, added(1)), "{kind}");
    }
}

#[test]
fn an_hour_of_faults_yields_one_true_report_per_reading() {
    Simulation::explore(0..12, |simulation| {
        let latency = Latency::Exponential { least: MS, mean: 30 * MS };
        simulation.set_links(Link { latency, loss: 0.002, ..Link::default() });
        let scene = Scene::new(simulation, None);
        let (server, reader) = (scene.server, scene.reader);
        let moods = [
            Mood::Slow(3 * SECOND),
            Mood::Slow(30 * SECOND),
            Mood::Dripping(10 * MS),
            Mood::ResetMidway,
            Mood::EndMidway,
            Mood::SilentMidway,
            Mood::Silent,
            Mood::Closing,
            Mood::Garbage,
            Mood::Unavailable,
            Mood::NoJson,
        ];
        use FaultKind::{
            Crash, Kill, OneWayPartition, Partition, Pause, Refusal, Reset, Silence, SlowReader,
        };
        let faults = [Crash, Kill, OneWayPartition, Partition, Pause, Refusal, Reset, Silence, SlowReader];
        let mut random = simulation.random("script");
        // A minute of something, a minute of nothing.
        for minute in (1..59).step_by(2) {
            let (from, until) = (minute * 60 * SECOND, (minute + 1) * 60 * SECOND);
            if random.chance(0.5) {
                let (mood, set, reset) =
                    (*random.pick(&moods), Rc::clone(&scene.mood), Rc::clone(&scene.mood));
                simulation.at(from, move |_| set.set(mood));
                simulation.at(until, move |_| reset.set(Mood::Quick));
            } else {
                let kind = *random.pick(&faults);
                simulation.at(from, move |simulation| simulation.inject_fault(kind, server, reader));
                simulation.at(until, move |simulation| simulation.clear_fault(kind, server, reader));
            }
        }
        simulation.run_for(3605 * SECOND).unwrap();
        let said = scene.said();
        assert_eq!(said.len(), 361, "one for each reading");
        let mut before = None;
        for word in &said {
            let Said::Vehicles(number, difference) = word else { continue };
            let expected = before.map_or(Difference::First, |before| added(number - before));
            assert_eq!(*difference, expected, "the count only grows");
            before = Some(*number);
        }
        assert!(before <= Some(scene.requests.get()));
        let good = said.iter().filter(|word| matches!(word, Said::Vehicles(..))).count();
        assert!(good >= 170, "half of the time all is well, and {good} of 361 readings were");
        assert!(good < 361, "the faults are felt");
        assert!(said.iter().rev().take(6).all(|word| matches!(word, Said::Vehicles(..))), "{said:?}");
    });
}

#[test]
fn a_feed_whose_name_hangs_is_told_by_that() {
    let mut simulation = Simulation::new(1);
    let reader = simulation.host("reader");
    simulation.hold_name("hangs.example", true);
    let feed = Feed::new("http://hangs.example/traffic.json".parse().unwrap());
    let told = Rc::new(RefCell::new(Vec::new()));
    let tell = Rc::clone(&told);
    let note = move |event: &FeedEvent<'_>| {
        if let Err(error) = event.result {
            tell.borrow_mut().push((error.code(), error.to_string()));
        }
        Ok(())
    };
    FeedReader::start(simulation.reactor(reader), vec![feed], FeedSettings::default(), note);
    simulation.run_for(16 * SECOND).unwrap();
    let hanging = ("local", "trouble of this machine: the name was not looked up within 5.0 s".to_owned());
    assert_eq!(*told.borrow(), [hanging.clone(), hanging]);
}

#[test]
fn trouble_of_this_machine_is_no_error_of_the_feed() {
    warnings::begin();
    let local = [
        (CallKind::Socket, Errno::EMFILE, "connection failed: socket: "),
        (CallKind::Connect, Errno::EADDRNOTAVAIL, "connection failed: connect: "),
        (CallKind::Connect, Errno::ENETUNREACH, "this machine has no route to it: connect: "),
    ];
    for (call, errno, why) in local {
        let mut simulation = Simulation::new(2);
        let reader = simulation.host("reader");
        simulation.add_rule(Fault::fail(call, errno).on(reader));
        let feed = |number: u32| Feed::new(format!("http://10.0.0.9/{number}").parse().unwrap());
        let feeds = (0..20).map(feed).collect();
        let told = Rc::new(RefCell::new(Vec::new()));
        let tell = Rc::clone(&told);
        let note = move |event: &FeedEvent<'_>| {
            if let Err(error) = event.result {
                tell.borrow_mut().push((error.code(), error.to_string()));
            }
            Ok(())
        };
        let settings = FeedSettings { interval: SECOND / 2, ..FeedSettings::default() };
        let traffic = FeedReader::start(simulation.reactor(reader), feeds, settings, note);
        simulation.run_for(5 * SECOND).unwrap();
        traffic.stop(simulation.reactor(reader));
        let detail = format!("trouble of this machine: {why}");
        let told = told.borrow();
        assert!(told.len() > 100, "{told:?}");
        assert!(told.iter().all(|(code, text)| *code == "local" && text.starts_with(&detail)), "{told:?}");
        let logged = warnings::take();
        assert!((5..=6).contains(&logged.len()), "one a second: {logged:?}");
        let warning = format!("unread feeds: 20 of 20, for a reason of this machine: {why}");
        assert!(logged.iter().all(|line| line.starts_with(&warning)), "{logged:?}");
        assert_eq!(simulation.reactor(reader).delayed_call_count(), 0);
    }
}
