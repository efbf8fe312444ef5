//! A protocol for byte strings: netstrings, or strings prefixed by a length of 8, 16 or 32 bits.

use super::adapter::{Adapter, Held, callbacks, protocol, transport};
use super::codec::{LengthPrefix, MAX_STRING, NetstringDecoder, PrefixDecoder, StringError, StringTooLong};
use crate::Transport;
use crate::reactor::ReadState;

/// A handler of byte strings for one connection, independent of their encoding. [`Strings`] is its
/// protocol. (Twisted: `NetstringReceiver`, `Int8StringReceiver`, `Int16StringReceiver`,
/// `Int32StringReceiver`.)
///
/// ```
/// use twistor::framing::{FrameTransport, StringReceiver, Strings};
///
/// struct Shout;
///
/// impl StringReceiver for Shout {
///     fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
///         // It has the length of a received string, so it fits the prefix.
///         let _ = transport.send_string(&string.to_ascii_uppercase());
///     }
/// }
///
/// let mut reactor = twistor::Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", || Strings::netstrings(Shout))?;
/// reactor.listen_tcp("127.0.0.1:0", || Strings::int16(Shout))?;
/// # let mut transport = twistor::testing::StringTransport::new(Strings::netstrings(Shout));
/// # transport.feed(b"5:hello,");
/// # assert_eq!(transport.value(), b"5:HELLO,");
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias(
    "NetstringReceiver",
    "IntNStringReceiver",
    "Int8StringReceiver",
    "Int16StringReceiver",
    "Int32StringReceiver",
    "LengthDelimitedCodec"
))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle strings",
    label = "does not implement `StringReceiver`",
    note = "implement `StringReceiver` for it: `string_received` is the only method without a default"
)]
pub trait StringReceiver: 'static {
    /// Called for each string. It may be empty. (Twisted: `stringReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the following strings back at once.
    /// `lose_connection` and `abort_connection` discard them.
    #[doc(alias = "stringReceived")]
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]);

    /// Called for invalid data or a string longer than the limit. Default: ends the connection with
    /// this error. (Twisted: `lengthLimitExceeded`, `handleParseError`.)
    ///
    /// - After an invalid netstring the connection ends in any case.
    /// - A prefixed string that is too long can be accepted with
    ///   [`set_max_length`](FrameTransport::set_max_length). Otherwise data is dropped, and this is
    ///   called again for each read.
    fn string_refused(&mut self, transport: &mut FrameTransport<'_>, error: &StringError) {
        transport.lose_connection_with_error(error.clone());
    }

    callbacks!(FrameTransport<'_>);
}

/// The protocol of a [`StringReceiver`]. A decoder sets the maximum length of a string. Default:
/// 99,999 bytes.
///
/// A string that lies completely in one read is not copied.
pub struct Strings<H> {
    handler: H,
    decoder: Decoder,
    max_length: usize,
    held: Held,
}

/// The transport of a [`StringReceiver`]: a [`Transport`] with methods for strings.
pub struct FrameTransport<'a> {
    transport: Transport<'a>,
    /// `None` for netstrings.
    prefix: Option<LengthPrefix>,
    max_length: &'a mut usize,
    /// `None` while a string is being delivered.
    decoder: Option<&'a mut Decoder>,
    /// Undelivered rest of the current input.
    rest: &'a [u8],
    /// Held data, used when there is no current input.
    held: &'a mut Held,
}

enum Decoder {
    Netstring(NetstringDecoder),
    Prefixed(PrefixDecoder),
}

impl<H: StringReceiver> Strings<H> {
    /// Creates the protocol for netstrings: `3:abc,` is `abc`. (Twisted: `NetstringReceiver`.)
    #[doc(alias = "NetstringReceiver")]
    pub fn netstrings(handler: H) -> Strings<H> {
        Strings::with_netstring_decoder(handler, NetstringDecoder::default())
    }

