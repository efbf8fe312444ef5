//! Calls from other threads into the loop: how many per second, and how often the loop wakes for them.
//!
//! One, two and four threads hand over closures as fast as they can. The baseline is what one writes first: the
//! standard channel and a wake-up of mio for every call. What a loop gains is the wake-up it leaves out because one is
//! pending. With more threads than processors the figures show the scheduler as well.

mod support;

use std::cell::Cell;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Instant;

use mio::{Events, Poll, Token, Waker};
use twistor::Reactor;

use support::options::Options;
use support::table::{self, Table};

const PRODUCERS: [usize; 3] = [1, 2, 4];
const CALLS: usize = 1_000_000;
const SMOKE_CALLS: usize = 4_000;

#[derive(Default)]
struct Samples {
    calls_per_second: Vec<f64>,
    wake_ups_per_call: Vec<f64>,
}

thread_local! {
    /// What the calls count in: they run on the loop's thread, and one that is lost is missed.
    static CALLED: Cell<usize> = const { Cell::new(0) };
}

fn called() {
    CALLED.set(CALLED.get() + 1);
}

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let calls = if options.smoke { SMOKE_CALLS } else { CALLS };
    let heads = ["producers", "wake every call", "twistor", "ratio", "wake-ups per call", "twistor's"];
    let mut table = Table::new(heads);
    for producers in PRODUCERS {
        let mut samples = [Samples::default(), Samples::default()];
        for _ in 0..options.rounds(5) {
            sample(&mut samples[0], calls, || wake_every_call(producers, calls / producers))?;
            sample(&mut samples[1], calls, || call_from_thread(producers, calls / producers))?;
        }
        let [baseline, own] = &samples;
        let pairs = own.calls_per_second.iter().zip(&baseline.calls_per_second);
        let ratios: Vec<f64> = pairs.map(|(own, baseline)| own / baseline).collect();
        table.row([
            producers.to_string(),
            format!("{}/s", table::thousands(table::median(&baseline.calls_per_second))),
            format!("{}/s", table::thousands(table::median(&own.calls_per_second))),
            table::spread(&ratios),
            format!("{:.4}", table::median(&baseline.wake_ups_per_call)),
            format!("{:.4}", table::median(&own.wake_ups_per_call)),
        ]);
    }
    table.print(&format!("{} calls from threads into the loop", table::thousands(calls as f64)));
    Ok(())
}

/// `run` returns how often the loop woke up.
fn sample(
    samples: &mut Samples,
    calls: usize,
    run: impl FnOnce() -> support::Result<usize>,
) -> support::Result<()> {
    CALLED.set(0);
    let start = Instant::now();
    let wake_ups = run()?;
    let elapsed = start.elapsed();
    if CALLED.get() != calls {
        return Err(format!("{calls} calls were handed over, {} were made", CALLED.get()).into());
    }
    samples.calls_per_second.push(calls as f64 / elapsed.as_secs_f64());
    samples.wake_ups_per_call.push(wake_ups as f64 / calls as f64);
    Ok(())
}

fn call_from_thread(producers: usize, calls: usize) -> support::Result<usize> {
    let mut reactor = Reactor::new()?;
    let remote = reactor.remote();
    let threads = start(producers, move |finished| {
        let remote = remote.clone();
        move || {
            for _ in 0..calls {
                while remote.call_from_thread(|_| called()).is_err() {
                    thread::yield_now(); // the queue is full
                }
            }
            if finished.last() {
                let _ = remote.call_from_thread(|reactor| _ = reactor.stop()); // the count tells if it failed
            }
        }
    });
    reactor.run()?;
    join(threads)?;
    Ok(reactor.statistics().turns as usize)
}

/// A call, or `None` for the end.
type Call = Option<Box<dyn FnOnce() + Send>>;

fn wake_every_call(producers: usize, calls: usize) -> support::Result<usize> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    let (sender, receiver) = mpsc::channel::<Call>();
    let hand_over = {
        let waker = Arc::clone(&waker); // the loop keeps one: an event dies with the last owner
        move |call| sender.send(call).is_ok() && waker.wake().is_ok()
    };
    let threads = start(producers, move |finished| {
        let hand_over = hand_over.clone();
        move || {
            for _ in 0..calls {
                hand_over(Some(Box::new(called)));
            }
            if finished.last() {
                hand_over(None);
            }
        }
    });
    let mut wake_ups = 0;
    let mut running = true;
    while running {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        wake_ups += 1;
        for call in receiver.try_iter() {
            match call {
                Some(call) => call(),
                None => running = false,
            }
        }
    }
    join(threads)?;
    Ok(wake_ups)
}

/// Counts the producers that are done.
#[derive(Clone)]
struct Finished {
    left: Arc<AtomicUsize>,
}

impl Finished {
    /// True for the last producer, when the calls of all the others are queued.
    fn last(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Starts the producers together.
fn start<P: FnOnce() + Send + 'static>(
    producers: usize,
    producer: impl Fn(Finished) -> P,
) -> Vec<thread::JoinHandle<()>> {
    let together = Arc::new(Barrier::new(producers));
    let finished = Finished { left: Arc::new(AtomicUsize::new(producers)) };
    let spawn = |_| {
        let (together, run) = (Arc::clone(&together), producer(finished.clone()));
        thread::spawn(move || {
            together.wait();
            run();
        })
    };
    (0..producers).map(spawn).collect()
}

fn join(threads: Vec<thread::JoinHandle<()>>) -> support::Result<()> {
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a producer panicked".into()))
}
