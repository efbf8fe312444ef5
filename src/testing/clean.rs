//! A check for leftovers of a reactor.

use crate::Reactor;

/// Fails if a reactor, real or simulated, still has a connection, a listener, a connector, a job or
/// a timed call. (Twisted: trial's dirty reactor check.)
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
/// If there is a leftover. The message has a line for each.
#[track_caller]
pub fn assert_clean(reactor: &Reactor) {
    let mut left = reactor.resources();
    match reactor.delayed_call_count() {
        0 => {}
        1 => left.push("a timed call".to_owned()),
        many => left.push(format!("{many} timed calls")),
    }
    assert!(left.is_empty(), "the reactor still has:\n  {}", left.join("\n  "));
}
