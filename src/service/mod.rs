//! Services: the parts of a program that start and stop, as values that can be combined.
//!
//! A [`Service`] starts, runs, and stops. A [`MultiService`] combines several into one. These
//! services are provided, and [`run`] runs a service as a program:
//!
//! - [`StreamServerService`]: a listening port
//! - [`ClientService`]: a persistent client connection
//! - [`DatagramService`]: a datagram socket
//! - [`ProcessService`]: a child process that is kept running
//! - [`TimerService`]: a timer
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//! use twistor::service::{MultiService, ServiceError, StreamServerService, TimerService};
//! use twistor::{ListenTcp, Protocol, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! fn services() -> Result<MultiService, ServiceError> {
//!     let services = MultiService::new();
//!     let port = ListenTcp::new(([0, 0, 0, 0], 7));
//!     services.add(StreamServerService::new(port, || Echo).graceful(Duration::from_secs(5)).named("echo"))?;
//!     services.add(TimerService::new(Duration::from_secs(3600), |_, _| println!("an hour")).named("hours"))?;
//!     Ok(services)
//! }
//!
//! fn main() -> ExitCode {
//!     match services() {
//!         Ok(services) => twistor::run(services),
//!         Err(_) => ExitCode::from(2),
//!     }
//! }
//! ```
//!
//! Endpoints of these services can also be parsed from text, with
//! [`server_from_string`](crate::endpoint::server_from_string) and its siblings.
//!
//! # Lifecycle
//!
//! ```text
//!             privileged_start        start                      stop(stopped)            drop(stopped)
//!   stopped ────────────────────► ─────────────────► running ─────────────────► stopping ───────────────► stopped
//!                    │ error           │ error                                      ▲
//!                    └─────────────────┴────────────────────────────────────────────┘ stop, all the same
//! ```
//!
//! Stopping takes time: connections have to close and threads have to be joined. `stop` is
//! therefore given a [`StopToken`]. The service has stopped when the token is dropped, in any
//! callback or thread. The loop keeps running meanwhile. Every stop has a time limit:
//! [`MultiService::stop_timeout`] for each service, [`RunSettings::stop_timeout`] for the program.
//!
//! # Custom services
//!
//! A service must implement `start`. All other methods have defaults.
//!
//! ```
//! use twistor::Failure;
//! use twistor::service::{Service, StopToken, run_service};
//! use twistor::{DelayedCall, Reactor};
//! use std::time::Duration;
//!
//! #[derive(Default)]
//! struct Reminder {
//!     call: Option<DelayedCall>,
//! }
//!
//! impl Service for Reminder {
//!     fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
//!         self.call = Some(reactor.call_later(Duration::from_secs(60), |_| println!("a minute has passed")));
//!         Ok(())
//!     }
//!     fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
//!         if let Some(call) = self.call.take() {
//!             // Fails if the timer has expired.
//!             let _ = call.cancel(reactor);
//!         }
//!         drop(stopped);
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! run_service(&mut reactor, Reminder::default(), Duration::from_secs(30))?;
//! # reactor.call_when_running(|reactor| { reactor.stop(); });
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`run_service`] is for other reactors, including simulated ones, where services run in virtual
//! time.
//!
//! # Programs
//!
//! [`run`] creates the reactor and starts the service. SIGTERM and SIGINT stop it gracefully within
//! a time limit. SIGHUP reloads the configuration. [`RunSettings`] adds a user to switch to once
//! ports are open, a pid file, and limits. Under systemd (`Type=notify` or `notify-reload`,
//! `WatchdogSec=`), the program reports readiness, reloads and stops, and sends watchdog messages.
//! It does not daemonize, since that is the service manager's task.

mod attached;
mod backoff;
mod client;
mod datagram;
mod error;
mod multi;
mod process;
mod run;
mod server;
mod stopped;
mod timer;
mod tree;

pub use self::attached::run_service;
pub use self::backoff::{Backoff, RetryPolicy};
pub use self::client::state::{AttemptError, ClientServiceError, ClientState};
pub use self::client::{ClientService, PrepareToken};
pub use self::datagram::DatagramService;
pub use self::error::ServiceError;
pub use self::multi::{MultiService, ServiceId};
pub use self::process::{ProcessService, Restart};
pub use self::run::notify::notify_status;
pub use self::run::{RunError, RunSettings, run, run_with};
pub use self::server::StreamServerService;
pub use self::stopped::StopToken;
pub use self::timer::TimerService;

use crate::Reactor;
use crate::deferred::Failure;

/// A part of a program that starts and stops. (Twisted: `IService`.)
///
/// The owner calls `privileged_start` and `start`, in this order, and later `stop` once. It calls
/// `stop` as well if one of the first two failed. A stopped service can be started again.
#[doc(alias("IService", "IServiceMaker"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "does not implement `Service`",
    note = "implement `Service` for it: `start` is the only method without a default",
    note = "`StreamServerService`, `ClientService`, `DatagramService`, `ProcessService` and `TimerService` are services"
)]
pub trait Service: 'static {
    /// Name of the service, for errors and for lookups in its parent. Default: none.
    fn name(&self) -> Option<&str> {
        None
    }

    /// First half of the start, for work that needs privileges that the process drops afterwards,
    /// such as listening on a port below 1024.
    ///
    /// # Errors
    /// Any failure that prevents the start.
    #[doc(alias = "privilegedStartService")]
    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        let _ = reactor;
        Ok(())
    }

    /// Starts the service.
    ///
    /// # Errors
    /// Any failure that prevents the start. `stop` is still called, to undo a partial start.
    #[doc(alias = "startService")]
    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure>;

    /// Stops the service. It has stopped when `stopped` is dropped. Default: drops it at once.
    #[doc(alias = "stopService")]
    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let _ = reactor;
        drop(stopped);
    }

    /// Reloads the configuration, on SIGHUP. Default: does nothing.
    fn reload(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// Boxed services are services.
impl Service for Box<dyn Service> {
    fn name(&self) -> Option<&str> {
        (**self).name()
    }

    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        (**self).privileged_start(reactor)
    }

    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        (**self).start(reactor)
    }

    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        (**self).stop(reactor, stopped);
    }

    fn reload(&mut self, reactor: &mut Reactor) {
        (**self).reload(reactor);
    }
}
