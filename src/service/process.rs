//! A child process that is kept running.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::{Backoff, Failure, RetryPolicy, Service, StopToken};
use crate::escape::Escaped;
use crate::reactor::panic_message;
use crate::{
    DelayedCall, ExitReason, Instant, ProcessId, ProcessProtocol, ProcessSignal, ProcessTransport, Reactor,
    Reason, Signal, SpawnProcess,
};

/// Keeps a child process running while it runs itself. (Twisted: `runner.procmon`; systemd:
/// `Restart=`, `TimeoutStopSec=`.)
///
/// A process that ends is started again, after a delay of the [retry
/// policy](ProcessService::retry). A run shorter than [`min_uptime`](ProcessService::min_uptime)
/// counts as a failure, and so does a start that fails, except the first one: it is the error of
/// [`start`](Service::start).
///
/// Stopping sends SIGTERM, and SIGKILL after [`kill_timeout`](ProcessService::kill_timeout). The
/// service has stopped when the protocol has received
/// [`process_ended`](ProcessProtocol::process_ended). Descendants that hold the pipes open delay
/// this, and with it a restart: with
/// [`SpawnProcess::own_group`](crate::SpawnProcess::own_group) the signals reach them, too.
///
/// Clones share the service.
///
/// ```
/// use twistor::service::ProcessService;
/// use twistor::{ProcessProtocol, ProcessTransport, SpawnProcess};
///
/// struct Log;
///
/// impl ProcessProtocol for Log {
///     fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
///         print!("{}", data.escape_ascii());
///     }
/// }
///
/// let worker = ProcessService::new(SpawnProcess::new("worker", ["--verbose"]), || Log).named("worker");
/// # drop(worker);
/// ```
#[doc(alias = "procmon")]
#[doc(alias = "ProcessMonitor")]
#[derive(Clone)]
pub struct ProcessService {
    name: Option<Rc<str>>,
    supervisor: Rc<RefCell<Supervisor>>,
    build: Rc<RefCell<dyn FnMut() -> Box<dyn ProcessProtocol>>>,
}

/// Whether a process that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// After every end.
    #[default]
    Always,
    /// Unless it exited with code 0.
    OnFailure,
    /// Never.
    Never,
}

struct Supervisor {
    command: SpawnProcess,
    restart: Restart,
    policy: Rc<dyn RetryPolicy>,
    min_uptime: Duration,
    kill_timeout: Duration,
    state: State,
    /// The number of starts, which tells the runs apart.
    runs: u64,
    /// The number of consecutive failures.
    failures: u32,
    stops: Vec<StopToken>,
}

#[derive(Clone, Copy)]
enum State {
    /// Not started, or stopped.
    Down,
    Running {
        process: ProcessId,
        since: Instant,
    },
    /// Waits for the next start.
    Waiting(DelayedCall),
    Stopping {
        process: ProcessId,
        kill: DelayedCall,
        /// Started again meanwhile.
        again: bool,
    },
    /// The process has ended and is not started again.
    Ended,
}

impl ProcessService {
    /// Creates a service that runs `command` and calls `build` for a protocol, at each start.
    pub fn new<P: ProcessProtocol>(
        command: SpawnProcess,
        mut build: impl FnMut() -> P + 'static,
    ) -> ProcessService {
        let supervisor = Supervisor {
            command,
            restart: Restart::Always,
            policy: Rc::new(Backoff::default()),
            min_uptime: Duration::from_secs(1),
            kill_timeout: Duration::from_secs(5),
            state: State::Down,
            runs: 0,
            failures: 0,
            stops: Vec::new(),
        };
        ProcessService {
            name: None,
            supervisor: Rc::new(RefCell::new(supervisor)),
            build: Rc::new(RefCell::new(move || Box::new(build()) as Box<dyn ProcessProtocol>)),
        }
    }

    /// Sets the name.
    pub fn named(mut self, name: &str) -> ProcessService {
        self.name = Some(name.into());
        self
    }

