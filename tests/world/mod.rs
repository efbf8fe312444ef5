//! What every promise is tested with: a reactor of each back end, protocols that record what they
//! saw, and a check that nothing is left over.
//!
//! A promise is a function of a [`World`]; [`on_each_back_end`] runs it in every world there is. What it
//! wants from the network it asks the world for, so that a second back end joins here and nowhere else.
#![allow(dead_code, reason = "each promise uses its share")]

pub mod child;
pub mod peer;
pub mod random;
pub mod strace;

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use twistor::{
    Address, ClientFactory, Connector, DelayedCall, Factory, Protocol, Reactor, Reason, Settings, Transport,
};

/// Runs a promise on every back end, one at a time, and checks that it left nothing behind: no
/// descriptor, no thread, no unexpected warning or error in the log.
pub fn on_each_back_end(promise: impl Fn(&World)) {
    let world = World::begin("os");
    promise(&world);
    world.end();
}

/// One back end, for the length of one promise.
pub struct World {
    pub name: &'static str,
    descriptors: usize,
    /// Promises of one program wait for each other: descriptors are counted for all of it.
    _turn: MutexGuard<'static, ()>,
}

impl World {
    fn begin(name: &'static str) -> World {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Log::install();
        Log::take();
        World { name, descriptors: descriptors(), _turn: turn }
    }

    fn end(self) {
        assert_eq!(Log::take(), [] as [String; 0], "unexpected in the log");
        wait_until("threads of the pool have ended", || threads() == 0);
        // The test runner may have had one open for a moment when the count was taken.
        wait_until("no descriptor is left", || descriptors() <= self.descriptors);
    }

    /// A reactor of this back end that leaves the process's signals alone.
    pub fn reactor(&self) -> Reactor {
        self.reactor_with(Settings::default())
    }

    pub fn reactor_with(&self, settings: Settings) -> Reactor {
        Reactor::with_settings(Settings { handle_signals: false, ..settings }).unwrap()
    }

    /// An address to listen on.
    pub fn anywhere(&self) -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Runs a reactor until somebody stops it; one that hangs fails the promise.
    pub fn run(&self, reactor: &mut Reactor) {
        let watchdog = watchdog(reactor);
        reactor.run().unwrap();
        assert!(watchdog.time(reactor).is_none());
        assert_eq!(reactor.in_use(), 0, "in use after the end");
        assert_eq!(reactor.delayed_calls(), 0, "timers after the end");
    }

    /// Turns until `done`, and fails when it takes too long.
    pub fn run_until(&self, reactor: &mut Reactor, what: &str, done: impl Fn(&mut Reactor) -> bool) {
        let watchdog = watchdog(reactor);
        while !done(reactor) {
            // Short, because a timed call may be what was waited for: the wait of its turn comes after it.
            assert!(reactor.turn(Some(Duration::from_millis(5))).unwrap(), "stopped before: {what}");
        }
        watchdog.cancel(reactor).unwrap();
    }

    /// Turns until nothing is in use any more: connections, listeners, connectors, jobs and timers.
    pub fn run_until_idle(&self, reactor: &mut Reactor) {
        self.run_until(reactor, "nothing in use", |reactor| {
            reactor.in_use() == 0 && reactor.delayed_calls() == 1
        });
        // A factory that is told of its end is in use no more.
        assert!(reactor.turn(Some(Duration::ZERO)).unwrap());
    }

    /// Takes what was logged as a warning or an error since the last call: the promise expected it.
    pub fn logged(&self) -> Vec<String> {
        Log::take()
    }
}

fn watchdog(reactor: &mut Reactor) -> DelayedCall {
    reactor.call_later(Duration::from_secs(20), |reactor| {
        // Not a panic: the reactor would catch it; and past the capture of the test's output.
        let test = std::thread::current().name().map(str::to_owned);
        let _ = writeln!(std::io::stderr(), "{test:?}: the reactor hangs: {:#?}", reactor.statistics());
        std::process::abort();
    })
}

/// Waits for something that other threads or the kernel do.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it did not come to this: {what}");
}

/// Open descriptors of the process.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of reactors' pools.
pub fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("twistor-")).count()
}

// -- what was logged --

