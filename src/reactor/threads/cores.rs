//! Several reactors of one program, each on a thread of its own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::reactor::turn::lifecycle::RunState;
use crate::reactor::{Error, Phase, Reactor, RemoteHandle, Settings, SystemEvent};

/// Runs `count` reactors, one on each of `count` threads, until all of them have stopped. The first
/// runs on the calling thread. A `count` of 0 counts as 1.
///
/// `setup` is called for each reactor, on its thread. No reactor runs before all of them are set
/// up. Listeners of one port set [`ListenTcp::reuse_port`](crate::ListenTcp::reuse_port). The
/// kernel distributes the connections among the reactors.
///
/// The reactors stop together. When one of them stops, for any reason, the others do, too:
/// gracefully if that one stops gracefully. SIGINT and SIGTERM stop all of them gracefully.
///
/// ```
/// use twistor::{ListenTcp, Protocol, Reactor, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// fn main() -> twistor::Result<()> {
/// #   let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).unwrap();
///     let cores = std::thread::available_parallelism().map_or(1, usize::from);
///     let address = ([127, 0, 0, 1], 7007);
/// #   let address = unused;
///     twistor::run_on_cores(cores, |reactor| {
///         reactor.listen_tcp(ListenTcp { reuse_port: true, ..ListenTcp::new(address) }, || Echo)?;
/// #       reactor.call_when_running(|reactor| { reactor.stop(); });
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
/// The first error of a reactor, of a thread that cannot be started ([`Error::System`]), or of
/// `setup`. The other reactors are stopped then; if `setup` failed, none of them runs.
///
/// # Panics
/// If `setup` panics, after all threads have ended.
#[doc(alias("multi_thread", "worker_threads", "SO_REUSEPORT"))]
pub fn run_on_cores<E>(count: usize, setup: impl Fn(&mut Reactor) -> Result<(), E> + Sync) -> Result<(), E>
where
    E: From<Error> + Send,
{
    run_on_cores_with(count, Settings::default(), setup)
}

/// As [`run_on_cores`], with settings. `handle_signals` is that of the first reactor, and the
/// others do not handle signals.
///
/// # Errors
/// As [`run_on_cores`].
///
/// # Panics
/// As [`run_on_cores`].
pub fn run_on_cores_with<E>(
    count: usize,
    settings: Settings,
    setup: impl Fn(&mut Reactor) -> Result<(), E> + Sync,
) -> Result<(), E>
where
    E: From<Error> + Send,
{
    let count = count.max(1);
    let group = Arc::new(Group::default());
    let first_failure = Mutex::new(None);
    let run_one = |settings: Settings| {
        let end = catch_unwind(AssertUnwindSafe(|| run_member(&group, count, settings, &setup)));
        let failure = match end {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::Error(error)),
            Err(panic) => Some(Failure::Panic(panic)),
        };
        note(&first_failure, failure);
        // After a reactor that has run, the others are stopping already.
        group.stop(false);
    };
    thread::scope(|scope| {
        for number in 1..count {
            let settings = Settings { handle_signals: false, ..settings.clone() };
            let run = || run_one(settings);
            let thread = thread::Builder::new().name(format!("reactor-{number}"));
            if let Err(source) = thread.spawn_scoped(scope, run) {
                let error = Error::System { call: "pthread_create", source };
                note(&first_failure, Some(Failure::Error(error.into())));
                group.stop(false);
                return;
            }
        }
        run_one(settings);
    });
    match first_failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(()),
        Some(Failure::Error(error)) => Err(error),
        Some(Failure::Panic(panic)) => resume_unwind(panic),
    }
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

/// Keeps the first failure.
fn note<E>(first: &Mutex<Option<Failure<E>>>, failure: Option<Failure<E>>) {
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    if first.is_none() {
        *first = failure;
    }
}

/// Sets one reactor up, waits for the others, and runs it.
fn run_member<E: From<Error>>(
    group: &Arc<Group>,
    count: usize,
    settings: Settings,
    setup: &impl Fn(&mut Reactor) -> Result<(), E>,
) -> Result<(), E> {
    let mut reactor = Reactor::with_settings(settings)?;
    setup(&mut reactor)?;
    let members = Arc::clone(group);
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
        members.stop(matches!(reactor.lifecycle.state, RunState::Stopping { graceful: true }));
    });
    match group.join(reactor.remote(), count) {
        true => Ok(reactor.run()?),
        false => Ok(()),
    }
}

/// Reactors that stop together.
#[derive(Default)]
struct Group {
    members: Mutex<Members>,
    changed: Condvar,
}

#[derive(Default)]
struct Members {
    remotes: Vec<RemoteHandle>,
    stopping: bool,
}

impl Group {
    /// Adds a reactor and waits until all of them are set up. Returns `false` if one was not.
    fn join(&self, remote: RemoteHandle, count: usize) -> bool {
        let mut members = self.lock();
        members.remotes.push(remote);
        self.changed.notify_all();
        while members.remotes.len() < count {
            if members.stopping {
                return false;
            }
            members = self.changed.wait(members).unwrap_or_else(PoisonError::into_inner);
        }
        // If a reactor that was faster is stopping already, this one has a call that stops it.
        true
    }

    /// Stops all reactors, once.
    fn stop(&self, graceful: bool) {
        let mut members = self.lock();
        if !members.stopping {
            members.stopping = true;
            for remote in &members.remotes {
                // Fails for a reactor that has finished.
                let _ = remote.stop_when_running(graceful);
            }
            self.changed.notify_all();
        }
    }

    /// A poisoned lock means that a push panicked for lack of memory. The list is intact.
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemoteHandle {
    /// Stops the reactor, after its startup if that is not over.
    fn stop_when_running(&self, graceful: bool) -> Result<(), Error> {
        let stop = move |reactor: &mut Reactor| {
            reactor.call_when_running(move |reactor| {
                if graceful {
                    reactor.stop_gracefully()
                } else {
                    reactor.stop()
                };
            });
        };
        self.inbox.push(Box::new(stop), usize::MAX)
    }
}
