//! Two streams joined into one.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::reactor::Handle;
use crate::stream::{StreamError, StreamReader, StreamWriter};
use crate::{Settings, task};

/// Copies all data of each of two connections to the other, until both inputs have ended. Returns
/// the number of bytes from `a` to `b`, and from `b` to `a`. (tokio:
/// [`copy_bidirectional`][tokio]; for callbacks, see [`splice`](crate::policy::splice).)
///
/// - **Backpressure.** A side is not read while the other has too much unsent data
///   ([`StreamWriter::drain`]). Each direction holds at most the reader's limits and the high-water
///   mark, in bytes.
/// - **Half-close.** EOF of one side is passed on by [`write_eof`](StreamWriter::write_eof), after
///   all data. The connections are not closed: drop the halves, or close them.
/// - **Errors.** When a side is lost, the other side sends the data that it has got, for at most
///   [`Settings::close_timeout`](crate::Settings::close_timeout), and is then aborted. After a
///   clean end it sends without a limit, and is then closed.
/// - **Cancellation safety.** Data that was read has been written when the future is dropped. Only
///   the counts are lost.
///
/// ```
/// use twistor::stream::{copy_bidirectional, open_connection, start_server};
///
/// twistor::block_on(async {
///     let echo = start_server("127.0.0.1:0", async |mut reader, writer| {
///         writer.write(&reader.read_to_end(1000).await?);
///         Ok::<_, twistor::stream::StreamError>(())
///     })?;
///     let target = echo.address().clone();
///     let proxy = start_server("127.0.0.1:0", async move |mut reader, writer| {
///         let (mut target_reader, target_writer) = open_connection(&target).await?;
///         let client = (&mut reader, &writer);
///         let counts = copy_bidirectional(client, (&mut target_reader, &target_writer)).await?;
///         assert_eq!(counts, (5, 5));
///         Ok::<_, Box<dyn std::error::Error>>(())
///     })?;
///     let (mut reader, writer) = open_connection(proxy.address()).await?;
///     writer.write(b"hello");
///     writer.write_eof();
///     assert_eq!(reader.read_to_end(100).await?, b"hello");
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CopyError`] when a connection is lost before both inputs have ended.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/io/fn.copy_bidirectional.html
pub async fn copy_bidirectional(
    a: (&mut StreamReader, &StreamWriter),
    b: (&mut StreamReader, &StreamWriter),
) -> Result<(u64, u64), CopyError> {
    let (a_writer, b_writer) = (a.1, b.1);
    let (a_to_b, b_to_a) = (Cell::new(0), Cell::new(0));
    let limit = close_timeout();
    let ended = {
        let mut there = pin!(copy(a.0, b_writer, &a_to_b));
        let mut back = pin!(copy(b.0, a_writer, &b_to_a));
        let (mut a_lost, mut b_lost) = (pin!(lost(a_writer, limit)), pin!(lost(b_writer, limit)));
        let (mut there_done, mut back_done) = (false, false);
        poll_fn(|context| {
            if !there_done && let Poll::Ready(result) = there.as_mut().poll(context) {
                match result {
                    Ok(()) => there_done = true,
                    Err(Failed::Source(error)) => return Poll::Ready(Err((Some(b_writer), error))),
                    Err(Failed::Sink(error)) => return Poll::Ready(Err((Some(a_writer), error))),
                }
            }
            if !back_done && let Poll::Ready(result) = back.as_mut().poll(context) {
                match result {
                    Ok(()) => back_done = true,
                    Err(Failed::Source(error)) => return Poll::Ready(Err((Some(a_writer), error))),
                    Err(Failed::Sink(error)) => return Poll::Ready(Err((Some(b_writer), error))),
                }
            }
            if there_done && back_done {
                return Poll::Ready(Ok(()));
            }
            // A side that does not take the last data of a lost one has had its time.
            for (lost, survivor) in [(&mut a_lost, b_writer), (&mut b_lost, a_writer)] {
                if let Poll::Ready(error) = lost.as_mut().poll(context) {
                    survivor.abort();
                    return Poll::Ready(Err((None, error)));
                }
            }
            // A side that was closed here has no more input, and takes no more output.
            for (done, closed, survivor) in
                [(there_done, a_writer, b_writer), (back_done, b_writer, a_writer)]
            {
                if done && let Some(reason) = closed.reason() {
                    return Poll::Ready(Err((Some(survivor), StreamError::Lost(reason))));
                }
            }
            Poll::Pending
        })
        .await
    };
    if let Err((survivor, error)) = ended {
        if let Some(survivor) = survivor {
            end(survivor, &error, limit).await;
        }
        return Err(CopyError { a_to_b: a_to_b.get(), b_to_a: b_to_a.get(), error });
    }
    Ok((a_to_b.get(), b_to_a.get()))
}

/// Error: a connection was lost while data was copied between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyError {
    /// Bytes received from the first connection and written to the second.
    pub a_to_b: u64,
    /// Bytes received from the second connection and written to the first.
    pub b_to_a: u64,
    /// The error of the connection that was lost first.
    pub error: StreamError,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "copying ended after {} bytes there and {} bytes back", self.a_to_b, self.b_to_a)
    }
}

impl Error for CopyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The connection of one direction that has failed.
enum Failed {
    Source(StreamError),
    Sink(StreamError),
}

/// Copies one direction to its end, and passes EOF on.
async fn copy(from: &mut StreamReader, to: &StreamWriter, count: &Cell<u64>) -> Result<(), Failed> {
    loop {
        let chunk = from.read_chunk(CHUNK).await.map_err(Failed::Source)?;
        if chunk.is_empty() {
            to.write_eof();
            return Ok(());
        }
        to.write(chunk);
        count.set(count.get() + chunk.len() as u64);
        to.drain().await.map_err(Failed::Sink)?;
    }
}

/// Completes `limit` after the connection was lost with an error. Within that time, its last data
/// is copied.
async fn lost(writer: &StreamWriter, limit: Duration) -> StreamError {
    let reason = writer.wait_closed().await;
    if reason.is_clean() {
        // The copying ends by itself: all input was received, and writing fails.
        std::future::pending::<()>().await;
    }
    task::sleep(limit).await;
    StreamError::Lost(reason)
}

/// Ends the connection that was not lost, once its output is sent.
async fn end(survivor: &StreamWriter, error: &StreamError, limit: Duration) {
    if let StreamError::Lost(reason) = error
        && reason.is_clean()
    {
        return survivor.close();
    }
    // Now `drain` waits until everything is sent. It fails if this connection is lost too.
    if survivor.set_water_marks(0, 0).is_ok() {
        let _ = task::timeout(limit, survivor.drain()).await;
    }
    survivor.abort();
}

fn close_timeout() -> Duration {
    let asked = Handle::current().and_then(|handle| handle.with_reactor(|r| r.settings().close_timeout));
    asked.unwrap_or_else(|_| Settings::default().close_timeout)
}

/// Maximum bytes per read.
const CHUNK: usize = 64 * 1024;
