//! The writing half of a stream.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use super::{StreamError, StreamReader};
use crate::framing::{Encoder, encoded};
use crate::stream::state::StreamState;
use crate::{Address, ConnectionId, Error, Layer, Reason, Result};

/// The writing half of a stream. (asyncio: `StreamWriter`.)
///
/// `write` never waits and never fails. Writes from several tasks that share the writer in an `Rc`
/// are sent in the order of the calls.
///
/// A task that writes a lot must await [`drain`](StreamWriter::drain) after each write. If earlier
/// writes are still unsent after a turn of the loop, writing more than
/// [`Settings::write_buffer_limit`](crate::Settings::write_buffer_limit) ends the connection.
///
/// **Dropping only the writer** keeps the connection open and sends no FIN. Call
/// [`write_eof`](StreamWriter::write_eof) or [`close`](StreamWriter::close) for that. When both
/// halves are dropped, written data is sent and the connection is closed.
#[doc(alias("OwnedWriteHalf", "WriteHalf", "AsyncWrite", "split", "into_split"))]
pub struct StreamWriter {
    link: Rc<StreamState>,
}

impl StreamWriter {
    pub(super) fn new(link: Rc<StreamState>) -> StreamWriter {
        StreamWriter { link }
    }

    /// Queues bytes to be sent in order. After `write_eof`, `close` or `abort` they are discarded,
    /// and the next `drain` reports that.
    #[inline]
    #[doc(alias = "write_all")]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        self.link.write(data.as_ref());
    }

    /// Queues several pieces, like one `write` for each. (asyncio: `writelines`.)
    #[doc(alias = "writelines")]
    pub fn write_sequence(&self, pieces: &[&[u8]]) {
        self.link.write_sequence(pieces);
    }

    /// Encodes a message and queues it, as [`write`](StreamWriter::write). See [`Encoder`].
    ///
    /// # Errors
    /// The error of the encoder. Nothing is written then.
    pub fn write_message<E: Encoder>(
        &self,
        encoder: &mut E,
        message: &E::Message,
    ) -> std::result::Result<(), E::Error> {
        encoded(encoder, message, |bytes| self.write(bytes))
    }

    /// Waits until the unsent data has fallen to the low-water mark, if it is over the high-water
    /// mark ([`Settings::high_water`](crate::Settings::high_water)). While the connection is
    /// closing, waits until all data is sent. (asyncio: `drain`.)
    ///
    /// # Errors
    /// - [`StreamError::Lost`]: the connection has ended.
    /// - [`StreamError::WriteEnded`]: data was written after `write_eof`, `close` or `abort`.
    #[doc(alias = "flush")]
    pub async fn drain(&self) -> std::result::Result<(), StreamError> {
        let mut waited = false;
        poll_fn(|context| self.link.poll_drain(context, std::mem::replace(&mut waited, true))).await
    }

    /// Sends FIN after the written data. Reading continues. (asyncio: `write_eof`; Twisted:
    /// `loseWriteConnection`.)
    #[doc(alias = "shutdown")]
    pub fn write_eof(&self) {
        self.link.write_eof();
    }

    /// Sends the written data, then closes the connection. No more data is read. See
    /// [`Transport::lose_connection`](crate::Transport::lose_connection). (asyncio: `close`.)
    pub fn close(&self) {
        self.link.close();
    }

    /// Discards unsent data and resets the connection.
    pub fn abort(&self) {
        self.link.abort();
    }

    /// Waits until the connection has ended, and returns the reason. (asyncio: `wait_closed`.)
    pub async fn wait_closed(&self) -> Reason {
        poll_fn(|context| self.link.poll_end(context)).await
    }

    /// Whether the connection is closing or has ended. (asyncio: `is_closing`.)
    pub fn is_closing(&self) -> bool {
        self.link.is_closing()
    }

    /// The reason why the connection ended, or `None` while it is open.
    pub fn reason(&self) -> Option<Reason> {
        self.link.end().cloned()
    }

    /// Number of written bytes that the kernel has not accepted yet, or, for a
    /// [`duplex`](super::duplex()), that the other end has not read. 0 outside of a task.
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.link.write_buffer_size()
    }

    /// Adds a layer to the connection, and waits until it is ready: a change of protocol in
    /// mid-stream, such as STARTTLS. Everything written so far bypasses the layer. Everything that
    /// was received and not read belongs to it, also what `reader` has buffered. (asyncio:
    /// `StreamWriter.start_tls`, whose reader keeps its buffer.) See
    /// [`Transport::add_layer`](crate::Transport::add_layer).
    ///
    /// Dropping the future does not remove the layer. What is written meanwhile passes through it.
    ///
    /// # Errors
    /// - [`StreamError::Lost`]: the connection has ended, for example by the layer.
    /// - [`StreamError::UnexpectedEof`]: the peer has sent EOF already.
    /// - [`StreamError::NotAConnection`]: the stream is no connection, or `reader` belongs to
    ///   another one.
    #[doc(alias = "start_tls")]
    pub async fn add_layer(
        &self,
        reader: &mut StreamReader,
        layer: impl Layer,
    ) -> std::result::Result<(), StreamError> {
        let buffered = reader.take_buffered(&self.link).ok_or(StreamError::NotAConnection)?;
        self.link.add_layer(Box::new(layer), buffered)?;
        poll_fn(|context| self.link.poll_layer_ready(context)).await
    }

    /// A copy of the value of type `T` that a layer has attached to the connection. See
    /// [`Transport::extension`](crate::Transport::extension). `None` outside of a task.
    #[doc(alias = "get_extra_info")]
    pub fn extension<T: Clone + 'static>(&self) -> Option<T> {
        self.link.try_with(|transport| transport.extension::<T>().cloned()).ok().flatten()
    }

    /// Sets the water marks of this connection, in bytes. See
    /// [`Transport::set_water_marks`](crate::Transport::set_water_marks).
    ///
    /// # Errors
    /// - [`Error::NotConnected`]: the connection has ended, or the stream is no connection.
    /// - [`Error::ReactorUnavailable`]: the reactor cannot be reached from here.
    pub fn set_water_marks(&self, high: usize, low: usize) -> Result<()> {
        Ok(self.link.try_with(|transport| transport.set_water_marks(high, low))?)
    }

    /// Sets TCP_NODELAY.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]: the connection has ended, or the stream is no connection.
    /// - [`Error::ReactorUnavailable`]: the reactor cannot be reached from here.
    /// - [`Error::System`]: the system call failed.
    #[doc(alias = "set_nodelay")]
    pub fn set_tcp_nodelay(&self, on: bool) -> Result<()> {
        self.link.try_with(|transport| transport.set_tcp_nodelay(on))?
    }

    /// The address of the peer.
    #[doc(alias = "peer_addr")]
    pub fn peer(&self) -> Address {
        self.link.peer()
    }

    /// The local address. It is cached, so that later calls also work outside of a task.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]: the connection has ended.
    /// - [`Error::ReactorUnavailable`]: the reactor cannot be reached from here.
    #[doc(alias = "local_addr")]
    pub fn host(&self) -> Result<Address> {
        self.link.host().ok_or(Error::NotConnected)
    }

    /// The id of the connection, for [`Reactor::transport`](crate::Reactor::transport).
    pub fn id(&self) -> Option<ConnectionId> {
        self.link.id()
    }

    #[cfg(feature = "futures-io")]
    pub(super) fn link(&self) -> &Rc<StreamState> {
        &self.link
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.link.half_dropped();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StreamWriter");
        shown.field("id", &self.id()).field("peer", &self.peer()).finish_non_exhaustive()
    }
}
