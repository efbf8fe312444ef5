//! The state of a running case: processes, sockets by name, and their readiness.

mod datagrams;
pub(super) mod drivers;
mod flow;
mod script;
mod sockets;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use self::drivers::Driver;
use self::words::{Names, Ports};
use crate::net::{Close, Event, Net, Readiness, Signal, Token};

pub(super) struct Bench {
    driver: Box<dyn Driver>,
    pub(super) processes: Vec<Box<dyn Net>>,
    /// The process that opens the next sockets.
    pub(super) current: usize,
    pub(super) sockets: BTreeMap<String, Socket>,
    pub(super) ports: Ports,
    pub(super) names: Names,
    /// Received signals, each with its process.
    pub(super) signals: Vec<(usize, Signal)>,
    /// Max polls in one wait.
    pub(super) max_rounds: usize,
    /// Free token indices, by process. The lowest is used first.
    free: Vec<BTreeSet<u32>>,
    generations: u32,
}

/// A socket as its user sees it.
pub(super) struct Socket {
    pub(super) process: usize,
    pub(super) token: Token,
    /// Reported readiness that was not used up, as the reactor tracks it.
    pub(super) ready: Readiness,
    /// A listener, which is reported until its queue is empty.
    pub(super) listens: bool,
    /// Number of pattern bytes sent and received.
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) open: bool,
}

impl Socket {
    /// Creates a closed socket.
    pub(super) fn new(process: usize, token: Token) -> Socket {
        Socket {
            process,
            token,
            ready: Readiness::default(),
            listens: false,
            sent: 0,
            received: 0,
            open: false,
        }
    }
}

impl Bench {
    pub(super) fn new(driver: Box<dyn Driver>) -> Bench {
        let mut bench = Bench {
            driver,
            processes: Vec::new(),
            current: 0,
            sockets: BTreeMap::new(),
            ports: Ports::default(),
            names: Names::default(),
            signals: Vec::new(),
            max_rounds: MAX_ROUNDS,
            free: Vec::new(),
            generations: 0,
        };
        bench.enter(0);
        bench
    }

    /// Makes this process open the next sockets.
    pub(super) fn enter(&mut self, process: usize) {
        while self.processes.len() <= process {
            self.processes.push(self.driver.process());
            self.free.push((0..INDICES).collect());
        }
        self.current = process;
    }

