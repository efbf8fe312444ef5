//! State machine of a client service: a table of states, events and effects, without a reactor.

use crate::escape::Escaped;
use std::fmt;

use crate::{ConnectionId, Reason};

/// State of a client service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Not started yet.
    New,
    /// Stopped.
    Stopped,
    /// Waiting for the next attempt.
    Waiting,
    /// Resolving the name, or connecting.
    Connecting,
    /// Connected; the connection is being prepared.
    Preparing(ConnectionId),
    /// The preparation failed; the connection is being closed.
    Discarding,
    /// Connected and ready for use.
    Connected(ConnectionId),
    /// Closing the attempt or the connection, in order to stop.
    Stopping,
    /// Like [`Stopping`](ClientState::Stopping), but started again meanwhile.
    Restarting,
    /// The retry policy allows no further attempt. A start resets the count of failures.
    GivenUp,
}

/// Failure of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The endpoint returned an error, with this message.
    Endpoint(String),
    /// No connection was made.
    Unreachable(Reason),
    /// The connection was lost before it was ready: refused by the factory, or closed while it was
    /// made or prepared.
    LostEarly(Reason),
    /// The preparation failed, with this message.
    Preparation(String),
}

/// Failure to obtain a connection, reported to waiting callers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientServiceError {
    /// The service was stopped. (Twisted: `CancelledError`.)
    Cancelled,
    /// Too many consecutive attempts failed.
    Failed {
        /// Number of failed attempts.
        failures: u32,
        /// Failure of the last attempt.
        last: AttemptError,
    },
}

/// Input of the state machine. Events of earlier attempts are filtered out before.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::service) enum Event {
    Start,
    Stop,
    /// The delay before the next attempt has passed.
    Due,
    /// The retry policy allows no further attempt.
    Exhausted,
    Failed(AttemptError),
    Made(ConnectionId),
    Prepared,
    /// The preparation failed or timed out.
    Unprepared(String),
    Lost(Reason),
}

/// Output of the state machine, to be executed in order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::service) enum Effect {
    StartFactory,
    StopFactory,
    Connect,
    /// Closes the attempt or the connection.
    Disconnect,
    CancelTimer,
    Retry,
    Prepare(ConnectionId),
    /// Passes the connection to the waiting callers.
    NotifyWaiters,
    /// Counts a failed attempt. Waiting callers whose limit of failures is reached get an error.
    CountFailure(AttemptError),
    /// Passes an error to all waiting callers.
    FailWaiters(ClientServiceError),
    /// Reports that the service has stopped.
    Finish,
}

impl ClientState {
    /// Returns the next state and the effects. `prepares` says whether connections are prepared
    /// before use.
    pub(in crate::service) fn step(
        self,
        event: Event,
        prepares: bool,
        history: &mut AttemptHistory,
    ) -> (ClientState, Vec<Effect>) {
        use ClientState as S;
        match (self, event) {
            (S::New | S::Stopped | S::GivenUp, Event::Start) => {
                *history = AttemptHistory::default();
                (S::Connecting, vec![Effect::StartFactory, Effect::Connect])
            }
            (S::Stopping, Event::Start) => (S::Restarting, vec![]),

            (S::New | S::Stopped, Event::Stop) => {
                (S::Stopped, vec![Effect::FailWaiters(ClientServiceError::Cancelled), Effect::Finish])
            }
            (S::GivenUp, Event::Stop) => (S::Stopped, vec![Effect::Finish]),
            (S::Waiting, Event::Stop) => {
                let fail = Effect::FailWaiters(ClientServiceError::Cancelled);
                (S::Stopped, vec![Effect::CancelTimer, fail, Effect::StopFactory, Effect::Finish])
            }
            (S::Connecting | S::Preparing(_) | S::Discarding | S::Connected(_), Event::Stop) => {
                let fail = Effect::FailWaiters(ClientServiceError::Cancelled);
                (S::Stopping, vec![Effect::CancelTimer, fail, Effect::Disconnect])
            }
            (S::Stopping | S::Restarting, Event::Stop) => {
                (S::Stopping, vec![Effect::FailWaiters(ClientServiceError::Cancelled)])
            }
            (S::Stopping, Event::Failed(_) | Event::Lost(_)) => {
                (S::Stopped, vec![Effect::StopFactory, Effect::Finish])
            }
            (S::Restarting, Event::Failed(_) | Event::Lost(_)) => {
                *history = AttemptHistory::default();
                (S::Connecting, vec![Effect::Finish, Effect::Connect])
            }

            (S::Waiting, Event::Due) => (S::Connecting, vec![Effect::Connect]),
            (S::Waiting, Event::Exhausted) => {
                let fail = Effect::FailWaiters(history.no_connection());
                (S::GivenUp, vec![fail, Effect::StopFactory])
            }

            (S::Connecting, Event::Made(connection)) if prepares => {
                (S::Preparing(connection), vec![Effect::Prepare(connection)])
            }
            (S::Connecting, Event::Made(connection)) | (S::Preparing(connection), Event::Prepared) => {
                *history = AttemptHistory::default();
                (S::Connected(connection), vec![Effect::CancelTimer, Effect::NotifyWaiters])
            }
            (S::Connecting, Event::Failed(failed)) => {
                (S::Waiting, vec![history.failed(failed), Effect::Retry])
            }
            (S::Connecting | S::Preparing(_), Event::Lost(reason)) => {
                let failed = history.failed(AttemptError::LostEarly(reason));
                (S::Waiting, vec![Effect::CancelTimer, failed, Effect::Retry])
            }
            (S::Preparing(_), Event::Unprepared(why)) => {
                let failed = history.failed(AttemptError::Preparation(why));
                (S::Discarding, vec![Effect::CancelTimer, failed, Effect::Disconnect])
            }
            (S::Discarding | S::Connected(_), Event::Lost(_)) => (S::Waiting, vec![Effect::Retry]),

            // A repeated start, or an event that no longer matters.
            (state, _) => (state, vec![]),
        }
    }
}

/// Failed attempts since the last connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::service) struct AttemptHistory {
    pub(in crate::service) failures: u32,
    last: Option<AttemptError>,
}

impl AttemptHistory {
    fn failed(&mut self, why: AttemptError) -> Effect {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(why.clone());
        Effect::CountFailure(why)
    }

    pub(in crate::service) fn no_connection(&self) -> ClientServiceError {
        match &self.last {
            Some(last) => ClientServiceError::Failed { failures: self.failures, last: last.clone() },
            // The retry policy does not want a lost connection to be replaced.
            None => ClientServiceError::Cancelled,
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptError::Endpoint(why) => Escaped(why).fmt(f),
            AttemptError::Unreachable(reason) => reason.fmt(f),
            AttemptError::LostEarly(reason) => write!(f, "connection lost before it was ready: {reason}"),
            AttemptError::Preparation(why) => write!(f, "preparation failed: {}", Escaped(why)),
        }
    }
}

impl fmt::Display for ClientServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientServiceError::Cancelled => f.write_str("no connection: the service was stopped"),
            ClientServiceError::Failed { failures, last } => {
                write!(f, "no connection after {failures} attempts: {last}")
            }
        }
    }
}

impl std::error::Error for AttemptError {}

impl std::error::Error for ClientServiceError {}
