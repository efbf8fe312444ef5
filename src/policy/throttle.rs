//! Throttles: byte rates for single connections and for all connections of a factory, in both
//! directions.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::{Factory, Instant, Layer, LayerContext, Layered, layered};

/// Rate limits of a factory's connections, in bytes per second. `None` means unlimited, and 0
/// counts as 1. Default: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Receive rate of each connection.
    pub read: Option<u64>,
    /// Send rate of each connection.
    pub write: Option<u64>,
    /// Receive rate of all connections together.
    pub read_together: Option<u64>,
    /// Send rate of all connections together.
    pub write_together: Option<u64>,
}

/// Throttles the connections of a factory. (Twisted: `ThrottlingFactory`, which measures once a
/// second and exceeds its limit until then.)
///
/// ```
/// use twistor::policy::{RateLimits, throttled};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// // 10 kB/s for each connection, at most 1 MB/s for all together.
/// let rates = RateLimits { write: Some(10_000), write_together: Some(1_000_000), ..RateLimits::default() };
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", throttled(|| Echo, rates))?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias = "ThrottlingFactory")]
pub fn throttled<F: Factory>(factory: F, rates: RateLimits) -> Layered<F, impl FnMut() -> Throttle> {
    let read_together = rates.read_together.map(TokenBucket::new);
    let write_together = rates.write_together.map(TokenBucket::new);
    layered(factory, move || {
        let both = |own: Option<u64>, all: &Option<TokenBucket>| -> Vec<TokenBucket> {
            own.map(TokenBucket::new).into_iter().chain(all.clone()).collect()
        };
        Throttle::new(both(rates.read, &read_together), both(rates.write, &write_together))
    })
}

/// A token bucket with a rate in bytes per second. Clones share the bucket.
///
/// The bucket starts empty and holds at most 50 ms of its rate. A transfer is never ahead of its
/// rate by more than that, and a loop that is late by less catches up. Users of a shared bucket are
/// served in order of their requests.
#[derive(Clone, Debug)]
pub struct TokenBucket(Rc<RefCell<Schedule>>);

#[derive(Debug)]
struct Schedule {
    rate: u64,
    /// Time at which all bytes reserved up to now are paid for. `None` before the first request.
    paid_until: Option<Instant>,
}

impl TokenBucket {
    /// Creates a bucket with a rate in bytes per second. A rate of 0 counts as 1.
    pub fn new(rate: u64) -> TokenBucket {
        TokenBucket(Rc::new(RefCell::new(Schedule { rate: rate.max(1), paid_until: None })))
    }

    /// The rate, in bytes per second.
    pub fn rate(&self) -> u64 {
        self.0.borrow().rate
    }

    /// Changes the rate of later requests, in bytes per second. A rate of 0 counts as 1.
    pub fn set_rate(&self, rate: u64) {
        self.0.borrow_mut().rate = rate.max(1);
    }

    /// Reserves `bytes` and returns the time from which they may be passed on.
    fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let mut schedule = self.0.borrow_mut();
        let from = schedule.paid_until.map_or(now + BURST, |paid_until| paid_until.max(now));
        let cost = bytes as u128 * 1_000_000_000 / u128::from(schedule.rate);
        let paid_until = from + Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        schedule.paid_until = Some(paid_until);
        now + (paid_until - now).saturating_sub(BURST)
    }

    /// Size of a chunk that is passed on at once, in bytes.
    fn chunk(&self) -> usize {
        let chunk = self.rate() as u128 * CHUNK_TIME.as_nanos() / 1_000_000_000;
        (chunk as usize).clamp(1, MAX_CHUNK)
    }
}

/// Layer that limits both directions of one connection to the rates of token buckets, private or
/// shared. Every byte is charged to each bucket of its direction.
///
/// Written data is buffered here and counts as unsent for the water marks. Of the received data,
/// one read is buffered here. The rest stays in the kernel.
pub struct Throttle {
    read: Direction,
    write: Direction,
}

