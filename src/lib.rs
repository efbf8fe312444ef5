//! twistor: an event-driven network framework with Twisted's vocabulary.
#![forbid(unsafe_code)]

#[cfg(feature = "http")]
pub mod http;
