//! JSON feeds, read again and again over HTTP: road traffic, weather, whatever changes.
//!
//! [`FeedReader`] reads [`Feed`]s from a [`Reactor`](crate::Reactor) and tells an [`FeedObserver`] what
//! the chosen values are, how they changed, and how old they are. An error is an event, never an end.
//! It writes nowhere and reads no clock but the reactor's, so it runs on a simulated network as it is.
//!
//! ```no_run
//! use twistor::Reactor;
//! use twistor::traffic::{Feed, Json, Settings, FeedReader};
//!
//! let mut reactor = Reactor::new()?;
//! let feeds = vec![Feed::new("http://127.0.0.1:8080/roads.json".parse()?)];
//! let settings = Settings { fields: vec!["/congestion/level".parse()?], ..Settings::default() };
//! FeedReader::start(&mut reactor, feeds, settings, Json::new(std::io::stdout()));
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a feed sends is bounded: values are taken out of the text of a payload, of which nothing else is stored; what goes beyond
//! [`PayloadLimits`] is told with the limit, of one value or of the whole payload.
//!
//! Reading order: [`Feed`] and [`Pointer`]; [`Reading`], what a payload says, with its [`Problem`]s; [`FeedReader`] with its
//! [`Settings`]; [`FeedObserver`] and those who implement it.

mod age;
mod body;
mod feed;
mod json;
mod lines;
mod observer;
mod payload;
mod reading;
mod watching;

pub use age::{Age, AgeSource};
pub use feed::{Feed, Pointer, PointerError};
pub use json::Json;
pub use lines::TextReporter;
pub use observer::{FeedError, FeedEvent, FeedObserver, FeedUpdate};
pub use payload::{PayloadError, PayloadLimits, Problem};
pub use reading::{Difference, Reading, Value, Values};
pub use watching::{FeedReader, Settings};
