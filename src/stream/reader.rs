//! The reading half of a stream.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::buffer::Buffer;
use super::{ReadError, StreamError};
use crate::framing::{Decoder, MessageError, last_message, next_message};
use crate::stream::state::StreamState;
use crate::{Address, ConnectionId, Reason};

/// The reading half of a stream. (asyncio: `StreamReader`.)
///
/// Every method is cancellation safe: received data stays, in order, for the next call. So each of
/// them can be used in a [`select`](crate::task::select) or a [`timeout`](crate::task::timeout).
///
/// Data is read from the kernel as it arrives, up to twice the [limit](StreamReader::set_limit).
/// Reading then pauses, which applies backpressure to the peer. It resumes when at most the limit
/// is unread. A connection without unread data owns no buffer.
///
/// EOF is reported as zero bytes. A connection that ended without a clean close returns
/// [`StreamError::Lost`] after all received data was read.
///
/// **Dropping only the reader** keeps the connection open. Received data is then discarded, so that
/// the peer is not held up and the writer learns of the end. When both halves are dropped, written
/// data is sent and the connection is closed.
#[doc(alias("OwnedReadHalf", "ReadHalf", "AsyncRead", "split", "into_split"))]
pub struct StreamReader {
    link: Rc<StreamState>,
    buffer: Buffer,
}

impl StreamReader {
    pub(super) fn new(link: Rc<StreamState>) -> StreamReader {
        StreamReader { link, buffer: Buffer::default() }
    }

    /// Reads the available data, at most `buffer.len()` bytes, and waits if there is none.
    /// Returns 0 at EOF.
    ///
    /// # Errors
    /// [`StreamError::Lost`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Same as [`read`](StreamReader::read), without a copy: returns a slice of the reader's
    /// buffer, at most `max` bytes. An empty slice means EOF. (asyncio: `read(n)`.)
    ///
    /// ```
    /// # use twistor::stream::{StreamError, StreamReader};
    /// async fn count(mut reader: StreamReader) -> Result<usize, StreamError> {
    ///     let mut count = 0;
    ///     loop {
    ///         match reader.read_chunk(1024).await? {
    ///             [] => return Ok(count),
    ///             chunk => count += chunk.len(),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StreamError::Lost`].
    pub async fn read_chunk(&mut self, max: usize) -> Result<&[u8], StreamError> {
        let available = if max == 0 { 0 } else { poll_fn(|context| self.poll_unread(context)).await? };
        Ok(self.take(available.min(max)))
    }

