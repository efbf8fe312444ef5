//! The threads of a load. Each has a reactor and a share of the load; the first one handles the
//! signals.
//!
//! The threads start to run together, when all connections are made. In a process of several, the
//! parent gives the start signal.
//! when.

use super::Destination;
use super::ipc::{self, Message};
use super::live::{Live, Notifier};
use super::{CLOSE_TIMEOUT, Role};
use crate::cli::{Failure, parent_pipe, writer};
use crate::load::{LoadConfig, LoadTest, Report, Workload};
use crate::net::system;
use crate::{Phase, PhaseGuard, Reactor, RemoteHandle, Settings, SystemEvent};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

/// The state shared by the threads.
#[derive(Clone)]
pub(super) struct ThreadGroup {
    text: Arc<str>,
    config: LoadConfig,
    parts: usize,
    role: Role,
    /// Number of threads that are still connecting, and number of connections on the others.
    opening: Arc<AtomicUsize>,
    open: Arc<AtomicU64>,
    /// The reactors of all threads.
    all: Arc<OnceLock<Vec<RemoteHandle>>>,
    /// Number of threads that have not finished.
    unfinished: Arc<AtomicUsize>,
    live: Arc<Live>,
    notifier: Arc<Mutex<Notifier>>,
    /// The first thread's reactor, which ends when all threads have finished.
    first: RemoteHandle,
}

