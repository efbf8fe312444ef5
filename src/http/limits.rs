//! Limits of responses.

/// Limits of one response. A response that reaches a limit is accepted; one that exceeds it is an
/// error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the status line and headers, including line ends. Default: 16 KiB (as in Twisted,
    /// Node and h11).
    pub head: usize,
    /// Bytes of a line of head or trailers, without its line end. Default: 8 KiB (nginx, aiohttp).
    pub line: usize,
    /// Number of header fields, and of trailer fields. Default: 100 (hyper, Envoy).
    pub headers: usize,
    /// Number of interim (1xx) responses before the final one. Default: 8.
    pub interim: usize,
    /// Bytes of a chunk-size line, without its line end. Default: 256.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of a body. Default: 16 KiB (hyper).
    pub chunk_extensions: usize,
    /// Bytes of the trailers, including line ends. Default: 8 KiB.
    pub trailers: usize,
    /// Bytes of the body. Default: 16 MiB.
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
