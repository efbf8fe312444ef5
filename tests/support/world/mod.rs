//! What every promise is tested with: a reactor of each back end, peers that are no reactor's, protocols that record
//! what they saw, and a check that nothing is left over.
//!
//! A promise is a function of a [`World`]; [`on_each_back_end`] runs it in every world there is. What it wants from the
//! network, from time, from threads and from signals it asks the world for. One that needs the real network says why,
//! and runs [`on_the_real_network`].
#![allow(dead_code, unused_imports, reason = "each promise uses its share")]

pub mod back_end;
pub mod child;
pub mod folder;
pub mod gate;
mod log;
pub mod peer;
pub mod random;
mod record;
pub mod strace;
pub mod temp_dir;
pub mod witness;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use twistor::sim::{Host, Network};
use twistor::{Address, DelayedCall, Listener, Protocol, Reactor, Settings, Signal};

use back_end::BackEnd;
use peer::{Filtered, NARROW, Peer, RawListener, Reader};
pub use record::{ClientAct, OneProtocol, Record, Recorder, kind, nobody, once};

/// Runs a promise on every back end, one at a time, and checks that it left nothing behind: no
/// descriptor, no thread, no unexpected warning or error in the log.
pub fn on_each_back_end(promise: impl Fn(&World)) {
    for back_end in BackEnd::all() {
        run(back_end, &promise);
    }
}

/// Runs a promise, with the same checks, which no simulation can show; the reason says why.
pub fn on_the_real_network(reason: &str, promise: impl FnOnce(&World)) {
    assert!(!reason.is_empty(), "a promise that is not kept everywhere says why");
    run(BackEnd::Os, promise);
}

fn run(back_end: BackEnd, promise: impl FnOnce(&World)) {
    let world = World::begin(back_end);
    promise(&world);
    world.end();
}

/// One back end, for the length of one promise.
pub struct World {
    back_end: BackEnd,
    descriptors: usize,
    _turn: Turn,
}

impl World {
    fn begin(back_end: BackEnd) -> World {
        let turn = Turn::take();
        log::begin();
        HERE.set(Some(back_end.clone()));
        World { descriptors: back_end.descriptors(), back_end, _turn: turn }
    }

    fn end(self) {
        let logged = log::take();
        assert!(logged.is_empty(), "unexpected in the log: {logged:?}");
        assert!(self.back_end.comes_to(|| self.threads() == 0), "threads of the pool have not ended");
        // The test runner may have had one open for a moment when the count was taken.
        let closed = || self.descriptors() <= self.descriptors;
        assert!(
            self.back_end.comes_to(closed),
            "{} descriptors, {} before",
            self.descriptors(),
            self.descriptors
        );
    }

    /// A reactor of this back end that leaves the process's signals alone.
    pub fn reactor(&self) -> Reactor {
        self.reactor_with(Settings::default())
    }

    pub fn reactor_with(&self, settings: Settings) -> Reactor {
        self.back_end.reactor(Settings { handle_signals: false, ..settings })
    }

    /// A reactor that two signals stop, as a program's does.
    pub fn reactor_that_signals_stop(&self, settings: Settings) -> Reactor {
        self.back_end.reactor(Settings { handle_signals: true, ..settings })
    }

    // -- addresses --

    /// An address to listen on.
    pub fn anywhere(&self) -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// An address of this machine which connections do not come from by themselves.
    pub fn second_address(&self) -> IpAddr {
        "127.0.0.2".parse().unwrap()
    }

    /// An address that nobody listens on.
    pub fn unused(&self) -> SocketAddr {
        self.listen().address()
    }

    /// An address that answers no attempt to connect.
    pub fn filtered(&self) -> Filtered {
        Filtered::new(self)
    }

    // -- sockets of no reactor --

    /// A peer that is connected at once: to a port that listens, whatever its reactor does.
    pub fn connect(&self, address: &Address) -> Peer {
        Peer::new(self.back_end.connect(socket_address(address), None, LONG).unwrap())
    }

    /// One that takes little when it does not read.
    pub fn connect_narrow(&self, address: &Address) -> Peer {
        Peer::new(self.back_end.connect(socket_address(address), Some(NARROW), LONG).unwrap())
    }

    /// A peer, if there is an answer soon.
    pub fn try_connect(&self, address: &Address) -> io::Result<Peer> {
        Ok(Peer::new(self.back_end.connect(socket_address(address), None, SOON)?))
    }

    /// A listener on a port of its own.
    pub fn listen(&self) -> RawListener {
        self.listen_with_backlog(128)
    }

    pub fn listen_with_backlog(&self, backlog: i32) -> RawListener {
        RawListener::new(self.back_end.listen(self.anywhere(), backlog).unwrap())
    }

    // -- one listener, one connection: what most promises begin with --

    /// The reactor listens, and hands this protocol to the first connection.
    pub fn serve(&self, reactor: &mut Reactor, protocol: impl Protocol) -> Listener {
        reactor.listen_tcp(self.anywhere(), once(protocol, &Record::new())).unwrap()
    }

    /// The reactor connects, with this protocol.
    pub fn ask(&self, reactor: &mut Reactor, listener: &Listener, protocol: impl Protocol) {
        reactor.connect_tcp(listener.address(), once(protocol, &Record::new())).unwrap();
    }

    /// Listens no more, and runs until nothing is in use.
    pub fn close(&self, reactor: &mut Reactor, listener: &Listener) {
        reactor.stop_listening(listener).unwrap();
        self.run_until_idle(reactor);
    }

    // -- running --