impl ThreadGroup {
    /// Runs a load on `parts` threads, this one included, and merges their reports.
    pub(super) fn run(text: &str, config: &LoadConfig, parts: usize, role: Role) -> Result<Report, Failure> {
        system::raise_descriptor_limit();
        let mut reactor = Reactor::with_settings(settings(true))?;
        let group = ThreadGroup {
            text: text.into(),
            config: config.clone(),
            parts,
            role,
            opening: Arc::new(AtomicUsize::new(parts)),
            open: Arc::default(),
            all: Arc::default(),
            unfinished: Arc::new(AtomicUsize::new(parts)),
            live: Arc::new(match role {
                Role::Standalone => Live::for_terminal(parts),
                Role::Child => Live::for_parent(parts),
            }),
            notifier: Arc::default(),
            first: reactor.remote(),
        };
        let mut others = Vec::new();
        for index in 1..parts {
            // If this fails, the waiting threads end because their channel closes.
            others.push(Other::start(&group, index)?);
        }
        let remotes: Vec<RemoteHandle> = others.iter().map(|other| other.remote.clone()).collect();
        // Set only here.
        let _ = group.all.set([std::slice::from_ref(&group.first), &remotes[..]].concat());
        if role == Role::Child {
            group.listen(&mut reactor)?;
        }
        let stop = move || {
            for remote in &remotes {
                // A thread that has ended needs no stop.
                let _ = remote.stop();
            }
        };
        let load = group.begin(&mut reactor, 0)?;
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| stop());
        // All threads start together, and only once the signal handlers are installed.
        let begins: Vec<_> = others.iter().map(|other| other.begins.clone()).collect();
        reactor.call_when_running(move |_| {
            for begin in begins {
                // A thread that has ended reports its error itself.
                let _ = begin.send(());
            }
        });
        group.live.show(&mut reactor, config, Arc::clone(&group.notifier));
        reactor.run()?;
        let mut report = load.report();
        for other in others {
            if let Ok(part) = other.thread.join() {
                report.totals.merge(&part?.totals);
            }
        }
        report.config = config.clone();
        Ok(report)
    }

    /// Starts a share of the load. The shutdown of the reactor waits for its last answers.
    fn begin(&self, reactor: &mut Reactor, index: usize) -> Result<LoadTest, Failure> {
        let config = self.config.part(index, self.parts);
        let load = Destination::read(&self.text, &config)?.start(reactor, config);
        let load = load.map_err(|error| Failure::Usage(error.to_string()))?;
        LOAD.set(Some(load.clone()));
        let opening = Rc::new(Cell::new(true));
        let (group, first_time) = (self.clone(), Rc::clone(&opening));
        load.pause_after_connect(move |reactor| group.opened(reactor, &first_time));
        if matches!(self.config.work, Workload::Hold { .. }) {
            let (notifier, role) = (Arc::clone(&self.notifier), self.role);
            load.on_error(move |trouble| {
                // A poisoned lock is ignored.
                if let Ok(mut notifier) = notifier.lock()
                    && notifier.is_worth_printing(trouble)
                {
                    match role {
                        Role::Standalone => notifier.print(&trouble.to_string()),
                        Role::Child => notifier.send_to_parent(&trouble.to_string()),
                    }
                }
            });
        }
        self.live.watch(reactor, &load, index);
        let held: Rc<Cell<Option<PhaseGuard>>> = Rc::default();
        let (unfinished, first, holds) = (Arc::clone(&self.unfinished), self.first.clone(), Rc::clone(&held));
        let group = self.clone();
        load.on_finished(move |reactor| {
            drop(holds.take());
            LOAD.set(None);
            // The other threads do not wait for one without connections.
            group.opened(reactor, &opening);
            if unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
                // The call fails if the reactor was stopped before.
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
                writer::limit_finish();
                held.set(Some(hold));
                last.stop(reactor);
            }
        });
        Ok(load)
    }

    /// Notes that the connections of this thread are made. When those of all threads are, all
    /// resume.
    fn opened(&self, reactor: &mut Reactor, opening: &Cell<bool>) {
        if !opening.replace(false) {
            return;
        }
        let now = reactor.now();
        let open = LOAD.with_borrow(|load| load.as_ref().map_or(0, |load| load.progress(now).open));
        let open = self.open.fetch_add(open, Ordering::SeqCst) + open;
        if self.opening.fetch_sub(1, Ordering::SeqCst) == 1 {
            match self.role {
                Role::Standalone => {
                    log_open(open);
                    self.go();
                }
                Role::Child => Message::Opened(open).send(),
            }
        }
    }

    fn go(&self) {
        for remote in self.all.get().into_iter().flatten() {
            // A thread that has ended needs no call.
            let _ = remote.call_from_thread(|reactor| {
                let load = LOAD.with_borrow(Clone::clone);
                if let Some(load) = load {
                    load.resume(reactor);
                }
            });
        }
    }

    /// Follows the commands of the parent process, and exits when the parent is gone.
    fn listen(&self, reactor: &mut Reactor) -> Result<(), Failure> {
        let group = self.clone();
        let line = move |reactor: &mut Reactor, line: &str| match line {
            ipc::GO => group.go(),
            ipc::STOP => {
                reactor.stop_gracefully();
            }
            _ => {}
        };
        // Without the parent, nothing reads the result.
        parent_pipe::hold(reactor, line, |_| std::process::exit(1))
    }
}

/// Logs that all connections that could be made are open.
pub(super) fn log_open(connections: u64) {
    log::info!(connections; "{connections} connections stand");
}

thread_local! {
    /// The load of this thread.
    static LOAD: RefCell<Option<LoadTest>> = const { RefCell::new(None) };
}

/// A thread other than the first.
struct Other {
    thread: thread::JoinHandle<Result<Report, Failure>>,
    remote: RemoteHandle,
    /// The channel on which it waits for the start.
    begins: mpsc::Sender<()>,
}

impl Other {
    fn start(group: &ThreadGroup, index: usize) -> Result<Other, Failure> {
        let (ready, started) = mpsc::channel();
        let (begins, begin) = mpsc::channel();
        let group = group.clone();
        let run = move || {
            let mut reactor = Reactor::with_settings(settings(false))?;
            let load = group.begin(&mut reactor, index)?;
            // The receiver waits for exactly one message.
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
    Settings { handle_signals, graceful_stop_timeout: CLOSE_TIMEOUT, ..Settings::default() }
}
