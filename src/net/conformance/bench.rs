//! The bench that a case is played on: processes, sockets by name, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Duration;

use super::drivers::Driver;
use super::words::{Names, Ports};
use crate::net::{Close, Event, Net, Readiness, Signal, Token};

pub(super) struct Bench {
    driver: Box<dyn Driver>,
    pub(super) processes: Vec<Box<dyn Net>>,
    /// The process that opens what is opened next.
    pub(super) current: usize,
    pub(super) sockets: BTreeMap<String, Socket>,
    pub(super) ports: Ports,
    pub(super) names: Names,
    /// Signals that came, and to which process.
    pub(super) signals: Vec<(usize, Signal)>,
    /// For how many rounds something is awaited.
    pub(super) patience: usize,
    /// Indices that are free again, by process: the lowest is taken next.
    free: Vec<BTreeSet<u32>>,
    generations: u32,
}

/// A socket as its user knows it.
pub(super) struct Socket {
    pub(super) process: usize,
    pub(super) token: Token,
    /// What it was told and has not used up, as the reactor keeps it.
    pub(super) told: Readiness,
    /// It is told again until somebody accepts.
    pub(super) listens: bool,
    /// How many bytes of the pattern went out and came in.
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) open: bool,
}

impl Socket {
    /// One that is not open.
    pub(super) fn new(process: usize, token: Token) -> Socket {
        Socket {
            process,
            token,
            told: Readiness::default(),
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
            patience: MOST_ROUNDS,
            free: Vec::new(),
            generations: 0,
        };
        bench.enter(0);
        bench
    }

    /// From now on sockets are opened by this process.
    pub(super) fn enter(&mut self, process: usize) {
        while self.processes.len() <= process {
            self.processes.push(self.driver.process());
            self.free.push((0..INDICES).collect());
        }
        self.current = process;
    }

    /// A process ends, with all that it has open. Another one has its number afterwards.
    pub(super) fn end(&mut self, process: usize) {
        self.processes[process] = self.driver.process();
        let its = self.sockets.iter().filter(|(_, socket)| socket.process == process);
        for name in its.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.unname(&name);
        }
    }

    /// Occupies the thread of the current process.
    pub(super) fn occupy(&mut self) -> Box<dyn FnOnce() + Send> {
        self.driver.occupy(&mut *self.processes[self.current])
    }

    /// From now on look-ups of this name hang, or not any more.
    pub(super) fn hold_name(&self, name: &str, on: bool) {
        self.driver.hold_name(name, on);
    }

    /// The mode of a socket's file.
    pub(super) fn mode_of(&mut self, name: &str) -> Option<u32> {
        let address = self.names.read(name);
        self.driver.mode(address.path().expect("a path"))
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
        self.sockets.get_mut(name).unwrap_or_else(|| panic!("no socket was called {name}"))
    }

    /// The lowest free index with a new generation, as in a slab.
    pub(super) fn next_token(&mut self, process: usize) -> Token {
        let index = *self.free[process].first().expect("fewer sockets");
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

    /// Polls all processes once; whether anything was reported that was not known.
    pub(super) fn round(&mut self) -> bool {
        let mut events = Vec::new();
        let mut news = false;
        for process in 0..self.processes.len() {
            let from = events.len();
            match self.processes[process].poll(&mut events, Some(ROUND)) {
                // Any signal may do that.
                Err(failed) if failed.kind() == ErrorKind::Interrupted => {}
                polled => drop(polled.expect("a poll")),
            }
            for event in &events[from..] {
                news |= self.note(process, *event);
            }
        }
        news
    }

    /// Whether that is news.
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
            "news of {token:?}, which nobody has opened"
        );
        let mut sockets = self.sockets.values_mut();
        let found = sockets.find(|socket| socket.process == process && socket.token == token);
        found.is_none_or(|socket| {
            let known = socket.listens && socket.told.has(Readiness::READABLE);
            socket.told.insert(ready);
            !known
        })
    }

    /// Polls until nothing is reported any more.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..MOST_ROUNDS {
            quiet = if self.round() { 0 } else { quiet + 1 };
            if quiet == QUIET_ROUNDS {
                return;
            }
        }
        panic!("news without end");
    }

    /// Polls until the socket was told this; whether it was.
    pub(super) fn wait_for(&mut self, name: &str, what: Readiness) -> bool {
        self.wait_until(|bench| bench.socket(name).told.has(what))
    }

    pub(super) fn wait_until(&mut self, mut done: impl FnMut(&mut Bench) -> bool) -> bool {
        // A listener that is told of ends every round at once.
        let (start, enough) = (self.net().now(), ROUND * self.patience as u32);
        let mut rounds = 0;
        while rounds < self.patience || self.net().now() - start < enough {
            if done(self) {
                return true;
            }
            self.round();
            rounds += 1;
        }
        // The case has failed, and should not take minutes to say so.
        self.patience = LITTLE_PATIENCE;
        done(self)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("played on {}", self.driver.name());
        }
        // A system remembers a connection that has closed for a minute, and its ports with it. A reset is forgotten.
        for socket in self.sockets.values().filter(|socket| socket.open) {
            self.processes[socket.process].close(socket.token, Close::Reset);
        }
    }
}

/// How long one poll waits at most. What is awaited ends it at once.
const ROUND: Duration = Duration::from_millis(1);

/// Something is under way no longer when it was quiet for that long.
const QUIET_ROUNDS: usize = 3;

/// Who waits this long, five seconds and more, waits in vain. A SYN that was dropped is sent again after one second.
const MOST_ROUNDS: usize = 5_000;

const LITTLE_PATIENCE: usize = 20;

const INDICES: u32 = 1024;
