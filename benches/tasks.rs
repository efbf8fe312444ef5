//! What a task costs: to spawn one and to see it end, to let it yield, and to let a hundred thousand sleep.
//!
//! Nanoseconds by the CPU clock of the thread, so that neighbours do not count, beside tokio's current-thread runtime with tasks
//! of its `LocalSet`, in rounds that alternate. Memory is what is resident more once all tasks sleep, by task, without the
//! future's own size. With `--check` the bench exits with 1 when that is over its limit in `benches/baselines.txt`.

mod support;

use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use twistor::{Reactor, Settings, task};

use support::baselines::Guard;
use support::options::Options;
use support::table::{self, Table};

const TASKS: usize = 100_000;
const SMOKE_TASKS: usize = 1_000;

/// Tasks that are under way at once when they are spawned and end.
const BATCH: usize = 100;

/// Longer than the bench.
const LONG: Duration = Duration::from_secs(3600);

const FIGURES: [&str; 4] =
    ["spawn and finish, ns", "yield, ns", "spawn to sleep, ns", "asleep, B beside its state"];

type Figures = [f64; 4];

fn main() -> ExitCode {
    match std::env::var(SLEEPERS) {
        Ok(whose) => support::main(|options| sleepers(&whose, tasks(&options))),
        Err(_) => support::main(bench),
    }
}

/// Says to the bench's own program that it is to let tasks sleep, and to say how long that took and what it left resident: in
/// a process of its own, where nothing was freed before.
const SLEEPERS: &str = "TWISTOR_BENCH_SLEEPERS";

fn tasks(options: &Options) -> usize {
    if options.smoke { SMOKE_TASKS } else { TASKS }
}

fn sleepers(whose: &str, count: usize) -> support::Result<()> {
    let [nanoseconds, bytes] = match whose {
        "tokio" => sleepers_of_tokio(count)?,
        _ => sleepers_of_twistor(count)?,
    };
    println!("{nanoseconds} {bytes}");
    Ok(())
}

fn in_a_child(whose: &str, smoke: bool) -> support::Result<[f64; 2]> {
    let mut child = std::process::Command::new(std::env::current_exe()?);
    child.arg(if smoke { "--smoke" } else { "--bench" }).env(SLEEPERS, whose);
    let said = String::from_utf8(child.output()?.stdout)?;
    let mut figures = said.split_whitespace().map(str::parse);
    match (figures.next(), figures.next()) {
        (Some(nanoseconds), Some(bytes)) => Ok([nanoseconds?, bytes?]),
        _ => Err(format!("the sleepers of {whose} said {said:?}").into()),
    }
}

fn bench(options: Options) -> support::Result<()> {
    let count = tasks(&options);
    let mut rounds: Vec<[Figures; 2]> = Vec::new();
    for _ in 0..options.rounds(5) {
        let round = |whose: &str, [begun, yielded]: [f64; 2]| {
            let [asleep, taken] = in_a_child(whose, options.smoke)?;
            support::Result::Ok([begun, yielded, asleep, taken])
        };
        rounds.push([round("tokio", of_tokio(count)?)?, round("twistor", of_twistor(count)?)?]);
    }
    let mut table = Table::new(["", "tokio", "twistor", "ratio"]);
    let figures =
        |which: usize, index: usize| rounds.iter().map(|round| round[which][index]).collect::<Vec<_>>();
    for (index, name) in FIGURES.iter().enumerate() {
        let ratios: Vec<f64> = rounds.iter().map(|[tokio, own]| own[index] / tokio[index]).collect();
        let median = |which| format!("{:.0}", table::median(&figures(which, index)));
        table.row([name.to_string(), median(0), median(1), table::spread(&ratios)]);
    }
    table.print(&format!("Tasks, {} of them", table::thousands(count as f64)));
    let mut guard = Guard::new()?;
    guard.limit("bytes of a sleeping task", table::median(&figures(1, 3)))?;
    guard.finish(&options)
}

fn of_twistor(count: usize) -> support::Result<[f64; 2]> {
    let mut reactor = reactor()?;
    let spawn = |count: usize| async move {
        for _ in 0..count / BATCH {
            let tasks: Vec<_> = (0..BATCH).map(|number| task::spawn(async move { number })).collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await, Ok(number));
            }
        }
    };
    reactor.block_on(spawn(BATCH))?;
    let (begun, ended) = timed(count, || reactor.block_on(spawn(count)));
    ended?;
    let (yielded, ended) = timed(count, || {
        reactor.block_on(async {
            let tasks: Vec<_> = (0..BATCH)
                .map(|_| {
                    task::spawn(async move {
                        for _ in 0..count / BATCH {
                            task::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("it ends by itself");
            }
        })
    });
    ended?;
    Ok([begun, yielded])
}

fn reactor() -> twistor::Result<Reactor> {
    Reactor::with_settings(Settings { handle_signals: false, ..Settings::default() })
}

fn sleepers_of_twistor(count: usize) -> support::Result<[f64; 2]> {
    let mut reactor = reactor()?;
    reactor.block_on(async { task::spawn(task::sleep(Duration::ZERO)).await })?.expect("it ends by itself");
    let before = support::resident()?;
    let mut sizes = 0;
    let (asleep, ended) = timed(count, || {
        for _ in 0..count {
            let future = task::sleep(LONG);
            sizes += size_of_val(&future);
            reactor.spawn(future).detach();
        }
        reactor.iterate(Some(Duration::ZERO))
    });
    ended?;
    let taken = (support::resident()? - before) as f64 - sizes as f64;
    assert_eq!((reactor.tasks().len(), reactor.delayed_call_count()), (count, count));
    Ok([asleep, taken / count as f64])
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}

fn of_tokio(count: usize) -> support::Result<[f64; 2]> {
    let runtime = runtime()?;
    let spawn = |count: usize| async move {
        for _ in 0..count / BATCH {
            let tasks: Vec<_> =
                (0..BATCH).map(|number| tokio::task::spawn_local(async move { number })).collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.expect("it ends by itself"), number);
            }
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, spawn(BATCH));
    let (begun, ()) = timed(count, || local.block_on(&runtime, spawn(count)));
    let (yielded, ()) = timed(count, || {
        local.block_on(&runtime, async {
            let tasks: Vec<_> = (0..BATCH)
                .map(|_| {
                    tokio::task::spawn_local(async move {
                        for _ in 0..count / BATCH {
                            tokio::task::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("it ends by itself");
            }
        })
    });
    Ok([begun, yielded])
}

fn sleepers_of_tokio(count: usize) -> support::Result<[f64; 2]> {
    let (runtime, local) = (runtime()?, tokio::task::LocalSet::new());
    local.block_on(&runtime, async { tokio::time::sleep(Duration::ZERO).await });
    let before = support::resident()?;
    let mut sizes = 0;
    let (asleep, ()) = timed(count, || {
        let _inside = runtime.enter();
        for _ in 0..count {
            let future = tokio::time::sleep(LONG);
            sizes += size_of_val(&future);
            drop(local.spawn_local(future));
        }
        local.block_on(&runtime, tokio::task::yield_now());
    });
    // All are polled, in shares.
    local.block_on(&runtime, async {
        for _ in 0..count / 10 {
            tokio::task::yield_now().await;
        }
    });
    let taken = (support::resident()? - before) as f64 - sizes as f64;
    Ok([asleep, taken / count as f64])
}

/// CPU nanoseconds of this thread, divided by the number of operations, and what came of it.
fn timed<R>(operations: usize, run: impl FnOnce() -> R) -> (f64, R) {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    let result = run();
    ((now() - start) / operations as f64, result)
}