/// One direction of the connection.
struct Direction {
    buckets: Vec<TokenBucket>,
    held: Vec<u8>,
    /// Number of bytes at the start of `held` that have been passed on.
    consumed: usize,
    next: Option<Chunk>,
    /// EOF follows after `held`.
    eof_pending: bool,
}

/// The next chunk to pass on, and the time from which it may be.
#[derive(Clone, Copy)]
struct Chunk {
    bytes: usize,
    at: Instant,
}

impl Throttle {
    /// Creates a throttle with the buckets of both directions. A direction without buckets is
    /// unlimited.
    pub fn new(read: Vec<TokenBucket>, write: Vec<TokenBucket>) -> Throttle {
        Throttle { read: Direction::new(read), write: Direction::new(write) }
    }

    /// Passes on what is due and sets the timer for the rest.
    fn run(&mut self, below: &mut LayerContext<'_>) {
        let now = below.now();
        let read = self.read.run(now, |data| below.pass_up(data));
        let write = self.write.run(now, |data| below.pass_down(data));
        match read {
            Some(_) => below.pause_reading(),
            None => below.resume_reading(),
        }
        if self.read.ended() {
            below.pass_eof_up();
        }
        if self.write.ended() {
            below.pass_eof_down();
        }
        match [read, write].into_iter().flatten().min() {
            Some(at) => below.set_timer(at - now),
            None => below.cancel_timer(),
        }
    }
}

impl Layer for Throttle {
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if self.read.buckets.is_empty() {
            return below.pass_up(data);
        }
        self.read.held.extend_from_slice(data);
        self.run(below);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if self.write.buckets.is_empty() {
            return below.pass_down(data);
        }
        self.write.held.extend_from_slice(data);
        self.run(below);
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        self.read.eof_pending = true;
        self.run(below);
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        self.write.eof_pending = true;
        self.run(below);
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        self.run(below);
    }

    fn buffered(&self) -> usize {
        self.write.held.len() - self.write.consumed
    }
}

impl Direction {
    fn new(buckets: Vec<TokenBucket>) -> Direction {
        Direction { buckets, held: Vec::new(), consumed: 0, next: None, eof_pending: false }
    }

    /// Passes on what is due. Returns the time of the next chunk, if any bytes are left.
    fn run(&mut self, now: Instant, mut pass_on: impl FnMut(&[u8])) -> Option<Instant> {
        loop {
            let left = self.held.len() - self.consumed;
            if left == 0 {
                // Free the memory: an idle connection owns no buffer.
                (self.held, self.consumed) = (Vec::new(), 0);
                return None;
            }
            let chunk = match self.next {
                Some(chunk) => chunk,
                None => self.reserve(now, left),
            };
            if chunk.at > now {
                self.next = Some(chunk);
                return Some(chunk.at);
            }
            self.next = None;
            let end = (self.consumed + chunk.bytes).min(self.held.len());
            pass_on(self.held.get(self.consumed..end).unwrap_or_default());
            self.consumed = end;
            if self.consumed > self.held.len() / 2 {
                self.held.drain(..self.consumed);
                self.consumed = 0;
            }
        }
    }

    fn reserve(&self, now: Instant, left: usize) -> Chunk {
        let chunk = self.buckets.iter().map(TokenBucket::chunk).min().unwrap_or(MAX_CHUNK);
        let bytes = chunk.min(left);
        let at = self.buckets.iter().map(|bucket| bucket.reserve(now, bytes)).max().unwrap_or(now);
        Chunk { bytes, at }
    }

    fn ended(&self) -> bool {
        self.eof_pending && self.held.is_empty()
    }
}

/// Capacity of a bucket. More than the usual lateness of a timer, and less than 3 % of two seconds'
/// traffic.
const BURST: Duration = Duration::from_millis(50);

/// Duration of a chunk at the bucket's rate. Short enough to be smooth, long enough to need few
/// timers.
const CHUNK_TIME: Duration = Duration::from_millis(20);

/// In bytes. Above about 3 MB/s, chunks are more frequent instead of larger.
const MAX_CHUNK: usize = 64 * 1024;
