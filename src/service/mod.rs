//! Services: what a program does from its start to its end, as values that can be put together.
//!
//! A [`Service`] starts, runs, and stops. A [`MultiService`] makes one of several. Three are ready-made: a port
//! ([`StreamServerService`]), a connection that is kept alive ([`ClientService`]), and a timer ([`TimerService`]). [`run`] makes a
//! program of one.
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
//! Where they listen and connect to can be text as well: [`server_from_string`](crate::endpoint::server_from_string) gives an
//! endpoint that these services take.
//!
//! # The life of a service
//!
//! ```text
//!             privileged_start        start                      stop(stopped)            drop(stopped)
//!   stopped ────────────────────► ─────────────────► running ─────────────────► stopping ───────────────► stopped
//!                    │ error           │ error                                      ▲
//!                    └─────────────────┴────────────────────────────────────────────┘ stop, all the same
//! ```
//!
//! To stop takes time: connections have to end, threads to be joined. So `stop` is given a token, [`StopToken`], and
//! the service has stopped when that is dropped, wherever it is then. The loop is fully alive meanwhile. Every wait for it has a
//! limit: [`MultiService::stop_limit`] for each service, [`RunSettings::stop_limit`] for the program.
//!
//! # Your own
//!
//! A service has to `start`; everything else has a default.
//!
//! ```
//! use twistor::service::{Failure, Service, StopToken, run_service};
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
//!             // It may have come.
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
//! [`run_service`] is for reactors of your own, those of the simulation included: services run in virtual time as everything does.
//!
//! # A program
//!
//! [`run`] makes the reactor, starts the service, and stops it at SIGTERM and SIGINT, gracefully and within a limit; SIGHUP lets it
//! read its configuration again. [`RunSettings`] has the rest: a user to become once ports are open, a pid file, limits. Under
//! systemd (`Type=notify` or `notify-reload`, `WatchdogSec=`) the manager is told when it is ready, reads its configuration,
//! stops, and that it lives. It does not put itself into the background: that is the manager's business.

mod attached;
mod backoff;
mod client;
mod error;
mod multi;
mod run;
mod server;
mod stopped;
mod timer;
mod tree;

pub use self::attached::run_service;
pub use self::backoff::{Backoff, RetryPolicy};
pub use self::client::state::{AttemptError, ClientState, ConnectError};
pub use self::client::{ClientService, PrepareToken};
pub use self::error::ServiceError;
pub use self::multi::{MultiService, ServiceId};
pub use self::run::notify::notify_status;
pub use self::run::{RunError, RunSettings, run, run_with};
pub use self::server::StreamServerService;
pub use self::stopped::StopToken;
pub use self::timer::TimerService;
pub use crate::deferred::Failure;
pub use crate::task::Tick;

use crate::Reactor;

/// Something that a program does from its start to its end. (Twisted: `IService`.)
///
/// Who owns a service calls `privileged_start` and `start`, in this order, and then, once, `stop`: also when one of
/// the first two failed. After it has stopped it may be started again.
pub trait Service: 'static {
    /// What it is called, in errors and among the services of one parent. Default: nothing.
    fn name(&self) -> Option<&str> {
        None
    }

    /// The first half of the start: what needs privileges that the process gives up afterwards, such as listening on a port below 1024.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    fn privileged_start(&mut self, reactor: &mut Reactor) -> Result<(), Failure> {
        let _ = reactor;
        Ok(())
    }

    /// Starts.
    ///
    /// # Errors
    /// Whatever keeps it from starting. `stop` comes all the same, for what was begun.
    fn start(&mut self, reactor: &mut Reactor) -> Result<(), Failure>;

    /// Stops, and drops `stopped` when it has. By default there is nothing to do.
    fn stop(&mut self, reactor: &mut Reactor, stopped: StopToken) {
        let _ = reactor;
        drop(stopped);
    }

    /// Reads its configuration again: what SIGHUP asks for. By default there is none.
    fn reload(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// A service whose type is not known.
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
