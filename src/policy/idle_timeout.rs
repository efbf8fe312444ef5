//! Idle timeouts.

use std::fmt;
use std::time::Duration;

use crate::{DelayedCall, Factory, Layer, LayerContext, LayerError, Layered, Transport, layered};

/// Ends connections of a factory on which no byte was received or sent for `limit`. (Twisted:
/// `TimeoutFactory`, whose default is 30 minutes and which counts writes.)
///
/// A byte is sent when the kernel accepts it, not when the protocol writes it. A slow peer that
/// keeps reading is therefore not idle. A peer that reads nothing is idle, even if data is waiting
/// for it. The connection is lost with [`IdleTimedOut`] in [`Reason::Layer`](crate::Reason::Layer).
///
/// - With nothing to send, the connection is closed with a FIN.
/// - With unsent bytes or a registered producer, it is reset. A FIN would make the peer take
///   partial data for complete data.
/// - A connection that is already closing is left to
///   [`Settings::close_timeout`](crate::Settings::close_timeout).
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
#[doc(alias = "TimeoutFactory")]
pub fn idle_timeout<F: Factory>(factory: F, limit: Duration) -> Layered<F, impl FnMut() -> IdleTimeout> {
    layered(factory, move || IdleTimeout::new(limit))
}

/// Error of a connection that was idle for the given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimedOut(pub Duration);

impl fmt::Display for IdleTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no traffic for {:?}", self.0)
    }
}

impl std::error::Error for IdleTimedOut {}

/// Layer that ends one connection when it is idle. Each byte in either direction resets the
/// timeout, at the cost of one store.
pub struct IdleTimeout {
    limit: Duration,
    /// The timeout has expired, and the kernel was asked once more to accept the unsent bytes.
    last_try: bool,
}

impl IdleTimeout {
    /// Creates a layer that ends the connection after `limit` without traffic. See
    /// [`idle_timeout`].
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

/// A timeout that a protocol sets, resets and cancels. (Twisted: `TimeoutMixin`.)
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
#[doc(alias("TimeoutMixin", "setTimeout", "resetTimeout"))]
pub struct ProtocolTimeout {
    pending: Option<(Duration, DelayedCall)>,
}

impl ProtocolTimeout {
    /// Calls `expired` after `limit`. Replaces a pending timeout and returns its limit. (Twisted:
    /// `setTimeout`, which calls `timeoutConnection`.)
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

    /// Cancels the timeout and returns its limit if it was pending. (Twisted: `setTimeout(None)`.)
    pub fn cancel(&mut self, transport: &mut Transport<'_>) -> Option<Duration> {
        let (limit, timer) = self.pending.take()?;
        timer.cancel(transport.reactor()).ok().map(|()| limit)
    }

    /// Restarts the timeout. Does nothing when none is pending. (Twisted: `resetTimeout`.)
    pub fn reset(&mut self, transport: &mut Transport<'_>) {
        if let Some((limit, timer)) = self.pending {
            // Fails if the timeout has expired already.
            let _ = timer.reset(transport.reactor(), limit);
        }
    }

    /// Returns the limit while the timeout is pending.
    pub fn limit(&self, transport: &mut Transport<'_>) -> Option<Duration> {
        let (limit, timer) = self.pending?;
        timer.active(transport.reactor()).then_some(limit)
    }
}
