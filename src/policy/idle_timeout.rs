//! Ending connections on which nothing happens.

use std::fmt;
use std::time::Duration;

use crate::{DelayedCall, Factory, Layer, LayerContext, LayerError, Layered, Transport, layered};

/// Ends the connections of a factory on which no byte came and none left for `limit`. A byte leaves when the system takes it, not
/// when it is written: a slow peer that goes on reading is not idle, and one that takes nothing is, whatever waits for it. They are
/// lost with an [`IdleTimedOut`] in [`Reason::Layer`](crate::Reason::Layer). (Twisted: `TimeoutFactory`, whose default is 30 minutes, and
/// which counts writes.)
///
/// A connection with nothing to send is closed with a FIN. If bytes wait to be sent, or a producer is registered, it ends with a
/// reset: after a FIN the peer would take a part for the whole. One that closes already has
/// [`Settings::close_timeout`](crate::Settings::close_timeout) instead.
///
/// ```
/// use std::time::Duration;
/// use twistor::policy::idle_timeout;
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let echo = idle_timeout(|| Echo, Duration::from_secs(30 * 60));
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn idle_timeout<F: Factory>(factory: F, limit: Duration) -> Layered<F, impl FnMut() -> IdleTimeout> {
    layered(factory, move || IdleTimeout::new(limit))
}

/// The error of a connection on which nothing happened for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimedOut(pub Duration);

impl fmt::Display for IdleTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing happened for {:?}", self.0)
    }
}

impl std::error::Error for IdleTimedOut {}

/// Ends one connection when it is idle. A byte either way puts that off, which costs a store.
pub struct IdleTimeout {
    limit: Duration,
    /// The time is up, and the system was asked once more whether it takes something.
    last_try: bool,
}

impl IdleTimeout {
    /// Ends it after `limit` without a byte either way. See [`idle_timeout`].
    pub fn new(limit: Duration) -> IdleTimeout {
        IdleTimeout { limit, last_try: false }
    }
}

impl Layer for IdleTimeout {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        below.watch_sent();
        below.set_timer(self.limit);
        below.ready();
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        self.last_try = false;
        below.set_timer(self.limit);
        below.pass_up(data);
    }

    fn sent(&mut self, below: &mut LayerContext<'_>, _: usize) {
        self.last_try = false;
        below.set_timer(self.limit);
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        let error = LayerError::new("idle timeout", IdleTimedOut(self.limit));
        match below.is_sending() {
            true if below.is_closing() => {}
            true if self.last_try => below.end(error),
            true => {
                self.last_try = true;
                below.retry_send();
                below.set_timer(Duration::ZERO);
            }
            false => below.close(Some(error)),
        }
    }
}

/// A time limit that a protocol sets, puts off and cancels by itself. (Twisted: `TimeoutMixin`.)
///
/// ```
/// use std::time::Duration;
/// use twistor::policy::ProtocolTimeout;
/// use twistor::{Protocol, Transport};
///
/// #[derive(Default)]
/// struct Login {
///     timeout: ProtocolTimeout,
/// }
///
/// impl Protocol for Login {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         self.timeout.set(transport, Duration::from_secs(60), |_: &mut Self, transport| {
///             transport.write(b"Too slow.\n");
///             transport.lose_connection();
///         });
///     }
///     fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
///         self.timeout.reset(transport);
///     }
/// }
/// # twistor::testing::StringTransport::new(Login::default()).feed(b"x");
/// ```
#[derive(Debug, Default)]
pub struct ProtocolTimeout {
    pending: Option<(Duration, DelayedCall)>,
}

impl ProtocolTimeout {
    /// Calls `expired` after `limit`, in place of what was set before, whose limit it returns. (Twisted: `setTimeout`; what is called is
    /// `timeoutConnection`.)
    pub fn set<P: 'static>(
        &mut self,
        transport: &mut Transport<'_>,
        limit: Duration,
        expired: impl FnOnce(&mut P, &mut Transport<'_>) + 'static,
    ) -> Option<Duration> {
        let before = self.cancel(transport);
        self.pending = Some((limit, transport.call_later(limit, expired)));
        before
    }

    /// Cancels it, and returns the limit if there was one. (Twisted: `setTimeout(None)`.)
    pub fn cancel(&mut self, transport: &mut Transport<'_>) -> Option<Duration> {
        let (limit, timer) = self.pending.take()?;
        timer.cancel(transport.reactor()).ok().map(|()| limit)
    }

    /// Lets the time begin anew; without a limit, or after it, this does nothing. (Twisted: `resetTimeout`.)
    pub fn reset(&mut self, transport: &mut Transport<'_>) {
        if let Some((limit, timer)) = self.pending {
            // It may have come already.
            let _ = timer.reset(transport.reactor(), limit);
        }
    }

    /// The limit, while it is pending.
    pub fn limit(&self, transport: &mut Transport<'_>) -> Option<Duration> {
        let (limit, timer) = self.pending?;
        timer.active(transport.reactor()).then_some(limit)
    }
}
