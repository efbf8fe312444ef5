//! Sending a file, no faster than it is taken.

use std::io::{self, ErrorKind, Read};

use crate::{Producer, ProducerKind, Reactor, Result, Transport};

/// Sends all that a reader has, piece by piece: the next one is read when the one before has gone. (Twisted: `FileSender`.)
///
/// It reads on the loop. That is right for regular files and what is in memory; what can keep a reader waiting (a pipe, a file on a
/// network) holds all connections up, and belongs on a thread.
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
///             // It waits for the sender.
///             transport.lose_connection();
///         }
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
/// # assert_eq!(twistor::testing::StringTransport::new(Motd).take(), b"Nothing new today.\n");
/// ```
pub struct FileSender {
    from: Box<dyn Read>,
    piece: usize,
    transform: Option<Transform>,
}

type Transform = Box<dyn FnMut(&mut Vec<u8>)>;

/// What became of a file; the count is in bytes of the file, before any transformation.
#[derive(Debug)]
pub enum FileSendResult {
    /// All of it was written; the last piece may still be on its way.
    Complete(u64),
    /// The connection was lost; so much had been written.
    Lost(u64),
    /// Reading failed after so much. The connection is as it was.
    Failed(u64, io::Error),
}

impl FileSender {
    /// Sends what `from` has, in pieces of 16 KiB.
    pub fn new(from: impl Read + 'static) -> FileSender {
        FileSender { from: Box::new(from), piece: 16 * 1024, transform: None }
    }

    /// The size of a piece, in bytes, from 1 to 16 MiB. Default: 16 KiB.
    pub fn piece(mut self, bytes: usize) -> FileSender {
        self.piece = bytes.clamp(1, LARGEST_PIECE);
        self
    }

    /// Changes each piece before it is written. Default: it is written as it is. (Twisted: `transform`.)
    pub fn transform(mut self, transform: impl FnMut(&mut Vec<u8>) + 'static) -> FileSender {
        self.transform = Some(Box::new(transform));
        self
    }

    /// Begins, and calls `done` at the end, whichever it is. A `lose_connection` waits for it. It is the connection's producer
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::ProducerRegistered`](crate::Error::ProducerRegistered) when the connection has one; `done` is not called then.
    pub fn send(
        self,
        transport: &mut Transport<'_>,
        done: impl FnOnce(&mut Reactor, FileSendResult) + 'static,
    ) -> Result<()> {
        let sending = Sending { file: self, count: 0, done: Some(Box::new(done)) };
        transport.register_producer(sending, ProducerKind::Pull)
    }
}

/// A piece is read at once, and waits in memory.
const LARGEST_PIECE: usize = 16 * 1024 * 1024;

/// A file on its way.
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
                    // The transformation left nothing of it, and the next one may be longer.
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
