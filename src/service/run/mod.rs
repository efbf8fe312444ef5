//! Running a service as a program.

pub(super) mod notify;
pub(super) mod pid_file;
pub(super) mod privileges;
use crate::escape::Escaped;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use crate::endpoint::ParseError;
use crate::service::attached::Attached;
use crate::service::run::notify::{Manager, notify_status};
use crate::service::run::pid_file::PidFile;
use crate::service::run::privileges::Identity;
use crate::service::{Service, ServiceError};
use crate::stream::ConnectError;
use crate::{Error, Phase, Reactor, Settings, Signal, SystemEvent, error_chain};

/// Runs a service as a program until it is stopped, with the default [`RunSettings`]. (Twisted:
/// `twist`, `twistd`.)
///
/// ```no_run
/// use std::process::ExitCode;
/// use std::time::Duration;
/// use twistor::service::TimerService;
///
/// fn main() -> ExitCode {
///     twistor::run(TimerService::new(Duration::from_secs(1), |_, tick| println!("{}", tick.count)))
/// }
/// ```
///
/// SIGTERM and SIGINT stop the service gracefully. A second signal ends the program at once. SIGHUP
/// calls [`Service::reload`].
///
/// Exit codes:
/// - 0: the service was stopped.
/// - 1: a failure.
/// - 2: a configuration error.
///
/// Errors are printed to stderr, on one line.
#[doc(alias("twistd", "twist"))]
pub fn run(service: impl Service) -> ExitCode {
    run_with(RunSettings::default(), service)
}

/// Like [`run`], with other settings.
pub fn run_with(settings: RunSettings, service: impl Service) -> ExitCode {
    match settings.run(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Fails without a service manager.
            let text = error_chain(&error).to_string();
            let _ = notify_status(&text);
            let program = std::env::args_os().next().map(PathBuf::from);
            let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
            // stderr may be closed.
            let _ = writeln!(io::stderr(), "{}: {text}", Escaped(program.display()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Settings of a program.
///
/// ```no_run
/// use twistor::service::{MultiService, RunSettings, run_with};
///
/// let settings = RunSettings {
///     user: Some("www-data".to_owned()),
///     pid_file: Some("/run/reports.pid".into()),
///     ..RunSettings::default()
/// };
/// run_with(settings, MultiService::new());
/// ```
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Time limit for the services to stop. After it, all connections are aborted and the exit code
    /// is 1. Connections that outlive the services have [`Settings::graceful_stop_timeout`], and at
    /// most this limit in total. Default: 30 s.
    pub stop_timeout: Duration,
    /// User to change to once all work that needs privileges is done, by name or number. Default:
    /// no change.
    pub user: Option<String>,
    /// Group to change to. Default: the user's group.
    pub group: Option<String>,
    /// Pid file. It must not exist, unless it belongs to a process that no longer runs. It is
    /// removed at the end. Default: none.
    pub pid_file: Option<PathBuf>,
    /// Settings of the reactor.
    pub reactor: Settings,
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            stop_timeout: Duration::from_secs(30),
            user: None,
            group: None,
            pid_file: None,
            reactor: Settings::default(),
        }
    }
}

/// Error of a program.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Invalid configuration, such as an unknown user.
    Configuration(String),
    /// The pid file cannot be written.
    PidFile {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// According to the pid file, the program is already running.
    AlreadyRuns {
        /// Path of the file.
        path: PathBuf,
        /// Id of the running process.
        process: u32,
    },
    /// The user could not be changed, or root could be regained.
    Privileges(String),
    /// The service did not start.
    Service(ServiceError),
    /// The reactor failed.
    Reactor(Error),
    /// The services did not stop within this limit.
    StopTimedOut(Duration),
}

impl RunError {
    /// Exit code of the process: 2 for configuration errors, 1 for all others.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Configuration(_) | RunError::PidFile { .. } => 2,
            RunError::Service(error) if is_configuration(error) => 2,
            RunError::AlreadyRuns { .. }
            | RunError::Privileges(_)
            | RunError::Service(_)
            | RunError::Reactor(_)
            | RunError::StopTimedOut(_) => 1,
        }
    }
}

