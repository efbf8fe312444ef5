//! The load of short connections: connect, one message there and back, close; a bounded number at any time.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Result;
use super::cell::CHURN_SIZE;
use super::latencies::Latencies;
use super::load::{Pattern, STALLED, Until};
use super::source;

/// A slot holds one connection after the other.
struct Slot {
    stream: TcpStream,
    sent: bool,
    received: usize,
    opened: Instant,
}

/// Returns how many connections were opened, used and closed. Where latencies are asked for, each is a connection's, from before
/// it is opened until its whole echo has been read.
pub fn run(
    address: SocketAddr,
    parallel: usize,
    until: Until,
    mut latencies: Option<&mut Latencies>,
) -> Result<u64> {
    let start = Instant::now();
    let pattern = Pattern::new();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(parallel);
    let mut slots =
        (0..parallel).map(|index| Slot::open(address, &poll, index, 0)).collect::<Result<Vec<_>>>()?;
    let (mut done, mut open) = (0, parallel);
    while open > 0 {
        match poll.poll(&mut events, Some(STALLED)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        if events.is_empty() {
            return Err("the server stalled: no connection was answered for a long time".into());
        }
        let late = matches!(until, Until::Elapsed(limit) if start.elapsed() >= limit);
        for event in &events {
            let Token(index) = event.token();
            let slot = &mut slots[index]; // tokens are indices of slots
            if slot.received == CHURN_SIZE || !slot.ready(event, &pattern)? {
                continue;
            }
            if let Some(latencies) = latencies.as_deref_mut() {
                latencies.record(slot.opened.elapsed());
            }
            done += 1;
            let enough = matches!(until, Until::Count(limit) if done + open as u64 > limit);
            if late || enough {
                slot.stream.shutdown(std::net::Shutdown::Both)?;
                open -= 1;
            } else {
                *slot = Slot::open(address, &poll, index, done)?;
            }
        }
    }
    Ok(done)
}

impl Slot {
    /// The connection comes after `done` other ones.
    fn open(address: SocketAddr, poll: &Poll, index: usize, done: u64) -> Result<Slot> {
        let opened = Instant::now();
        let mut stream = source::start_connecting(address, done)?;
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Slot { stream, sent: false, received: 0, opened })
    }

    /// True when the whole message is back.
    fn ready(&mut self, event: &Event, pattern: &Pattern) -> Result<bool> {
        if let Some(error) = self.stream.take_error()?.filter(|_| event.is_error()) {
            return Err(format!("connecting: {error}").into());
        }
        if !self.sent && event.is_writable() {
            self.sent = true;
            self.stream.write_all(pattern.at(0, CHURN_SIZE))?; // a fresh socket takes a small message at once
        }
        if !event.is_readable() {
            return Ok(false);
        }
        let mut echo = [0; CHURN_SIZE];
        match self.stream.read(&mut echo[self.received..]) {
            Ok(0) => Err("the server closed a connection before it answered".into()),
            Ok(count) => {
                pattern.compare(self.received as u64, &echo[self.received..self.received + count])?;
                self.received += count;
                Ok(self.received == CHURN_SIZE)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
