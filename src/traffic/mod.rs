//! JSON feeds read periodically over HTTP, such as road traffic or weather.
//!
//! [`FeedReader`] reads [`Feed`]s from a [`Reactor`](crate::Reactor) and reports to a
//! [`FeedObserver`]: the chosen values, their changes and their age. An error is reported as an
//! event and does not stop the reader. The reader performs no output of its own and reads only the
//! reactor's clock, so it also runs on a simulated network.
//!
//! ```no_run
//! use twistor::Reactor;
//! use twistor::report::JsonReporter;
//! use twistor::traffic::{Feed, FeedReader, FeedSettings};
//!
//! let mut reactor = Reactor::new()?;
//! let feeds = vec![Feed::new("http://127.0.0.1:8080/roads.json".parse()?)];
//! let fields = vec!["/congestion/level".parse()?];
//! let settings = FeedSettings { fields, ..FeedSettings::default() };
//! FeedReader::start(&mut reactor, feeds, settings, JsonReporter::new(std::io::stdout()));
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The memory for a feed is bounded: values are sliced out of the payload's text, and nothing else
//! is stored. Data beyond [`PayloadLimits`] is reported with the limit that it exceeds, for one
//! value or for the whole payload.
//!
//! Reading order: [`Feed`] and [`Pointer`]; [`Reading`], the result of one payload, with its
//! [`Problem`]s; [`FeedReader`] with its [`FeedSettings`]; [`FeedObserver`] and its implementors.

mod age;
mod body;
mod feed;
mod feed_reader;
mod json;
mod observer;
mod payload;
mod reading;
mod text;

pub use age::{Age, AgeSource};
pub use feed::{Feed, Pointer, PointerError};
pub use feed_reader::{FeedReader, FeedSettings};
pub use observer::{FeedError, FeedEvent, FeedObserver};
pub use payload::{PayloadLimits, Problem};
pub use reading::{Difference, Reading, Value};
