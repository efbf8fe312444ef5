//! What a Deferred costs: to make one with ten callbacks, to fire it, and to run them.
//!
//! Nanoseconds by the CPU clock of the thread, so that neighbours do not count, and user instructions, counted by valgrind where
//! it is there; next to ten boxed closures in a vector, each called with what the one before returned, which is the least that
//! callbacks of any kind can be. With `--check` the bench exits with 1 when ten callbacks take longer than the limit.

mod support;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use twistor::{Deferred, Handle, Reactor, Settings};

use support::options::Options;
use support::table::{self, Table};
use support::tool;

/// Nanoseconds of a Deferred with ten callbacks.
const LIMIT: f64 = 1000.0;

const CALLBACKS: usize = 10;

/// Deferreds that are under way at once.
const BATCH: usize = 100;

const DEFERREDS: usize = 200_000;
const SMOKE_DEFERREDS: usize = 1_000;

/// What is measured, and by whom.
const FIGURES: [(&str, Run); 5] = [
    ("ten boxed closures in a vector", boxed_closures),
    ("ten callbacks", ten_callbacks),
    ("ten callbacks that keep something", ten_that_keep_something),
    ("one callback", one_callback),
    ("a callback that returns another Deferred", one_that_waits),
];

/// So many of them; the sum of their results.
type Run = fn(&mut Reactor, usize) -> twistor::Result<u64>;

fn main() -> ExitCode {
    match std::env::var(COUNTED) {
        Ok(which) => support::main(|_| counted(&which)),
        Err(_) => support::main(bench),
    }
}

/// Says to the bench's own program which figure's instructions are counted, and how many: `2 1000`.
const COUNTED: &str = "TWISTOR_BENCH_DEFERREDS";

fn counted(which: &str) -> support::Result<()> {
    let (index, count) = which.split_once(' ').ok_or("an index and a count")?;
    let (_, run) = FIGURES.get(index.parse::<usize>()?).ok_or("no such figure")?;
    run(&mut reactor()?, count.parse()?)?;
    Ok(())
}

fn bench(options: Options) -> support::Result<()> {
    let count = if options.smoke { SMOKE_DEFERREDS } else { DEFERREDS };
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for _ in 0..options.rounds(5) {
        rounds.push(FIGURES.iter().map(|(_, run)| nanoseconds(*run, count)).collect::<Result<_, _>>()?);
    }
    let figures = |index: usize| rounds.iter().map(|round| round[index]).collect::<Vec<_>>();
    let mut table = Table::new(["each", "ns", "instructions"]);
    for (index, (name, _)) in FIGURES.iter().enumerate() {
        let instructions = match tool::present("valgrind") {
            true => format!("{:.0}", instructions(index)?),
            false => "no valgrind here".to_owned(),
        };
        table.row([name.to_string(), table::spread(&figures(index)), instructions]);
    }
    table.print(&format!("Deferreds, {} of them", table::thousands(count as f64)));
    let ten = table::median(&figures(1));
    if options.check && ten > LIMIT {
        return Err(
            format!("a Deferred with ten callbacks takes {ten:.0} ns, the limit is {LIMIT:.0}").into()
        );
    }
    Ok(())
}

fn nanoseconds(run: Run, count: usize) -> support::Result<f64> {
    let mut reactor = reactor()?;
    run(&mut reactor, BATCH)?;
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    let sum = run(&mut reactor, count)?;
    let took = now() - start;
    if sum == 0 { Err("nothing came".into()) } else { Ok(took / count as f64) }
}

fn instructions(index: usize) -> support::Result<f64> {
    let counts = [2_000, 12_000];
    let totals =
        counts.map(|count| tool::instructions_of_self("deferreds", COUNTED, &format!("{index} {count}")));
    let [few, many] = totals;
    Ok((many? - few?) / (counts[1] - counts[0]) as f64)
}

fn reactor() -> twistor::Result<Reactor> {
    Reactor::with_settings(Settings { handle_signals: false, ..Settings::default() })
}

/// Makes and fires them, a batch in a turn.
fn in_batches(
    reactor: &mut Reactor,
    count: usize,
    make: impl Fn(&Handle, u64, &Rc<Cell<u64>>),
) -> twistor::Result<u64> {
    let (handle, sum) = (reactor.handle(), Rc::new(Cell::new(0)));
    for _ in 0..count / BATCH {
        (0..BATCH as u64).for_each(|number| make(&handle, number, &sum));
        reactor.iterate(Some(Duration::ZERO))?;
    }
    Ok(sum.get())
}

fn ten_callbacks(reactor: &mut Reactor, count: usize) -> twistor::Result<u64> {
    in_batches(reactor, count, |handle, number, sum| {
        let (resolver, mut deferred) = Deferred::new(handle);
        for _ in 1..CALLBACKS {
            deferred = deferred.map(|_, number: u64| number + 1);
        }
        let sum = Rc::clone(sum);
        deferred.done(move |_, number| sum.set(sum.get() + number.unwrap_or_default()));
        let _ = resolver.callback(number);
    })
}

fn ten_that_keep_something(reactor: &mut Reactor, count: usize) -> twistor::Result<u64> {
    in_batches(reactor, count, |handle, number, sum| {
        let (resolver, mut deferred) = Deferred::new(handle);
        for _ in 0..CALLBACKS {
            let sum = Rc::clone(sum);
            deferred = deferred.then(move |_, number: u64| {
                sum.set(sum.get() + number);
                Ok(number + 1)
            });
        }
        deferred.detach();
        let _ = resolver.callback(number);
    })
}

fn one_callback(reactor: &mut Reactor, count: usize) -> twistor::Result<u64> {
    in_batches(reactor, count, |handle, number, sum| {
        let (resolver, deferred) = Deferred::new(handle);
        let sum = Rc::clone(sum);
        deferred.done(move |_, number| sum.set(sum.get() + number.unwrap_or_default()));
        let _ = resolver.callback(number);
    })
}

fn one_that_waits(reactor: &mut Reactor, count: usize) -> twistor::Result<u64> {
    in_batches(reactor, count, |handle, number, sum| {
        let (resolver, deferred) = Deferred::new(handle);
        let (inner, waited_for) = Deferred::new(handle);
        let sum = Rc::clone(sum);
        deferred
            .then(move |_, ()| waited_for)
            .done(move |_, number| sum.set(sum.get() + number.unwrap_or_default()));
        let _ = resolver.callback(());
        let _ = inner.callback(number);
    })
}

type Boxed = Box<dyn FnOnce(u64) -> u64>;

fn boxed_closures(_: &mut Reactor, count: usize) -> twistor::Result<u64> {
    let sum = Rc::new(Cell::new(0));
    for _ in 0..count / BATCH {
        let chains: Vec<(u64, Vec<Boxed>)> = (0..BATCH as u64)
            .map(|number| {
                let mut chain: Vec<Boxed> = Vec::new();
                for _ in 0..CALLBACKS {
                    let sum = Rc::clone(&sum);
                    chain.push(Box::new(move |number| {
                        sum.set(sum.get() + number);
                        number + 1
                    }));
                }
                (number, chain)
            })
            .collect();
        for (number, chain) in chains {
            chain.into_iter().fold(number, |number, callback| callback(number));
        }
    }
    Ok(sum.get())
}
