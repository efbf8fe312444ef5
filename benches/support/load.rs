//! The load: many connections on one thread, each with a bounded number of messages under way, every echo compared.
//!
//! Edge-triggered like the servers, with as little work per message as they have, so that the server is the limit
//! wherever it can be.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Result;
use super::cell::{BULK_UNIT, Cell};
use super::churn;
use super::latencies::Latencies;
use super::server::Server;
use super::source;

/// When a load ends. What is under way by then still completes and counts.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Count(u64),
}

/// What a load came to: of messages, of units of 16 KiB, or of connections.
pub struct Outcome {
    pub count: u64,
    pub elapsed: Duration,
    pub cpu: Duration,
    /// Of each message, or of each connection in a churn cell; where they were asked for.
    pub latencies: Option<Latencies>,
}

/// Puts a cell's load on a server, and takes the server's CPU time for it; opening the connections is not part of it.
pub fn run(server: &Server, cell: Cell, until: Until) -> Result<Outcome> {
    measure(server, cell, Duration::ZERO, until, None)
}

/// The same, and how long each message took: from just before the write of its first byte until the read that brought its last
/// one. Bulk has no messages, and none that could be waited for. The load goes on for a tenth of the time before it counts, so
/// that windows and buffers have grown.
///
/// The loop is closed: a connection writes again when it has been answered. A server that stalls therefore holds back the
/// messages that would have seen it stall (coordinated omission), and one thread reads all the echoes, each in its turn. The
/// percentiles are those of the messages that were sent under as much load as the server takes; they compare servers under
/// the same load, and say nothing of a service to which messages come at times of their own.
pub fn run_timed(server: &Server, cell: Cell, length: Duration) -> Result<Outcome> {
    let latencies = (!matches!(cell, Cell::Bulk { .. })).then(Latencies::new).transpose()?;
    measure(server, cell, length / 10, Until::Elapsed(length), latencies)
}

fn measure(
    server: &Server,
    cell: Cell,
    warm_up: Duration,
    until: Until,
    mut latencies: Option<Latencies>,
) -> Result<Outcome> {
    let mut load = match cell {
        Cell::PingPong { connections, size, depth } => {
            Some(Load::open(server.address, connections, size, size * depth)?)
        }
        Cell::Bulk { connections } => Some(Load::open(server.address, connections, BULK_UNIT, usize::MAX)?),
        Cell::Churn { .. } => None,
    };
    if let Some(load) = load.as_mut().filter(|_| !warm_up.is_zero()) {
        load.run(Until::Elapsed(warm_up), None)?;
    }
    let before = server.settled_cpu()?;
    let start = Instant::now();
    let count = match (&mut load, cell) {
        (None, Cell::Churn { parallel }) => churn::run(server.address, parallel, until, latencies.as_mut())?,
        (load, _) => load.as_mut().map_or(Ok(0), |load| load.run(until, latencies.as_mut()))?,
    };
    let elapsed = start.elapsed();
    let cpu = server.settled_cpu()? - before;
    Ok(Outcome { count, elapsed, cpu, latencies })
}

/// Connections under load.
pub struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    size: u64,
    /// Bytes that may be under way on one connection.
    window: u64,
    pattern: Pattern,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Where in the pattern this connection starts, so that bytes of another connection are found out.
    phase: u64,
    sent: u64,
    received: u64,
    writable: bool,
    readable: bool,
    /// It is in the list of connections to look at.
    queued: bool,
    /// When the messages were written that are under way, where that is measured.
    sent_at: VecDeque<Instant>,
}

