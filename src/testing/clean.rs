//! Whether anything is left over.

use crate::Reactor;

/// Fails when a reactor, real or not, still has something: a connection, a listener, a connector, a job, a timed call.
/// (Twisted: trial's dirty reactor check.)
///
/// ```
/// use std::time::Duration;
/// use twistor::testing::{assert_clean, Clock};
///
/// let mut clock = Clock::new();
/// let later = clock.call_later(Duration::from_secs(1), |_| {});
/// later.cancel(clock.reactor())?;
/// assert_clean(clock.reactor());
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Panics
/// When there is anything: with a line for each.
#[track_caller]
pub fn assert_clean(reactor: &Reactor) {
    let mut left = reactor.inventory();
    match reactor.delayed_call_count() {
        0 => {}
        1 => left.push("a timed call".to_owned()),
        many => left.push(format!("{many} timed calls")),
    }
    assert!(left.is_empty(), "the reactor still has:\n  {}", left.join("\n  "));
}
