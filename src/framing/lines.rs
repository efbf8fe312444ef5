//! A protocol for lines, with a raw mode for other data in between.

use std::borrow::Cow;

use super::adapter::{Adapter, Held, callbacks, protocol, transport};
use super::codec::{LineDecoder, LineFormat, LineTooLong, UnfinishedLine};
use crate::Transport;
use crate::reactor::ReadState;

/// A handler of lines for one connection. [`Lines`] is its protocol. (Twisted: `LineReceiver`, and
/// `LineOnlyReceiver` for a handler without a raw mode.)
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
#[doc(alias("LineOnlyReceiver", "LinesCodec"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle lines",
    label = "does not implement `LineReceiver`",
    note = "implement `LineReceiver` for it: `line_received` is the only method without a default"
)]
pub trait LineReceiver: 'static {
    /// Called for each line, without its delimiter. It may be empty. (Twisted: `lineReceived`.)
    ///
    /// [`pause_reading`](Transport::pause_reading) holds the following lines back at once.
    /// `lose_connection` and `abort_connection` discard them.
    #[doc(alias = "lineReceived")]
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]);

    /// Called for data received in raw mode. Default: drops it. (Twisted: `rawDataReceived`.)
    #[doc(alias = "rawDataReceived")]
    fn raw_data_received(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        let _ = (transport, data);
    }

    /// Called when a line is longer than the limit. `data` is the line so far and everything
    /// received after it, delimiters included. If the connection continues, the next data starts a
    /// new line; [`skip_line`](LineTransport::skip_line) continues after this line's delimiter
    /// instead. Default: ends the connection with [`LineTooLong`]. (Twisted: `lineLengthExceeded`.)
    ///
    /// ```
    /// use twistor::framing::{LineReceiver, LineTransport, Lines};
    ///
    /// struct Shout;
    ///
    /// impl LineReceiver for Shout {
    ///     fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
    ///         transport.send_line(&line.to_ascii_uppercase());
    ///     }
    ///
    ///     fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, _: &[u8]) {
    ///         transport.send_line(b"too long");
    ///         transport.skip_line();
    ///     }
    /// }
    ///
    /// # let mut transport = twistor::testing::StringTransport::new(Lines::new(Shout));
    /// # transport.feed(&[b'x'; 20_000]);
    /// # transport.feed(b"\r\nhello\r\n");
    /// # assert_eq!(transport.value(), b"too long\r\nHELLO\r\n");
    /// ```
    fn line_length_exceeded(&mut self, transport: &mut LineTransport<'_>, data: &[u8]) {
        let _ = data;
        let limit = transport.max_length();
        transport.lose_connection_with_error(LineTooLong { limit });
    }

    callbacks!(LineTransport<'_>);
}

/// The protocol of a [`LineReceiver`]. A [`LineDecoder`] sets the delimiter and the maximum line
/// length. Default: `\r\n` and 16,384 bytes.
///
/// A line that lies completely in one read is not copied.
pub struct Lines<H> {
    handler: H,
    controls: Controls,
    unfinished: UnfinishedLine,
    held: Held,
}

/// The transport of a [`LineReceiver`]: a [`Transport`] with methods for lines.
pub struct LineTransport<'a> {
    transport: Transport<'a>,
    controls: &'a mut Controls,
    /// The incomplete line. `None` while a line is being delivered, which may lie in it.
    unfinished: Option<&'a mut UnfinishedLine>,
    /// The raw data being delivered, if its end may be given back without a copy.
    raw: &'a [u8],
    /// Undelivered rest at the end of the current input.
    rest: &'a [u8],
    /// Held data after `rest`.
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
    /// Creates the protocol with the default delimiter and limit.
    pub fn new(handler: H) -> Lines<H> {
        Lines::with_decoder(handler, LineDecoder::default())
    }

    /// Creates the protocol with another delimiter or limit. Data that the decoder already holds is
    /// delivered first.
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

    /// Reports a line that is too long.
    #[cold]
    #[inline(never)]
    fn exceed(&mut self, transport: &mut Transport<'_>, input: &mut &[u8]) {
        let (before, after) = (self.unfinished.clear(), *input);
        self.pass_whole(transport, &before, input, H::line_length_exceeded);
        if self.unfinished.is_skipping() {
            *input = after;
            self.unfinished.skip_over(&self.controls.format, &before);
            self.unfinished.skip_in(&self.controls.format, input);
        }
    }

    /// Delivers all available data to the handler in one piece, in raw mode or for a line that is
    /// too long. `before` precedes `input`.
    fn pass_whole<'i>(
        &mut self,
        transport: &mut Transport<'_>,
        before: &[u8],
        input: &mut &'i [u8],
        call: impl FnOnce(&mut H, &mut LineTransport<'_>, &[u8]),
    ) {
        let joined: Vec<u8>;
        // If all data lies in the input, the handler can give back its end without a copy.
        let (data, raw): (&[u8], &'i [u8]) = match before.is_empty() {
            true => (input, input),
            false => {
                joined = [before, *input].concat();
                (&joined, &[])
            }
        };
        let mut transport = LineTransport {
            transport: transport.reborrow(),
            controls: &mut self.controls,
            unfinished: Some(&mut self.unfinished),
            raw,
            rest: &[],
            held: &mut self.held,
        };
        call(&mut self.handler, &mut transport, data);
        let given_back = transport.rest.len();
        // The handler gives back a suffix of the input.
        *input = &input[input.len() - given_back..];
    }
}

