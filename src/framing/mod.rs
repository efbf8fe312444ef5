//! Framings: lines, netstrings and length prefixes, as codecs by hand and as handlers of connections.

mod codec;

pub use self::codec::{
    CountDecoder, LineDecoder, LineTooLong, NetstringDecoder, Prefix, PrefixDecoder, StringError,
    StringTooLong, encode_line, encode_netstring, encode_string,
};