    /// Ends a process and closes its sockets. A new process takes its number.
    pub(super) fn end(&mut self, process: usize) {
        self.processes[process] = self.driver.process();
        let its = self.sockets.iter().filter(|(_, socket)| socket.process == process);
        for name in its.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.unname(&name);
        }
    }

    /// Occupies the pool thread of the current process.
    pub(super) fn occupy(&mut self) -> Box<dyn FnOnce() + Send> {
        self.driver.occupy(&mut *self.processes[self.current])
    }

    /// Makes look-ups of this name hang, or releases them.
    pub(super) fn hold_name(&self, name: &str, on: bool) {
        self.driver.hold_name(name, on);
    }

    /// The mode of a socket's file.
    pub(super) fn mode_of(&mut self, name: &str) -> Option<u32> {
        let address = self.names.read(name);
        self.driver.mode(address.path().expect("a path"))
    }

    /// An empty folder of the case, at the same path in each process.
    pub(super) fn folder(&self) -> PathBuf {
        self.driver.folder()
    }

    /// Creates a symbolic link in the folder.
    pub(super) fn symlink(&self, target: &str, name: &str) {
        self.driver.symlink(target, &self.folder().join(name));
    }

    /// Creates a FIFO in the folder.
    pub(super) fn fifo(&self, name: &str) {
        self.driver.fifo(&self.folder().join(name));
    }

    pub(super) fn remove_file(&mut self, name: &str) -> &'static str {
        let address = self.names.read(name);
        if self.driver.remove(address.path().expect("a path")) { "ok" } else { "not there" }
    }

    pub(super) fn raise(&mut self, signal: Signal) {
        self.driver.signal(signal);
    }

    pub(super) fn net(&mut self) -> &mut dyn Net {
        &mut *self.processes[self.current]
    }

    pub(super) fn net_of(&mut self, name: &str) -> (&mut dyn Net, Token) {
        let socket = self.socket(name);
        let (process, token) = (socket.process, socket.token);
        (&mut *self.processes[process], token)
    }

    pub(super) fn socket(&mut self, name: &str) -> &mut Socket {
        self.sockets.get_mut(name).unwrap_or_else(|| panic!("no socket is called {name}"))
    }

    /// A token with the lowest free index and a new generation, as in a slab.
    pub(super) fn next_token(&mut self, process: usize) -> Token {
        let index = *self.free[process].first().expect("a free index");
        self.generations += 1;
        Token::new(index, self.generations)
    }

    pub(super) fn name(&mut self, name: &str, process: usize, token: Token) {
        self.free[process].remove(&(token.index() as u32));
        self.sockets.insert(name.to_owned(), Socket { open: true, ..Socket::new(process, token) });
    }

    pub(super) fn unname(&mut self, name: &str) {
        let socket = self.socket(name);
        let (process, index) = (socket.process, socket.token.index() as u32);
        if std::mem::replace(&mut socket.open, false) {
            self.free[process].insert(index);
        }
    }

    /// Polls all processes once. Returns whether there was a new report.
    pub(super) fn round(&mut self) -> bool {
        let mut events = Vec::new();
        let mut is_new = false;
        for process in 0..self.processes.len() {
            let from = events.len();
            match self.processes[process].poll(&mut events, Some(ROUND_TIMEOUT)) {
                // Any signal can interrupt a poll.
                Err(failed) if failed.kind() == ErrorKind::Interrupted => {}
                polled => drop(polled.expect("a poll")),
            }
            for event in &events[from..] {
                is_new |= self.note(process, *event);
            }
        }
        is_new
    }

    /// Records an event. Returns whether it is new.
    fn note(&mut self, process: usize, event: Event) -> bool {
        let (token, ready) = match event {
            Event::Ready(token, ready) => (token, ready),
            Event::Signal(signal) => {
                self.signals.push((process, signal));
                return true;
            }
        };
        assert!(
            token.index() < INDICES as usize && token.generation() <= self.generations,
            "an event for {token:?}, which was never opened"
        );
        let mut sockets = self.sockets.values_mut();
        let found = sockets.find(|socket| socket.process == process && socket.token == token);
        found.is_none_or(|socket| {
            let known = socket.listens && socket.ready.has(Readiness::READABLE);
            socket.ready.insert(ready);
            !known
        })
    }

    /// Polls until no more events arrive.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..MAX_ROUNDS {
            quiet = if self.round() { 0 } else { quiet + 1 };
            if quiet == SETTLED_ROUNDS {
                return;
            }
        }
        panic!("events without end");
    }

    /// Polls until the socket has this readiness. Returns `false` when the wait is over.
    pub(super) fn wait_for(&mut self, name: &str, readiness: Readiness) -> bool {
        self.wait_until(|bench| bench.socket(name).ready.has(readiness))
    }

    pub(super) fn wait_until(&mut self, mut done: impl FnMut(&mut Bench) -> bool) -> bool {
        // A reported listener ends every poll at once, so the time counts as well.
        let (start, max_time) = (self.net().now(), ROUND_TIMEOUT * self.max_rounds as u32);
        let mut rounds = 0;
        while rounds < self.max_rounds || self.net().now() - start < max_time {
            if done(self) {
                return true;
            }
            self.round();
            rounds += 1;
        }
        // The case has failed. Further waits are short.
        self.max_rounds = ROUNDS_AFTER_FAILURE;
        done(self)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on {}", self.driver.name());
        }
        // Closing with a reset avoids TIME_WAIT, which would keep the ports for a minute.
        for socket in self.sockets.values().filter(|socket| socket.open) {
            self.processes[socket.process].close(socket.token, Close::Reset);
        }
    }
}

/// Timeout of one poll. An expected event ends the poll at once.
const ROUND_TIMEOUT: Duration = Duration::from_millis(1);

/// Number of polls without an event after which the network has settled.
const SETTLED_ROUNDS: usize = 3;

/// Max polls in one wait: five seconds or more. A dropped SYN is sent again after one second.
const MAX_ROUNDS: usize = 5_000;

const ROUNDS_AFTER_FAILURE: usize = 20;

const INDICES: u32 = 1024;
