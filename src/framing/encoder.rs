//! Encoders: messages to bytes.

use std::borrow::Cow;
use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use super::codec::{LengthPrefix, StringTooLong, encode_line, encode_netstring, encode_string};
use crate::Transport;

/// The sending half of a framing: appends messages to bytes.
/// ([`tokio_util::codec::Encoder`][tokio]; netty: `MessageToByteEncoder`.)
///
/// [`Transport::write_message`] writes a message to any connection, also to another than that of
/// the running callback. Tasks call
/// [`StreamWriter::write_message`](crate::stream::StreamWriter::write_message).
///
/// ```
/// use twistor::framing::{LengthPrefix, LineEncoder};
/// use twistor::{ConnectionId, Reactor};
///
/// /// Sends a line to each of the other guests of a chat.
/// fn say(reactor: &mut Reactor, others: &[ConnectionId], text: &str) {
///     let mut lines = LineEncoder::new(b"\n");
///     for other in others {
///         if let Some(mut other) = reactor.transport(*other)
///             && let Err(error) = other.write_message(&mut lines, text.as_bytes())
///         {
///             println!("not sent: {error}");
///         }
///     }
/// }
///
/// # let mut transport = twistor::testing::StringTransport::new(twistor::testing::AccumulatingProtocol::default());
/// # transport.with(|_, transport| {
/// #     let id = transport.id();
/// #     say(transport.reactor(), &[id], "hello");
/// #     say(transport.reactor(), &[id], "two\nlines");
/// transport.write_message(&mut LengthPrefix::Int16, b"hello")?;
/// #     Ok::<(), twistor::framing::StringTooLong>(())
/// # })?;
/// # assert_eq!(transport.value(), b"hello\n\0\x05hello");
/// # Ok::<(), twistor::framing::StringTooLong>(())
/// ```
///
/// [tokio]: https://docs.rs/tokio-util/latest/tokio_util/codec/trait.Encoder.html
#[doc(alias("Framed", "FramedWrite"))]
pub trait Encoder {
    /// A message.
    type Message: ?Sized;

    /// The error of a message that cannot be encoded.
    type Error: Error + Send + Sync + 'static;

    /// Appends a message to `out`.
    ///
    /// # Errors
    /// The message cannot be encoded. What was appended is discarded.
    fn encode(&mut self, message: &Self::Message, out: &mut Vec<u8>) -> Result<(), Self::Error>;
}

/// An encoder of lines, the counterpart of [`LineDecoder`](crate::framing::LineDecoder).
///
/// Unlike [`encode_line`] it refuses a line that contains the delimiter, and which the peer would
/// take for two.
///
/// ```
/// use twistor::framing::{DelimiterInLine, Encoder, LineEncoder};
///
/// let mut out = Vec::new();
/// assert_eq!(LineEncoder::default().encode(b"PASS x", &mut out), Ok(()));
/// let injected = b"USER x\r\nQUIT";
/// assert_eq!(LineEncoder::default().encode(injected, &mut out), Err(DelimiterInLine { at: 6 }));
/// assert_eq!(out, b"PASS x\r\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineEncoder {
    delimiter: Cow<'static, [u8]>,
}

impl LineEncoder {
    /// Creates an encoder of lines that end in `delimiter`. Default: `\r\n`.
    pub fn new(delimiter: impl Into<Cow<'static, [u8]>>) -> LineEncoder {
        LineEncoder { delimiter: delimiter.into() }
    }
}

impl Default for LineEncoder {
    fn default() -> LineEncoder {
        LineEncoder::new(b"\r\n")
    }
}

/// Error: a line to be sent contains the delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelimiterInLine {
    /// Position of the first delimiter in the line with its terminator, in bytes.
    pub at: usize,
}

impl fmt::Display for DelimiterInLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line to be sent contains the delimiter at byte {}", self.at)
    }
}

impl Error for DelimiterInLine {}

impl Encoder for LineEncoder {
    type Message = [u8];
    type Error = DelimiterInLine;

    fn encode(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), DelimiterInLine> {
        let start = out.len();
        encode_line(out, line, &self.delimiter);
        // The end of the line can be the start of a delimiter, so the terminator is searched too.
        match memchr::memmem::find(out.get(start..).unwrap_or_default(), &self.delimiter) {
            Some(at) if at < line.len() && !self.delimiter.is_empty() => {
                out.truncate(start);
                Err(DelimiterInLine { at })
            }
            _ => Ok(()),
        }
    }
}

/// An encoder of netstrings, the counterpart of
/// [`NetstringDecoder`](crate::framing::NetstringDecoder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetstringEncoder;

impl Encoder for NetstringEncoder {
    type Message = [u8];
    type Error = Infallible;

    fn encode(&mut self, string: &[u8], out: &mut Vec<u8>) -> Result<(), Infallible> {
        encode_netstring(out, string);
        Ok(())
    }
}

/// The encoder of strings with this length prefix, the counterpart of
/// [`PrefixDecoder`](crate::framing::PrefixDecoder).
impl Encoder for LengthPrefix {
    type Message = [u8];
    type Error = StringTooLong;

    fn encode(&mut self, string: &[u8], out: &mut Vec<u8>) -> Result<(), StringTooLong> {
        encode_string(out, *self, string)
    }
}

impl Transport<'_> {
    /// Encodes a message and writes it, as [`write`](Transport::write). See [`Encoder`].
    ///
    /// # Errors
    /// The error of the encoder. Nothing is written then.
    pub fn write_message<E: Encoder>(
        &mut self,
        encoder: &mut E,
        message: &E::Message,
    ) -> Result<(), E::Error> {
        encoded(encoder, message, |bytes| self.write(bytes))
    }
}

thread_local! {
    /// The buffer of the last encoded message.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `write` with the encoded message.
pub(crate) fn encoded<E: Encoder>(
    encoder: &mut E,
    message: &E::Message,
    write: impl FnOnce(&[u8]),
) -> Result<(), E::Error> {
    // Taken out, because an encoder is user code. The slot is gone while the thread ends.
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let result = encoder.encode(message, &mut bytes);
    if result.is_ok() {
        write(&bytes);
    }
    bytes.clear();
    if bytes.capacity() <= MAX_SCRATCH {
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
    result
}

/// A larger buffer is not kept for the next message.
const MAX_SCRATCH: usize = 64 * 1024;
