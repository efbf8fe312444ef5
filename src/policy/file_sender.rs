//! Sending files with backpressure.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

use crate::files::{FileError, ReadFile};
use crate::{ConnectionId, Producer, ProducerKind, Reactor, Result, Transport};

/// Sends everything that a reader returns, in pieces. The next piece is read once the previous one
/// has been sent. (Twisted: `FileSender`.)
///
/// [`from_file`](FileSender::from_file) sends a file that is read beside the loop, one piece ahead.
/// [`new`](FileSender::new) reads on the loop's thread: that suits data in memory. A reader that
/// can block (a file, a pipe) stalls all connections.
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
    from: Source,
    piece: usize,
    transform: Option<Transform>,
}

type Transform = Box<dyn FnMut(&mut Vec<u8>)>;

enum Source {
    Reader(Box<dyn Read>),
    File(ReadAhead),
}

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
        FileSender::of(Source::Reader(Box::new(from)))
    }

    /// Creates a sender of an open file, from its beginning to its end, in pieces of 16 KiB. The
    /// next piece is read while the last one is sent.
    ///
    /// ```
    /// use twistor::policy::{FileSendResult, FileSender};
    /// use twistor::{Protocol, Transport, files};
    ///
    /// struct Motd;
    ///
    /// impl Protocol for Motd {
    ///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
    ///         let id = transport.id();
    ///         let opened = files::open("/etc/motd").start(transport.reactor(), move |reactor, file| {
    ///             let Some(mut transport) = reactor.transport(id) else { return };
    ///             let sent = file.map(|file| FileSender::from_file(file).send(&mut transport, |_, _| {}));
    ///             match sent {
    ///                 Ok(Ok(())) => transport.lose_connection(),
    ///                 _ => transport.abort_connection(),
    ///             }
    ///         });
    ///         if opened.is_err() {
    ///             transport.abort_connection();
    ///         }
    ///     }
    ///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    /// }
    /// # let mut reactor = twistor::Reactor::new()?;
    /// # reactor.listen_tcp("127.0.0.1:0", || Motd)?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn from_file(file: ReadFile) -> FileSender {
        FileSender::of(Source::File(ReadAhead { file, offset: 0, state: Rc::default() }))
    }

    fn of(from: Source) -> FileSender {
        FileSender { from, piece: 16 * 1024, transform: None }
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
        let read = match &mut self.file.from {
            Source::Reader(reader) => read_piece(reader, self.file.piece),
            Source::File(ahead) => match ahead.next(transport, self.file.piece) {
                Some(read) => read.map_err(io::Error::from),
                // Called again when the piece is there.
                None => return,
            },
        };
        let sent = match read {
            Ok(piece) if piece.is_empty() => FileSendResult::Complete(self.count),
            Err(error) => FileSendResult::Failed(self.count, error),
            Ok(mut piece) => {
                self.count += piece.len() as u64;
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

fn read_piece(reader: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    loop {
        match reader.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => {
                piece.truncate(read?);
                return Ok(piece);
            }
        }
    }
}

/// An open file, and its next piece.
struct ReadAhead {
    file: ReadFile,
    /// The offset of the piece after the next one.
    offset: u64,
    state: Rc<RefCell<Ahead>>,
}

#[derive(Default)]
enum Ahead {
    #[default]
    Nothing,
    Reading,
    Read(Piece),
}

type Piece = std::result::Result<Vec<u8>, FileError>;

impl ReadAhead {
    /// Takes the next piece, and starts to read the one after it. `None`: it is being read.
    fn next(&mut self, transport: &mut Transport<'_>, length: usize) -> Option<Piece> {
        let state = std::mem::take(&mut *self.state.borrow_mut());
        let piece = match state {
            Ahead::Nothing => None,
            Ahead::Reading => {
                *self.state.borrow_mut() = Ahead::Reading;
                return None;
            }
            Ahead::Read(Ok(piece)) if piece.is_empty() => return Some(Ok(piece)),
            Ahead::Read(Ok(piece)) => Some(Ok(piece)),
            Ahead::Read(Err(error)) => return Some(Err(error)),
        };
        if let Some(Ok(piece)) = &piece {
            self.offset += piece.len() as u64;
        }
        match self.read_ahead(transport.id(), transport.reactor(), length) {
            Ok(()) => piece,
            // Reported after the piece that is there.
            Err(error) if piece.is_some() => {
                *self.state.borrow_mut() = Ahead::Read(Err(error));
                piece
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn read_ahead(
        &self,
        id: ConnectionId,
        reactor: &mut Reactor,
        length: usize,
    ) -> std::result::Result<(), FileError> {
        *self.state.borrow_mut() = Ahead::Reading;
        let state = Rc::clone(&self.state);
        self.file.read(self.offset, length).start(reactor, move |reactor, read| {
            *state.borrow_mut() = Ahead::Read(read);
            if let Some(mut transport) = reactor.transport(id) {
                transport.resume_producer();
            }
        })
    }
}