impl Load {
    /// Opens the connections, in small groups that a backlog can hold, and has one message echoed on each.
    pub fn open(address: SocketAddr, count: usize, size: usize, window: usize) -> Result<Load> {
        let pattern = Pattern::new();
        let mut opened = Vec::with_capacity(count);
        let mut echo = vec![0; size];
        while opened.len() < count {
            let group = opened.len()..count.min(opened.len() + GROUP);
            for nth in group.clone() {
                let stream = source::connect(address, nth as u64)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(STALLED))?;
                opened.push(stream);
            }
            for stream in &mut opened[group.clone()] {
                stream.write_all(pattern.at(0, size))?;
            }
            for stream in &mut opened[group] {
                stream.read_exact(&mut echo)?;
                pattern.compare(0, &echo)?;
            }
        }
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for (index, stream) in opened.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let phase = index as u64 * 7;
            let (sent, received) = (0, 0);
            connections.push(Connection {
                stream,
                phase,
                sent,
                received,
                writable: true,
                readable: false,
                queued: true,
                sent_at: VecDeque::new(),
            });
        }
        Ok(Load {
            poll,
            connections,
            size: size as u64,
            window: window as u64,
            pattern,
            buffer: vec![0; BUFFER],
        })
    }

    pub fn run(&mut self, until: Until, mut latencies: Option<&mut Latencies>) -> Result<u64> {
        let start = Instant::now();
        let mut events = Events::with_capacity(1024);
        let mut ready: Vec<usize> = (0..self.connections.len()).collect();
        let mut received = 0;
        let mut stopping = false;
        loop {
            for index in std::mem::take(&mut ready) {
                let connection = &mut self.connections[index]; // tokens and `ready` are indices into it
                connection.queued = false;
                let window = if stopping { 0 } else { self.window };
                let latencies = latencies.as_deref_mut();
                received +=
                    connection.exchange(self.size, window, &self.pattern, &mut self.buffer, latencies)?;
                if connection.has_work(window) {
                    connection.queued = true;
                    ready.push(index);
                }
            }
            stopping |= match until {
                Until::Elapsed(limit) => start.elapsed() >= limit,
                Until::Count(limit) => received / self.size >= limit,
            };
            let under_way =
                || self.connections.iter().any(|connection| connection.sent > connection.received);
            if stopping && !under_way() {
                return Ok(received / self.size);
            }
            let wait = if ready.is_empty() { STALLED } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if events.is_empty() && ready.is_empty() {
                return Err("the server stalled: nothing came back for a long time".into());
            }
            for event in &events {
                let Token(index) = event.token();
                let connection = &mut self.connections[index];
                connection.readable |= event.is_readable();
                connection.writable |= event.is_writable();
                if !std::mem::replace(&mut connection.queued, true) {
                    ready.push(index);
                }
            }
        }
    }
}

impl Connection {
    /// Reads and writes a bounded number of times; returns the bytes that came back.
    fn exchange(
        &mut self,
        size: u64,
        window: u64,
        pattern: &Pattern,
        buffer: &mut [u8],
        mut latencies: Option<&mut Latencies>,
    ) -> Result<u64> {
        let before = self.received;
        for _ in 0..TURNS {
            if self.readable {
                self.receive(size, pattern, buffer, latencies.as_deref_mut())?;
            }
            // A message is answered when it is back as a whole.
            let allowed = (self.received / size * size).saturating_add(window);
            if self.writable && self.sent < allowed {
                let at = latencies.is_some().then(Instant::now);
                let before = self.sent;
                self.send(pattern, (allowed - self.sent).min(BUFFER as u64) as usize)?;
                if let Some(at) = at {
                    let begun = self.sent.div_ceil(size) - before.div_ceil(size);
                    self.sent_at.extend((0..begun).map(|_| at));
                }
            }
            if !self.readable {
                break;
            }
        }
        Ok(self.received - before)
    }

    fn has_work(&self, window: u64) -> bool {
        self.readable || (self.writable && window == u64::MAX)
    }

    fn receive(
        &mut self,
        size: u64,
        pattern: &Pattern,
        buffer: &mut [u8],
        latencies: Option<&mut Latencies>,
    ) -> Result<()> {
        match self.stream.read(buffer) {
            Ok(0) => Err("the server closed a connection".into()),
            Ok(count) => {
                let timed = latencies.map(|latencies| (latencies, Instant::now()));
                pattern.compare(self.phase + self.received, &buffer[..count])?;
                let before = self.received;
                self.received += count as u64;
                self.readable = count == buffer.len();
                if let Some((latencies, now)) = timed {
                    let answered = (self.received / size - before / size) as usize;
                    for at in self.sent_at.drain(..answered.min(self.sent_at.len())) {
                        latencies.record(now.duration_since(at));
                    }
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, pattern: &Pattern, size: usize) -> Result<()> {
        match self.stream.write(pattern.at(self.phase + self.sent, size)) {
            Ok(count) => {
                self.sent += count as u64;
                self.writable = count == size;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// An endless sequence of bytes that repeats after a prime number of them: no shift of a message goes unseen.
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub fn new() -> Pattern {
        Pattern { bytes: (0..PERIOD).cycle().take(BUFFER + PERIOD as usize).map(|byte| byte as u8).collect() }
    }

    /// The `size` bytes from `position` on.
    pub fn at(&self, position: u64, size: usize) -> &[u8] {
        let start = (position % PERIOD) as usize;
        &self.bytes[start..start + size]
    }

    pub fn compare(&self, position: u64, bytes: &[u8]) -> Result<()> {
        if self.at(position, bytes.len()) == bytes {
            return Ok(());
        }
        Err(format!("the {} bytes echoed at position {position} are not those that were sent", bytes.len())
            .into())
    }
}

const PERIOD: u64 = 251;

/// The client's read and write unit; also the largest message.
const BUFFER: usize = 64 * 1024;

/// Connections opened at once; well below every server's backlog.
const GROUP: usize = 256;

/// Exchanges on one connection before the others have their turn.
const TURNS: usize = 16;

/// Long enough for a server under valgrind.
pub const STALLED: Duration = Duration::from_secs(30);