    /// Sets when a process that has ended is started again. Default: [`Restart::Always`].
    pub fn restart(self, restart: Restart) -> ProcessService {
        self.supervisor.borrow_mut().restart = restart;
        self
    }

    /// Sets the delay before the next start: a [`Backoff`] or another [`RetryPolicy`]. A policy
    /// that gives up ends the service, with a warning. Default: [`Backoff::default`]. (Twisted:
    /// `minRestartDelay`, `maxRestartDelay`.)
    pub fn retry(self, policy: impl RetryPolicy) -> ProcessService {
        self.supervisor.borrow_mut().policy = Rc::new(policy);
        self
    }

    /// Sets how long a process has to run for its end not to count as a failure. Default: 1 s.
    /// (Twisted: `threshold`.)
    pub fn min_uptime(self, time: Duration) -> ProcessService {
        self.supervisor.borrow_mut().min_uptime = time;
        self
    }

    /// Sets the time between SIGTERM and SIGKILL at the stop. Default: 5 s. (Twisted: `killTime`.)
    pub fn kill_timeout(self, limit: Duration) -> ProcessService {
        self.supervisor.borrow_mut().kill_timeout = limit;
        self
    }

    /// The process, while it runs.
    pub fn process(&self) -> Option<ProcessId> {
        match self.supervisor.borrow().state {
            State::Running { process, .. } | State::Stopping { process, .. } => Some(process),
            State::Down | State::Waiting(_) | State::Ended => None,
        }
    }

    /// The number of starts so far, without those that failed.
    pub fn runs(&self) -> u64 {
        self.supervisor.borrow().runs
    }

    fn label(&self) -> String {
        match &self.name {
            Some(name) => Escaped(name).to_string(),
            None => self.supervisor.borrow().command.to_string(),
        }
    }

    fn spawn(&self, reactor: &mut Reactor) -> Result<(), Failure> {
        let command = self.supervisor.borrow().command.clone();
        let inner = (self.build.borrow_mut())();
        let run = self.supervisor.borrow().runs.wrapping_add(1);
        let process = reactor.spawn_process(command, Watched { inner, service: self.clone(), run })?;
        let mut supervisor = self.supervisor.borrow_mut();
        supervisor.runs = run;
        supervisor.state = State::Running { process, since: reactor.now() };
        Ok(())
    }

    /// Starts the process again. A failure is logged and retried.
    fn spawn_again(&self, reactor: &mut Reactor) {
        self.supervisor.borrow_mut().state = State::Down;
        let spawned = catch_unwind(AssertUnwindSafe(|| self.spawn(reactor)));
        let failed = match spawned {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.to_string(),
            Err(panic) => format!("its protocol could not be built: {}", panic_message(&*panic)),
        };
        log_warn!("{}: {}", self.label(), Escaped(failed));
        let mut supervisor = self.supervisor.borrow_mut();
        supervisor.failures = supervisor.failures.saturating_add(1);
        drop(supervisor);
        self.start_later(reactor);
    }

    /// Handles the end of a run.
    fn ended(&self, reactor: &mut Reactor, run: u64, reason: &ExitReason) {
        let mut supervisor = self.supervisor.borrow_mut();
        if supervisor.runs != run {
            return;
        }
        match supervisor.state {
            State::Running { since, .. } => {
                let healthy = reactor.now() - since >= supervisor.min_uptime;
                supervisor.failures = if healthy { 0 } else { supervisor.failures.saturating_add(1) };
                let again = match supervisor.restart {
                    Restart::Always => true,
                    Restart::OnFailure => !reason.is_clean(),
                    Restart::Never => false,
                };
                supervisor.state = State::Ended;
                drop(supervisor);
                let label = self.label();
                log::info!(service = label.as_str(); "{label}: {reason}");
                if again {
                    self.start_later(reactor);
                }
            }
            State::Stopping { kill, again, .. } => {
                supervisor.state = State::Down;
                let stops = std::mem::take(&mut supervisor.stops);
                drop(supervisor);
                drop(stops);
                // Fails if the process was killed.
                let _ = kill.cancel(reactor);
                if again {
                    self.spawn_again(reactor);
                }
            }
            State::Down | State::Waiting(_) | State::Ended => {}
        }
    }

