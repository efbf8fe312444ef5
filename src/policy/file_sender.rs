//! Sending files with backpressure.

use std::io::{self, ErrorKind, Read};

use crate::{Producer, ProducerKind, Reactor, Result, Transport};

/// Sends everything that a reader returns, in pieces. The next piece is read once the previous one
/// has been sent. (Twisted: `FileSender`.)
///
/// It reads on the loop's thread. That suits regular files and data in memory. A reader that can
/// block (a pipe, a network file system) stalls all connections; read it on a thread instead.
///
/// ```
/// use twistor::policy::{FileSender, FileSendResult};
/// use twistor::{Protocol, Transport};
///
/// struct Motd;
///
/// impl Protocol for Motd {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         let text = &b"Nothing new today.\n"[..];
///         let sent = FileSender::new(text).send(transport, |_, sent| {
///             assert!(matches!(sent, FileSendResult::Complete(19)));
///         });
///         if sent.is_ok() {
///             // The close waits for the sender.
///             transport.lose_connection();
///         }
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
/// # assert_eq!(twistor::testing::StringTransport::new(Motd).take(), b"Nothing new today.\n");
/// ```
#[doc(alias = "sendfile")]
pub struct FileSender {
    from: Box<dyn Read>,
    piece: usize,
    transform: Option<Transform>,
}

type Transform = Box<dyn FnMut(&mut Vec<u8>)>;

/// Result of a transfer. Counts are bytes of the file, before any transformation.
#[derive(Debug)]
pub enum FileSendResult {
    /// The whole file was written. The last piece may still be in flight.
    Complete(u64),
    /// The connection was lost after this many bytes were written.
    Lost(u64),
    /// Reading failed after this many bytes. The connection stays open.
    Failed(u64, io::Error),
}

impl FileSender {
    /// Creates a sender that reads `from` to its end, in pieces of 16 KiB.
    pub fn new(from: impl Read + 'static) -> FileSender {
        FileSender { from: Box::new(from), piece: 16 * 1024, transform: None }
    }

    /// Sets the size of a piece, in bytes, from 1 byte to 16 MiB. Default: 16 KiB.
    pub fn piece(mut self, bytes: usize) -> FileSender {
        self.piece = bytes.clamp(1, MAX_PIECE);
        self
    }

    /// Sets a function that changes each piece before it is written. Default: no change. (Twisted:
    /// `transform`.)
    pub fn transform(mut self, transform: impl FnMut(&mut Vec<u8>) + 'static) -> FileSender {
        self.transform = Some(Box::new(transform));
        self
    }

    /// Starts the transfer and calls `done` when it has ended, with any result. Meanwhile the
    /// sender is the connection's producer, and `lose_connection` waits for it.
    ///
    /// # Errors
    /// [`Error::ProducerRegistered`](crate::Error::ProducerRegistered) if the connection already
    /// has a producer. `done` is not called then.
    pub fn send(
        self,
        transport: &mut Transport<'_>,
        done: impl FnOnce(&mut Reactor, FileSendResult) + 'static,
    ) -> Result<()> {
        let sending = Sending { file: self, count: 0, done: Some(Box::new(done)) };
        transport.register_producer(sending, ProducerKind::Pull)
    }
}

/// A piece is read at once and held in memory.
const MAX_PIECE: usize = 16 * 1024 * 1024;

/// A transfer in progress.
struct Sending {
    file: FileSender,
    count: u64,
    done: Option<Done>,
}

type Done = Box<dyn FnOnce(&mut Reactor, FileSendResult)>;

impl Sending {
    fn finish(&mut self, reactor: &mut Reactor, sent: FileSendResult) {
        if let Some(done) = self.done.take() {
            done(reactor, sent);
        }
    }
}

impl Producer for Sending {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        let mut piece = vec![0; self.file.piece];
        let read = loop {
            match self.file.from.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let sent = match read {
            Ok(0) => FileSendResult::Complete(self.count),
            Err(error) => FileSendResult::Failed(self.count, error),
            Ok(count) => {
                piece.truncate(count);
                self.count += count as u64;
                if let Some(transform) = &mut self.file.transform {
                    transform(&mut piece);
                }
                if piece.is_empty() {
                    // The transformation left nothing of this piece; read the next.
                    return transport.resume_producer();
                }
                transport.write(&piece);
                return;
            }
        };
        transport.unregister_producer();
        self.finish(transport.reactor(), sent);
    }

    fn stop_producing(&mut self, reactor: &mut Reactor) {
        let lost = FileSendResult::Lost(self.count);
        self.finish(reactor, lost);
    }
}
