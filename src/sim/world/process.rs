//! A process on a host: its descriptors, what it is told, its jobs.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::lookups::Lookups;
use crate::net::{Job, Signal, ThreadLimits, Token, Wake, Watch};
use crate::sim::random::Random;

/// What the world knows of a process.
pub(in crate::sim) struct Process {
    pub(in crate::sim) host: u32,
    /// By the index of the token.
    sockets: Vec<Entry>,
    /// How many of them are open.
    pub(in crate::sim) open: usize,
    /// How many may be.
    pub(in crate::sim) limit: usize,
    /// Sockets that there is news of.
    pub(in crate::sim) news: Vec<Token>,
    /// Its waker was used.
    pub(in crate::sim) woken: bool,
    /// The world's scheduler knows that it has something to do.
    pub(in crate::sim) awake: bool,
    pub(in crate::sim) watched: Vec<Watch>,
    pub(in crate::sim) signals: Vec<Signal>,
    pub(in crate::sim) random: Random,
    /// How far it is ahead of the world: what its calls have cost since it was last looked at.
    pub(in crate::sim) ahead: u64,
    /// What its next poll begins with.
    pub(in crate::sim) owes: u64,
    /// Its polls wait themselves; there is no scheduler.
    pub(in crate::sim) alone: bool,
    pub(in crate::sim) jobs: Jobs,
    pub(in crate::sim) lookups: Lookups,
    /// It ends without having cleared up.
    pub(in crate::sim) killed: bool,
    /// The number of the timer that counts.
    pub(in crate::sim) timers: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    socket: Socket,
}

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Socket {
    Closed,
    Listener(u32),
    Stream { connection: u32, side: usize },
    Datagram(u32),
}

/// Jobs for threads that do not exist.
#[derive(Default)]
pub(in crate::sim) struct Jobs {
    pub(in crate::sim) threads: usize,
    pub(in crate::sim) queue: usize,
    /// By number; each has its thread.
    pub(in crate::sim) running: Vec<(u32, Job)>,
    pub(in crate::sim) waiting: VecDeque<Job>,
    pub(in crate::sim) count: u32,
}

impl Process {
    pub(in crate::sim) fn new(host: u32, limit: usize, random: Random, limits: ThreadLimits) -> Process {
        let ThreadLimits { threads, thread_queue: queue, lookup_threads, lookup_queue } = limits;
        Process {
            host,
            sockets: Vec::new(),
            open: 0,
            limit,
            news: Vec::new(),
            woken: false,
            awake: false,
            watched: Vec::new(),
            signals: Vec::new(),
            random,
            ahead: 0,
            owes: 0,
            alone: false,
            killed: false,
            timers: 0,
            lookups: Lookups::new(lookup_threads, lookup_queue),
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
            // It was found there just now.
            self.sockets[token.index()].socket = Socket::Closed;
            self.open -= 1;
        }
        socket
    }

    /// A name that nothing has had, for one more descriptor of a process without a reactor.
    pub(in crate::sim) fn free_token(&self) -> Token {
        let free = self.sockets.iter().position(|entry| entry.socket == Socket::Closed);
        let index = free.unwrap_or(self.sockets.len());
        let generation = self.sockets.get(index).map_or(0, |entry| entry.generation.wrapping_add(1));
        Token::new(index as u32, generation)
    }

    /// All that is open.
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

    pub(in crate::sim) fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.signals.is_empty() || self.woken
    }
}

/// Which processes were woken, by whatever thread.
#[derive(Default)]
pub(in crate::sim) struct Alarms {
    rung: AtomicBool,
    processes: Mutex<Vec<u32>>,
}

impl Alarms {
    /// Those woken since it was last asked.
    #[inline]
    pub(in crate::sim) fn take(&self) -> Vec<u32> {
        if !self.rung.load(Ordering::Relaxed) || !self.rung.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.processes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(in crate::sim) struct Alarm {
    pub(in crate::sim) alarms: Arc<Alarms>,
    pub(in crate::sim) process: u32,
}

impl Wake for Alarm {
    fn wake(&self) {
        self.alarms.processes.lock().unwrap_or_else(PoisonError::into_inner).push(self.process);
        self.alarms.rung.store(true, Ordering::SeqCst);
    }
}
