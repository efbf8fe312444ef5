//! Support of all promise tests: a reactor of each back end, peers without a reactor, recording
//! protocols, and a leak check.
//!
//! A promise is a function of a [`World`]. [`on_each_back_end`] runs it in a world of each back
//! end. The world provides network, time, threads and signals. A promise that needs the real
//! network calls [`on_the_real_network`] with the reason.
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
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use twistor::sim::{Host, Network};
use twistor::{Address, DelayedCall, Handle, Listener, Protocol, Reactor, Settings, Signal};

use back_end::BackEnd;
use peer::{Filtered, NARROW, Peer, RawListener, Reader};
pub use record::{ClientAct, OneProtocol, Record, Recorder, idle_protocol, kind, once};

/// Runs a promise on every back end, one after the other, and checks that it leaves nothing behind:
/// no descriptor, no thread, and no unexpected warning or error in the log.
pub fn on_each_back_end(promise: impl Fn(&World)) {
    for back_end in BackEnd::all() {
        run(back_end, &promise);
    }
}

/// Runs a promise that no simulation can show, with the same checks. `reason` says why.
pub fn on_the_real_network(reason: &str, promise: impl FnOnce(&World)) {
    assert!(!reason.is_empty(), "a promise that is not kept everywhere says why");
    run(BackEnd::Os, promise);
}

fn run(back_end: BackEnd, promise: impl FnOnce(&World)) {
    let world = World::begin(back_end);
    promise(&world);
    world.end();
}

/// One back end, for the duration of one promise.
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
        // The test runner may have had one open briefly at the first count.
        let closed = || self.descriptors() <= self.descriptors;
        assert!(
            self.back_end.comes_to(closed),
            "{} descriptors, {} before",
            self.descriptors(),
            self.descriptors
        );
    }

    /// Returns a reactor of this back end without signal handling.
    pub fn reactor(&self) -> Reactor {
        self.reactor_with(Settings::default())
    }

    pub fn reactor_with(&self, settings: Settings) -> Reactor {
        self.back_end.reactor(Settings { handle_signals: false, ..settings })
    }

    /// Returns a reactor that handles signals, like that of a program.
    pub fn reactor_that_signals_stop(&self, settings: Settings) -> Reactor {
        self.back_end.reactor(Settings { handle_signals: true, ..settings })
    }

    // -- addresses --

    /// Returns an address to listen on.
    pub fn anywhere(&self) -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Returns a local address that is not the default source address.
    pub fn second_address(&self) -> IpAddr {
        "127.0.0.2".parse().unwrap()
    }

    /// Returns an address without a listener.
    pub fn unused(&self) -> SocketAddr {
        self.listen().address()
    }

    /// Returns an address at which connects get no answer.
    pub fn filtered(&self) -> Filtered {
        Filtered::new(self)
    }

    // -- sockets without a reactor --

    /// Connects a peer to a listening port. It returns at once, without a turn of the reactor.
    pub fn connect(&self, address: &Address) -> Peer {
        Peer::new(self.back_end.connect(socket_address(address), None, LONG).unwrap())
    }

    /// Connects a peer with small buffers.
    pub fn connect_narrow(&self, address: &Address) -> Peer {
        Peer::new(self.back_end.connect(socket_address(address), Some(NARROW), LONG).unwrap())
    }

    /// Connects a peer, and fails without a quick answer.
    pub fn try_connect(&self, address: &Address) -> io::Result<Peer> {
        Ok(Peer::new(self.back_end.connect(socket_address(address), None, SOON)?))
    }

    /// Opens a listener on a free port.
    pub fn listen(&self) -> RawListener {
        self.listen_with_backlog(128)
    }

    pub fn listen_with_backlog(&self, backlog: i32) -> RawListener {
        RawListener::new(self.back_end.listen(self.anywhere(), backlog).unwrap())
    }

    // -- one listener, one connection --

    /// Listens with the reactor; the first connection gets this protocol.
    pub fn serve(&self, reactor: &mut Reactor, protocol: impl Protocol) -> Listener {
        reactor.listen_tcp(self.anywhere(), once(protocol, &Record::new())).unwrap()
    }

    /// Connects the reactor with this protocol.
    pub fn ask(&self, reactor: &mut Reactor, listener: &Listener, protocol: impl Protocol) {
        reactor.connect_tcp(listener.address(), once(protocol, &Record::new())).unwrap();
    }

    /// Stops listening, and runs until no resource is in use.
    pub fn close(&self, reactor: &mut Reactor, listener: &Listener) {
        reactor.stop_listening(listener).unwrap();
        self.run_until_idle(reactor);
    }

    // -- running --

    /// Runs a reactor until it is stopped. A hang fails the promise.
    pub fn run(&self, reactor: &mut Reactor) {
        let watchdog = self.watchdog(reactor);
        reactor.run().unwrap();
        assert!(watchdog.time(reactor).is_none());
        assert_eq!(reactor.resource_count(), 0, "in use after the end");
        assert_eq!(reactor.delayed_call_count(), 0, "timers after the end");
    }

    /// Runs a reactor while a peer reads to the end and then closes. Returns the number of bytes
    /// that it has read.
    pub fn run_read_by(&self, reactor: &mut Reactor, peer: Peer) -> usize {
        let reader = Rc::new(RefCell::new(Reader::new(peer)));
        Reader::read(Rc::clone(&reader), reactor);
        self.run(reactor);
        // Some bytes may be in flight. Time passes in the turns of another reactor.
        reader.borrow_mut().read_the_rest(&mut self.reactor())
    }

    /// Runs a future on its own reactor, and then until none of its resources is in use. A hang
    /// fails the promise.
    pub fn run_future<F: Future>(&self, future: F) -> F::Output {
        let mut reactor = self.reactor();
        let watchdog = self.watchdog(&mut reactor);
        let result = reactor.block_on(future).unwrap();
        watchdog.cancel(&mut reactor).unwrap();
        self.run_until_idle(&mut reactor);
        result
    }

    /// Turns until `done` returns true. A hang fails the promise.
    pub fn run_until(&self, reactor: &mut Reactor, what: &str, done: impl Fn(&mut Reactor) -> bool) {
        let watchdog = self.watchdog(reactor);
        while !done(reactor) {
            assert!(reactor.iterate(Some(TURN)).unwrap(), "stopped before: {what}");
        }
        watchdog.cancel(reactor).unwrap();
    }

    /// Turns until no connection, listener, connector, job or timer is in use.
    pub fn run_until_idle(&self, reactor: &mut Reactor) {
        self.run_until(reactor, "nothing in use", |reactor| {
            reactor.resource_count() == 0 && reactor.delayed_call_count() == 1
        });
        // A factory may still have to be stopped.
        assert!(reactor.iterate(Some(Duration::ZERO)).unwrap());
    }

    fn watchdog(&self, reactor: &mut Reactor) -> DelayedCall {
        let back_end = self.back_end.clone();
        reactor.call_later(LONG, move |reactor| {
            // The reactor would catch a panic, and the test's captured output would be lost.
            let test = thread::current().name().map(str::to_owned);
            let statistics = reactor.statistics();
            let _ = writeln!(io::stderr(), "{test:?} on {back_end:?}: the reactor hangs: {statistics:#?}");
            std::process::abort();
        })
    }

    // -- faults --

    /// Returns the simulated network and the host in it, for promises about events that only a
    /// script can cause.
    pub fn simulated(&self) -> Option<(&Network, Host)> {
        match &self.back_end {
            BackEnd::Os => None,
            BackEnd::Simulated(network, host) => Some((network, *host)),
        }
    }

    // -- limits --

    /// Returns the number of connections between a reactor and peers of this process: `wanted`, or
    /// the maximum that the descriptor limit allows.
    pub fn connections(&self, wanted: usize) -> usize {
        match self.back_end {
            BackEnd::Os => {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
                let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                // Both ends are in this process, and a quarter of the limit is reserved.
                wanted.min(limit / 8 * 3)
            }
            BackEnd::Simulated(..) => wanted,
        }
    }

    // -- leftovers --

    /// Takes the warnings and errors logged since the last call, which the promise expects.
    pub fn logged(&self) -> Vec<String> {
        log::take()
    }

    /// Returns the number of open descriptors.
    pub fn descriptors(&self) -> usize {
        self.back_end.descriptors()
    }

    /// Returns the number of reactors' threads for jobs and look-ups.
    pub fn threads(&self) -> usize {
        self.back_end.threads()
    }

    /// Returns whether a job can be blocked while the loop runs.
    pub fn jobs_run_beside(&self) -> bool {
        self.back_end.jobs_run_beside()
    }
}

