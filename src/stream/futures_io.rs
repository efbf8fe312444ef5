//! The traits of `futures-io`, for crates that are written against them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::stream::{StreamReader, StreamWriter};

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        StreamReader::poll_read(self.get_mut(), context, room).map_err(io::Error::from)
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
    /// Takes all of it, once no more than the high-water mark waits to be sent.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.link().poll_drain(context, false) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => return Poll::Pending,
        }
        // Not more than a share of it: what is written unasked has a limit.
        let piece = data.get(..SHARE).unwrap_or(data);
        self.write(piece);
        Poll::Ready(Ok(piece.len()))
    }

    /// What is written leaves by itself: this waits as [`drain`](StreamWriter::drain) does.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link().poll_drain(context, false).map_err(io::Error::from)
    }

    /// Sends FIN after all that was written, and waits until that is out; reading goes on.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_eof();
        self.link().poll_finished(context).map_err(io::Error::from)
    }
}

/// Bytes that are taken at a time: the default high-water mark.
const SHARE: usize = 64 * 1024;
