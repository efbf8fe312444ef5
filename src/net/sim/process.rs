//! A process on a host: its descriptors, what it is told, its jobs.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::random::Random;
use crate::net::lookups::Lookups;
use crate::net::{Job, Signal, ThreadLimits, Token, Wake, Watch};

/// What the world knows of a process.
pub(super) struct Process {
    pub(super) host: u32,
    /// By the index of the token.
    sockets: Vec<Entry>,
    /// How many of them are open.
    pub(super) open: usize,
    /// How many may be.
    pub(super) limit: usize,
    /// Sockets that there is news of.
    pub(super) news: Vec<Token>,
    /// Its waker was used.
    pub(super) woken: bool,
    /// The world's scheduler knows that it has something to do.
    pub(super) awake: bool,
    pub(super) watched: Vec<Watch>,
    pub(super) signals: Vec<Signal>,
    pub(super) random: Random,
    /// How far it is ahead of the world: what its calls have cost since it was last looked at.
    pub(super) ahead: u64,
    /// What its next poll begins with.
    pub(super) owes: u64,
    /// Its polls wait themselves; there is no scheduler.
    pub(super) alone: bool,
    pub(super) jobs: Jobs,
    pub(super) lookups: Lookups,
    /// It ends without having cleared up.
    pub(super) killed: bool,
    /// The number of the timer that counts.
    pub(super) timers: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    socket: Socket,
}

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Closed,
    Listener(u32),
    Stream { connection: u32, side: usize },
    Datagram(u32),
}

/// Jobs for threads that do not exist.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) threads: usize,
    pub(super) queue: usize,
    /// By number; each has its thread.
    pub(super) running: Vec<(u32, Job)>,
    pub(super) waiting: VecDeque<Job>,
    pub(super) count: u32,
}

impl Process {
    pub(super) fn new(host: u32, limit: usize, random: Random, limits: ThreadLimits) -> Process {
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
    pub(super) fn get(&self, token: Token) -> Socket {
        match self.sockets.get(token.index()) {
            Some(entry) if entry.generation == token.generation() => entry.socket,
            _ => Socket::Closed,
        }
    }

    pub(super) fn insert(&mut self, token: Token, socket: Socket) {
        let index = token.index();
        if index >= self.sockets.len() {
            self.sockets.resize(index + 1, Entry { generation: 0, socket: Socket::Closed });
        }
        self.sockets[index] = Entry { generation: token.generation(), socket };
        self.open += 1;
    }

    pub(super) fn remove(&mut self, token: Token) -> Socket {
        let socket = self.get(token);
        if socket != Socket::Closed {
            // It was found there just now.
            self.sockets[token.index()].socket = Socket::Closed;
            self.open -= 1;
        }
        socket
    }

    /// A name that nothing has had, for one more descriptor of a process without a reactor.
    pub(super) fn free_token(&self) -> Token {
        let free = self.sockets.iter().position(|entry| entry.socket == Socket::Closed);
        let index = free.unwrap_or(self.sockets.len());
        let generation = self.sockets.get(index).map_or(0, |entry| entry.generation.wrapping_add(1));
        Token::new(index as u32, generation)
    }

    /// All that is open.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let open = self.sockets.iter().enumerate().filter(|(_, entry)| entry.socket != Socket::Closed);
        open.map(|(index, entry)| Token::new(index as u32, entry.generation)).collect()
    }

    #[inline]
    pub(super) fn stream(&self, token: Token) -> io::Result<(u32, usize)> {
        match self.get(token) {
            Socket::Stream { connection, side } => Ok((connection, side)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn listener(&self, token: Token) -> io::Result<u32> {
        match self.get(token) {
            Socket::Listener(listener) => Ok(listener),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.signals.is_empty() || self.woken
    }
}

/// Which processes were woken, by whatever thread.
#[derive(Default)]
pub(super) struct Alarms {
    rung: AtomicBool,
    processes: Mutex<Vec<u32>>,
}

impl Alarms {
    /// Those woken since it was last asked.
    #[inline]
    pub(super) fn take(&self) -> Vec<u32> {
        if !self.rung.load(Ordering::Relaxed) || !self.rung.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.processes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Alarm {
    pub(super) alarms: Arc<Alarms>,
    pub(super) process: u32,
}

impl Wake for Alarm {
    fn wake(&self) {
        self.alarms.processes.lock().unwrap_or_else(PoisonError::into_inner).push(self.process);
        self.alarms.rung.store(true, Ordering::SeqCst);
    }
}
