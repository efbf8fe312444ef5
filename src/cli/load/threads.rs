//! The threads of a load: each has a reactor and a share of the plan, and the first one has the signals.
//!
//! They begin to run together, when the connections of all are made. In a process of several the one that started it says
//! when.

use super::Goal;
use super::live::{Live, Teller};
use super::news::{self, News};
use super::{CLOSING, Place};
use crate::cli::{Failure, descriptors, parent_pipe, writer};
use crate::load::{LoadConfig, LoadTest, Report, Workload};
use crate::{Phase, PhaseGuard, Reactor, RemoteHandle, Settings, SystemEvent};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

/// What the threads share.
#[derive(Clone)]
pub(super) struct Crew {
    text: Arc<str>,
    plan: LoadConfig,
    parts: usize,
    place: Place,
    /// Threads whose connections are being made, and how many connections stand on the others.
    opening: Arc<AtomicUsize>,
    standing: Arc<AtomicU64>,
    /// The reactors of all.
    all: Arc<OnceLock<Vec<RemoteHandle>>>,
    /// Threads that have not finished.
    unfinished: Arc<AtomicUsize>,
    live: Arc<Live>,
    teller: Arc<Mutex<Teller>>,
    /// The first thread's reactor: it ends when all have finished.
    first: RemoteHandle,
}

impl Crew {
    /// Runs a load on so many threads, this one included, and puts their reports together.
    pub(super) fn run(text: &str, plan: &LoadConfig, parts: usize, place: Place) -> Result<Report, Failure> {
        descriptors::raise_limit();
        let mut reactor = Reactor::with_settings(settings(true))?;
        let crew = Crew {
            text: text.into(),
            plan: plan.clone(),
            parts,
            place,
            opening: Arc::new(AtomicUsize::new(parts)),
            standing: Arc::default(),
            all: Arc::default(),
            unfinished: Arc::new(AtomicUsize::new(parts)),
            live: Arc::new(match place {
                Place::Alone => Live::for_people(parts),
                Place::OneOfSeveral => Live::for_others(parts),
            }),
            teller: Arc::default(),
            first: reactor.remote(),
        };
        let mut others = Vec::new();
        for index in 1..parts {
            // Those that wait to begin end when nobody is left to tell them.
            others.push(Other::start(&crew, index)?);
        }
        let remotes: Vec<RemoteHandle> = others.iter().map(|other| other.remote.clone()).collect();
        // Nobody has set them before.
        let _ = crew.all.set([std::slice::from_ref(&crew.first), &remotes[..]].concat());
        if place == Place::OneOfSeveral {
            crew.listen(&mut reactor)?;
        }
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
    fn begin(&self, reactor: &mut Reactor, index: usize) -> Result<LoadTest, Failure> {
        let plan = self.plan.part(index, self.parts);
        let load = Goal::read(&self.text, &plan)?.start(reactor, plan);
        let load = load.map_err(|error| Failure::Usage(error.to_string()))?;
        LOAD.set(Some(load.clone()));
        let opening = Rc::new(Cell::new(true));
        let (crew, first_time) = (self.clone(), Rc::clone(&opening));
        load.wait_when_opened(move |reactor| crew.opened(reactor, &first_time));
        if matches!(self.plan.work, Workload::Hold { .. }) {
            let (teller, place) = (Arc::clone(&self.teller), self.place);
            load.on_trouble(move |trouble| {
                // Nobody panics while he tells.
                if let Ok(mut teller) = teller.lock()
                    && teller.is_news(trouble)
                {
                    match place {
                        Place::Alone => teller.tell(&trouble.to_string()),
                        Place::OneOfSeveral => teller.pass_on(&trouble.to_string()),
                    }
                }
            });
        }
        self.live.watch(reactor, &load, index);
        let held: Rc<Cell<Option<PhaseGuard>>> = Rc::default();
        let (unfinished, first, holds) = (Arc::clone(&self.unfinished), self.first.clone(), Rc::clone(&held));
        let crew = self.clone();
        load.on_finished(move |reactor| {
            drop(holds.take());
            LOAD.set(None);
            // The others do not wait for one that has nothing to run with.
            crew.opened(reactor, &opening);
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
                writer::hurry();
                held.set(Some(hold));
                last.stop(reactor);
            }
        });
        Ok(load)
    }

    /// The connections of this thread's share are made. When those of all are, all go on.
    fn opened(&self, reactor: &mut Reactor, opening: &Cell<bool>) {
        if !opening.replace(false) {
            return;
        }
        let now = reactor.now();
        let standing = LOAD.with_borrow(|load| load.as_ref().map_or(0, |load| load.progress(now).standing));
        let standing = self.standing.fetch_add(standing, Ordering::SeqCst) + standing;
        if self.opening.fetch_sub(1, Ordering::SeqCst) == 1 {
            match self.place {
                Place::Alone => {
                    stand(standing);
                    self.go();
                }
                Place::OneOfSeveral => News::Opened(standing).say(),
            }
        }
    }

    fn go(&self) {
        for remote in self.all.get().into_iter().flatten() {
            // One that is gone has finished.
            let _ = remote.call_from_thread(|reactor| {
                let load = LOAD.with_borrow(Clone::clone);
                if let Some(load) = load {
                    load.resume(reactor);
                }
            });
        }
    }

    /// Does what the process says that started this one, and ends when it is gone.
    fn listen(&self, reactor: &mut Reactor) -> Result<(), Failure> {
        let crew = self.clone();
        let line = move |reactor: &mut Reactor, line: &str| match line {
            news::GO => crew.go(),
            news::STOP => {
                reactor.stop_gracefully();
            }
            _ => {}
        };
        // Nobody is left to be told what it came to.
        parent_pipe::hold(reactor, line, |_| std::process::exit(1))
    }
}

/// Says, to those who want to know, that all connections are made that could be.
pub(super) fn stand(connections: u64) {
    log::info!(connections; "{connections} connections stand");
}

thread_local! {
    /// The share of this thread.
    static LOAD: RefCell<Option<LoadTest>> = const { RefCell::new(None) };
}

/// A thread beside the first.
struct Other {
    thread: thread::JoinHandle<Result<Report, Failure>>,
    remote: RemoteHandle,
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
    Settings { handle_signals, graceful_stop_timeout: CLOSING, ..Settings::default() }
}
