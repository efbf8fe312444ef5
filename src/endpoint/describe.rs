//! Endpoints written as the text that they are read from.

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::endpoint::quote_argument;

/// A text that grows by one argument after the other.
pub(in crate::endpoint) struct Written(String);

impl Written {
    pub(in crate::endpoint) fn new(prefix: &str) -> Written {
        Written(prefix.to_owned())
    }

    /// An argument without a key.
    pub(in crate::endpoint) fn plain(self, value: impl Display) -> Written {
        let quoted = quote_argument(&value.to_string());
        self.raw(format_args!(":{quoted}"))
    }

    /// An argument with a key, unless it is what it would be anyway.
    pub(in crate::endpoint) fn key<T: Display + PartialEq>(
        self,
        name: &str,
        value: T,
        default: T,
    ) -> Written {
        if value == default {
            return self;
        }
        let quoted = quote_argument(&value.to_string());
        self.raw(format_args!(":{name}={quoted}"))
    }

    pub(in crate::endpoint) fn maybe<T: Display>(self, name: &str, value: Option<T>) -> Written {
        match value {
            Some(value) => self.raw(format_args!(":{name}={}", quote_argument(&value.to_string()))),
            None => self,
        }
    }

    pub(in crate::endpoint) fn flag(self, name: &str, value: bool, default: bool) -> Written {
        let word = |value| if value { "yes" } else { "no" };
        self.key(name, word(value), word(default))
    }

    pub(in crate::endpoint) fn seconds(self, name: &str, value: Duration, default: Duration) -> Written {
        self.key(name, value.as_secs_f64(), default.as_secs_f64())
    }

    /// The IP address alone, brackets around IPv6.
    pub(in crate::endpoint) fn ip(self, name: &str, address: SocketAddr) -> Written {
        let text = SocketAddr::to_string(&address);
        let ip = text.rsplit_once(':').map_or("", |(ip, _)| ip);
        self.raw(format_args!(":{name}={ip}"))
    }

    fn raw(mut self, text: std::fmt::Arguments<'_>) -> Written {
        // A string takes whatever is written.
        let _ = self.0.write_fmt(text);
        self
    }

    pub(in crate::endpoint) fn text(self) -> String {
        self.0
    }
}
