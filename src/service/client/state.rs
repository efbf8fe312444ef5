//! The states of a client service, what can happen in each, and what follows from it: one table, without a reactor.

use crate::escape::Escaped;
use std::fmt;

use crate::{ConnectionId, Reason};

/// What a client service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Nothing: it was never started.
    New,
    /// Nothing: it was stopped.
    Stopped,
    /// It waits before the next attempt.
    Waiting,
    /// It looks the name up, or connects.
    Connecting,
    /// The connection is made, and being prepared.
    Preparing(ConnectionId),
    /// The connection could not be prepared, and is closed.
    Discarding,
    /// The connection is there.
    Connected(ConnectionId),
    /// It ends the attempt or the connection.
    Stopping,
    /// As [`Stopping`](ClientState::Stopping), and was started again meanwhile.
    Restarting,
    /// It tried as often as its policy lets it. To start it begins anew.
    GivenUp,
}

/// Why one attempt brought no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The endpoint refused to try, and said why.
    Endpoint(String),
    /// No connection was made.
    Unreachable(Reason),
    /// The connection ended before it was of use: refused by the factory, closed while it was made or prepared.
    LostEarly(Reason),
    /// It could not be prepared, and this is why.
    Preparation(String),
}

/// Why there is no connection for those that waited for one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The service was stopped. (Twisted: `CancelledError`.)
    Cancelled,
    /// So many attempts in a row failed.
    Failed {
        /// How many.
        failures: u32,
        /// Why the last one did.
        last: AttemptError,
    },
}

/// What can happen to a client service. What belongs to an earlier attempt was sorted out before.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::service) enum Event {
    Start,
    Stop,
    /// The wait is over.
    Due,
    /// The policy wants no further attempt.
    Exhausted,
    Failed(AttemptError),
    Made(ConnectionId),
    Prepared,
    /// It could not be prepared, or not in time.
    Unprepared(String),
    Lost(Reason),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::service) enum Effect {
    StartFactory,
    StopFactory,
    Connect,
    /// Ends the attempt or the connection.
    Disconnect,
    CancelTimer,
    Retry,
    Prepare(ConnectionId),
    /// Those that wait have their connection.
    Tell,
    /// An attempt has failed: some of those that wait may have had enough.
    CountFailure(AttemptError),
    /// Nobody waits any longer.
    Refuse(ConnectError),
    /// It has stopped: whoever waits for that is told.
    Finish,
}

impl ClientState {
    /// The next state, and what is to be done. `prepares`: a connection is prepared before it counts.
    pub(in crate::service) fn step(
        self,
        event: Event,
        prepares: bool,
        course: &mut Course,
    ) -> (ClientState, Vec<Effect>) {
        use ClientState as S;
        match (self, event) {
            (S::New | S::Stopped | S::GivenUp, Event::Start) => {
                *course = Course::default();
                (S::Connecting, vec![Effect::StartFactory, Effect::Connect])
            }
            (S::Stopping, Event::Start) => (S::Restarting, vec![]),

            (S::New | S::Stopped, Event::Stop) => {
                (S::Stopped, vec![Effect::Refuse(ConnectError::Cancelled), Effect::Finish])
            }
            (S::GivenUp, Event::Stop) => (S::Stopped, vec![Effect::Finish]),
            (S::Waiting, Event::Stop) => {
                let refuse = Effect::Refuse(ConnectError::Cancelled);
                (S::Stopped, vec![Effect::CancelTimer, refuse, Effect::StopFactory, Effect::Finish])
            }
            (S::Connecting | S::Preparing(_) | S::Discarding | S::Connected(_), Event::Stop) => {
                let refuse = Effect::Refuse(ConnectError::Cancelled);
                (S::Stopping, vec![Effect::CancelTimer, refuse, Effect::Disconnect])
            }
            (S::Stopping | S::Restarting, Event::Stop) => {
                (S::Stopping, vec![Effect::Refuse(ConnectError::Cancelled)])
            }
            (S::Stopping, Event::Failed(_) | Event::Lost(_)) => {
                (S::Stopped, vec![Effect::StopFactory, Effect::Finish])
            }
            (S::Restarting, Event::Failed(_) | Event::Lost(_)) => {
                *course = Course::default();
                (S::Connecting, vec![Effect::Finish, Effect::Connect])
            }

            (S::Waiting, Event::Due) => (S::Connecting, vec![Effect::Connect]),
            (S::Waiting, Event::Exhausted) => {
                let refuse = Effect::Refuse(course.no_connection());
                (S::GivenUp, vec![refuse, Effect::StopFactory])
            }

            (S::Connecting, Event::Made(connection)) if prepares => {
                (S::Preparing(connection), vec![Effect::Prepare(connection)])
            }
            (S::Connecting, Event::Made(connection)) | (S::Preparing(connection), Event::Prepared) => {
                *course = Course::default();
                (S::Connected(connection), vec![Effect::CancelTimer, Effect::Tell])
            }
            (S::Connecting, Event::Failed(failed)) => {
                (S::Waiting, vec![course.failed(failed), Effect::Retry])
            }
            (S::Connecting | S::Preparing(_), Event::Lost(reason)) => {
                let failed = course.failed(AttemptError::LostEarly(reason));
                (S::Waiting, vec![Effect::CancelTimer, failed, Effect::Retry])
            }
            (S::Preparing(_), Event::Unprepared(why)) => {
                let failed = course.failed(AttemptError::Preparation(why));
                (S::Discarding, vec![Effect::CancelTimer, failed, Effect::Disconnect])
            }
            (S::Discarding | S::Connected(_), Event::Lost(_)) => (S::Waiting, vec![Effect::Retry]),

            // Started twice, or something late.
            (state, _) => (state, vec![]),
        }
    }
}

/// How the attempts have gone since there was a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::service) struct Course {
    pub(in crate::service) failures: u32,
    last: Option<AttemptError>,
}

impl Course {
    fn failed(&mut self, why: AttemptError) -> Effect {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(why.clone());
        Effect::CountFailure(why)
    }

    pub(in crate::service) fn no_connection(&self) -> ConnectError {
        match &self.last {
            Some(last) => ConnectError::Failed { failures: self.failures, last: last.clone() },
            // A policy that does not want a connection back that was lost.
            None => ConnectError::Cancelled,
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptError::Endpoint(why) => Escaped(why).fmt(f),
            AttemptError::Unreachable(reason) => reason.fmt(f),
            AttemptError::LostEarly(reason) => write!(f, "of no use: {reason}"),
            AttemptError::Preparation(why) => write!(f, "it could not be prepared: {}", Escaped(why)),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Cancelled => f.write_str("no connection: the service was stopped"),
            ConnectError::Failed { failures, last } => {
                write!(f, "no connection after {failures} attempts: {last}")
            }
        }
    }
}

impl std::error::Error for AttemptError {}

impl std::error::Error for ConnectError {}
