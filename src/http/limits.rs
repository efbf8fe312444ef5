//! How much of a response is read before it is refused.

/// The limits of one response. At the limit is allowed, one more is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of status line and headers with their line ends: 16 KiB (Twisted, Node and h11 have the same).
    pub head: usize,
    /// Bytes of one line of head or trailers, without its line end: 8 KiB (nginx, aiohttp).
    pub line: usize,
    /// Header fields, and trailer fields: 100 each (hyper, Envoy).
    pub headers: usize,
    /// Interim (1xx) responses before the final one: 8.
    pub interim: usize,
    /// Bytes of a chunk-size line, without its line end: 256.
    pub chunk_line: usize,
    /// Bytes of chunk extensions in the whole body: 16 KiB (hyper).
    pub chunk_extensions: usize,
    /// Bytes of the trailers with their line ends: 8 KiB.
    pub trailers: usize,
    /// Bytes of the body: 16 MiB.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: 16 << 10,
            line: 8 << 10,
            headers: 100,
            interim: 8,
            chunk_line: 256,
            chunk_extensions: 16 << 10,
            trailers: 8 << 10,
            body: 16 << 20,
        }
    }
}
