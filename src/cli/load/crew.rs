//! The threads of a load: each has a reactor and a share of the plan, and the first one has the signals.

use super::Goal;
use super::live::{Live, Teller};
use crate::cli::Failure;
use crate::load::{Load, Plan, Report, Work};
use crate::{Hold, Phase, Reactor, Remote, Settings, SystemEvent};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// What the threads share.
#[derive(Clone)]
pub(super) struct Crew {
    text: Arc<str>,
    plan: Plan,
    parts: usize,
    /// Threads that have not finished.
    unfinished: Arc<AtomicUsize>,
    live: Arc<Live>,
    teller: Arc<Mutex<Teller>>,
    /// The first thread's reactor: it ends when all have finished.
    first: Remote,
}

impl Crew {
    /// Runs a load on so many threads, this one included, and puts their reports together.
    pub(super) fn run(text: &str, plan: &Plan, parts: usize) -> Result<Report, Failure> {
        raise_descriptor_limit();
        let mut reactor = Reactor::with_settings(settings(true))?;
        let crew = Crew {
            text: text.into(),
            plan: plan.clone(),
            parts,
            unfinished: Arc::new(AtomicUsize::new(parts)),
            live: Arc::new(Live::new(parts)),
            teller: Arc::default(),
            first: reactor.remote(),
        };
        let mut others = Vec::new();
        for index in 1..parts {
            // Those that wait to begin end when nobody is left to tell them.
            others.push(Other::start(&crew, index)?);
        }
        let remotes: Vec<Remote> = others.iter().map(|other| other.remote.clone()).collect();
        let stop = move || {
            for remote in &remotes {
                // One that is gone has finished.
                let _ = remote.stop();
            }
        };
        let load = crew.begin(&mut reactor, 0)?;
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| stop());
        // All begin together, and not before a signal ends them all.
        let begins: Vec<_> = others.iter().map(|other| other.begins.clone()).collect();
        reactor.call_when_running(move |_| {
            for begin in begins {
                // One that is gone will say why.
                let _ = begin.send(());
            }
        });
        crew.live.show(&mut reactor, plan, Arc::clone(&crew.teller));
        reactor.run()?;
        let mut report = load.report();
        for other in others {
            if let Ok(part) = other.thread.join() {
                report.tally.merge(&part?.tally);
            }
        }
        report.plan = plan.clone();
        Ok(report)
    }

    /// Begins a share of the plan. The reactor's end waits for its last answers.
    fn begin(&self, reactor: &mut Reactor, index: usize) -> Result<Load, Failure> {
        let plan = self.plan.part(index, self.parts);
        let load = Goal::read(&self.text, &plan)?.start(reactor, plan);
        let load = load.map_err(|error| Failure::Usage(error.to_string()))?;
        if matches!(self.plan.work, Work::Hold { .. }) {
            let teller = Arc::clone(&self.teller);
            load.on_trouble(move |trouble| {
                // Nobody panics while he tells.
                if let Ok(mut teller) = teller.lock() {
                    teller.tell(trouble);
                }
            });
        }
        self.live.watch(reactor, &load, index);
        let held: Rc<Cell<Option<Hold>>> = Rc::default();
        let (unfinished, first, holds) = (Arc::clone(&self.unfinished), self.first.clone(), Rc::clone(&held));
        load.on_finished(move |reactor| {
            drop(holds.take());
            if unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
                // It is gone when it was stopped before.
                let _ = first.call_from_thread(|reactor| {
                    reactor.stop_gracefully();
                });
            }
            if index > 0 {
                reactor.stop_gracefully();
            }
        });
        let last = load.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
            if !last.is_finished() {
                held.set(Some(hold));
                last.stop(reactor);
            }
        });
        Ok(load)
    }
}

/// A thread beside the first.
struct Other {
    thread: thread::JoinHandle<Result<Report, Failure>>,
    remote: Remote,
    /// It waits for a word here.
    begins: mpsc::Sender<()>,
}

impl Other {
    fn start(crew: &Crew, index: usize) -> Result<Other, Failure> {
        let (ready, started) = mpsc::channel();
        let (begins, begin) = mpsc::channel();
        let crew = crew.clone();
        let run = move || {
            let mut reactor = Reactor::with_settings(settings(false))?;
            let load = crew.begin(&mut reactor, index)?;
            // The other end waits for exactly this.
            let _ = ready.send(reactor.remote());
            begin.recv().map_err(|_| Failure::Run("the load did not begin".into()))?;
            reactor.run()?;
            Ok(load.report())
        };
        let thread = thread::Builder::new().name("load".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))?;
        match started.recv() {
            Ok(remote) => Ok(Other { thread, remote, begins }),
            Err(_) => match thread.join() {
                Ok(Err(failure)) => Err(failure),
                _ => Err(Failure::Run("a thread ended before it was ready".into())),
            },
        }
    }
}

fn settings(handle_signals: bool) -> Settings {
    Settings { handle_signals, drain_limit: CLOSING, ..Settings::default() }
}

/// As many descriptors as the system lets this process have. Where that fails, the connections will tell.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Everything was measured: a server that does not close its side is not waited for.
const CLOSING: Duration = Duration::from_secs(1);
