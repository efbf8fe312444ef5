//! What is said about feeds, and to whom.

use super::feed::Feed;
use super::reading::Reading;
use crate::escape::Escaped;
use crate::http::{FetchError, FetchStage};
use crate::report::HumanDuration;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

/// Where news of feeds goes. An error of it ends the reading, and is kept for
/// [`FeedReader::error`](super::FeedReader::error). A closure that takes a [`FeedEvent`] is one.
pub trait FeedObserver: 'static {
    /// A feed was read, or could not be.
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()>;
}

impl<F: FnMut(&FeedEvent<'_>) -> io::Result<()> + 'static> FeedObserver for F {
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        self(event)
    }
}

impl FeedObserver for Box<dyn FeedObserver> {
    fn news(&mut self, event: &FeedEvent<'_>) -> io::Result<()> {
        (**self).news(event)
    }
}

/// What came of reading a feed once.
#[derive(Clone, Copy, Debug)]
pub struct FeedEvent<'a> {
    /// When the answer was complete, or the error known.
    pub wall: SystemTime,
    /// Which feed.
    pub feed: &'a Feed,
    /// How long it took.
    pub latency: Duration,
    /// What came.
    pub news: FeedUpdate<'a>,
}

/// A reading or an error.
#[derive(Clone, Copy, Debug)]
pub enum FeedUpdate<'a> {
    /// The values.
    Reading(&'a Reading),
    /// Why there are none.
    Error(&'a FeedError),
}

/// Why a feed could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedError {
    /// There was no answer, or none that is HTTP.
    Fetch(FetchError),
    /// The status was not 200.
    Status(u16),
    /// The body is compressed, though identity was asked for: how.
    Coding(String),
    /// The body is not JSON: what is wrong where, what the answer says that it is, and how it begins.
    Json(String),
    /// The body is beyond a limit of [`PayloadLimits`](super::PayloadLimits): which.
    Limit(String),
}

impl FeedError {
    /// Whether it says nothing about the feed, because this machine could not ask for it. See
    /// [`FetchError::is_local`].
    pub fn is_local(&self) -> bool {
        matches!(self, FeedError::Fetch(error) if error.is_local())
    }

    /// One word for machines: it stays the same from release to release.
    pub fn code(&self) -> &'static str {
        match self {
            FeedError::Fetch(error) if error.is_local() => "local",
            FeedError::Fetch(FetchError::Connect(_)) => "connect",
            FeedError::Fetch(FetchError::TimedOut(..)) => "timed_out",
            FeedError::Fetch(FetchError::Closed(_) | FetchError::Lost(_)) => "closed",
            FeedError::Fetch(FetchError::Http(_)) => "http",
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
                    FetchStage::Connecting => ("no connection", HumanDuration(*limit)),
                    FetchStage::Waiting => ("connected, but no answer", HumanDuration(*limit)),
                    FetchStage::Reading => ("no complete answer", HumanDuration(*limit)),
                };
                write!(f, "{before} within {limit}")
            }
            FeedError::Fetch(error) => error.fmt(f),
            FeedError::Status(status @ 300..=399) => {
                write!(f, "status {status}, redirects are not followed")
            }
            FeedError::Status(status) => write!(f, "status {status}"),
            FeedError::Coding(coding) => {
                write!(f, "the body is compressed ({}), though identity was asked for", Escaped(coding))
            }
            FeedError::Json(error) => write!(f, "not JSON: {}", Escaped(error)),
            FeedError::Limit(limit) => f.write_str(limit),
        }
    }
}

impl std::error::Error for FeedError {}
