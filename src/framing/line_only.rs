//! Lines and nothing else: the small one.

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::codec::{LineDecoder, LineFormat, LineTooLong, UnfinishedLine};
use crate::Transport;
use crate::reactor::Delivery;

/// What one connection does with lines, and with nothing but lines. [`LinesOnly`] is the protocol of such a handler.
/// (Twisted: `LineOnlyReceiver`.)
///
/// Unlike a [`LineReceiver`](super::LineReceiver) it has no raw mode. Of a line that is not complete not even a part of the delimiter may be
/// beyond the limit. One that is too long is told by itself, and the lines behind it come all the same. (Twisted's tells of it again
/// with each new data, and keeps it.)
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
    /// A line came, without its delimiter; it may be empty. (Twisted: `lineReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the lines behind it up at once, `lose_connection` and `abort_connection` for
    /// ever.
    fn line_received(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]);

    /// A line is longer than it may be: this one, as far as it has come. The rest of it is skipped, if the connection goes on. By
    /// default it does not: it is lost with [`LineTooLong`]. (Twisted: `lineLengthExceeded`.)
    fn line_length_exceeded(&mut self, transport: &mut LineOnlyTransport<'_>, line: &[u8]) {
        let _ = line;
        let limit = transport.max_length();
        transport.lose_connection_with_error(LineTooLong { limit });
    }

    callbacks!(LineOnlyTransport);
}

/// The protocol of a [`LineOnlyReceiver`]. Lines end in `\r\n` and have at most 16,384 bytes, unless a [`LineDecoder`] says
/// otherwise.
pub struct LinesOnly<H> {
    handler: H,
    format: LineFormat,
    unfinished: UnfinishedLine,
    held: Held,
}

/// A connection, as a [`LineOnlyReceiver`] sees it: a [`Transport`] that knows of lines.
pub struct LineOnlyTransport<'a> {
    transport: Transport<'a>,
    format: &'a LineFormat,
    /// Of a line that is not complete. While lines are delivered there is none.
    unfinished: Option<&'a mut UnfinishedLine>,
    /// What is left of the bytes whose delivery is under way.
    rest: &'a [u8],
    /// What waits, when none is.
    held: &'a mut Held,
}

impl<H: LineOnlyReceiver> LinesOnly<H> {
    /// Lines for this handler.
    pub fn new(handler: H) -> LinesOnly<H> {
        LinesOnly::with_decoder(handler, LineDecoder::default())
    }

    /// Lines with another delimiter or another limit.
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

    /// A line is too long: `input` is moved to the line behind it, or it is skipped as it comes.
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
                // What it takes of the end may be the beginning of a delimiter.
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
                        // It was the last one, or the handler took the others.
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

    /// Takes all that came and was not delivered: an unfinished line, and in mid-buffer everything behind the line that was
    /// delivered last.
    pub fn clear_line_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// What ends a line.
    pub fn delimiter(&self) -> &[u8] {
        &self.format.delimiter
    }

    /// How many bytes a line may have.
    pub fn max_length(&self) -> usize {
        self.format.max_length
    }
}
