//! Throttles: bytes a second, for each connection and for all together, both ways.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::{Factory, Instant, Layer, LayerContext, Layered, layered};

/// How fast connections may be, in bytes a second. `None` is no limit; 0 counts as 1. Default: none at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Received by each connection.
    pub read: Option<u64>,
    /// Sent by each connection.
    pub write: Option<u64>,
    /// Received by all together.
    pub read_together: Option<u64>,
    /// Sent by all together.
    pub write_together: Option<u64>,
}

/// Throttles the connections of a factory. (Twisted: `ThrottlingFactory`, which measures once a second and is over its limit
/// until then.)
///
/// ```
/// use twistor::policy::{RateLimits, throttled};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// // 10 kB/s for each, no more than a megabyte a second for all.
/// let rates = RateLimits { write: Some(10_000), write_together: Some(1_000_000), ..RateLimits::default() };
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", throttled(|| Echo, rates))?;
/// # Ok::<(), twistor::Error>(())
/// ```
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

/// So many bytes a second for whoever takes from it; clones are the same bucket.
///
/// It is empty at first, and fills with its rate up to what 50 ms are worth: a transfer is never ahead of its rate by more than
/// that, and a loop that is late by less catches up. Those who wait have their shares in turn.
#[derive(Clone, Debug)]
pub struct TokenBucket(Rc<RefCell<Schedule>>);

#[derive(Debug)]
struct Schedule {
    rate: u64,
    /// When everything that was asked for up to now has been paid. `None` until somebody asks.
    paid: Option<Instant>,
}

impl TokenBucket {
    /// A bucket of `rate` bytes a second; 0 counts as 1.
    pub fn new(rate: u64) -> TokenBucket {
        TokenBucket(Rc::new(RefCell::new(Schedule { rate: rate.max(1), paid: None })))
    }

    /// Its rate, in bytes a second.
    pub fn rate(&self) -> u64 {
        self.0.borrow().rate
    }

    /// Changes the rate, in bytes a second, for what is asked for from now on; 0 counts as 1.
    pub fn set_rate(&self, rate: u64) {
        self.0.borrow_mut().rate = rate.max(1);
    }

    /// Takes `bytes` out, and says from when on they may go.
    fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let mut schedule = self.0.borrow_mut();
        let from = schedule.paid.map_or(now + BURST, |paid| paid.max(now));
        let price = bytes as u128 * 1_000_000_000 / u128::from(schedule.rate);
        let paid = from + Duration::from_nanos(u64::try_from(price).unwrap_or(u64::MAX));
        schedule.paid = Some(paid);
        now + (paid - now).saturating_sub(BURST)
    }

    /// How much is handed on at once.
    fn share(&self) -> usize {
        let share = self.rate() as u128 * SHARE.as_nanos() / 1_000_000_000;
        (share as usize).clamp(1, LARGEST_SHARE)
    }
}

/// Holds both directions of one connection down to the rates of buckets, its own or shared: every byte is paid to each of them.
///
/// What is written waits here, counts as unsent, and so for the water marks. What comes waits here as well, one read of it, and the
/// rest with the system.
pub struct Throttle {
    read: Way,
    write: Way,
}

/// One direction.
struct Way {
    buckets: Vec<TokenBucket>,
    held: Vec<u8>,
    /// Bytes at the beginning of `held` that are gone.
    gone: usize,
    next: Option<Share>,
    /// The end follows what is held.
    ending: bool,
}

/// What goes next, and not before its time.
#[derive(Clone, Copy)]
struct Share {
    bytes: usize,
    at: Instant,
}

impl Throttle {
    /// A throttle of what is read and of what is written; without a bucket there is no limit.
    pub fn new(read: Vec<TokenBucket>, write: Vec<TokenBucket>) -> Throttle {
        Throttle { read: Way::new(read), write: Way::new(write) }
    }

    /// Lets go what may go, and comes back for the rest.
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
        self.read.ending = true;
        self.run(below);
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        self.write.ending = true;
        self.run(below);
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        self.run(below);
    }

    fn buffered(&self) -> usize {
        self.write.held.len() - self.write.gone
    }
}

impl Way {
    fn new(buckets: Vec<TokenBucket>) -> Way {
        Way { buckets, held: Vec::new(), gone: 0, next: None, ending: false }
    }

    /// Hands on what may go now; says when the next share may, if there is one.
    fn run(&mut self, now: Instant, mut hand_on: impl FnMut(&[u8])) -> Option<Instant> {
        loop {
            let left = self.held.len() - self.gone;
            if left == 0 {
                // Nothing waits: the memory goes back.
                (self.held, self.gone) = (Vec::new(), 0);
                return None;
            }
            let share = match self.next {
                Some(share) => share,
                None => self.reserve(now, left),
            };
            if share.at > now {
                self.next = Some(share);
                return Some(share.at);
            }
            self.next = None;
            let end = (self.gone + share.bytes).min(self.held.len());
            hand_on(self.held.get(self.gone..end).unwrap_or_default());
            self.gone = end;
            if self.gone > self.held.len() / 2 {
                self.held.drain(..self.gone);
                self.gone = 0;
            }
        }
    }

    fn reserve(&self, now: Instant, left: usize) -> Share {
        let share = self.buckets.iter().map(TokenBucket::share).min().unwrap_or(LARGEST_SHARE);
        let bytes = share.min(left);
        let at = self.buckets.iter().map(|bucket| bucket.reserve(now, bytes)).max().unwrap_or(now);
        Share { bytes, at }
    }

    fn ended(&self) -> bool {
        self.ending && self.held.is_empty()
    }
}

/// What an idle bucket has in store: more than any usual lateness of a timer, and 3 % of two seconds' worth.
const BURST: Duration = Duration::from_millis(50);

/// What a connection takes at a time: short enough to be smooth, long enough to need few timers.
const SHARE: Duration = Duration::from_millis(20);

/// In bytes: above some three megabytes a second shares are shorter instead of larger.
const LARGEST_SHARE: usize = 64 * 1024;
