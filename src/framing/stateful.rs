//! Protocols as states: each says how many bytes it takes, and which one comes next.

use std::fmt;

use super::adapter::{Adapter, Held, callbacks, protocol};
use super::codec::{CountDecoder, MAX_STRING};
use crate::Transport;
use crate::reactor::Delivery;

/// What one connection does with bytes that come in portions whose sizes it knows one after the other. [`Stateful`] is the protocol of
/// such a handler. (Twisted: `StatefulProtocol`.)
///
/// ```
/// use twistor::framing::{NextState, Stateful, StatefulReceiver, StatefulTransport};
///
/// /// Shouts messages with a byte in front that says how long they are.
/// struct Shout;
///
/// impl StatefulReceiver for Shout {
///     fn initial_state(&mut self) -> NextState<Shout> {
///         NextState::new(1, Shout::length)
///     }
/// }
///
/// impl Shout {
///     fn length(&mut self, _: &mut StatefulTransport<'_>, length: &[u8]) -> NextState<Shout> {
///         NextState::new(length[0].into(), Shout::message)
///     }
///
///     fn message(&mut self, transport: &mut StatefulTransport<'_>, message: &[u8]) -> NextState<Shout> {
///         transport.write(&message.to_ascii_uppercase());
///         NextState::new(1, Shout::length)
///     }
/// }
///
/// twistor::Reactor::new()?.listen_tcp("127.0.0.1:0", || Stateful::new(Shout))?;
/// # let mut transport = twistor::testing::StringTransport::new(Stateful::new(Shout));
/// # transport.feed(b"\x05hello\x00\x03you");
/// # assert_eq!(transport.value(), b"HELLOYOU");
/// # Ok::<(), twistor::Error>(())
/// ```
pub trait StatefulReceiver: Sized + 'static {
    /// The first state; asked for when the first bytes come. (Twisted: `getInitialState`.)
    fn initial_state(&mut self) -> NextState<Self>;

    /// A state wants more bytes than it may, or goes on without any: a fault of the handler or, where it has the number from its peer,
    /// of that. By default the connection is lost with this error, and in any case nothing more is delivered.
    fn state_refused(&mut self, transport: &mut StatefulTransport<'_>, error: &StateError) {
        transport.lose_connection_with_error(*error);
    }

    callbacks!(StatefulTransport);
}

/// What is called when so many bytes have come; it says which state follows.
pub struct NextState<H> {
    bytes: usize,
    call: fn(&mut H, &mut StatefulTransport<'_>, &[u8]) -> NextState<H>,
}

impl<H> NextState<H> {
    /// `call` gets exactly `bytes` bytes, once they have come. Of none it is called at once.
    pub fn new(
        bytes: usize,
        call: fn(&mut H, &mut StatefulTransport<'_>, &[u8]) -> NextState<H>,
    ) -> NextState<H> {
        NextState { bytes, call }
    }
}

impl<H> Clone for NextState<H> {
    fn clone(&self) -> NextState<H> {
        *self
    }
}

impl<H> Copy for NextState<H> {}

/// A state cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It wants too many bytes.
    TooLong {
        /// So many.
        length: usize,
        /// How many it may.
        limit: usize,
    },
    /// So many states in a row wanted no bytes at all.
    Idle(usize),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::TooLong { length, limit } => {
                write!(f, "{length} bytes are too many for a state: {limit} is the most")
            }
            StateError::Idle(count) => write!(f, "{count} states in a row wanted no bytes"),
        }
    }
}

impl std::error::Error for StateError {}

/// The protocol of a [`StatefulReceiver`]. A state gets at most 99,999 bytes, unless told otherwise. (Twisted has no limit.)
pub struct Stateful<H> {
    handler: H,
    state: Option<NextState<H>>,
    max_length: usize,
    /// States in a row that wanted nothing.
    idle: usize,
    refused: bool,
    bytes: CountDecoder,
    held: Held,
}

/// A connection, as a [`StatefulReceiver`] sees it.
pub struct StatefulTransport<'a> {
    transport: Transport<'a>,
    /// Of the state that waits. While bytes are delivered there are none.
    unfinished: Option<&'a mut CountDecoder>,
    /// What is left of the bytes whose delivery is under way.
    rest: &'a [u8],
    /// What waits, when none is.
    held: &'a mut Held,
}

impl<H: StatefulReceiver> Stateful<H> {
    /// States of this handler.
    pub fn new(handler: H) -> Stateful<H> {
        Stateful::with_max_length(handler, MAX_STRING)
    }

    /// With another limit for the bytes of a state.
    pub fn with_max_length(handler: H, max_length: usize) -> Stateful<H> {
        Stateful {
            handler,
            state: None,
            max_length,
            idle: 0,
            refused: false,
            bytes: CountDecoder::default(),
            held: Held::default(),
        }
    }

    fn split<'a>(&'a mut self, transport: &'a mut Transport<'_>) -> (&'a mut H, StatefulTransport<'a>) {
        let transport = StatefulTransport {
            transport: transport.reborrow(),
            unfinished: Some(&mut self.bytes),
            rest: &[],
            held: &mut self.held,
        };
        (&mut self.handler, transport)
    }

    fn refuse(&mut self, transport: &mut Transport<'_>, error: StateError) {
        self.refused = true;
        let (handler, mut transport) = self.split(transport);
        handler.state_refused(&mut transport, &error);
    }
}

impl<H: StatefulReceiver> Adapter for Stateful<H> {
    #[inline]
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, mut input: &'i [u8]) -> &'i [u8] {
        while transport.delivery() == Delivery::GoesOn {
            if self.refused {
                return &[];
            }
            let state = *self.state.get_or_insert_with(|| self.handler.initial_state());
            if state.bytes > self.max_length {
                self.refuse(transport, StateError::TooLong { length: state.bytes, limit: self.max_length });
                continue;
            }
            self.idle = if state.bytes == 0 { self.idle + 1 } else { 0 };
            if self.idle > MOST_IDLE {
                self.refuse(transport, StateError::Idle(self.idle));
                continue;
            }
            let Some(bytes) = self.bytes.next(state.bytes, &mut input) else { break };
            let mut transport = StatefulTransport {
                transport: transport.reborrow(),
                unfinished: None,
                rest: input,
                held: &mut self.held,
            };
            self.state = Some((state.call)(&mut self.handler, &mut transport, bytes));
            if transport.rest.is_empty() {
                // There was no more, or the handler took it.
                input = &[];
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(Stateful, StatefulReceiver, StatefulTransport);

impl StatefulTransport<'_> {
    /// Takes all that came and was not delivered: whoever speaks something else from now on begins with it.
    pub fn clear_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }
}

/// More than any sensible protocol has; without a limit a handler could go round for ever.
const MOST_IDLE: usize = 1000;