    /// Creates the protocol for strings with a length prefix of one byte. (Twisted:
    /// `Int8StringReceiver`.)
    #[doc(alias = "Int8StringReceiver")]
    pub fn int8(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int8, MAX_STRING))
    }

    /// Creates the protocol for strings with a length prefix of two bytes, big-endian. (Twisted:
    /// `Int16StringReceiver`.)
    #[doc(alias = "Int16StringReceiver")]
    pub fn int16(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int16, MAX_STRING))
    }

    /// Creates the protocol for strings with a length prefix of four bytes, big-endian. (Twisted:
    /// `Int32StringReceiver`.)
    #[doc(alias = "Int32StringReceiver")]
    pub fn int32(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int32, MAX_STRING))
    }

    /// Creates the protocol for netstrings with another limit. Data that the decoder already holds
    /// is delivered first.
    pub fn with_netstring_decoder(handler: H, decoder: NetstringDecoder) -> Strings<H> {
        let max_length = decoder.max_length();
        Strings { handler, decoder: Decoder::Netstring(decoder), max_length, held: Held::default() }
    }

    /// Creates the protocol for prefixed strings with another limit. Data that the decoder already
    /// holds is delivered first.
    ///
    /// ```
    /// use twistor::framing::{FrameTransport, StringReceiver, Strings};
    /// use twistor::framing::{LengthPrefix, PrefixDecoder};
    /// # struct Shout;
    /// # impl StringReceiver for Shout {
    /// #     fn string_received(&mut self, _: &mut FrameTransport<'_>, _: &[u8]) {}
    /// # }
    ///
    /// let decoder = || PrefixDecoder::new(LengthPrefix::Int16, 1000);
    /// let strings = move || Strings::with_prefix_decoder(Shout, decoder());
    /// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", strings)?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn with_prefix_decoder(handler: H, decoder: PrefixDecoder) -> Strings<H> {
        let max_length = decoder.max_length();
        Strings { handler, decoder: Decoder::Prefixed(decoder), max_length, held: Held::default() }
    }

    fn split<'a>(&'a mut self, transport: &'a mut Transport<'_>) -> (&'a mut H, FrameTransport<'a>) {
        let transport = FrameTransport {
            transport: transport.reborrow(),
            prefix: self.decoder.prefix(),
            max_length: &mut self.max_length,
            decoder: Some(&mut self.decoder),
            rest: &[],
            held: &mut self.held,
        };
        (&mut self.handler, transport)
    }

    /// Reports an error to the handler. Returns `true` if the handler accepted the string.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, transport: &mut Transport<'_>, rest: &[u8], error: &StringError) -> bool {
        let mut handler_transport = FrameTransport {
            transport: transport.reborrow(),
            prefix: self.decoder.prefix(),
            max_length: &mut self.max_length,
            decoder: Some(&mut self.decoder),
            rest,
            held: &mut self.held,
        };
        self.handler.string_refused(&mut handler_transport, error);
        match (&self.decoder, error) {
            (Decoder::Prefixed(_), StringError::TooLong(error)) => error.length <= self.max_length,
            _ => {
                transport.lose_connection_with_error(error.clone());
                false
            }
        }
    }
}

impl<H: StringReceiver> Adapter for Strings<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        while transport.read_state() == ReadState::Reading {
            let prefix = self.decoder.prefix();
            let result = match &mut self.decoder {
                // Data after an error is ignored.
                Decoder::Netstring(decoder) if decoder.error().is_some() => return &[],
                Decoder::Netstring(decoder) => {
                    decoder.set_max_length(self.max_length);
                    decoder.next(&mut input)
                }
                Decoder::Prefixed(decoder) => {
                    decoder.set_max_length(self.max_length);
                    decoder.next(&mut input).map_err(StringError::TooLong)
                }
            };
            match result {
                Ok(Some(string)) => {
                    let mut transport = FrameTransport {
                        transport: transport.reborrow(),
                        prefix,
                        max_length: &mut self.max_length,
                        decoder: None,
                        rest: input,
                        held: &mut self.held,
                    };
                    self.handler.string_received(&mut transport, string);
                    if transport.rest.is_empty() {
                        // This was the last string, or the handler took the rest.
                        input = &[];
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if !self.refuse(transport, input, &error) {
                        return &[];
                    }
                }
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(Strings, StringReceiver, FrameTransport<'_>);
transport!(Strings, StringReceiver, FrameTransport);

impl Decoder {
    #[inline]
    fn prefix(&self) -> Option<LengthPrefix> {
        match self {
            Decoder::Netstring(_) => None,
            Decoder::Prefixed(decoder) => Some(decoder.prefix()),
        }
    }

    fn clear(&mut self) -> Vec<u8> {
        match self {
            Decoder::Netstring(decoder) => decoder.clear(),
            Decoder::Prefixed(decoder) => decoder.clear(),
        }
    }
}

impl FrameTransport<'_> {
    /// Sends a string in the encoding of the received ones. (Twisted: `sendString`.)
    ///
    /// # Errors
    /// [`StringTooLong`] if the length does not fit the prefix. Nothing is sent then. Netstrings
    /// have no such limit. (Twisted: `StringTooLongError`.)
    #[doc(alias = "sendString")]
    pub fn send_string(&mut self, string: impl AsRef<[u8]>) -> Result<(), StringTooLong> {
        self.send_bytes(string.as_ref())
    }

    fn send_bytes(&mut self, string: &[u8]) -> Result<(), StringTooLong> {
        match self.prefix {
            None => {
                self.transport.write(format!("{}:", string.len()).as_bytes());
                self.transport.write(string);
                self.transport.write(b",");
            }
            Some(prefix) => {
                let number = prefix.encode(string.len())?;
                // A prefix has at most four bytes.
                self.transport.write(&number[4 - prefix.size()..]);
                self.transport.write(string);
            }
        }
        Ok(())
    }

    /// Takes all received data that was not delivered, including length prefixes, for example to
    /// switch to another protocol. (Twisted: `recvd`, `clearBuffer`.)
    pub fn clear_buffer(&mut self) -> Vec<u8> {
        let mut all = self.decoder.as_mut().map_or_else(Vec::new, |decoder| decoder.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// The maximum length of a string, in bytes.
    pub fn max_length(&self) -> usize {
        *self.max_length
    }

    /// Sets the maximum length of received strings, in bytes. (Twisted: `MAX_LENGTH`.)
    #[doc(alias = "MAX_LENGTH")]
    pub fn set_max_length(&mut self, max_length: usize) {
        *self.max_length = max_length;
    }
}
