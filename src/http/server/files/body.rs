//! The body of a response that is read from a file, one piece ahead.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::handler::{BodyProducer, ResponseBody};
use crate::files::{FileError, ReadFile};

/// A range of a file. While a piece is sent, the next one is read.
pub(super) struct FileBody {
    file: ReadFile,
    /// The next byte to read, and the end.
    offset: u64,
    end: u64,
    ahead: Rc<RefCell<Ahead>>,
}

#[derive(Default)]
enum Ahead {
    #[default]
    Nothing,
    Reading,
    Read(Result<Vec<u8>, FileError>),
}

impl FileBody {
    pub(super) fn new(file: ReadFile, offset: u64, length: u64) -> FileBody {
        FileBody { file, offset, end: offset.saturating_add(length), ahead: Rc::default() }
    }

    fn read_ahead(&mut self, body: &mut ResponseBody<'_>) {
        let length = self.end.saturating_sub(self.offset).min(PIECE);
        if length == 0 {
            return;
        }
        *self.ahead.borrow_mut() = Ahead::Reading;
        let (ahead, handle) = (Rc::clone(&self.ahead), body.handle());
        let read = self.file.read(self.offset, length as usize);
        self.offset += length;
        let started = read.start(body.reactor(), move |reactor, read| {
            *ahead.borrow_mut() = Ahead::Read(read);
            handle.resume(reactor);
        });
        if let Err(error) = started {
            *self.ahead.borrow_mut() = Ahead::Read(Err(error));
        }
    }
}

impl BodyProducer for FileBody {
    fn resume_producing(&mut self, body: &mut ResponseBody<'_>) {
        let ahead = std::mem::take(&mut *self.ahead.borrow_mut());
        match ahead {
            Ahead::Nothing if self.offset == self.end => body.finish(),
            Ahead::Nothing => self.read_ahead(body),
            Ahead::Reading => *self.ahead.borrow_mut() = Ahead::Reading,
            // The file was cut meanwhile.
            Ahead::Read(Ok(piece)) if piece.is_empty() => body.fail(),
            Ahead::Read(Ok(piece)) => {
                self.read_ahead(body);
                body.write(piece);
            }
            Ahead::Read(Err(error)) => {
                log::warn!(target: "twistor::http::server", "a file cannot be sent: {}", crate::escape::Escaped(error));
                body.fail();
            }
        }
    }
}

/// Bytes of a piece.
const PIECE: u64 = 64 * 1024;