    /// Reads exactly `buffer.len()` bytes. (asyncio: `readexactly`.)
    ///
    /// # Errors
    /// If it fails, no data is consumed.
    /// - [`StreamError::UnexpectedEof`]: the peer sent EOF first.
    /// - [`StreamError::Lost`]: the connection was lost.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StreamError> {
        while self.buffer.len() < buffer.len() {
            if !self.more().await? {
                return Err(StreamError::UnexpectedEof { read: self.buffer.len() });
            }
        }
        buffer.copy_from_slice(self.take(buffer.len()));
        Ok(())
    }

    /// Reads up to and including a delimiter. Returns `None` at EOF if there is no data before it.
    /// An empty delimiter matches at once. (asyncio: `readuntil`.)
    ///
    /// # Errors
    /// If it fails, no data is consumed.
    /// - [`StreamError::TooLong`]: the first `limit` bytes do not include the whole delimiter.
    /// - [`StreamError::UnexpectedEof`]: the peer sent EOF first.
    /// - [`StreamError::Lost`]: the connection was lost.
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, delimiter: &[u8], limit: usize) -> Result<Option<&[u8]>, StreamError> {
        let mut searched = 0;
        loop {
            let unread = self.buffer.unread();
            let within = unread.get(..limit).unwrap_or(unread);
            if let Some(at) = find(within, delimiter, searched) {
                return Ok(Some(self.take(at + delimiter.len())));
            }
            if unread.len() >= limit {
                return Err(StreamError::TooLong { limit });
            }
            // The last bytes may be the start of a delimiter.
            searched = (within.len() + 1).saturating_sub(delimiter.len());
            if !self.more().await? {
                return match self.buffer.len() {
                    0 => Ok(None),
                    available => Err(StreamError::UnexpectedEof { read: available }),
                };
            }
        }
    }

    /// Reads a line of at most the reader's [limit](StreamReader::set_limit) and removes its
    /// terminator (LF or CRLF). An unterminated last line is returned too. Returns `None` at EOF.
    /// (asyncio: `readline`.)
    ///
    /// ```
    /// # use twistor::stream::{StreamError, StreamReader};
    /// async fn lines(mut reader: StreamReader) -> Result<(), StreamError> {
    ///     while let Some(line) = reader.read_line().await? {
    ///         println!("{}", String::from_utf8_lossy(line));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// If it fails, no data is consumed.
    /// - [`StreamError::TooLong`]: the line is longer than the limit.
    /// - [`StreamError::Lost`]: the connection was lost.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self) -> Result<Option<&[u8]>, StreamError> {
        let limit = self.link.limit();
        let length = match self.read_until(b"\n", limit).await {
            Ok(line) => line.map(<[u8]>::len),
            Err(StreamError::UnexpectedEof { read: available }) => {
                self.take(available);
                Some(available)
            }
            Err(error) => return Err(error),
        };
        let Some(length) = length else { return Ok(None) };
        let line = self.buffer.last(length);
        Ok(Some(match line {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
            line => line,
        }))
    }

    /// Reads a message. Returns `None` at EOF. The decoder is one of [`framing`](crate::framing) or
    /// one of your own. A message has at most the reader's [limit](StreamReader::set_limit), unless
    /// the decoder consumes parts of messages, as those of this crate do.
    ///
    /// Bytes after the message stay in the reader, for another decoder or another method. If a wait
    /// is cancelled, the decoder must be used again for the next message, because it may have
    /// consumed a part of it.
    ///
    /// ```
    /// use twistor::framing::{NetstringDecoder, NetstringEncoder};
    /// use twistor::stream::{open_connection, start_server};
    ///
    /// twistor::block_on(async {
    ///     let server = start_server("127.0.0.1:0", async |mut reader, writer| {
    ///         let mut netstrings = NetstringDecoder::new(1000);
    ///         while let Some(string) = reader.read_message(&mut netstrings).await? {
    ///             writer.write_message(&mut NetstringEncoder, &string.to_ascii_uppercase())?;
    ///             writer.drain().await?;
    ///         }
    ///         Ok::<_, Box<dyn std::error::Error>>(())
    ///     })?;
    ///     let (mut reader, writer) = open_connection(server.address()).await?;
    ///     writer.write(b"5:hello,");
    ///     writer.write_eof();
    ///     assert_eq!(reader.read_to_end(100).await?, b"5:HELLO,");
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`ReadError::Invalid`]: the decoder has refused the data.
    /// - [`ReadError::Stream`] with [`StreamError::TooLong`]: the message is longer than the limit.
    /// - [`ReadError::Stream`] with [`StreamError::UnexpectedEof`]: the peer sent EOF in the middle
    ///   of a message.
    /// - [`ReadError::Stream`] with [`StreamError::Lost`]: the connection was lost.
    pub async fn read_message<D: Decoder>(
        &mut self,
        decoder: &mut D,
    ) -> Result<Option<D::Message>, ReadError<D::Error>> {
        let limit = self.link.limit();
        let mut ended = false;
        loop {
            let mut unread = self.buffer.unread();
            let decoded = match ended {
                false => next_message(decoder, &mut unread, limit),
                true => last_message(decoder, &mut unread, limit),
            };
            let count = self.buffer.len() - unread.len();
            self.take(count);
            match decoded {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) if ended => return Ok(None),
                Ok(None) => ended = !self.more().await?,
                Err(MessageError::Invalid(error)) => return Err(ReadError::Invalid(error)),
                Err(MessageError::TooLong { limit }) => return Err(StreamError::TooLong { limit }.into()),
                Err(MessageError::UnexpectedEof { read }) => {
                    return Err(StreamError::UnexpectedEof { read }.into());
                }
            }
        }
    }

    /// Reads all data up to EOF.
    ///
    /// # Errors
    /// If it fails, no data is consumed.
    /// - [`StreamError::TooLong`]: there are more than `limit` bytes.
    /// - [`StreamError::Lost`]: the connection was lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, StreamError> {
        loop {
            if self.buffer.len() > limit {
                return Err(StreamError::TooLong { limit });
            }
            if !self.more().await? {
                let all = self.buffer.take_unread();
                self.link.consumed(all.len());
                return Ok(all);
            }
        }
    }

    /// Whether EOF was received and all data was read. (asyncio: `at_eof`.)
    pub fn at_eof(&self) -> bool {
        self.buffer.len() == 0 && self.link.has_ended()
    }

    /// The reason why the connection ended, or `None` while it is open. EOF from the peer does not
    /// end it: writing may continue.
    pub fn reason(&self) -> Option<Reason> {
        self.link.end().cloned()
    }

    /// Sets the limit of unread bytes. Reading from the kernel pauses at twice the limit and
    /// resumes at the limit. It is also the maximum length of a line. Minimum: 1. (asyncio:
    /// `limit`.) Default: 64 KiB.
    pub fn set_limit(&mut self, bytes: usize) {
        self.link.set_limit(bytes);
    }

    /// The address of the peer.
    #[doc(alias = "peer_addr")]
    pub fn peer(&self) -> Address {
        self.link.peer()
    }

    /// The id of the connection.
    pub fn id(&self) -> Option<ConnectionId> {
        self.link.id()
    }

    /// Takes what was received and not read, if the reader belongs to this stream.
    pub(super) fn take_buffered(&mut self, link: &Rc<StreamState>) -> Option<Vec<u8>> {
        Rc::ptr_eq(&self.link, link).then(|| self.buffer.take_unread())
    }

    #[inline]
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_unread(context).map_ok(|available| {
            let count = available.min(buffer.len());
            // `count` is at most `buffer.len()`.
            buffer[..count].copy_from_slice(self.take(count));
            count
        })
    }

    /// Waits for data and returns the number of unread bytes. 0 means EOF.
    #[inline]
    pub(super) fn poll_unread(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        if self.buffer.len() > 0 {
            return Poll::Ready(Ok(self.buffer.len()));
        }
        self.link.poll_fill(context, &mut self.buffer).map_ok(|_| self.buffer.len())
    }

    #[cfg(feature = "futures-io")]
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.unread()
    }

    /// Waits for more data. Returns `false` at EOF.
    async fn more(&mut self) -> Result<bool, StreamError> {
        poll_fn(|context| self.link.poll_fill(context, &mut self.buffer)).await
    }

    /// Consumes and returns the first `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        self.buffer.consume(count);
        self.link.consumed(count);
        self.buffer.last(count)
    }
}

/// Position of the first delimiter at or after `from`.
fn find(bytes: &[u8], delimiter: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let at = match delimiter {
        [] => Some(0),
        [byte] => rest.iter().position(|other| other == byte),
        delimiter => rest.windows(delimiter.len()).position(|window| window == delimiter),
    };
    at.map(|at| from + at)
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.buffer.consume(usize::MAX);
        self.buffer.give_back();
        self.link.reader_dropped();
        self.link.half_dropped();
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StreamReader");
        shown.field("id", &self.id()).field("peer", &self.peer()).finish_non_exhaustive()
    }
}
