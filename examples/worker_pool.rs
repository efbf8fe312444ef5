//! Three workers share a queue of jobs and compute in threads, so that the loop stays free.
//!
//! `cargo run --release --example worker_pool [JOBS]`

use std::time::Duration;

use twistor::deferred::{DeferredQueue, defer_to_thread, gather};
use twistor::{Deferred, LoopingCall, Reactor, println_or_exit};

const WORKERS: usize = 3;

/// The upper bound of a prime count; `None` ends the work.
type Job = Option<u32>;

fn primes(below: u32) -> usize {
    let is_prime = |number: &u32| (2..).take_while(|n| n * n <= *number).all(|n| !number.is_multiple_of(n));
    (2..below).filter(is_prime).count()
}

/// Works until the queue is at its end. Returns the number of finished jobs.
fn work(reactor: &mut Reactor, worker: usize, jobs: DeferredQueue<Job>, done: u32) -> Deferred<u32> {
    let job = match jobs.get() {
        Ok(job) => job,
        Err(underflow) => return Deferred::fail(&reactor.handle(), underflow),
    };
    job.then(move |reactor, job| match job {
        None => Deferred::succeed(&reactor.handle(), done),
        Some(below) => {
            let began = reactor.now();
            defer_to_thread(reactor, move || primes(below)).then(move |reactor, count| {
                let took = reactor.now() - began;
                println_or_exit!(
                    "worker {worker}   {count:>6} primes below {below:>7}   {:>4} ms",
                    took.as_millis()
                );
                work(reactor, worker, jobs, done + 1)
            })
        }
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs: u32 = std::env::args().nth(1).map_or(Ok(12), |jobs| jobs.parse())?;
    let mut reactor = Reactor::new()?;
    let queue = DeferredQueue::new(&reactor.handle(), 1000, WORKERS);
    for number in 0..jobs {
        queue.put(Some(100_000 + number * 7919 % 12 * 20_000))?;
    }
    for _ in 0..WORKERS {
        queue.put(None)?;
    }
    // The loop has time for other events meanwhile.
    let ticks = LoopingCall::new(|_, tick| {
        println_or_exit!("            second {}, {} skipped", tick.count, tick.skipped)
    });
    ticks.start_later(&mut reactor, Duration::from_secs(1))?.detach();
    let began = reactor.now();
    let workers: Vec<_> = (1..=WORKERS).map(|worker| work(&mut reactor, worker, queue.clone(), 0)).collect();
    gather(&reactor.handle(), workers).done(move |reactor, done| {
        match done {
            Ok(done) => {
                println_or_exit!("\n{jobs} jobs in {:.0?}, by worker: {done:?}", reactor.now() - began)
            }
            Err(failure) => println_or_exit!("\n{failure}"),
        }
        reactor.stop();
    });
    Ok(reactor.run()?)
}
