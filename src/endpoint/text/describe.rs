//! Formatting endpoints as the text that they are parsed from.

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::endpoint::quote_argument;

/// Builder of an endpoint's text, one argument after another.
pub(crate) struct TextBuilder(String);

impl TextBuilder {
    pub(crate) fn new(prefix: &str) -> TextBuilder {
        TextBuilder(prefix.to_owned())
    }

    /// Adds a positional argument.
    pub(crate) fn positional(self, value: impl Display) -> TextBuilder {
        let quoted = quote_argument(&value.to_string());
        self.raw(format_args!(":{quoted}"))
    }

    /// Adds an argument with a key, unless it has the default value.
    pub(crate) fn key<T: Display + PartialEq>(self, name: &str, value: T, default: T) -> TextBuilder {
        if value == default {
            return self;
        }
        let quoted = quote_argument(&value.to_string());
        self.raw(format_args!(":{name}={quoted}"))
    }

    pub(crate) fn optional<T: Display>(self, name: &str, value: Option<T>) -> TextBuilder {
        match value {
            Some(value) => self.raw(format_args!(":{name}={}", quote_argument(&value.to_string()))),
            None => self,
        }
    }

    pub(crate) fn flag(self, name: &str, value: bool, default: bool) -> TextBuilder {
        let word = |value| if value { "yes" } else { "no" };
        self.key(name, word(value), word(default))
    }

    pub(crate) fn seconds(self, name: &str, value: Duration, default: Duration) -> TextBuilder {
        self.key(name, value.as_secs_f64(), default.as_secs_f64())
    }

    /// Adds the IP address without its port, in brackets for IPv6.
    pub(crate) fn ip(self, name: &str, address: SocketAddr) -> TextBuilder {
        let text = SocketAddr::to_string(&address);
        let ip = text.rsplit_once(':').map_or("", |(ip, _)| ip);
        self.raw(format_args!(":{name}={ip}"))
    }

    fn raw(mut self, text: std::fmt::Arguments<'_>) -> TextBuilder {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
        self
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}