/// A lock that serialises the promises of one program, because descriptors and children are counted
/// per process. Every other test that starts a child takes it as well.
pub struct Turn(Option<MutexGuard<'static, ()>>);

impl Turn {
    /// Waits for the lock. It is reentrant for a thread.
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
    /// Whether this thread holds the [`Turn`].
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };

    /// The back end of the promise on this thread.
    static HERE: RefCell<Option<BackEnd>> = const { RefCell::new(None) };
}

fn here() -> BackEnd {
    HERE.with_borrow(|here| here.clone()).expect("promises run on the thread of their world")
}

/// Calls with the reactor of the current task.
#[track_caller]
pub fn with_reactor<R>(call: impl FnOnce(&mut Reactor) -> R) -> R {
    Handle::current().and_then(|handle| handle.with_reactor(call)).expect("tasks only")
}

/// Lets time pass without running the loop, inside or outside of a callback.
pub fn spend(time: Duration) {
    here().spend(time);
}

/// Sends a signal to the process, and so to all of its reactors, inside or outside of a callback.
pub fn raise(signal: Signal) {
    here().raise(signal);
}

/// Returns a free address for a server that cannot take port 0. It is on a loopback address of this
/// process alone, so that the connections of other processes do not take its port.
pub fn free_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let listener = TcpListener::bind(SocketAddr::from(([127, 64 | high, middle, low], 0))).unwrap();
    listener.local_addr().unwrap()
}

/// Aborts all of a reactor's connections.
pub fn abort_all(reactor: &mut Reactor) {
    for id in reactor.connections() {
        reactor.transport(id).unwrap().abort_connection();
    }
}

/// Returns the standard library's address of a TCP address.
pub fn socket_address(address: &Address) -> SocketAddr {
    let Address::Tcp(address) = address else { panic!("{address} is no address of TCP") };
    *address
}

/// The time limit after which a promise counts as hung, long enough for a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The time limit of a connect that is expected to get no answer.
const SOON: Duration = Duration::from_millis(20);

/// The wait of a turn, short because `done` may depend on time alone.
const TURN: Duration = Duration::from_millis(5);
