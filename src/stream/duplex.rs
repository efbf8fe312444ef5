//! In-memory streams.

use super::{StreamReader, StreamWriter};
use crate::Result;
use crate::reactor::Handle;
use crate::stream::state::memory_pair;

/// Creates two ends that are joined in memory: data that is written at one is read at the other.
/// It needs no socket, so tests and tasks of one reactor can use it in place of a connection.
/// (tokio: [`io::duplex`][tokio].)
///
/// - **Backpressure.** [`drain`](StreamWriter::drain) waits while more than `capacity` bytes are
///   unread at the other end. Minimum: 1. A writer that goes on without it loses the stream at
///   [`Settings::write_buffer_limit`](crate::Settings::write_buffer_limit) more bytes.
/// - **Ends.** As those of a connection, without delay: EOF follows the data, the stream has ended
///   when both directions have, and an abort is a reset for the other end. Writing to an end that
///   is closed is reported as EPIPE.
/// - Both addresses are [`Address::Pipe`](crate::Address::Pipe), and `id` is `None`.
///
/// ```
/// use twistor::stream::{StreamError, StreamReader, StreamWriter, duplex};
/// use twistor::task::join;
///
/// async fn greet(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
///     while let Some(name) = reader.read_line().await? {
///         writer.write_sequence(&[b"hello, ", name, b"\n"]);
///         writer.drain().await?;
///     }
///     Ok(())
/// }
///
/// twistor::block_on(async {
///     let ((mut reader, writer), (served, answer)) = duplex(1024)?;
///     writer.write(b"Ada\nBob\n");
///     writer.write_eof();
///     let (text, result) = join(reader.read_to_end(1024), greet(served, answer)).await;
///     assert_eq!(text?, b"hello, Ada\nhello, Bob\n");
///     result?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::ReactorUnavailable`](crate::Error::ReactorUnavailable) outside of a task.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/io/fn.duplex.html
pub fn duplex(capacity: usize) -> Result<((StreamReader, StreamWriter), (StreamReader, StreamWriter))> {
    let handle = Handle::current()?;
    let write_limit = handle.with_reactor(|reactor| reactor.settings().write_buffer_limit)?;
    let (a, b) = memory_pair(&handle, capacity.max(1), write_limit);
    Ok((a.halves(), b.halves()))
}