/// Returns whether the root cause is an invalid address, an invalid endpoint or a taken name.
fn is_configuration(error: &ServiceError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(Error::BadAddress(_)))
            || matches!(error.downcast_ref(), Some(ServiceError::NameTaken(_)))
            || matches!(error.downcast_ref(), Some(ConnectError::BadEndpoint(_)))
            || error.is::<ParseError>()
        {
            return true;
        }
        cause = error.source();
    }
    false
}

impl RunSettings {
    /// Runs a service until it is stopped. The steps are:
    ///
    /// 1. Look up user and group, create the pid file and the reactor, and run the reactor. From
    ///    now on, a signal stops the program gracefully once it has started.
    /// 2. Call [`Service::privileged_start`], change the user, and call [`Service::start`].
    /// 3. If `NOTIFY_SOCKET` is set, send `READY=1` to the service manager, and then `WATCHDOG=1`
    ///    twice per `WATCHDOG_USEC`. The loop sends them.
    /// 4. On SIGHUP, call [`Service::reload`] and notify the service manager.
    /// 5. After SIGTERM, SIGINT or [`Reactor::stop`], send `STOPPING=1` and call [`Service::stop`].
    ///    After a signal, close the connections once their unsent data is sent. Abort all that
    ///    exceeds the limit.
    /// 6. Remove the pid file.
    /// # Errors
    /// See [`RunError`].
    pub fn run(self, service: impl Service) -> Result<(), RunError> {
        let identity = Identity::look_up(self.user.as_deref(), self.group.as_deref())?;
        let _pid_file = self.pid_file.as_deref().map(PidFile::create).transpose()?;
        let manager = Manager::from_environment();
        let mut reactor = Reactor::with_settings(self.reactor).map_err(RunError::Reactor)?;
        let attached = Attached::new(service);
        let stopping_manager = manager.clone();
        attached
            .stop_with(&mut reactor, self.stop_timeout, move |reactor| stopping_manager.stopping(reactor));
        let outcome = Rc::new(RefCell::new(None));
        let (failed, program) = (Rc::clone(&outcome), attached.clone());
        // Within the run, so that a signal during the start finds its handler.
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, move |reactor, _| {
            match start(&program, identity.as_ref(), reactor) {
                Ok(()) => started(program, manager, reactor),
                Err(error) => {
                    *failed.borrow_mut() = Some(error);
                    // Undoes a partial start.
                    reactor.stop_gracefully();
                }
            }
        });
        let ran = reactor.run().map_err(RunError::Reactor);
        if let Some(error) = outcome.take() {
            return Err(error);
        }
        ran?;
        if attached.timed_out.get() { Err(RunError::StopTimedOut(self.stop_timeout)) } else { Ok(()) }
    }
}

fn start(attached: &Attached, identity: Option<&Identity>, reactor: &mut Reactor) -> Result<(), RunError> {
    attached.privileged_start(reactor).map_err(RunError::Service)?;
    if let Some(identity) = identity {
        identity.assume()?;
    }
    attached.start(reactor).map_err(RunError::Service)
}

/// Notifies the service manager and installs the SIGHUP handler once the program has started.
fn started(program: Attached, manager: Manager, reactor: &mut Reactor) {
    manager.ready(reactor);
    manager.start_watchdog(reactor);
    let reload = move |reactor: &mut Reactor| {
        log::info!("reloading the configuration");
        manager.reloading(reactor);
        program.reload(reactor);
        manager.ready(reactor);
    };
    if let Err(error) = reactor.on_signal(Signal::Hangup, reload) {
        log_warn!("SIGHUP: {}", Escaped(error));
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Configuration(why) => Escaped(why).fmt(f),
            RunError::PidFile { path, source } => {
                write!(f, "pid file {}: {}", Escaped(path.display()), Escaped(source))
            }
            RunError::AlreadyRuns { path, process } => {
                write!(f, "already running: process {process}, according to {}", Escaped(path.display()))
            }
            RunError::Privileges(why) => write!(f, "cannot give up privileges: {}", Escaped(why)),
            RunError::Service(error) => error.fmt(f),
            RunError::Reactor(error) => error.fmt(f),
            RunError::StopTimedOut(limit) => {
                write!(f, "the services have not stopped within {limit:?}")
            }
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The display text already contains these errors.
            RunError::PidFile { source, .. } => source.source(),
            RunError::Service(error) => error.source(),
            RunError::Reactor(error) => error.source(),
            _ => None,
        }
    }
}
