//! Framings: lines, netstrings and length prefixes, as codecs by hand and as handlers of connections.

mod adapter;
mod codec;
mod line_only;
mod lines;
mod stateful;
mod stateful_strings;
mod strings;

pub use self::codec::{
    CountDecoder, LineDecoder, LineTooLong, NetstringDecoder, Prefix, PrefixDecoder, StringError,
    StringTooLong, encode_line, encode_netstring, encode_string,
};
pub use self::line_only::{LineOnlyReceiver, LineOnlyTransport, LinesOnly};
pub use self::lines::{LineReceiver, LineTransport, Lines};
pub use self::stateful::{State, StateError, Stateful, StatefulReceiver, StatefulTransport};
pub use self::stateful_strings::{StatefulStringReceiver, StringState};
pub use self::strings::{FrameTransport, StringReceiver, Strings};
