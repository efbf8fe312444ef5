//! The half that reads.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::StreamError;
use super::buffer::Buffer;
use crate::stream::state::StreamState;
use crate::{Address, ConnectionId, Reason};

/// What comes over a connection. (asyncio: `StreamReader`.)
///
/// Every method can be given up while it waits: what had come stays, in order, for the next one. So each of them may
/// stand in a [`select`](crate::task::select) or a [`timeout`](crate::task::timeout).
///
/// Bytes are taken from the system as they come, up to twice the [limit](StreamReader::set_limit); reading pauses then, so
/// that the peer has to wait, and goes on when no more than the limit are left. A connection from which nothing waits to be read
/// owns no buffer.
///
/// The end is read as no bytes. A connection that ended otherwise than by being closed is an error,
/// [`StreamError::Lost`], after everything that had come was read.
///
/// **Dropped alone**, it lets the connection be: what still comes is read and dropped, so that the peer is not held up, and
/// the writer hears of the end. Dropped with or after the writer, the connection is closed, once what was written is sent.
pub struct StreamReader {
    link: Rc<StreamState>,
    buffer: Buffer,
}

impl StreamReader {
    pub(super) fn new(link: Rc<StreamState>) -> StreamReader {
        StreamReader { link, buffer: Buffer::default() }
    }

    /// Reads what is there, at most as much as there is room for, and waits if there is nothing. 0 is the end.
    ///
    /// # Errors
    /// [`StreamError::Lost`].
    pub async fn read(&mut self, room: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|context| self.poll_read(context, room)).await
    }

    /// As [`read`](StreamReader::read), without a copy: the bytes lie in the reader. None are the end. (asyncio: `read(n)`.)
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
    pub async fn read_chunk(&mut self, most: usize) -> Result<&[u8], StreamError> {
        let there = if most == 0 { 0 } else { poll_fn(|context| self.poll_unread(context)).await? };
        Ok(self.take(there.min(most)))
    }

    /// Fills `room`. (asyncio: `readexactly`.)
    ///
    /// # Errors
    /// [`StreamError::UnexpectedEof`] when the peer ends before; [`StreamError::Lost`]. Nothing is read then.
    pub async fn read_exact(&mut self, room: &mut [u8]) -> Result<(), StreamError> {
        while self.buffer.len() < room.len() {
            if !self.more().await? {
                return Err(StreamError::UnexpectedEof { read: self.buffer.len() });
            }
        }
        room.copy_from_slice(self.take(room.len()));
        Ok(())
    }

    /// Reads up to a delimiter, and with it. `None` is the end, if nothing came before it. An empty delimiter is found at once.
    /// (asyncio: `readuntil`.)
    ///
    /// # Errors
    /// [`StreamError::TooLong`] when it is not found among the first `limit` bytes, itself included;
    /// [`StreamError::UnexpectedEof`] when the peer ends before it; [`StreamError::Lost`]. Nothing is read then: all of it
    /// stays.
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
            // Its last bytes may be the beginning of one.
            searched = (within.len() + 1).saturating_sub(delimiter.len());
            if !self.more().await? {
                return match self.buffer.len() {
                    0 => Ok(None),
                    there => Err(StreamError::UnexpectedEof { read: there }),
                };
            }
        }
    }

    /// Reads a line of at most the reader's [limit](StreamReader::set_limit), and takes its end (LF, or CR and LF) off. What
    /// comes before the end of the stream is a line as well; `None` is that end. (asyncio: `readline`.)
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
    /// [`StreamError::TooLong`]; [`StreamError::Lost`]. Nothing is read then: all of it stays.
    pub async fn read_line(&mut self) -> Result<Option<&[u8]>, StreamError> {
        let limit = self.link.limit();
        let length = match self.read_until(b"\n", limit).await {
            Ok(line) => line.map(<[u8]>::len),
            Err(StreamError::UnexpectedEof { read: there }) => {
                self.take(there);
                Some(there)
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

    /// Reads everything up to the end.
    ///
    /// # Errors
    /// [`StreamError::TooLong`] when that is more than `limit` bytes; [`StreamError::Lost`]. Nothing is read then: all that
    /// came stays.
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

    /// Whether everything was read, and nothing more will come. (asyncio: `at_eof`.)
    pub fn at_eof(&self) -> bool {
        self.buffer.len() == 0 && self.link.has_ended()
    }

    /// How the connection ended, once it has. Not with the end of the input: writing may go on after that.
    pub fn reason(&self) -> Option<Reason> {
        self.link.end().cloned()
    }

    /// How many unread bytes there may be when reading goes on; it pauses at twice as many. It is also the longest line.
    /// Default: 64 KiB; at least 1. (asyncio: `limit`.)
    pub fn set_limit(&mut self, bytes: usize) {
        self.link.set_limit(bytes);
    }

    /// The other side's address.
    pub fn peer(&self) -> Address {
        self.link.peer()
    }

    /// The connection's name.
    pub fn id(&self) -> Option<ConnectionId> {
        self.link.id()
    }

    #[inline]
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_unread(context).map_ok(|there| {
            let count = there.min(room.len());
            // It has so much room.
            room[..count].copy_from_slice(self.take(count));
            count
        })
    }

    /// How many bytes there are to be read: none at the end.
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

    /// `false` at the end.
    async fn more(&mut self) -> Result<bool, StreamError> {
        poll_fn(|context| self.link.poll_fill(context, &mut self.buffer)).await
    }

    /// These bytes are read.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> &[u8] {
        self.buffer.consume(count);
        self.link.consumed(count);
        self.buffer.last(count)
    }
}

/// Where the delimiter begins, at `from` or after it.
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
