//! The calendar time as a value for any thread.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The calendar time of a reactor, as a value that can be shared with any thread. For code that
/// needs the time and has no reactor, such as the check of a certificate's dates. Clones read the
/// same clock. [`Reactor::wall_clock`](crate::Reactor::wall_clock) creates it.
///
/// On the real network this is the system's clock. In a simulation it is the clock of the reactor's
/// host, as of the last turn of the reactor or the last time that the reactor was asked for. It
/// stands still once the reactor is gone.
///
/// ```
/// use std::thread;
///
/// let reactor = twistor::Reactor::new()?;
/// let clock = reactor.wall_clock();
/// let before = reactor.system_time();
/// assert!(thread::spawn(move || clock.now()).join().unwrap() >= before);
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// Creates a clock that is read by a call.
    pub(crate) fn new(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> WallClock {
        WallClock(Arc::new(read))
    }

    /// The calendar time, which may jump.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now()).finish()
    }
}
