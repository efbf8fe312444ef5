//! Strings of bytes, each with its length in front: as netstrings, or behind a number of 8, 16 or 32 bits.

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::codec::{LengthPrefix, MAX_STRING, NetstringDecoder, PrefixDecoder, StringError, StringTooLong};
use crate::Transport;
use crate::reactor::Delivery;

/// What one connection does with strings, in whatever way they travel. [`Strings`] is the protocol of such a handler.
/// (Twisted: `NetstringReceiver`, `Int8StringReceiver`, `Int16StringReceiver`, `Int32StringReceiver`.)
///
/// ```
/// use twistor::framing::{FrameTransport, StringReceiver, Strings};
///
/// struct Shout;
///
/// impl StringReceiver for Shout {
///     fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]) {
///         // It is as long as one that came.
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
pub trait StringReceiver: 'static {
    /// A string came; it may be empty. (Twisted: `stringReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds those behind it up at once, `lose_connection` and `abort_connection` for ever.
    fn string_received(&mut self, transport: &mut FrameTransport<'_>, string: &[u8]);

    /// What came is no string, or is longer than it may be. By default the connection is lost with this error. (Twisted:
    /// `lengthLimitExceeded`, `handleParseError`.)
    ///
    /// There is no way on after a netstring that is none: the connection is lost in any case. A string that is too long by its prefix can be
    /// let pass with [`set_max_length`](FrameTransport::set_max_length); else what comes is dropped, and this is called again each time.
    fn string_refused(&mut self, transport: &mut FrameTransport<'_>, error: &StringError) {
        transport.lose_connection_with_error(error.clone());
    }

    callbacks!(FrameTransport);
}

/// The protocol of a [`StringReceiver`]. A string has at most 99,999 bytes, unless a decoder says otherwise.
///
/// A string that lies whole in what was read is not copied.
pub struct Strings<H> {
    handler: H,
    decoder: Decoder,
    max_length: usize,
    held: Held,
}

/// A connection, as a [`StringReceiver`] sees it: a [`Transport`] that knows of strings.
pub struct FrameTransport<'a> {
    transport: Transport<'a>,
    /// `None` for netstrings.
    prefix: Option<LengthPrefix>,
    max_length: &'a mut usize,
    /// While strings are delivered it is with them.
    decoder: Option<&'a mut Decoder>,
    /// What is left of the bytes whose delivery is under way.
    rest: &'a [u8],
    /// What waits, when none is.
    held: &'a mut Held,
}

enum Decoder {
    Netstring(NetstringDecoder),
    Prefixed(PrefixDecoder),
}

impl<H: StringReceiver> Strings<H> {
    /// Netstrings: `3:abc,` is `abc`. (Twisted: `NetstringReceiver`.)
    pub fn netstrings(handler: H) -> Strings<H> {
        Strings::with_netstring_decoder(handler, NetstringDecoder::default())
    }

    /// One byte in front of each string says how long it is. (Twisted: `Int8StringReceiver`.)
    pub fn int8(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int8, MAX_STRING))
    }

    /// Two bytes, big-endian, in front of each string say how long it is. (Twisted: `Int16StringReceiver`.)
    pub fn int16(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int16, MAX_STRING))
    }

    /// Four bytes, big-endian, in front of each string say how long it is. (Twisted: `Int32StringReceiver`.)
    pub fn int32(handler: H) -> Strings<H> {
        Strings::with_prefix_decoder(handler, PrefixDecoder::new(LengthPrefix::Int32, MAX_STRING))
    }

    /// Netstrings with another limit; what the decoder has taken already comes first.
    pub fn with_netstring_decoder(handler: H, decoder: NetstringDecoder) -> Strings<H> {
        let max_length = decoder.max_length();
        Strings { handler, decoder: Decoder::Netstring(decoder), max_length, held: Held::default() }
    }

    /// Strings behind their length with another limit; what the decoder has taken already comes first.
    ///
    /// ```
    /// use twistor::framing::{FrameTransport, LengthPrefix, PrefixDecoder, StringReceiver, Strings};
    /// # struct Shout;
    /// # impl StringReceiver for Shout {
    /// #     fn string_received(&mut self, _: &mut FrameTransport<'_>, _: &[u8]) {}
    /// # }
    ///
    /// let strings = || Strings::with_prefix_decoder(Shout, PrefixDecoder::new(LengthPrefix::Int16, 1000));
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

    /// What came is refused; `true` when it was let pass after all.
    #[cold]
    #[inline(never)]
    fn refuse(&mut self, transport: &mut Transport<'_>, rest: &[u8], error: &StringError) -> bool {
        let mut of_handler = FrameTransport {
            transport: transport.reborrow(),
            prefix: self.decoder.prefix(),
            max_length: &mut self.max_length,
            decoder: Some(&mut self.decoder),
            rest,
            held: &mut self.held,
        };
        self.handler.string_refused(&mut of_handler, error);
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
        while transport.delivery() == Delivery::GoesOn {
            let prefix = self.decoder.prefix();
            let result = match &mut self.decoder {
                // Everything behind an error is ignored.
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
                        // It was the last one, or the handler took the others.
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

protocol!(Strings, StringReceiver, FrameTransport);

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
    /// Sends a string, framed as those that come. (Twisted: `sendString`.)
    ///
    /// # Errors
    /// [`StringTooLong`] when its length has no room in the prefix; nothing is sent then. Netstrings have room for any.
    /// (Twisted: `StringTooLongError`.)
    pub fn send_string(&mut self, string: &[u8]) -> Result<(), StringTooLong> {
        match self.prefix {
            None => {
                self.transport.write(format!("{}:", string.len()).as_bytes());
                self.transport.write(string);
                self.transport.write(b",");
            }
            Some(prefix) => {
                let number = prefix.encode(string.len())?;
                // No prefix is longer than four bytes.
                self.transport.write(&number[4 - prefix.size()..]);
                self.transport.write(string);
            }
        }
        Ok(())
    }

    /// Takes all that came and was not delivered, lengths included: whoever speaks something else from now on begins with it.
    /// (Twisted: `recvd`, `clearBuffer`.)
    pub fn clear_buffer(&mut self) -> Vec<u8> {
        let mut all = self.decoder.as_mut().map_or_else(Vec::new, |decoder| decoder.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// How many bytes a string may have.
    pub fn max_length(&self) -> usize {
        *self.max_length
    }

    /// Sets how many bytes a string may have that comes. (Twisted: `MAX_LENGTH`.)
    pub fn set_max_length(&mut self, max_length: usize) {
        *self.max_length = max_length;
    }
}
