//! A protocol for messages of any framing.

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::decoder::{Decoder, MessageError};
use super::encoder::Encoder;
use super::message_buffer::MessageBuffer;
use crate::reactor::ReadState;
use crate::{DelayedCall, Transport};
use std::time::Duration;

/// A handler of the messages of a [`Decoder`] for one connection. [`Messages`] is its protocol.
/// (Twisted: a protocol of one's own, in the manner of `LineReceiver`; netty: a handler behind a
/// `ByteToMessageDecoder`.)
///
/// ```
/// use std::convert::Infallible;
/// use twistor::framing::{Decoder, MessageReceiver, MessageTransport, Messages};
///
/// /// Words of four bytes.
/// struct Words;
///
/// impl Decoder for Words {
///     type Message = u32;
///     type Error = Infallible;
///
///     fn decode(&mut self, input: &mut &[u8]) -> Result<Option<u32>, Infallible> {
///         let Some((word, rest)) = input.split_first_chunk() else { return Ok(None) };
///         *input = rest;
///         Ok(Some(u32::from_be_bytes(*word)))
///     }
/// }
///
/// /// Answers each word with the next number.
/// struct Successor;
///
/// impl MessageReceiver for Successor {
///     type Decoder = Words;
///
///     fn message_received(&mut self, transport: &mut MessageTransport<'_, Words>, word: u32) {
///         transport.write(&word.wrapping_add(1).to_be_bytes());
///     }
/// }
///
/// let mut reactor = twistor::Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", || Messages::new(Successor, Words))?;
/// # let mut transport = twistor::testing::StringTransport::new(Messages::new(Successor, Words));
/// # transport.feed(b"\0\0\0\x01\0\0");
/// # transport.feed(b"\0\xff");
/// # assert_eq!(transport.value(), b"\0\0\0\x02\0\0\x01\0");
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait MessageReceiver: 'static {
    /// The framing.
    type Decoder: Decoder;

    /// Called for each message.
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the following messages back at once.
    /// `lose_connection` and `abort_connection` discard them.
    fn message_received(
        &mut self,
        transport: &mut MessageTransport<'_, Self::Decoder>,
        message: <Self::Decoder as Decoder>::Message,
    );

    /// Called for invalid data, a message longer than the limit, and the end of the input in the
    /// middle of a message. In the last case it replaces `read_connection_lost`. The connection
    /// ends in any case. Default: ends it with this error.
    fn message_refused(
        &mut self,
        transport: &mut MessageTransport<'_, Self::Decoder>,
        error: MessageError<<Self::Decoder as Decoder>::Error>,
    ) {
        transport.lose_connection_with_error(error);
    }

    callbacks!(MessageTransport<'_, Self::Decoder>);
}

/// The protocol of a [`MessageReceiver`]. A [`MessageBuffer`] sets the maximum length of a message.
/// Default: 99,999 bytes.
#[doc(alias = "Framed")]
pub struct Messages<H: MessageReceiver> {
    handler: H,
    buffer: MessageBuffer<H::Decoder>,
    held: Held,
    end: End,
}

/// The end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not come.
    Open,
    /// It has come, and the handler has paused before the last message.
    Held,
    /// It was reported.
    Reported,
}

/// The transport of a [`MessageReceiver`]: a [`Transport`] with methods for messages.
pub struct MessageTransport<'a, D> {
    transport: Transport<'a>,
    buffer: &'a mut MessageBuffer<D>,
    /// Undelivered rest of the current input.
    rest: &'a [u8],
    /// Held data after `rest`.
    held: &'a mut Held,
}

impl<H: MessageReceiver> Messages<H> {
    /// Creates the protocol with the default limit.
    pub fn new(handler: H, decoder: H::Decoder) -> Messages<H> {
        Messages::with_buffer(handler, MessageBuffer::new(decoder))
    }

    /// Creates the protocol with another limit. Data that the buffer already holds is delivered
    /// first.
    pub fn with_buffer(handler: H, buffer: MessageBuffer<H::Decoder>) -> Messages<H> {
        Messages { handler, buffer, held: Held::default(), end: End::Open }
    }

    fn split<'a>(
        &'a mut self,
        transport: &'a mut Transport<'_>,
    ) -> (&'a mut H, MessageTransport<'a, H::Decoder>) {
        let transport = MessageTransport {
            transport: transport.reborrow(),
            buffer: &mut self.buffer,
            rest: &[],
            held: &mut self.held,
        };
        (&mut self.handler, transport)
    }

    #[cold]
    #[inline(never)]
    fn refuse(
        &mut self,
        transport: &mut Transport<'_>,
        rest: &[u8],
        error: MessageError<<H::Decoder as Decoder>::Error>,
    ) {
        self.end = End::Reported;
        let mut handler_transport = MessageTransport {
            transport: transport.reborrow(),
            buffer: &mut self.buffer,
            rest,
            held: &mut self.held,
        };
        self.handler.message_refused(&mut handler_transport, error);
        transport.lose_connection();
    }
}