    fn start_later(&self, reactor: &mut Reactor) {
        let random = reactor.random();
        let (policy, failures) = {
            let supervisor = self.supervisor.borrow();
            (Rc::clone(&supervisor.policy), supervisor.failures)
        };
        let label = self.label();
        let delay = catch_unwind(AssertUnwindSafe(|| policy.next_delay(failures, random)));
        let delay = delay.unwrap_or_else(|panic| {
            log_error!("{label}: the retry policy panicked: {}", Escaped(panic_message(&*panic)));
            None
        });
        let state = match delay {
            None => {
                log_warn!([service = label.as_str()] "{label}: gave up after {failures} failures");
                State::Ended
            }
            Some(delay) => {
                log::debug!(service = label.as_str(); "{label}: next start in {delay:?}");
                let this = self.clone();
                State::Waiting(reactor.call_later(delay, move |reactor| this.spawn_again(reactor)))
            }
        };
        self.supervisor.borrow_mut().state = state;
    }
}

impl Service for ProcessService {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        let mut supervisor = self.supervisor.borrow_mut();
        match &mut supervisor.state {
            State::Down | State::Ended => {
                supervisor.failures = 0;
                drop(supervisor);
                self.spawn(reactor)
            }
            State::Running { .. } | State::Waiting(_) => Ok(()),
            State::Stopping { again, .. } => {
                *again = true;
                supervisor.failures = 0;
                Ok(())
            }
        }
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let mut supervisor = self.supervisor.borrow_mut();
        match supervisor.state {
            State::Down | State::Ended => supervisor.state = State::Down,
            State::Waiting(timer) => {
                supervisor.state = State::Down;
                // Cannot fail: the timer changes the state when it expires.
                let _ = timer.cancel(reactor);
            }
            State::Running { process, .. } => {
                let kill = reactor.call_later(supervisor.kill_timeout, move |reactor| {
                    if let Some(mut transport) = reactor.process_transport(process) {
                        transport.kill();
                        // Descendants may hold them open.
                        transport.close_pipes();
                    }
                });
                supervisor.state = State::Stopping { process, kill, again: false };
                supervisor.stops.push(stopped);
                if let Some(mut transport) = reactor.process_transport(process) {
                    // Fails if the process has exited and its pipes are still open.
                    let _ = transport.signal(ProcessSignal::from(Signal::Terminate));
                }
            }
            State::Stopping { process, kill, .. } => {
                supervisor.state = State::Stopping { process, kill, again: false };
                supervisor.stops.push(stopped);
            }
        }
    }
}

/// Passes all calls to the user's protocol, and tells the service of the end.
struct Watched {
    inner: Box<dyn ProcessProtocol>,
    service: ProcessService,
    run: u64,
}

impl ProcessProtocol for Watched {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        self.inner.process_started(process);
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        self.inner.out_received(process, data);
    }

    fn err_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        self.inner.err_received(process, data);
    }

    fn in_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        self.inner.in_connection_lost(process, reason);
    }

    fn out_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        self.inner.out_connection_lost(process, reason);
    }

    fn err_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        self.inner.err_connection_lost(process, reason);
    }

    fn pause_writing(&mut self, process: &mut ProcessTransport<'_>) {
        self.inner.pause_writing(process);
    }

    fn resume_writing(&mut self, process: &mut ProcessTransport<'_>) {
        self.inner.resume_writing(process);
    }

    fn process_exited(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        self.inner.process_exited(process, reason);
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let (service, run, end) = (self.service.clone(), self.run, reason.clone());
        // First, because the protocol may panic.
        process.reactor().call_later(Duration::ZERO, move |reactor| service.ended(reactor, run, &end));
        self.inner.process_ended(process, reason);
    }

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let inner: &mut dyn Any = &mut *self.inner;
        if (*inner).type_id() == want {
            return Some(&mut *self.inner);
        }
        self.inner.downcast_inner(want)
    }
}
