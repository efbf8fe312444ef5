//! A program that is one service: its `main` in one line.

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

/// Runs a service until it is told to stop, with the default [`RunSettings`]: a `main` in one line.
/// (Twisted: `twist`, `twistd`.)
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
/// SIGTERM and SIGINT stop it gracefully; a second one ends it at once. SIGHUP calls [`Service::reload`]. The exit
/// code is 0 after a clean stop, 1 when something failed and 2 when it was wrongly configured; then what it was is on stderr, in one
/// line.
pub fn run(service: impl Service) -> ExitCode {
    run_with(RunSettings::default(), service)
}

/// As [`run`], with other settings.
pub fn run_with(settings: RunSettings, service: impl Service) -> ExitCode {
    match settings.run(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For the manager's eyes; there may be none.
            let text = error_chain(&error).to_string();
            let _ = notify_status(&text);
            let program = std::env::args_os().next().map(PathBuf::from);
            let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{}: {text}", Escaped(program.display()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// How a program runs.
///
/// ```no_run
/// use twistor::service::{MultiService, RunSettings, run_with};
///
/// let settings = RunSettings {
///     user: Some("nobody".to_owned()),
///     pid_file: Some("/run/reports.pid".into()),
///     ..RunSettings::default()
/// };
/// run_with(settings, MultiService::new());
/// ```
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// How long the services may take to stop; then what is left is aborted, and the exit code is 1. Connections that
    /// are left after them have [`Settings::graceful_stop_timeout`], and no longer than this in all. Default: 30 s.
    pub stop_limit: Duration,
    /// Whom to become once everything that needs privileges is done, by name or number. Default: nobody else.
    pub user: Option<String>,
    /// The group to have then. Default: the user's.
    pub group: Option<String>,
    /// A file for the number of the process. It must not be there, or be left over from a process that
    /// lives no more; it goes at the end. Default: none.
    pub pid_file: Option<PathBuf>,
    /// The reactor's settings.
    pub reactor: Settings,
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            stop_limit: Duration::from_secs(30),
            user: None,
            group: None,
            pid_file: None,
            reactor: Settings::default(),
        }
    }
}

/// Why a program did not run, or not to a clean end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// It was told something impossible: a user who is not there, say.
    Configuration(String),
    /// The file for the number of the process cannot be written.
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// By the file for it, the program runs already.
    AlreadyRuns {
        /// The file.
        path: PathBuf,
        /// The number of the process.
        process: u32,
    },
    /// The system did not let it become the user, or would let it become root again.
    Privileges(String),
    /// The service did not start.
    Service(ServiceError),
    /// The reactor failed.
    Reactor(Error),
    /// It has not stopped within this limit.
    StopTimedOut(Duration),
}

impl RunError {
    /// What the process should end with: 2 for what its user can put right, 1 for everything else.
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

/// Whether a bad address, a bad endpoint or a name that is taken is at the bottom of it.
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
    /// Runs a service until it is told to stop. What happens, in this order:
    ///
    /// 1. The user and the group are looked up, the pid file is created, the reactor made. It begins to run: a signal
    ///    that comes from now on stops the program gracefully, once it has started.
    /// 2. [`Service::privileged_start`]; the process becomes the user; [`Service::start`].
    /// 3. The service manager, if `NOTIFY_SOCKET` names one, is told `READY=1`, and `WATCHDOG=1` from the loop, twice in each
    ///    `WATCHDOG_USEC`.
    /// 4. SIGHUP calls [`Service::reload`], and the manager is told so.
    /// 5. After SIGTERM, SIGINT or [`Reactor::stop`]: `STOPPING=1`, [`Service::stop`]; then, after a signal, connections are closed when what
    ///    they wait to send is sent. Whatever takes longer than the limit is aborted.
    /// 6. The pid file is removed.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(self, service: impl Service) -> Result<(), RunError> {
        let identity = Identity::look_up(self.user.as_deref(), self.group.as_deref())?;
        let _pid_file = self.pid_file.as_deref().map(PidFile::create).transpose()?;
        let manager = Manager::from_environment();
        let mut reactor = Reactor::with_settings(self.reactor).map_err(RunError::Reactor)?;
        let attached = Attached::new(service);
        let told = manager.clone();
        attached.stop_with(&mut reactor, self.stop_limit, move |reactor| told.stopping(reactor));
        let outcome = Rc::new(RefCell::new(None));
        let (failed, program) = (Rc::clone(&outcome), attached.clone());
        // Inside the run: a signal that comes meanwhile finds its handler.
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, move |reactor, _| {
            match begin(&program, identity.as_ref(), reactor) {
                Ok(()) => running(program, manager, reactor),
                Err(error) => {
                    *failed.borrow_mut() = Some(error);
                    // What was begun is stopped.
                    reactor.stop_gracefully();
                }
            }
        });
        let ran = reactor.run().map_err(RunError::Reactor);
        if let Some(error) = outcome.take() {
            return Err(error);
        }
        ran?;
        if attached.late.get() { Err(RunError::StopTimedOut(self.stop_limit)) } else { Ok(()) }
    }
}

fn begin(attached: &Attached, identity: Option<&Identity>, reactor: &mut Reactor) -> Result<(), RunError> {
    attached.privileged_start(reactor).map_err(RunError::Service)?;
    if let Some(identity) = identity {
        identity.assume()?;
    }
    attached.start(reactor).map_err(RunError::Service)
}

/// The program has started.
fn running(program: Attached, manager: Manager, reactor: &mut Reactor) {
    manager.ready(reactor);
    manager.keep_telling(reactor);
    let reload = move |reactor: &mut Reactor| {
        log::info!("reading the configuration again");
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
                write!(f, "it runs already: process {process}, says {}", Escaped(path.display()))
            }
            RunError::Privileges(why) => write!(f, "cannot give up privileges: {}", Escaped(why)),
            RunError::Service(error) => error.fmt(f),
            RunError::Reactor(error) => error.fmt(f),
            RunError::StopTimedOut(limit) => write!(f, "it has not stopped within {limit:?}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What these say is in the text already.
            RunError::PidFile { source, .. } => source.source(),
            RunError::Service(error) => error.source(),
            RunError::Reactor(error) => error.source(),
            _ => None,
        }
    }
}
