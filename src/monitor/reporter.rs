//! Reporters: the trait through which a monitor reports its results.

use super::cause::DownCause;
use super::recent::History;
use super::target::Target;
use super::tls_facts::TlsFacts;
use super::track::{Change, TargetState, TargetSummary, TargetTracker};
use crate::escape::Escaped;
use crate::report::HumanDuration;
use crate::{Instant, Reason};
use std::io;
use std::time::SystemTime;

/// The receiver of a monitor's results. The monitor itself performs no output.
///
/// A closure that takes an [`Event`] is a reporter that ignores summaries:
///
/// ```
/// use twistor::Reactor;
/// use twistor::monitor::{Event, Monitor, MonitorSettings};
///
/// let mut reactor = Reactor::new()?;
/// let targets = vec!["tcp://localhost:80".parse()?];
/// Monitor::start(&mut reactor, targets, MonitorSettings::default(), |event: &Event<'_>| {
///     println!("{} is {}", event.target, if event.change.is_up() { "up" } else { "not up" });
///     Ok(())
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An error of a reporter (such as a closed pipe) stops the monitor and is kept for
/// [`Monitor::take_error`](super::Monitor::take_error).
pub trait Reporter: 'static {
    /// Called for each result that the settings select.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;

    /// Called with the state of all targets: at the end, and on request.
    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()>;
}

/// A result of one target.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Time of the event.
    ///
    /// After an orderly close, a target goes down only once no new connection has lasted; the event
    /// then has the time of the close. A reconnection is reported when it has lasted a second.
    pub wall: SystemTime,
    /// The target.
    pub target: &'a Target,
    /// The result.
    pub change: Change,
    /// The full reason why a connection failed or was lost; `None` for other results.
    pub reason: Option<&'a Reason>,
    /// Facts about the TLS of the last connection, if the target has had one with TLS.
    pub tls: Option<TlsFacts>,
}

/// The state of all targets at one moment, in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Time of the summary.
    pub wall: SystemTime,
    /// One row for each target.
    pub rows: Vec<Row<'a>>,
    /// Whether this is the last report.
    pub last: bool,
}

/// One target in a [`Summary`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The target.
    pub target: &'a Target,
    pub(super) track: &'a TargetTracker,
    pub(super) tls: Option<TlsFacts>,
    /// Time of the summary, on the reactor's clock.
    pub(super) now: Instant,
}

impl<'a> Row<'a> {
    /// Returns the target's state.
    pub fn state(&self) -> TargetState {
        self.track.state()
    }

    /// Returns facts about the TLS of the target's last connection, if it has had one with TLS.
    pub fn tls(&self) -> Option<TlsFacts> {
        self.tls
    }

    /// Returns the target's last results.
    pub fn history(&self) -> &'a History {
        self.track.history()
    }

    /// Computes the target's summary at this moment. The median needs a sort, so call it once.
    pub fn summary(&self) -> TargetSummary {
        self.track.summary(self.now)
    }
}

impl Reporter for Box<dyn Reporter> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        (**self).event(event)
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        (**self).summary(summary)
    }
}

impl<F: FnMut(&Event<'_>) -> io::Result<()> + 'static> Reporter for F {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self(event)
    }

    fn summary(&mut self, _: &Summary<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// A reporter that drops everything.
impl Reporter for () {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn summary(&mut self, _: &Summary<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Describes the cause in words, with details from the reason where they help.
pub(crate) fn describe(cause: DownCause, reason: Option<&Reason>) -> String {
    match (cause, reason) {
        (DownCause::Refused, _) => "connection refused".into(),
        (DownCause::Closed, _) => "closed by the peer".into(),
        (DownCause::ClosesAtOnce, _) => {
            "closes at once: three connections in a row, each within a second".into()
        }
        (DownCause::Reset, _) => "reset by the peer".into(),
        (DownCause::TimedOut, Some(Reason::TimedOut(limit))) => {
            format!("no answer within {}", HumanDuration(*limit))
        }
        (_, Some(Reason::LookupTimedOut { host, limit })) => {
            format!("the name {} was not looked up within {}", Escaped(host), HumanDuration(*limit))
        }
        (_, Some(reason)) => Escaped(reason).to_string(),
        (cause, None) => cause.to_string(),
    }
}