    /// Runs a reactor until somebody stops it; one that hangs fails the promise.
    pub fn run(&self, reactor: &mut Reactor) {
        let watchdog = self.watchdog(reactor);
        reactor.run().unwrap();
        assert!(watchdog.time(reactor).is_none());
        assert_eq!(reactor.resource_count(), 0, "in use after the end");
        assert_eq!(reactor.delayed_call_count(), 0, "timers after the end");
    }

    /// The same, while a peer reads all that comes, to the end, and closes then; returns how much that was.
    pub fn run_read_by(&self, reactor: &mut Reactor, peer: Peer) -> usize {
        let reader = Rc::new(RefCell::new(Reader::new(peer)));
        Reader::read(Rc::clone(&reader), reactor);
        self.run(reactor);
        // Some of it may be under way still; time passes in the turns of another reactor.
        reader.borrow_mut().read_the_rest(&mut self.reactor())
    }

    /// Runs a future on a reactor of its own, and then until nothing of it is in use; one that hangs fails the promise.
    pub fn run_future<F: Future>(&self, future: F) -> F::Output {
        let mut reactor = self.reactor();
        let watchdog = self.watchdog(&mut reactor);
        let result = reactor.block_on(future).unwrap();
        watchdog.cancel(&mut reactor).unwrap();
        self.run_until_idle(&mut reactor);
        result
    }

    /// Turns until `done`, and fails when it takes too long.
    pub fn run_until(&self, reactor: &mut Reactor, what: &str, done: impl Fn(&mut Reactor) -> bool) {
        let watchdog = self.watchdog(reactor);
        while !done(reactor) {
            assert!(reactor.iterate(Some(TURN)).unwrap(), "stopped before: {what}");
        }
        watchdog.cancel(reactor).unwrap();
    }

    /// Turns until nothing is in use any more: connections, listeners, connectors, jobs and timers.
    pub fn run_until_idle(&self, reactor: &mut Reactor) {
        self.run_until(reactor, "nothing in use", |reactor| {
            reactor.resource_count() == 0 && reactor.delayed_call_count() == 1
        });
        // A factory that is told of its end is in use no more.
        assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
    }

    fn watchdog(&self, reactor: &mut Reactor) -> DelayedCall {
        let back_end = self.back_end.clone();
        reactor.call_later(LONG, move |reactor| {
            // Not a panic: the reactor would catch it; and past the capture of the test's output.
            let test = thread::current().name().map(str::to_owned);
            let statistics = reactor.statistics();
            let _ = writeln!(io::stderr(), "{test:?} on {back_end:?}: the reactor hangs: {statistics:#?}");
            std::process::abort();
        })
    }

    // -- faults --

    /// The simulated network and the host in it, for promises about what only a script can bring about there.
    pub fn simulated(&self) -> Option<(&Network, Host)> {
        match &self.back_end {
            BackEnd::Os => None,
            BackEnd::Simulated(network, host) => Some((network, *host)),
        }
    }

    // -- how much there may be --

    /// `wanted` connections between a reactor and peers of this process, or as many as its descriptors allow.
    pub fn connections(&self, wanted: usize) -> usize {
        match self.back_end {
            BackEnd::Os => {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
                let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                // Both ends are here, and a quarter of all is left for other things.
                wanted.min(limit / 8 * 3)
            }
            BackEnd::Simulated(..) => wanted,
        }
    }

    // -- what is left --

    /// Takes what was logged as a warning or an error since the last call: the promise expected it.
    pub fn logged(&self) -> Vec<String> {
        log::take()
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> usize {
        self.back_end.descriptors()
    }

    /// How many threads reactors have for jobs and look-ups.
    pub fn threads(&self) -> usize {
        self.back_end.threads()
    }

    /// Whether a job can be held up while the loop goes on.
    pub fn jobs_run_beside(&self) -> bool {
        self.back_end.jobs_run_beside()
    }
}

/// The right to run: promises of one program wait for each other, because descriptors and children are counted for the
/// whole process. So does every other test that starts a child.
pub struct Turn(Option<MutexGuard<'static, ()>>);

impl Turn {
    /// Waits for the turn. A thread that has it already goes on.
    pub fn take() -> Turn {
        static TURN: Mutex<()> = Mutex::new(());
        Turn((!HAS_TURN.replace(true)).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.take().is_some() {
            HAS_TURN.set(false);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the promise was broken on {:?}", self.back_end);
        }
    }
}

thread_local! {
    /// Whether this thread has the [`Turn`].
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };

    /// The back end of the promise that runs on this thread.
    static HERE: RefCell<Option<BackEnd>> = const { RefCell::new(None) };
}

fn here() -> BackEnd {
    HERE.with_borrow(|here| here.clone()).expect("promises run on the thread of their world")
}

/// Lets time pass, inside a callback or outside, in which the loop does nothing.
pub fn spend(time: Duration) {
    here().spend(time);
}

/// Sends the process, whose signals are those of all its reactors, a signal; inside a callback or outside.
pub fn raise(signal: Signal) {
    here().raise(signal);
}

/// Aborts all of a reactor's connections.
pub fn abort_all(reactor: &mut Reactor) {
    for id in reactor.connections() {
        reactor.transport(id).unwrap().abort_connection();
    }
}

/// An address of TCP as the standard library has it.
pub fn socket_address(address: &Address) -> SocketAddr {
    let Address::Tcp(address) = address else { panic!("{address} is no address of TCP") };
    *address
}

/// When something hangs, however busy the machine is.
const LONG: Duration = Duration::from_secs(120);

/// When there is no answer.
const SOON: Duration = Duration::from_millis(20);

/// How long a turn waits: not long, because `done` may depend on the time alone.
const TURN: Duration = Duration::from_millis(5);
