//! The clock of certificates and tickets: that of the reactor whose connection is worked on.
//!
//! A configuration of rustls holds one source of time for all its connections. Here, it is shared
//! by the reactors of several threads and simulations, whose clocks differ. So the layer sets the
//! clock for the time of a call, and the source of time reads what was set on its thread.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::WallClock;

/// The source of time of all configurations.
#[derive(Debug)]
pub(super) struct ConnectionClock;

impl TimeProvider for ConnectionClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = CLOCK.with_borrow(|clock| clock.as_ref().map(WallClock::now))?;
        now.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Calls `call` with this clock as the current one of the thread.
pub(super) fn with_clock<R>(clock: &Option<WallClock>, call: impl FnOnce() -> R) -> R {
    let Some(clock) = clock else { return call() };
    CLOCK.set(Some(clock.clone()));
    let result = call();
    CLOCK.set(None);
    result
}

/// A time of a certificate as a calendar time.
pub(super) fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(SystemTime::UNIX_EPOCH)
}

thread_local! {
    static CLOCK: RefCell<Option<WallClock>> = const { RefCell::new(None) };
}
