//! Services.
mod attached;
mod backoff;
mod client;
mod client_state;
mod error;
mod manager;
mod multi;
mod pid_file;
mod privileges;
mod run;
mod server;
mod stopped;
mod timer;

pub use self::attached::attach;
pub use self::backoff::{Backoff, RetryPolicy};
pub use self::client::{ClientService, Preparation};
pub use self::client_state::{AttemptFailed, ClientState, NoConnection};
pub use self::error::{Failure, ServiceError};
pub use self::manager::tell_status;
pub use self::multi::{MultiService, ServiceId};
pub use self::run::{RunError, RunSettings, run, run_with};
pub use self::server::StreamServerService;
pub use self::stopped::Stopped;
pub use self::timer::{Tick, TimerService};

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
    fn stop(&mut self, reactor: &mut Reactor, stopped: Stopped) {
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

    fn stop(&mut self, reactor: &mut Reactor, stopped: Stopped) {
        (**self).stop(reactor, stopped);
    }

    fn reload(&mut self, reactor: &mut Reactor) {
        (**self).reload(reactor);
    }
}
