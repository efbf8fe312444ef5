//! The half that writes.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;

use super::StreamError;
use crate::stream::state::StreamState;
use crate::{Address, ConnectionId, Error, Reason, Result};

/// What goes out over a connection. (asyncio: `StreamWriter`.)
///
/// `write` never waits and never fails; what several write, in an `Rc`, goes out in the order of the calls. A task that writes
/// much awaits [`drain`](StreamWriter::drain) after it: when the loop has had its turn and the writes before it still wait,
/// writing more than [`Settings::write_buffer_limit`](crate::Settings::write_buffer_limit) ends the connection.
///
/// **Dropped alone**, it lets the connection be, and sends no end: call [`write_eof`](StreamWriter::write_eof) or
/// [`close`](StreamWriter::close) for that. Dropped with or after the reader, the connection is closed, once what was written is
/// sent.
pub struct StreamWriter {
    link: Rc<StreamState>,
}

impl StreamWriter {
    pub(super) fn new(link: Rc<StreamState>) -> StreamWriter {
        StreamWriter { link }
    }

    /// Sends bytes, sooner or later, in order. After `write_eof`, `close` or `abort` they go nowhere, which `drain` says.
    #[inline]
    pub fn write(&self, data: &[u8]) {
        self.link.write(data);
    }

    /// Sends several pieces, as one `write` of each in turn. (asyncio: `writelines`.)
    pub fn write_sequence(&self, pieces: &[&[u8]]) {
        self.link.write_sequence(pieces);
    }

    /// Waits while more than the high-water mark waits to be sent, until that is down at the low one
    /// ([`Settings::high_water`](crate::Settings::high_water)); while the connection closes, until everything is sent. (asyncio: `drain`.)
    ///
    /// # Errors
    /// [`StreamError::Lost`] when the connection is gone; [`StreamError::WriteEnded`] when something was written that went
    /// nowhere.
    pub async fn drain(&self) -> std::result::Result<(), StreamError> {
        let mut waited = false;
        poll_fn(|context| self.link.poll_drain(context, std::mem::replace(&mut waited, true))).await
    }

    /// Sends FIN after what was written; the peer reads the end. Reading goes on. (asyncio: `write_eof`; Twisted:
    /// `loseWriteConnection`.)
    pub fn write_eof(&self) {
        self.link.write_eof();
    }

    /// Sends what was written, then closes; nothing more is read. See
    /// [`Transport::lose_connection`](crate::Transport::lose_connection). (asyncio: `close`.)
    pub fn close(&self) {
        self.link.close();
    }

    /// Throws away what was not sent and resets the connection.
    pub fn abort(&self) {
        self.link.abort();
    }

    /// Waits until the connection has ended, by whatever: how it did. (asyncio: `wait_closed`.)
    pub async fn wait_closed(&self) -> Reason {
        poll_fn(|context| self.link.poll_end(context)).await
    }

    /// Whether the connection is closing or gone. (asyncio: `is_closing`.)
    pub fn is_closing(&self) -> bool {
        self.link.is_closing()
    }

    /// How the connection ended, once it has.
    pub fn reason(&self) -> Option<Reason> {
        self.link.end().cloned()
    }

    /// Bytes written that the system has not taken yet. 0 outside of a task.
    pub fn write_buffer_size(&self) -> usize {
        self.link.try_with(|transport| transport.write_buffer_size()).unwrap_or(0)
    }

    /// Sets this connection's water marks, in bytes; see [`Transport::set_water_marks`](crate::Transport::set_water_marks).
    ///
    /// # Errors
    /// [`Error::NotConnected`]; [`Error::ReactorUnavailable`].
    pub fn set_water_marks(&self, high: usize, low: usize) -> Result<()> {
        Ok(self.link.try_with(|transport| transport.set_water_marks(high, low))?)
    }

    /// Switches TCP_NODELAY.
    ///
    /// # Errors
    /// [`Error::NotConnected`]; [`Error::ReactorUnavailable`]; [`Error::System`].
    pub fn set_tcp_nodelay(&self, on: bool) -> Result<()> {
        self.link.try_with(|transport| transport.set_tcp_nodelay(on))?
    }

    /// The other side's address.
    pub fn peer(&self) -> Address {
        self.link.peer()
    }

    /// This side's address, if it was asked for before in a task, or is now.
    ///
    /// # Errors
    /// [`Error::NotConnected`]; [`Error::ReactorUnavailable`].
    pub fn host(&self) -> Result<Address> {
        self.link.host().ok_or(Error::NotConnected)
    }

    /// The connection's name, for [`Reactor::transport`](crate::Reactor::transport).
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
