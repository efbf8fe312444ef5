//! Observers: the trait through which a reader reports its results.

use super::feed::Feed;
use super::reading::Reading;
use crate::escape::Escaped;
use crate::http::{FetchError, FetchStage};
use crate::report::HumanDuration;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

/// The receiver of readings and errors.
///
/// An error of an observer (such as a closed pipe) stops the reader and is kept for
/// [`FeedReader::take_error`](super::FeedReader::take_error). A closure that takes a [`FeedEvent`]
/// is an observer.
pub trait FeedObserver: 'static {
    /// Called when a feed was read, or could not be read.
    fn event(&mut self, event: &FeedEvent<'_>) -> io::Result<()>;
}

impl<F: FnMut(&FeedEvent<'_>) -> io::Result<()> + 'static> FeedObserver for F {
    fn event(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        self(event)
    }
}

impl FeedObserver for Box<dyn FeedObserver> {
    fn event(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        (**self).event(event)
    }
}

/// The result of reading a feed once.
#[derive(Clone, Copy, Debug)]
pub struct FeedEvent<'a> {
    /// Time at which the response was complete or the error occurred.
    pub wall: SystemTime,
    /// The feed.
    pub feed: &'a Feed,
    /// Duration of the request.
    pub latency: Duration,
    /// The values that were read, or the reason why the feed could not be read.
    pub result: Result<&'a Reading, &'a FeedError>,
}

/// The reason why a feed could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedError {
    /// No response, or no valid HTTP response.
    Fetch(FetchError),
    /// The status was not 200.
    Status(u16),
    /// The body is compressed in a way that was not asked for. Holds the coding.
    Coding(String),
    /// The body is not JSON. Holds the syntax error, the Content-Type and the first characters.
    Json(String),
    /// The body exceeds a limit of [`PayloadLimits`](super::PayloadLimits). Holds the limit's
    /// description.
    Limit(String),
}

impl FeedError {
    /// Whether the error is local: this machine could not send the request, so the error says
    /// nothing about the feed. See [`FetchError::is_local`].
    pub fn is_local(&self) -> bool {
        matches!(self, FeedError::Fetch(error) if error.is_local())
    }

    /// Returns one word for machines. It is stable across releases.
    pub fn code(&self) -> &'static str {
        match self {
            FeedError::Fetch(error) if error.is_local() => "local",
            FeedError::Fetch(FetchError::Connect(_)) => "connect",
            FeedError::Fetch(FetchError::TimedOut(..)) => "timed_out",
            FeedError::Fetch(FetchError::Closed(_) | FetchError::Lost(_)) => "closed",
            FeedError::Fetch(
                FetchError::TooManyRedirects(_) | FetchError::BadRedirect(..) | FetchError::Downgrade(_),
            ) => "redirect",
            FeedError::Fetch(FetchError::ProxyRefused(_)) => "proxy",
            FeedError::Fetch(FetchError::Compression(_)) => "encoding",
            FeedError::Fetch(_) => "http",
            FeedError::Status(_) => "status",
            FeedError::Coding(_) => "encoding",
            FeedError::Json(_) => "json",
            FeedError::Limit(_) => "limit",
        }
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_local() {
            f.write_str("trouble of this machine: ")?;
        }
        match self {
            FeedError::Fetch(FetchError::TimedOut(limit, stage)) => {
                let (before, limit) = match stage {
                    FetchStage::LookingUp => ("the name was not looked up", HumanDuration(*limit)),
                    FetchStage::Queued => ("all connections were busy", HumanDuration(*limit)),
                    FetchStage::Connecting => ("no connection", HumanDuration(*limit)),
                    FetchStage::Securing => ("connected, but no handshake", HumanDuration(*limit)),
                    FetchStage::Waiting => ("connected, but no answer", HumanDuration(*limit)),
                    FetchStage::Reading => ("no complete answer", HumanDuration(*limit)),
                };
                write!(f, "{before} within {limit}")
            }
            FeedError::Fetch(error) => error.fmt(f),
            FeedError::Status(status) => write!(f, "status {status}"),
            FeedError::Coding(coding) => {
                write!(f, "the body is compressed ({}), which was not asked for", Escaped(coding))
            }
            FeedError::Json(error) => write!(f, "not JSON: {}", Escaped(error)),
            FeedError::Limit(limit) => f.write_str(limit),
        }
    }
}

impl std::error::Error for FeedError {}
