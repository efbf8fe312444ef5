//! Framings: the boundaries of messages in a byte stream.
//!
//! Each framing comes in two forms. The first is a *handler* of a connection: a trait whose methods
//! get whole messages, and a protocol that wraps it.
//!
//! | Twisted | handler | its protocol | messages |
//! |---|---|---|---|
//! | `LineReceiver` | [`LineReceiver`] | [`Lines`] | lines with any delimiter, and raw data in between |
//! | `LineOnlyReceiver` | [`LineReceiver`] | [`Lines`] | the same, without use of the raw mode |
//! | `NetstringReceiver` | [`StringReceiver`] | [`Strings::netstrings`] | netstrings |
//! | `Int8StringReceiver`, `Int16StringReceiver`, `Int32StringReceiver` | [`StringReceiver`] | [`Strings::int8`], [`int16`](Strings::int16), [`int32`](Strings::int32) | length-prefixed strings |
//! | `StatefulStringProtocol` | [`StatefulStringReceiver`] | [`Strings`] | the same; each call names the function for the next string |
//! | `StatefulProtocol` | [`StatefulReceiver`] | [`Stateful`] | a requested number of bytes; each call names the next function and size |
//! | (`dataReceived`) | [`MessageReceiver`] | [`Messages`] | those of a [`Decoder`] of your own |
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
//! A handler has all callbacks of a [`Protocol`](crate::Protocol). Its transport has methods for
//! the framing and derefs to [`Transport`](crate::Transport).
//! [`Reactor::with_protocol`](crate::Reactor::with_protocol) and
//! [`Transport::call_later`](crate::Transport::call_later) find the handler and its protocol by
//! their types.
//!
//! The second form is a *codec*, for use without a reactor:
//!
//! - Decoders: [`LineDecoder`], [`NetstringDecoder`], [`PrefixDecoder`], [`CountDecoder`].
//! - Encoders: [`encode_line`], [`encode_netstring`], [`encode_string`].
//!
//! The protocols above are built on these codecs. The decoders implement the trait [`Decoder`], and
//! so can yours: for handlers, tasks ([`StreamReader::read_message`][read_message]) and tests. The
//! [chapter on framings](crate::guide::framings) has a complete example. [`Encoder`] is the sending
//! half: [`Transport::write_message`](crate::Transport::write_message) sends a message on any
//! connection.
//!
//! [read_message]: crate::stream::StreamReader::read_message
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
//! # Common properties
//!
//! - Frames and errors depend only on the bytes, not on their division into reads. The exception
//!   comes from Twisted: the amount of data passed with a line that is too long.
//! - Running time is linear in the number of bytes, even if they arrive one by one. A frame that
//!   lies completely in one read is not copied. Other frames are copied once.
//! - Everything has a limit. Invalid data ends the connection with a typed error in
//!   [`Reason::Protocol`](crate::Reason::Protocol), unless the handler decides otherwise.
//! - [`pause_reading`](crate::Transport::pause_reading) stops delivery at once, in the middle of a
//!   read. After [`resume_reading`](crate::Transport::resume_reading) the loop delivers the rest
//!   first, in order.
//! - After `lose_connection` and `abort_connection` nothing is delivered. (Twisted's prefixed
//!   strings and raw mode do deliver.) The undelivered data can be taken in `connection_lost`
//!   (`clear_line_buffer`, `clear_buffer`).

mod adapter;
mod codec;
mod decoder;
mod encoder;
mod lines;
mod message_buffer;
mod messages;
mod stateful;
mod stateful_strings;
mod strings;

pub use self::codec::{
    CountDecoder, LengthPrefix, LineDecoder, LineTooLong, NetstringDecoder, PrefixDecoder, StringError,
    StringTooLong, encode_line, encode_netstring, encode_string,
};
pub use self::decoder::{Decoder, MessageError};
pub(crate) use self::decoder::{last_message, next_message};
pub(crate) use self::encoder::encoded;
pub use self::encoder::{DelimiterInLine, Encoder, LineEncoder, NetstringEncoder};
pub use self::lines::{LineReceiver, LineTransport, Lines};
pub use self::message_buffer::MessageBuffer;
pub use self::messages::{MessageReceiver, MessageTransport, Messages};
pub use self::stateful::{NextState, StateError, Stateful, StatefulReceiver, StatefulTransport};
pub use self::stateful_strings::{NextString, StatefulStringReceiver};
pub use self::strings::{FrameTransport, StringReceiver, Strings};
