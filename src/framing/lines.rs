//! Lines, and bytes in between: for protocols that talk in lines and now and then send something raw.

use std::borrow::Cow;

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::codec::{LineDecoder, LineFormat, LineTooLong, UnfinishedLine};
use crate::Transport;
use crate::reactor::Delivery;

/// What one connection does with lines. [`Lines`] is the protocol of such a handler. (Twisted: `LineReceiver`.)
///
/// ```
/// use twistor::framing::{LineReceiver, LineTransport, Lines};
/// use twistor::Reactor;
///
/// struct Shout;
///
/// impl LineReceiver for Shout {
///     fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
///         transport.send_line(&line.to_ascii_uppercase());
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", || Lines::new(Shout))?;
/// # let mut transport = twistor::testing::StringTransport::new(Lines::new(Shout));
/// # transport.feed(b"hello\r\n");
/// # assert_eq!(transport.value(), b"HELLO\r\n");
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait LineReceiver: 'static {
    /// A line came, without its delimiter; it may be empty. (Twisted: `lineReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the lines behind it up at once, `lose_connection` and `abort_connection` for
    /// ever.
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]);

    /// Bytes came in raw mode. By default they are dropped. (Twisted: `rawDataReceived`.)
    fn raw_data_received(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        let _ = (transport, data);
    }

    /// A line is longer than it may be. `data` is what there is of it, and all that has come behind it, delimiters included; what
    /// comes next is the beginning of a line, if the connection goes on. By default it does not: it is lost with [`LineTooLong`].
    /// (Twisted: `lineLengthExceeded`.)
    fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        let _ = data;
        let limit = transport.max_length();
        transport.lose_connection_with_error(LineTooLong { limit });
    }

    callbacks!(LineTransport);
}

/// The protocol of a [`LineReceiver`]. Lines end in `\r\n` and have at most 16,384 bytes, unless a [`LineDecoder`] says otherwise.
///
/// A line that lies whole in what was read is not copied.
pub struct Lines<H> {
    handler: H,
    controls: Controls,
    unfinished: UnfinishedLine,
    held: Held,
}

/// A connection, as a [`LineReceiver`] sees it: a [`Transport`] that knows of lines.
pub struct LineTransport<'a> {
    transport: Transport<'a>,
    controls: &'a mut Controls,
    /// Of a line that is not complete. While lines are delivered there is none.
    unfinished: Option<&'a mut UnfinishedLine>,
    /// What the handler is given in raw mode, where it can be given back.
    raw: &'a [u8],
    /// What is left of the bytes whose delivery is under way, at their end.
    rest: &'a [u8],
    /// What waits behind them.
    held: &'a mut Held,
}

struct Controls {
    format: LineFormat,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Lines,
    Raw,
}

impl<H: LineReceiver> Lines<H> {
    /// Lines for this handler.
    pub fn new(handler: H) -> Lines<H> {
        Lines::with_decoder(handler, LineDecoder::default())
    }

    /// Lines with another delimiter or another limit; and if the decoder has taken bytes already, they come first.
    ///
    /// ```
    /// use twistor::framing::{LineDecoder, LineReceiver, LineTransport, Lines};
    /// # struct Shout;
    /// # impl LineReceiver for Shout {
    /// #     fn line_received(&mut self, _: &mut LineTransport<'_>, _: &[u8]) {}
    /// # }
    ///
    /// let lines = || Lines::with_decoder(Shout, LineDecoder::new(b"\n", 1000));
    /// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", lines)?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn with_decoder(handler: H, decoder: LineDecoder) -> Lines<H> {
        let LineDecoder { format, unfinished } = decoder;
        let controls = Controls { format, mode: Mode::Lines };
        Lines { handler, controls, unfinished, held: Held::default() }
    }

    fn split<'a>(&'a mut self, transport: &'a mut Transport<'_>) -> (&'a mut H, LineTransport<'a>) {
        let transport = LineTransport {
            transport: transport.reborrow(),
            controls: &mut self.controls,
            unfinished: Some(&mut self.unfinished),
            raw: &[],
            rest: &[],
            held: &mut self.held,
        };
        (&mut self.handler, transport)
    }

    /// Everything that there is goes to the handler in one piece, as what it is or as what it cannot be.
    fn pass_whole<'i>(
        &mut self,
        transport: &mut Transport<'_>,
        input: &mut &'i [u8],
        call: impl FnOnce(&mut H, &mut LineTransport<'_>, &[u8]),
    ) {
        let before = self.unfinished.clear();
        let joined: Vec<u8>;
        // What is given back of bytes that lie in the input need not be copied.
        let (data, raw): (&[u8], &'i [u8]) = match before.is_empty() {
            true => (input, input),
            false => {
                joined = [&before, *input].concat();
                (&joined, &[])
            }
        };
        let mut transport = LineTransport {
            transport: transport.reborrow(),
            controls: &mut self.controls,
            unfinished: None,
            raw,
            rest: &[],
            held: &mut self.held,
        };
        call(&mut self.handler, &mut transport, data);
        let given_back = transport.rest.len();
        // It is the end of what there was.
        *input = &input[input.len() - given_back..];
    }
}