impl<H: MessageReceiver> Adapter for Messages<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        while transport.read_state() == ReadState::Reading {
            if self.end == End::Reported {
                // Data after an error is ignored.
                return &[];
            }
            match self.buffer.next(&mut input) {
                Ok(Some(message)) => {
                    let mut handler_transport = MessageTransport {
                        transport: transport.reborrow(),
                        buffer: &mut self.buffer,
                        rest: input,
                        held: &mut self.held,
                    };
                    self.handler.message_received(&mut handler_transport, message);
                    if handler_transport.rest.is_empty() {
                        // This was the last message, or the handler took the rest.
                        input = &[];
                    }
                    match transport.read_state() {
                        // The decoder or the buffer may have more messages.
                        ReadState::Paused => transport.schedule_data_received(),
                        ReadState::LayerAdded => {
                            // The buffered bytes are the earlier ones, so they are given back last.
                            transport.unread(input);
                            transport.unread(&self.buffer.take_rest());
                            return &[];
                        }
                        ReadState::Reading | ReadState::Closed => {}
                    }
                }
                Ok(None) => {
                    if self.end == End::Held && self.finish(transport) {
                        self.with(transport, |handler, transport| handler.read_connection_lost(transport));
                    }
                    break;
                }
                Err(error) => {
                    self.refuse(transport, input, error);
                    return &[];
                }
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    fn finish(&mut self, transport: &mut Transport<'_>) -> bool {
        // If our FIN was sent, the peer's ends the connection, and it counts as closed already.
        let closed = transport.read_state() == ReadState::Closed;
        while self.end != End::Reported {
            match transport.read_state() {
                ReadState::Closed if !closed => return false,
                ReadState::Paused => {
                    self.end = End::Held;
                    transport.schedule_data_received();
                    return false;
                }
                // At the end of the input, nothing is left for a layer.
                ReadState::Reading | ReadState::LayerAdded | ReadState::Closed => {}
            }
            match self.buffer.finish() {
                Ok(Some(message)) => {
                    let (handler, mut transport) = self.split(transport);
                    handler.message_received(&mut transport, message);
                }
                Ok(None) => {
                    self.end = End::Reported;
                    return true;
                }
                Err(error) => self.refuse(transport, &[], error),
            }
        }
        false
    }
}

protocol!(Messages, MessageReceiver, MessageTransport<'_, H::Decoder>);

impl<'a, D> std::ops::Deref for MessageTransport<'a, D> {
    type Target = Transport<'a>;

    fn deref(&self) -> &Transport<'a> {
        &self.transport
    }
}

impl<'a, D> std::ops::DerefMut for MessageTransport<'a, D> {
    fn deref_mut(&mut self) -> &mut Transport<'a> {
        &mut self.transport
    }
}

impl<D: Decoder> MessageTransport<'_, D> {
    /// The decoder, for example to change its mode. The change applies to the bytes after the
    /// current message.
    pub fn decoder(&mut self) -> &mut D {
        self.buffer.decoder_mut()
    }

    /// Encodes a message by the decoder, if that is an [`Encoder`] too, and writes it.
    ///
    /// # Errors
    /// The error of the encoder. Nothing is written then.
    pub fn send_message(&mut self, message: &<D as Encoder>::Message) -> Result<(), <D as Encoder>::Error>
    where
        D: Encoder,
    {
        self.transport.write_message(self.buffer.decoder_mut(), message)
    }

    /// Takes all received data that was not delivered, for example for another protocol or another
    /// connection. Bytes that the decoder has consumed for an incomplete message are not among
    /// them; within [`message_received`](MessageReceiver::message_received) there are none.
    /// (Twisted: `clearBuffer`.)
    pub fn take_rest(&mut self) -> Vec<u8> {
        let mut all = self.buffer.take_rest();
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// The limit of unconsumed bytes, see [`MessageBuffer::with_max_length`].
    pub fn max_length(&self) -> usize {
        self.buffer.max_length()
    }

    /// Sets the limit of unconsumed bytes. Minimum: 1.
    pub fn set_max_length(&mut self, max_length: usize) {
        self.buffer.set_max_length(max_length);
    }

    /// Same as [`Transport::call_later`], with the handler and its transport.
    pub fn call_later<H: MessageReceiver<Decoder = D>>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut H, &mut MessageTransport<'_, D>) + 'static,
    ) -> DelayedCall {
        self.transport.call_later(delay, move |messages: &mut Messages<H>, transport| {
            messages.with(transport, call);
        })
    }
}
