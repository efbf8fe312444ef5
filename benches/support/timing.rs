//! What the operations of delayed calls cost, by the CPU clock of the thread: the same ones for every structure.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Result;
use super::delayed::Timers;

pub const OPERATIONS: [&str; 6] = [
    "schedule",
    "schedule + cancel",
    "reset, random order",
    "refresh to later",
    "cancel, random order",
    "fire",
];

/// Nanoseconds per operation, in the order of [`OPERATIONS`].
pub type Figures = [f64; 6];

/// Sets, moves, cancels and fires `size` delayed calls.
pub fn measure<T: Timers>(size: usize) -> Result<Figures> {
    let mut random = Random::new();
    let mut timers = T::new()?;
    let delays: Vec<Duration> = (0..size).map(|_| random.below(HORIZON)).collect();
    let more: Vec<Duration> = (0..size).map(|_| random.below(HORIZON)).collect();
    let order = random.permutation(size);

    let mut calls = Vec::with_capacity(size);
    let schedule = timed(size, || calls.extend(delays.iter().map(|&delay| timers.schedule(delay))));
    let schedule_cancel = timed(size, || {
        for &delay in &more {
            let call = timers.schedule(delay);
            timers.cancel(&call);
        }
    });
    let reset = timed(size, || {
        for &index in &order {
            timers.reset(&mut calls[index], more[index]);
        }
    });
    let refresh = timed(size, || {
        for call in &mut calls {
            timers.reset(call, LATER);
        }
    });
    let cancel = timed(size, || {
        for &index in &order {
            timers.cancel(&calls[index]);
        }
    });
    expect("outstanding after all were cancelled", timers.outstanding(), 0)?;
    expect("fired before their time", timers.fired(), 0)?;

    for _ in 0..size {
        let _ = timers.schedule(random.below(SOON));
    }
    std::thread::sleep(SOON);
    let mut fired = Ok(());
    let fire = timed(size, || fired = timers.fire());
    fired?;
    expect("fired", timers.fired(), size)?;
    Ok([schedule, schedule_cancel, reset, refresh, cancel, fire])
}

fn expect(what: &str, found: usize, wanted: usize) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found}, not {wanted}").into()) }
}

/// CPU nanoseconds of this thread, divided by the number of operations.
fn timed(operations: usize, run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    run();
    (now() - start) / operations as f64
}

/// xorshift64*: cheap and even enough to spread delays.
struct Random(u64);

impl Random {
    fn new() -> Random {
        Random(RandomState::new().build_hasher().finish() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        Duration::from_nanos(self.next() % limit.as_nanos() as u64)
    }

    fn permutation(&mut self, size: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..size).collect();
        for last in (1..size).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}

/// Delays in the steady operations; none of them comes up while it is measured.
const HORIZON: Duration = Duration::from_secs(60);

/// Later than any delay above: what a connection does to its idle timeout when bytes arrive.
const LATER: Duration = Duration::from_secs(120);

/// Delays of the calls that fire; after this long all are due.
const SOON: Duration = Duration::from_millis(100);
