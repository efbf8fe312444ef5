//! A minimal protocol for lines, without a raw mode.

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::codec::{LineDecoder, LineFormat, LineTooLong, UnfinishedLine};
use crate::Transport;
use crate::reactor::Delivery;

/// A handler of lines for one connection, without a raw mode. [`LinesOnly`] is its protocol.
/// (Twisted: `LineOnlyReceiver`.)
///
/// Differences from a [`LineReceiver`](super::LineReceiver):
///
/// - There is no raw mode.
/// - In an incomplete line the limit also covers a partial delimiter.
/// - A line that is too long is reported once, and the lines after it are delivered. (Twisted keeps
///   such a line and reports it again with each new data.)
///
/// ```
/// use twistor::framing::{LineOnlyReceiver, LineOnlyTransport, LinesOnly};
///
/// struct Shout;
///
/// impl LineOnlyReceiver for Shout {
///     fn line_received(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]) {
///         transport.send_line(&line.to_ascii_uppercase());
///     }
/// }
///
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", || LinesOnly::new(Shout))?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait LineOnlyReceiver: 'static {
    /// Called for each line, without its delimiter. It may be empty. (Twisted: `lineReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the following lines back at once.
    /// `lose_connection` and `abort_connection` discard them.
    fn line_received(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]);

    /// Called when a line is longer than the limit, with the part received so far. If the
    /// connection continues, the rest of the line is skipped. Default: ends the connection with
    /// [`LineTooLong`]. (Twisted: `lineLengthExceeded`.)
    fn line_length_exceeded(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]) {
        let _ = line;
        let limit = transport.max_length();
        transport.lose_connection_with_error(LineTooLong { limit });
    }

    callbacks!(LineOnlyTransport);
}

/// The protocol of a [`LineOnlyReceiver`]. A [`LineDecoder`] sets the delimiter and the maximum
/// line length. Default: `\r\n` and 16,384 bytes.
pub struct LinesOnly<H> {
    handler: H,
    format: LineFormat,
    unfinished: UnfinishedLine,
    held: Held,
}

/// The transport of a [`LineOnlyReceiver`]: a [`Transport`] with methods for lines.
pub struct LineOnlyTransport<'a> {
    transport: Transport<'a>,
    format: &'a LineFormat,
    /// The incomplete line. `None` while a line is being delivered.
    unfinished: Option<&'a mut UnfinishedLine>,
    /// Undelivered rest of the current input.
    rest: &'a [u8],
    /// Held data, used when there is no current input.
    held: &'a mut Held,
}

impl<H: LineOnlyReceiver> LinesOnly<H> {
    /// Creates the protocol with the default delimiter and limit.
    pub fn new(handler: H) -> LinesOnly<H> {
        LinesOnly::with_decoder(handler, LineDecoder::default())
    }

    /// Creates the protocol with another delimiter or limit.
    pub fn with_decoder(handler: H, decoder: LineDecoder) -> LinesOnly<H> {
        let LineDecoder { format, unfinished } = decoder;
        LinesOnly { handler, format, unfinished, held: Held::default() }
    }

    fn split<'a>(&'a mut self, transport: &'a mut Transport<'_>) -> (&'a mut H, LineOnlyTransport<'a>) {
        let transport = LineOnlyTransport {
            transport: transport.reborrow(),
            format: &self.format,
            unfinished: Some(&mut self.unfinished),
            rest: &[],
            held: &mut self.held,
        };
        (&mut self.handler, transport)
    }

    /// Handles a line that is too long. Advances `input` to the next line if there is one, or skips
    /// the rest of the line as it arrives.
    #[cold]
    #[inline(never)]
    fn exceed(&mut self, transport: &mut Transport<'_>, input: &mut &[u8]) {
        let before = self.unfinished.clear();
        let end = self.format.find(&before, input);
        let (line, rest) = input.split_at(end.unwrap_or(input.len()));
        let mut line = [&before, line].concat();
        match end {
            Some(_) => line.truncate(line.len() - self.format.delimiter.len()),
            None => {
                self.unfinished.skip();
                // The last bytes of the line may be the start of a delimiter.
                self.unfinished.skip_over(&self.format, &line);
            }
        }
        let mut transport = LineOnlyTransport {
            transport: transport.reborrow(),
            format: &self.format,
            unfinished: None,
            rest,
            held: &mut self.held,
        };
        self.handler.line_length_exceeded(&mut transport, &line);
        *input = if transport.rest.is_empty() { &[] } else { rest };
    }
}

impl<H: LineOnlyReceiver> Adapter for LinesOnly<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        while transport.delivery() == Delivery::GoesOn {
            match self.unfinished.next(&self.format, &mut input) {
                Ok(Some(line)) => {
                    let mut transport = LineOnlyTransport {
                        transport: transport.reborrow(),
                        format: &self.format,
                        unfinished: None,
                        rest: input,
                        held: &mut self.held,
                    };
                    self.handler.line_received(&mut transport, line);
                    if transport.rest.is_empty() {
                        // This was the last line, or the handler took the rest.
                        input = &[];
                    }
                }
                Ok(None) => {
                    if self.unfinished.bytes().len() <= self.format.max_length {
                        break;
                    }
                    self.exceed(transport, &mut input);
                }
                Err(LineTooLong { .. }) => self.exceed(transport, &mut input),
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(LinesOnly, LineOnlyReceiver, LineOnlyTransport);

impl LineOnlyTransport<'_> {
    /// Sends a line and its delimiter. (Twisted: `sendLine`.)
    #[inline]
    pub fn send_line(&mut self, line: &[u8]) {
        self.transport.write(line);
        self.transport.write(&self.format.delimiter);
    }

    /// Takes all received data that was not delivered: an incomplete line, and the data after the
    /// line being delivered.
    pub fn clear_line_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// The delimiter of lines.
    pub fn delimiter(&self) -> &[u8] {
        &self.format.delimiter
    }

    /// The maximum length of a line, in bytes.
    pub fn max_length(&self) -> usize {
        self.format.max_length
    }
}