struct Log;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Log {
    fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&Log).unwrap();
            log::set_max_level(log::LevelFilter::Warn);
        });
    }

    fn take() -> Vec<String> {
        std::mem::take(&mut LOGGED.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        // A loaded machine may make any callback slow.
        if !text.ends_with("the slowest so far") {
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}

// -- protocols and factories that record --

/// What happened, in order; clones share it.
#[derive(Clone, Default)]
pub struct Record(Rc<RefCell<Vec<String>>>);

impl Record {
    pub fn new() -> Record {
        Record::default()
    }

    pub fn add(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }

    pub fn events(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    pub fn count(&self, event: &str) -> usize {
        self.0.borrow().iter().filter(|other| *other == event).count()
    }

    pub fn has(&self, event: &str) -> bool {
        self.count(event) > 0
    }
}

/// Records every callback under its name: `made`, `data hello`, `read lost`, `write lost`, `pause`, `resume`,
/// `lost REASON`; with `name: ` before it if it has a name.
pub struct Recorder {
    pub name: &'static str,
    pub record: Record,
    /// Bytes are counted, not recorded: for much data.
    pub received: Rc<RefCell<Vec<u8>>>,
    /// What to do at each callback: the callback's name, and the bytes if there are any.
    pub act: Act,
}

pub type Act = Box<dyn FnMut(&str, &mut Transport<'_>, &[u8])>;

impl Recorder {
    pub fn new(record: &Record) -> Recorder {
        Recorder { name: "", record: record.clone(), received: Rc::default(), act: Box::new(|_, _, _| {}) }
    }

    pub fn named(name: &'static str, record: &Record) -> Recorder {
        Recorder { name, ..Recorder::new(record) }
    }

    /// Does something at each callback, after it was recorded.
    pub fn acting(mut self, act: impl FnMut(&str, &mut Transport<'_>, &[u8]) + 'static) -> Recorder {
        self.act = Box::new(act);
        self
    }

    fn happened(&mut self, what: &str, transport: &mut Transport<'_>, data: &[u8], detail: &str) {
        let (name, colon) = (self.name, if self.name.is_empty() { "" } else { ": " });
        let space = if detail.is_empty() { "" } else { " " };
        self.record.add(format!("{name}{colon}{what}{space}{detail}"));
        (self.act)(what, transport, data);
    }
}

impl Protocol for Recorder {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.happened("made", transport, b"", "");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.received.borrow_mut().extend_from_slice(data);
        let text = match data.len() {
            0..=64 => String::from_utf8_lossy(data).into_owned(),
            length => format!("({length} bytes)"),
        };
        self.happened("data", transport, data, &text);
    }

    /// Unlike the default it does not close: that is for `act`.
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("read lost", transport, b"", "");
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.happened("write lost", transport, b"", "");
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("pause", transport, b"", "");
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.happened("resume", transport, b"", "");
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.happened("lost", transport, b"", &kind(reason));
    }
}

/// A reason's name without its details: `Done`, `Lost`, `Refused`.
pub fn kind(reason: &Reason) -> String {
    let text = format!("{reason:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// Hands one ready protocol to the first connection, none to later ones, and records a client's callbacks:
/// `started`, `connecting`, `failed REASON`, `gone REASON`, `stopped`.
pub struct OneProtocol {
    pub protocol: Option<Box<dyn Protocol>>,
    pub record: Record,
    /// What to do at `connecting`, `failed` and `gone`.
    pub act: ClientAct,
}

pub type ClientAct = Box<dyn FnMut(&str, &mut Connector<'_>)>;

/// A factory of one protocol.
pub fn once(protocol: impl Protocol, record: &Record) -> OneProtocol {
    let protocol: Option<Box<dyn Protocol>> = Some(Box::new(protocol));
    OneProtocol { protocol, record: record.clone(), act: Box::new(|_, _| {}) }
}

impl OneProtocol {
    pub fn acting(mut self, act: impl FnMut(&str, &mut Connector<'_>) + 'static) -> OneProtocol {
        self.act = Box::new(act);
        self
    }
}

impl Factory for OneProtocol {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        self.protocol.take()
    }

    fn start_factory(&mut self, _: &mut Reactor) {
        self.record.add("started");
    }

    fn stop_factory(&mut self, _: &mut Reactor) {
        self.record.add("stopped");
    }
}

impl ClientFactory for OneProtocol {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        self.record.add("connecting");
        (self.act)("connecting", connector);
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.record.add(format!("failed {}", kind(reason)));
        (self.act)("failed", connector);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        self.record.add(format!("gone {}", kind(reason)));
        (self.act)("gone", connector);
    }
}
