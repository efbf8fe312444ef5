//! What a monitor says, and to whom.

use super::cause::DownCause;
use super::target::Target;
use super::track::{Change, TargetSummary, TargetTracker};
use crate::escape::Escaped;
use crate::report::HumanDuration;
use crate::{Instant, Reason};
use std::io;
use std::time::SystemTime;

/// Where a monitor's findings go. The monitor itself writes nowhere.
///
/// A closure that takes an [`Event`] is a reporter that leaves summaries out:
///
/// ```
/// use twistor::Reactor;
/// use twistor::monitor::{Event, Monitor, Settings};
///
/// let mut reactor = Reactor::new()?;
/// let targets = vec!["tcp://localhost:80".parse()?];
/// Monitor::start(&mut reactor, targets, Settings::default(), |event: &Event<'_>| {
///     println!("{} is {}", event.target, if event.change.is_up() { "up" } else { "not up" });
///     Ok(())
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An error of a reporter ends the monitor (a reader that went away, say), and is kept for
/// [`Monitor::error`](super::Monitor::error).
pub trait Reporter: 'static {
    /// A result that the settings want to be told.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;

    /// How all targets stand: at the end, or when somebody asked.
    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()>;
}

/// A result of one target.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When it happened. Being down or unknown after an orderly close is told when no new connection
    /// was made that lasted, and began with the close: then it is the time of the close. A reconnection
    /// is told when it has lasted a second.
    pub wall: SystemTime,
    /// Whose it is.
    pub target: &'a Target,
    /// What it was.
    pub change: Change,
    /// Why a connection failed or was lost, in full; none for other results.
    pub reason: Option<&'a Reason>,
}

/// All targets at one moment, in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// The moment.
    pub wall: SystemTime,
    /// One for each target.
    pub rows: Vec<Row<'a>>,
    /// Whether nothing comes after it.
    pub last: bool,
}

/// One target in a [`Summary`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Which it is.
    pub target: &'a Target,
    /// Its state, counts and last results.
    pub track: &'a TargetTracker,
    /// The moment, on the reactor's clock.
    pub now: Instant,
}

impl Row<'_> {
    /// How the target stands at the moment. Finds a median: ask once.
    pub fn standing(&self) -> TargetSummary {
        self.track.standing(self.now)
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

/// Everything is dropped.
impl Reporter for () {
    fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
        Ok(())
    }

    fn summary(&mut self, _: &Summary<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// The cause in words, with what is worth knowing beyond it.
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