impl<H: LineReceiver> Adapter for Lines<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        // One loop, whatever the handler does: a mode that changes a thousand times is not a thousand calls deep.
        while transport.delivery() == Delivery::GoesOn && self.held.is_empty() {
            match self.controls.mode {
                Mode::Lines => match self.unfinished.next(&self.controls.format, &mut input) {
                    Ok(Some(line)) => {
                        let mut transport = LineTransport {
                            transport: transport.reborrow(),
                            controls: &mut self.controls,
                            unfinished: None,
                            raw: &[],
                            rest: input,
                            held: &mut self.held,
                        };
                        self.handler.line_received(&mut transport, line);
                        if transport.rest.is_empty() {
                            // It was the last one, or the handler took the others.
                            input = &[];
                        }
                    }
                    Ok(None) => break,
                    Err(LineTooLong { .. }) => {
                        self.pass_whole(transport, &mut input, H::line_length_exceeded);
                    }
                },
                Mode::Raw if input.is_empty() && self.unfinished.bytes().is_empty() => break,
                Mode::Raw => self.pass_whole(transport, &mut input, H::raw_data_received),
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(Lines, LineReceiver, LineTransport);

impl LineTransport<'_> {
    /// Sends a line and its delimiter. (Twisted: `sendLine`.)
    pub fn send_line(&mut self, line: &[u8]) {
        self.transport.write(line);
        self.transport.write(&self.controls.format.delimiter);
    }

    /// From now on bytes come as they are, to [`raw_data_received`](LineReceiver::raw_data_received); the rest of what came already first,
    /// and in one piece. (Twisted: `setRawMode`.)
    pub fn set_raw_mode(&mut self) {
        self.controls.mode = Mode::Raw;
    }

    /// From now on lines come, first those in `extra`: what a handler was given in raw mode and is no more of it. They are behind
    /// whatever else waits, and come when the handler has returned. (Twisted: `setLineMode`.)
    ///
    /// The end of what `raw_data_received` was given is not copied for it.
    pub fn set_line_mode(&mut self, extra: &[u8]) {
        self.controls.mode = Mode::Lines;
        if extra.is_empty() {
            return;
        }
        let nothing_behind = self.rest.is_empty() && self.held.is_empty();
        // The same place in memory, and not just the same bytes: nothing is compared, and nothing copied.
        if nothing_behind
            && extra.as_ptr_range().end == self.raw.as_ptr_range().end
            && let Some(start) = self.raw.len().checked_sub(extra.len())
        {
            self.rest = self.raw.get(start..).unwrap_or_default();
        } else {
            self.held.append(extra);
        }
    }

    /// Whether bytes come as they are.
    pub fn raw_mode(&self) -> bool {
        self.controls.mode == Mode::Raw
    }

    /// Takes all that came and was not delivered: an unfinished line, and in mid-buffer everything behind the line that was
    /// delivered last. (Twisted: `clearLineBuffer`.)
    pub fn clear_line_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// What ends a line.
    pub fn delimiter(&self) -> &[u8] {
        &self.controls.format.delimiter
    }

    /// Sets what ends a line, those included that came and were not delivered. (Twisted: `delimiter`.)
    pub fn set_delimiter(&mut self, delimiter: impl Into<Cow<'static, [u8]>>) {
        self.controls.format.delimiter = delimiter.into();
        if let Some(unfinished) = &mut self.unfinished {
            self.held.put_before(&unfinished.clear());
        }
    }

    /// How many bytes a line may have.
    pub fn max_length(&self) -> usize {
        self.controls.format.max_length
    }

    /// Sets how many bytes a line may have. (Twisted: `MAX_LENGTH`.)
    pub fn set_max_length(&mut self, max_length: usize) {
        self.controls.format.max_length = max_length;
    }
}
