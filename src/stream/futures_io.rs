//! Implementations of the `futures-io` traits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::stream::{StreamReader, StreamWriter};

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        StreamReader::poll_read(self.get_mut(), context, buffer).map_err(io::Error::from)
    }
}

impl AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let reader = self.get_mut();
        match reader.poll_unread(context) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(reader.unread())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().take(count);
    }
}

impl AsyncWrite for StreamWriter {
    /// Accepts at most 64 KiB, once the unsent data is below the high-water mark.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.link().poll_drain(context, false) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => return Poll::Pending,
        }
        // Limit the piece, because a write without `drain` is limited.
        let piece = data.get(..MAX_WRITE).unwrap_or(data);
        self.write(piece);
        Poll::Ready(Ok(piece.len()))
    }

    /// Waits like [`drain`](StreamWriter::drain). Written data is sent without a flush.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link().poll_drain(context, false).map_err(io::Error::from)
    }

    /// Sends FIN after all written data and waits until it is sent. Reading continues.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_eof();
        self.link().poll_finished(context).map_err(io::Error::from)
    }
}

/// Maximum bytes per `poll_write`: the default high-water mark.
const MAX_WRITE: usize = 64 * 1024;
