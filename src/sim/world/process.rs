//! A process on a host: its descriptors, pending readiness and jobs.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::net::lookups::Lookups;
use crate::net::{Job, Signal, ThreadLimits, Token, Wake, Watch};
use crate::sim::random::Random;
use crate::sim::world::disk::FileJobs;

/// The state of a process.
pub(in crate::sim) struct Process {
    pub(in crate::sim) host: u32,
    /// Indexed by the token.
    sockets: Vec<Entry>,
    /// The number of open sockets.
    pub(in crate::sim) open: usize,
    /// The descriptor limit.
    pub(in crate::sim) limit: usize,
    /// Sockets with pending readiness.
    pub(in crate::sim) pending: Vec<Token>,
    /// The waker was used.
    pub(in crate::sim) woken: bool,
    /// The process is in `World::awake`.
    pub(in crate::sim) awake: bool,
    pub(in crate::sim) watched: Vec<Watch>,
    pub(in crate::sim) signals: Vec<Signal>,
    pub(in crate::sim) random: Random,
    /// The cost of its calls since its last turn, in nanoseconds: its actions happen that much
    /// later.
    pub(in crate::sim) ahead: u64,
    /// Time that passes at the start of its next poll, in nanoseconds.
    pub(in crate::sim) poll_delay: u64,
    /// Without a scheduler: its polls wait, which advances virtual time.
    pub(in crate::sim) unscheduled: bool,
    pub(in crate::sim) jobs: Jobs,
    pub(in crate::sim) lookups: Lookups,
    pub(in crate::sim) files: FileJobs,
    /// The time for file jobs at the end of the process.
    pub(in crate::sim) join_timeout: Duration,
    /// The process was killed: it removes no files.
    pub(in crate::sim) killed: bool,
    /// The number of the last timer that was set; earlier ones are void.
    pub(in crate::sim) timers: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    socket: Socket,
}

/// The socket of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Socket {
    Closed,
    Listener(u32),
    Stream { connection: u32, side: usize },
    Datagram(u32),
}

/// The jobs of a simulated thread pool.
#[derive(Default)]
pub(in crate::sim) struct Jobs {
    pub(in crate::sim) threads: usize,
    pub(in crate::sim) queue: usize,
    /// Running jobs by number, one for each busy thread.
    pub(in crate::sim) running: Vec<(u32, Job)>,
    pub(in crate::sim) waiting: VecDeque<Job>,
    pub(in crate::sim) count: u32,
}

impl Process {
    pub(in crate::sim) fn new(host: u32, limit: usize, random: Random, limits: ThreadLimits) -> Process {
        let ThreadLimits { threads, thread_queue: queue, lookup_threads, lookup_queue, .. } = limits;
        Process {
            host,
            sockets: Vec::new(),
            open: 0,
            limit,
            pending: Vec::new(),
            woken: false,
            awake: false,
            watched: Vec::new(),
            signals: Vec::new(),
            random,
            ahead: 0,
            poll_delay: 0,
            unscheduled: false,
            killed: false,
            timers: 0,
            lookups: Lookups::new(lookup_threads, lookup_queue),
            files: FileJobs::new(limits.file_threads),
            join_timeout: limits.join_timeout,
            jobs: Jobs { threads: threads.max(1), queue, ..Jobs::default() },
        }
    }

    #[inline]
    pub(in crate::sim) fn get(&self, token: Token) -> Socket {
        match self.sockets.get(token.index()) {
            Some(entry) if entry.generation == token.generation() => entry.socket,
            _ => Socket::Closed,
        }
    }

    pub(in crate::sim) fn insert(&mut self, token: Token, socket: Socket) {
        let index = token.index();
        if index >= self.sockets.len() {
            self.sockets.resize(index + 1, Entry { generation: 0, socket: Socket::Closed });
        }
        self.sockets[index] = Entry { generation: token.generation(), socket };
        self.open += 1;
    }

    pub(in crate::sim) fn remove(&mut self, token: Token) -> Socket {
        let socket = self.get(token);
        if socket != Socket::Closed {
            // In bounds: `get` has found it.
            self.sockets[token.index()].socket = Socket::Closed;
            self.open -= 1;
        }
        socket
    }

    /// Returns an unused token for a new descriptor of a process without a reactor.
    pub(in crate::sim) fn free_token(&self) -> Token {
        let free = self.sockets.iter().position(|entry| entry.socket == Socket::Closed);
        let index = free.unwrap_or(self.sockets.len());
        let generation = self.sockets.get(index).map_or(0, |entry| entry.generation.wrapping_add(1));
        Token::new(index as u32, generation)
    }

    /// Returns the tokens of all open sockets.
    pub(in crate::sim) fn tokens(&self) -> Vec<Token> {
        let open = self.sockets.iter().enumerate().filter(|(_, entry)| entry.socket != Socket::Closed);
        open.map(|(index, entry)| Token::new(index as u32, entry.generation)).collect()
    }

    #[inline]
    pub(in crate::sim) fn stream(&self, token: Token) -> io::Result<(u32, usize)> {
        match self.get(token) {
            Socket::Stream { connection, side } => Ok((connection, side)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(in crate::sim) fn listener(&self, token: Token) -> io::Result<u32> {
        match self.get(token) {
            Socket::Listener(listener) => Ok(listener),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(in crate::sim) fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.signals.is_empty() || self.woken
    }
}

/// The processes woken from other threads.
#[derive(Default)]
pub(in crate::sim) struct WakeQueue {
    is_pending: AtomicBool,
    processes: Mutex<Vec<u32>>,
}

impl WakeQueue {
    /// Takes the processes woken since the last call.
    #[inline]
    pub(in crate::sim) fn take(&self) -> Vec<u32> {
        if !self.is_pending.load(Ordering::Relaxed) || !self.is_pending.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.processes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(in crate::sim) struct ProcessWaker {
    pub(in crate::sim) wake_queue: Arc<WakeQueue>,
    pub(in crate::sim) process: u32,
}

impl Wake for ProcessWaker {
    fn wake(&self) {
        self.wake_queue.processes.lock().unwrap_or_else(PoisonError::into_inner).push(self.process);
        self.wake_queue.is_pending.store(true, Ordering::SeqCst);
    }
}
