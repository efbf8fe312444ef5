//! Framings: where a message begins and ends in a stream of bytes, which is cut anywhere.
//!
//! Each is here twice. As a *handler* of a connection: a trait that is told of whole messages, and a protocol that it
//! is put into.
//!
//! | Twisted | handler | its protocol | what it is told of |
//! |---|---|---|---|
//! | `LineReceiver` | [`LineReceiver`] | [`Lines`] | lines with any delimiter, and raw bytes in between |
//! | `LineOnlyReceiver` | [`LineOnlyReceiver`] | [`LinesOnly`] | lines and nothing else |
//! | `NetstringReceiver` | [`StringReceiver`] | [`Strings::netstrings`] | netstrings |
//! | `Int8StringReceiver`, `Int16StringReceiver`, `Int32StringReceiver` | [`StringReceiver`] | [`Strings::int8`], [`int16`](Strings::int16), [`int32`](Strings::int32) | strings behind their length |
//! | `StatefulStringProtocol` | [`StatefulStringReceiver`] | [`Strings`] | the same, each by a function that the one before it named |
//! | `StatefulProtocol` | [`StatefulReceiver`] | [`Stateful`] | as many bytes as it asked for, by the function that it named |
//!
//! ```
//! use std::time::Duration;
//! use twistor::framing::{LineReceiver, LineTransport, Lines};
//! use twistor::{Reactor, Reason};
//!
//! struct Greeter;
//!
//! impl LineReceiver for Greeter {
//!     fn connection_made(&mut self, transport: &mut LineTransport<'_>) {
//!         transport.send_line(b"Your name?");
//!         transport.call_later(Duration::from_secs(60), Greeter::too_slow);
//!     }
//!
//!     fn line_received(&mut self, transport: &mut LineTransport<'_>, name: &[u8]) {
//!         transport.send_line(&[b"Hello, ", name].concat());
//!         transport.lose_connection();
//!     }
//!
//!     fn connection_lost(&mut self, transport: &mut LineTransport<'_>, reason: &Reason) {
//!         println!("{}: {reason}", transport.peer());
//!     }
//! }
//!
//! impl Greeter {
//!     fn too_slow(&mut self, transport: &mut LineTransport<'_>) {
//!         transport.lose_connection();
//!     }
//! }
//!
//! let mut reactor = Reactor::new()?;
//! reactor.listen_tcp("127.0.0.1:0", || Lines::new(Greeter))?;
//! # let mut transport = twistor::testing::StringTransport::new(Lines::new(Greeter));
//! # transport.feed(b"John\r\nand more\r\n");
//! # assert_eq!(transport.value(), b"Your name?\r\nHello, John\r\n");
//! # assert!(transport.disconnecting());
//! # Ok::<(), twistor::Error>(())
//! ```
//!
//! A handler has all the callbacks of a [`Protocol`](crate::Protocol), with a transport that knows of its framing
//! and is a [`Transport`](crate::Transport) for everything else. [`Reactor::with_protocol`](crate::Reactor::with_protocol) and
//! [`Transport::call_later`](crate::Transport::call_later) find the handler by its type, and the protocol that it is in by that one's.
//!
//! And as a *codec*, for bytes that come from elsewhere, without a reactor: [`LineDecoder`], [`NetstringDecoder`], [`PrefixDecoder`],
//! [`CountDecoder`]; for the way out [`encode_line`], [`encode_netstring`], [`encode_string`]. The protocols above do nothing but
//! drive these.
//!
//! ```
//! use twistor::framing::{NetstringDecoder, encode_netstring};
//!
//! let mut bytes = Vec::new();
//! encode_netstring(&mut bytes, b"hello");
//! encode_netstring(&mut bytes, b"world");
//!
//! let mut decoder = NetstringDecoder::default();
//! let mut strings = Vec::new();
//! for mut piece in bytes.chunks(4) {
//!     while let Some(string) = decoder.next(&mut piece)? {
//!         strings.push(string.to_vec());
//!     }
//! }
//! assert_eq!(strings, [b"hello", b"world"]);
//! # Ok::<(), twistor::framing::StringError>(())
//! ```
//!
//! # What holds for all of them
//!
//! - Frames and errors depend on the bytes, and not on how they are cut, with two exceptions of Twisted's: how much is handed over with a
//!   line that is too long, and a [`LineOnlyReceiver`]'s line whose delimiter goes beyond the limit.
//! - The time goes with the number of bytes, in pieces of one byte as well. A frame that lies whole in what was read is not copied,
//!   another one once.
//! - Everything has a limit. What comes and is no frame ends the connection, with an error of a type of its own in
//!   [`Reason::Protocol`](crate::Reason::Protocol), unless the handler decides otherwise.
//! - [`pause_reading`](crate::Transport::pause_reading) stops delivery at once, in the middle of what was read.
//!   [`resume_reading`](crate::Transport::resume_reading), by whomever, lets the rest come from the loop, in order, before anything else.
//! - Behind `lose_connection` and `abort_connection` nothing is delivered, which Twisted's prefixed strings and raw mode do. What was
//!   not can be had in `connection_lost` (`clear_line_buffer`, `clear_buffer`).

mod adapter;
mod codec;
mod line_only;
mod lines;
mod stateful;
mod stateful_strings;
mod strings;

pub use self::codec::{
    CountDecoder, LengthPrefix, LineDecoder, LineTooLong, NetstringDecoder, PrefixDecoder, StringError,
    StringTooLong, encode_line, encode_netstring, encode_string,
};
pub use self::line_only::{LineOnlyReceiver, LineOnlyTransport, LinesOnly};
pub use self::lines::{LineReceiver, LineTransport, Lines};
pub use self::stateful::{NextState, StateError, Stateful, StatefulReceiver, StatefulTransport};
pub use self::stateful_strings::{NextString, StatefulStringReceiver};
pub use self::strings::{FrameTransport, StringReceiver, Strings};