impl<H: LineReceiver> Adapter for Lines<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        // A loop instead of recursion, so that the stack depth does not grow with the number of
        // mode changes.
        while transport.read_state() == ReadState::Reading && self.held.is_empty() {
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
                            // This was the last line, or the handler took the rest.
                            input = &[];
                        }
                    }
                    Ok(None) => break,
                    Err(LineTooLong { .. }) => self.exceed(transport, &mut input),
                },
                Mode::Raw if input.is_empty() && self.unfinished.bytes().is_empty() => break,
                Mode::Raw => {
                    let before = self.unfinished.clear();
                    self.pass_whole(transport, &before, &mut input, H::raw_data_received);
                }
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(Lines, LineReceiver, LineTransport<'_>);
transport!(Lines, LineReceiver, LineTransport);

impl LineTransport<'_> {
    /// Sends a line and its delimiter. (Twisted: `sendLine`.)
    #[inline]
    #[doc(alias = "sendLine")]
    pub fn send_line(&mut self, line: impl AsRef<[u8]>) {
        self.transport.write(line);
        self.transport.write(&self.controls.format.delimiter);
    }

    /// Switches to raw mode: data is passed unchanged to
    /// [`raw_data_received`](LineReceiver::raw_data_received). Data that was already received comes
    /// first, in one piece. (Twisted: `setRawMode`.)
    #[doc(alias = "setRawMode")]
    pub fn set_raw_mode(&mut self) {
        self.controls.mode = Mode::Raw;
    }

    /// Switches to line mode. `extra` is data given to the handler in raw mode that belongs to
    /// lines. It is queued after other held data and delivered when the handler has returned.
    /// (Twisted: `setLineMode`.)
    ///
    /// If `extra` is the end of the slice given to `raw_data_received`, it is not copied.
    #[doc(alias = "setLineMode")]
    pub fn set_line_mode(&mut self, extra: &[u8]) {
        self.controls.mode = Mode::Lines;
        if extra.is_empty() {
            return;
        }
        let nothing_behind = self.rest.is_empty() && self.held.is_empty();
        // Compare the position in memory instead of the contents, so that nothing is copied.
        if nothing_behind
            && extra.as_ptr_range().end == self.raw.as_ptr_range().end
            && let Some(start) = self.raw.len().checked_sub(extra.len())
        {
            self.rest = self.raw.get(start..).unwrap_or_default();
        } else {
            self.held.append(extra);
        }
    }

    /// Whether raw mode is on.
    pub fn raw_mode(&self) -> bool {
        self.controls.mode == Mode::Raw
    }

    /// Skips the current line up to its delimiter, which may not have arrived yet. The lines after
    /// it are delivered.
    ///
    /// In [`line_length_exceeded`](LineReceiver::line_length_exceeded) the current line is the one
    /// that is too long, and outside of a delivery the incomplete one. In
    /// [`line_received`](LineReceiver::line_received) the call does nothing.
    pub fn skip_line(&mut self) {
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.skip();
        }
    }

    /// Takes all received data that was not delivered: an incomplete line, and the data after the
    /// line being delivered. (Twisted: `clearLineBuffer`.)
    pub fn clear_line_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }

    /// The delimiter of lines.
    pub fn delimiter(&self) -> &[u8] {
        &self.controls.format.delimiter
    }

    /// Sets the delimiter. It also applies to received data that was not delivered. (Twisted:
    /// `delimiter`.)
    pub fn set_delimiter(&mut self, delimiter: impl Into<Cow<'static, [u8]>>) {
        self.controls.format.delimiter = delimiter.into();
        if let Some(unfinished) = &mut self.unfinished
            && !unfinished.is_skipping()
        {
            self.held.put_before(&unfinished.clear());
        }
    }

    /// The maximum length of a line, in bytes.
    pub fn max_length(&self) -> usize {
        self.controls.format.max_length
    }

    /// Sets the maximum length of a line, in bytes. (Twisted: `MAX_LENGTH`.)
    #[doc(alias = "MAX_LENGTH")]
    pub fn set_max_length(&mut self, max_length: usize) {
        self.controls.format.max_length = max_length;
    }
}
