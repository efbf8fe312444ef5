//! A protocol made of states, each of which requests a number of bytes and names its successor.

use std::fmt;

use super::adapter::{Adapter, Held, callbacks, protocol, transport};
use super::codec::{CountDecoder, MAX_STRING};
use crate::Transport;
use crate::reactor::ReadState;

/// A handler for one connection that requests data piece by piece. [`Stateful`] is its protocol.
/// (Twisted: `StatefulProtocol`.)
///
/// ```
/// use twistor::framing::{NextState, Stateful, StatefulReceiver, StatefulTransport};
///
/// /// Shouts messages that are prefixed by a length byte.
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
///     fn message(
///         &mut self,
///         transport: &mut StatefulTransport<'_>,
///         message: &[u8],
///     ) -> NextState<Shout> {
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
#[doc(alias = "StatefulStringProtocol")]
pub trait StatefulReceiver: Sized + 'static {
    /// Returns the first state. Called when the first data arrives. (Twisted: `getInitialState`.)
    fn initial_state(&mut self) -> NextState<Self>;

    /// Called when a state requests more bytes than the limit, or when too many states in a row
    /// request none. The fault is the handler's, or the peer's if the number comes from the peer.
    /// No more data is delivered in any case. Default: ends the connection with this error.
    fn state_refused(&mut self, transport: &mut StatefulTransport<'_>, error: &StateError) {
        transport.lose_connection_with_error(*error);
    }

    callbacks!(StatefulTransport<'_>);
}

/// A state: a number of bytes, and the function that gets them and returns the next state.
pub struct NextState<H> {
    bytes: usize,
    call: fn(&mut H, &mut StatefulTransport<'_>, &[u8]) -> NextState<H>,
}

impl<H> NextState<H> {
    /// Creates a state. `call` gets exactly `bytes` bytes when they have arrived. If `bytes` is 0
    /// it is called at once.
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

/// Error: a state was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The state requests more bytes than the limit.
    TooLong {
        /// Number of bytes requested.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// This number of states in a row requested no bytes.
    Idle(usize),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::TooLong { length, limit } => {
                write!(f, "a state of {length} bytes is too long: the limit is {limit}")
            }
            StateError::Idle(count) => write!(f, "{count} states in a row requested no bytes"),
        }
    }
}

impl std::error::Error for StateError {}

/// The protocol of a [`StatefulReceiver`]. It limits the bytes per state. (Twisted has no limit.)
/// Default: 99,999.
pub struct Stateful<H> {
    handler: H,
    state: Option<NextState<H>>,
    max_length: usize,
    /// Number of states in a row that requested no bytes.
    idle: usize,
    refused: bool,
    bytes: CountDecoder,
    held: Held,
}

/// The transport of a [`StatefulReceiver`].
pub struct StatefulTransport<'a> {
    transport: Transport<'a>,
    /// Data of the incomplete state. `None` while data is being delivered.
    unfinished: Option<&'a mut CountDecoder>,
    /// Undelivered rest of the current input.
    rest: &'a [u8],
    /// Held data, used when there is no current input.
    held: &'a mut Held,
}

impl<H: StatefulReceiver> Stateful<H> {
    /// Creates the protocol with the default limit.
    pub fn new(handler: H) -> Stateful<H> {
        Stateful::with_max_length(handler, MAX_STRING)
    }

    /// Creates the protocol with another limit of bytes per state.
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
        while transport.read_state() == ReadState::Reading {
            if self.refused {
                return &[];
            }
            let state = *self.state.get_or_insert_with(|| self.handler.initial_state());
            if state.bytes > self.max_length {
                self.refuse(transport, StateError::TooLong { length: state.bytes, limit: self.max_length });
                continue;
            }
            self.idle = if state.bytes == 0 { self.idle + 1 } else { 0 };
            if self.idle > MAX_IDLE_STATES {
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
                // There was no more data, or the handler took it.
                input = &[];
            }
        }
        input
    }

    fn held(&mut self) -> &mut Held {
        &mut self.held
    }
}

protocol!(Stateful, StatefulReceiver, StatefulTransport<'_>);
transport!(Stateful, StatefulReceiver, StatefulTransport);

impl StatefulTransport<'_> {
    /// Takes all received data that was not delivered, for example to switch to another protocol.
    pub fn clear_buffer(&mut self) -> Vec<u8> {
        let mut all = self.unfinished.as_mut().map_or_else(Vec::new, |unfinished| unfinished.clear());
        all.extend_from_slice(std::mem::take(&mut self.rest));
        self.held.move_to(&mut all);
        all
    }
}

/// Limit of consecutive states without data, above that of any sensible protocol. It stops handlers
/// that loop forever.
const MAX_IDLE_STATES: usize = 1000;
