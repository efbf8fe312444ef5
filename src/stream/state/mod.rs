//! The state of a stream, shared by its two halves and the connection's protocol.

mod other_end;
mod reaching;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use self::other_end::OtherEnd;
pub(in crate::stream) use self::other_end::{ChildPipe, memory_pair};
use self::reaching::{Command, ReactorUnavailable};
use crate::reactor::Handle;
use crate::stream::buffer::{Buffer, Input};
use crate::stream::wakers::{WakerSet, WakerSlot};
use crate::stream::{StreamError, StreamReader, StreamWriter};
use crate::{Address, ConnectionId, Layer, Reactor, Reason, Transport};

/// State of one stream, between its protocol and its halves. No `RefCell` is borrowed while user
/// code runs.
pub(in crate::stream) struct StreamState {
    handle: Handle,
    id: Cell<Option<ConnectionId>>,
    /// Set for a stream that is no connection. It has no `id`.
    other_end: OnceCell<Box<OtherEnd>>,
    peer: OnceCell<Address>,
    host: OnceCell<Address>,
    incoming: Cell<Incoming>,
    /// Bytes received since the reader last took them.
    input: RefCell<Input>,
    /// Number of unread bytes, in `input` and in the reader's buffer.
    unread: Cell<usize>,
    limit: Cell<usize>,
    /// The task that reads.
    pub(in crate::stream) reading: WakerSlot,
    outgoing: Cell<Outgoing>,
    /// Whether the protocol is between `pause_writing` and `resume_writing`.
    write_paused: Cell<bool>,
    /// Whether our FIN was sent.
    finished: Cell<bool>,
    /// Bytes written since the last wait in `drain`.
    written: Cell<usize>,
    /// Commands issued while the reactor was unavailable, in order.
    deferred: RefCell<Vec<Command>>,
    /// Tasks that wait for the connection to be made, to become writable, or to end.
    waiting: WakerSet,
    /// The reason why the connection ended or was not made.
    end: OnceCell<Reason>,
    halves: Cell<u8>,
    request: Cell<Request>,
    /// A layer was added, and is not ready yet.
    layer_added: Cell<bool>,
}

/// State of the request that a server's handler works on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// The handler has received nothing, or waits for more input.
    None,
    /// The handler has received input, and does not wait for more.
    InFlight,
    /// Same, and the reactor stops. The connection closes when the handler waits for input.
    Last,
}

/// State of the receiving direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incoming {
    Flows,
    /// The unread limit was reached. Further data stays in the kernel.
    Paused,
    /// The reader was dropped. Further data is discarded.
    Unwanted,
    /// EOF was received, or the connection was closed cleanly.
    Ended,
    /// The connection was lost.
    Broken,
}

/// State of the sending direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    Flows,
    /// `write_eof`, `close` or `abort` was called.
    Ended,
    /// Data was written after `write_eof`, `close` or `abort`.
    Overrun,
}

impl StreamState {
    pub(in crate::stream) fn new(handle: Handle) -> Rc<StreamState> {
        Rc::new(StreamState {
            handle,
            id: Cell::new(None),
            other_end: OnceCell::new(),
            peer: OnceCell::new(),
            host: OnceCell::new(),
            incoming: Cell::new(Incoming::Flows),
            input: RefCell::default(),
            unread: Cell::new(0),
            limit: Cell::new(DEFAULT_LIMIT),
            reading: WakerSlot::default(),
            outgoing: Cell::new(Outgoing::Flows),
            write_paused: Cell::new(false),
            finished: Cell::new(false),
            written: Cell::new(0),
            deferred: RefCell::default(),
            waiting: WakerSet::default(),
            end: OnceCell::new(),
            halves: Cell::new(0),
            request: Cell::new(Request::None),
            layer_added: Cell::new(false),
        })
    }

    /// Creates the reader and the writer of an established connection.
    pub(in crate::stream) fn halves(self: &Rc<StreamState>) -> (StreamReader, StreamWriter) {
        self.halves.set(2);
        (StreamReader::new(Rc::clone(self)), StreamWriter::new(Rc::clone(self)))
    }

    /// Creates the reader of a stream that is not written to.
    pub(in crate::stream) fn only_reader(self: &Rc<StreamState>) -> StreamReader {
        self.halves.set(1);
        StreamReader::new(Rc::clone(self))
    }

    /// Creates the writer of a stream that is not read.
    pub(in crate::stream) fn only_writer(self: &Rc<StreamState>) -> StreamWriter {
        self.halves.set(1);
        StreamWriter::new(Rc::clone(self))
    }

    /// Called when a half is dropped. The last one closes the connection.
    pub(in crate::stream) fn half_dropped(self: &Rc<StreamState>) {
        self.halves.set(self.halves.get().saturating_sub(1));
        if self.halves.get() == 0 {
            self.close();
        }
    }

    // -- accessors --

    pub(in crate::stream) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(in crate::stream) fn id(&self) -> Option<ConnectionId> {
        self.id.get()
    }

    pub(in crate::stream) fn peer(&self) -> Address {
        self.peer.get().cloned().unwrap_or(Address::Pipe)
    }

    pub(in crate::stream) fn host(&self) -> Option<Address> {
        if self.host.get().is_none() {
            let host = self.try_with(|transport| transport.host()).ok()?;
            let _ = self.host.set(host);
        }
        self.host.get().cloned()
    }

    /// The reason why the connection ended. `Stopped` if the reactor has finished.
    pub(in crate::stream) fn end(&self) -> Option<&Reason> {
        match self.end.get() {
            None if self.handle.finished() => Some(self.end.get_or_init(|| Reason::Stopped)),
            end => end,
        }
    }

    pub(in crate::stream) fn is_closing(&self) -> bool {
        self.end().is_some()
            || match self.other_end() {
                None => self.try_with(|transport| transport.is_closing()).unwrap_or(false),
                // An in-memory stream that is closed has ended.
                Some(OtherEnd::Memory(_)) => false,
                Some(OtherEnd::Child(..)) => self.outgoing.get() != Outgoing::Flows,
            }
    }

    /// Number of written bytes that have not been passed on. 0 outside of a task.
    pub(in crate::stream) fn write_buffer_size(&self) -> usize {
        match self.other_end() {
            None => self.try_with(|transport| transport.write_buffer_size()).unwrap_or(0),
            Some(OtherEnd::Memory(memory)) => memory.unread(),
            Some(OtherEnd::Child(..)) => {
                self.try_with_child(|process, _| process.write_buffer_size()).unwrap_or(0)
            }
        }
    }

    // -- reading --

    pub(in crate::stream) fn set_limit(&self, bytes: usize) {
        self.limit.set(bytes.max(1));
    }

    pub(in crate::stream) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Whether all received data has been taken by the reader and no more will arrive.
    pub(in crate::stream) fn has_ended(&self) -> bool {
        matches!(self.incoming.get(), Incoming::Ended | Incoming::Broken) && self.input.borrow().is_empty()
    }

    /// Moves the received bytes to the reader's buffer. `true`: data was moved. `false`: EOF.
    #[inline]
    pub(in crate::stream) fn poll_fill(
        self: &Rc<StreamState>,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<Result<bool, StreamError>> {
        {
            let mut input = self.input.borrow_mut();
            if !input.is_empty() {
                buffer.take(&mut input);
                if self.request.get() == Request::None {
                    self.request.set(Request::InFlight);
                }
                return Poll::Ready(Ok(true));
            }
        }
        match self.incoming.get() {
            Incoming::Flows | Incoming::Unwanted => {}
            Incoming::Paused => self.resume(),
            Incoming::Ended => return Poll::Ready(Ok(false)),
            Incoming::Broken => return Poll::Ready(Err(self.lost())),
        }
        if self.handle.finished() {
            return Poll::Ready(Err(self.lost()));
        }
        buffer.give_back();
        self.reading.wait(context);
        if self.request.replace(Request::None) == Request::Last {
            self.issue(Command::Close);
        }
        Poll::Pending
    }

    /// Called when the user has read `count` bytes.
    #[inline]
    pub(in crate::stream) fn consumed(self: &Rc<StreamState>, count: usize) {
        let unread = self.unread.get().saturating_sub(count);
        self.unread.set(unread);
        if self.incoming.get() == Incoming::Paused && unread <= self.resume_at() {
            self.resume();
        }
    }

    fn resume_at(&self) -> usize {
        self.memory().map_or(self.limit.get(), |memory| memory.capacity())
    }

    fn resume(self: &Rc<StreamState>) {
        self.incoming.set(Incoming::Flows);
        self.issue(Command::Resume);
    }

    /// Called when the reader is dropped.
    pub(in crate::stream) fn reader_dropped(self: &Rc<StreamState>) {
        let before = self.incoming.get();
        if matches!(before, Incoming::Flows | Incoming::Paused) {
            self.incoming.set(Incoming::Unwanted);
        }
        self.input.borrow_mut().give_back();
        self.unread.set(0);
        if before == Incoming::Paused {
            self.issue(Command::Resume);
        }
    }

    fn lost(&self) -> StreamError {
        StreamError::Lost(self.end().cloned().unwrap_or(Reason::Stopped))
    }

    // -- writing --

    #[inline]
    pub(in crate::stream) fn write(self: &Rc<StreamState>, data: &[u8]) {
        if !self.may_write() {
            return;
        }
        self.written.set(self.written.get() + data.len());
        let written = self.try_with_reactor(|reactor, id| reactor.write_from_task(id.0, data));
        match written {
            Ok(()) => {}
            Err(ReactorUnavailable::Elsewhere) => self.defer(Command::Write(data.to_vec())),
            Err(ReactorUnavailable::Gone) => self.write_to_other_end(data),
        }
    }

    pub(in crate::stream) fn write_sequence(self: &Rc<StreamState>, pieces: &[&[u8]]) {
        if !self.may_write() {
            return;
        }
        self.written.set(self.written.get() + pieces.iter().map(|piece| piece.len()).sum::<usize>());
        let write = |reactor: &mut Reactor, id: ConnectionId| {
            for piece in pieces {
                reactor.write_from_task(id.0, piece);
            }
        };
        match self.try_with_reactor(write) {
            Ok(()) => {}
            Err(ReactorUnavailable::Elsewhere) => self.defer(Command::Write(pieces.concat())),
            Err(ReactorUnavailable::Gone) => {
                pieces.iter().for_each(|piece| self.write_to_other_end(piece));
            }
        }
    }

    #[inline]
    fn may_write(&self) -> bool {
        match self.outgoing.get() {
            Outgoing::Flows => true,
            Outgoing::Ended | Outgoing::Overrun => {
                self.outgoing.set(Outgoing::Overrun);
                false
            }
        }
    }

    pub(in crate::stream) fn write_eof(self: &Rc<StreamState>) {
        if self.outgoing.get() == Outgoing::Flows {
            self.outgoing.set(Outgoing::Ended);
            self.issue(Command::WriteEof);
        }
    }

    pub(in crate::stream) fn close(self: &Rc<StreamState>) {
        self.end_writing(Command::Close);
    }

    pub(in crate::stream) fn abort(self: &Rc<StreamState>) {
        self.end_writing(Command::Abort);
    }

    fn end_writing(self: &Rc<StreamState>, command: Command) {
        let flows = self.outgoing.get() == Outgoing::Flows;
        if flows {
            self.outgoing.set(Outgoing::Ended);
        }
        // A child's terminal takes each end for one more end-of-file character.
        let again = !flows && matches!(self.other_end(), Some(OtherEnd::Child(..)));
        if self.end.get().is_none() && !again {
            self.issue(command);
        }
    }

    /// Ready when more may be written. `waited`: the same caller was pending before.
    pub(in crate::stream) fn poll_drain(
        &self,
        context: &mut Context<'_>,
        waited: bool,
    ) -> Poll<Result<(), StreamError>> {
        match self.end() {
            // A clean close means that all data was sent.
            Some(reason) if waited && reason.is_clean() => return Poll::Ready(Ok(())),
            Some(reason) if self.has_delivered(reason) => return Poll::Ready(Ok(())),
            Some(reason) => return Poll::Ready(Err(StreamError::Lost(reason.clone()))),
            None => {}
        }
        if self.outgoing.get() == Outgoing::Overrun {
            self.outgoing.set(Outgoing::Ended);
            return Poll::Ready(Err(StreamError::WriteEnded));
        }
        let write_paused = self.try_with_reactor(|reactor, id| reactor.must_wait_to_write(id.0));
        let write_paused =
            write_paused.or_else(|_| self.try_with_child(|process, _| process.writing_paused()));
        if write_paused.unwrap_or(self.write_paused.get()) {
            self.written.set(0);
            self.waiting.wait(context);
            return Poll::Pending;
        }
        if self.written.get() > WRITE_SHARE {
            // Yield after this share, even if the kernel accepts everything.
            self.written.set(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when our FIN was sent.
    #[cfg(feature = "futures-io")]
    pub(in crate::stream) fn poll_finished(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        match self.end() {
            _ if self.finished.get() => Poll::Ready(Ok(())),
            Some(reason) if reason.is_clean() => Poll::Ready(Ok(())),
            Some(reason) => Poll::Ready(Err(StreamError::Lost(reason.clone()))),
            None => {
                self.waiting.wait(context);
                Poll::Pending
            }
        }
    }

    pub(in crate::stream) fn poll_end(&self, context: &mut Context<'_>) -> Poll<Reason> {
        match self.end() {
            Some(reason) => Poll::Ready(reason.clone()),
            None => {
                self.waiting.wait(context);
                Poll::Pending
            }
        }
    }

    /// Ready when the connection was made, or has failed.
    pub(in crate::stream) fn poll_made(&self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        if self.id.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.poll_end(context).map(Err)
    }

    /// Adds a layer to the connection. `buffered` is input that the reader has taken and its user
    /// has not read: it belongs to the layer, like input that the reader has not taken.
    pub(in crate::stream) fn add_layer(
        self: &Rc<StreamState>,
        layer: Box<dyn Layer>,
        mut buffered: Vec<u8>,
    ) -> Result<(), StreamError> {
        if self.other_end().is_some() {
            return Err(StreamError::NotAConnection);
        }
        let paused = match self.incoming.get() {
            Incoming::Ended => return Err(StreamError::UnexpectedEof { read: buffered.len() }),
            Incoming::Broken => return Err(self.lost()),
            Incoming::Paused => true,
            Incoming::Flows | Incoming::Unwanted => false,
        };
        buffered.append(&mut self.input.borrow_mut().take_all());
        self.unread.set(0);
        self.layer_added.set(true);
        self.issue(Command::AddLayer(layer, buffered));
        if paused {
            self.resume();
        }
        Ok(())
    }

    /// Ready when the added layer is.
    pub(in crate::stream) fn poll_layer_ready(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        if !self.layer_added.get() {
            return Poll::Ready(Ok(()));
        }
        if self.end().is_some() {
            return Poll::Ready(Err(self.lost()));
        }
        self.waiting.wait(context);
        Poll::Pending
    }

    // -- events of the protocol --

    pub(in crate::stream) fn layers_ready(&self) {
        self.layer_added.set(false);
        self.waiting.wake();
    }

    pub(in crate::stream) fn made(&self, transport: &mut Transport<'_>) {
        self.id.set(Some(transport.id()));
        let _ = self.peer.set(transport.peer().clone());
        self.waiting.wake();
    }

    #[inline]
    pub(in crate::stream) fn received(&self, transport: &mut Transport<'_>, data: &[u8]) {
        if self.add_received(data, self.limit.get().saturating_mul(2)) {
            transport.pause_reading();
        }
    }

    /// Called when the reactor stops gracefully. `true`: a request is in flight, and the connection
    /// closes by itself after it.
    pub(in crate::stream) fn drain(&self) -> bool {
        let in_flight = self.request.get() != Request::None;
        if in_flight {
            self.request.set(Request::Last);
        }
        in_flight
    }

    pub(in crate::stream) fn input_ended(&self) {
        if matches!(self.incoming.get(), Incoming::Flows | Incoming::Paused) {
            self.incoming.set(Incoming::Ended);
            self.reading.wake();
        }
    }

    pub(in crate::stream) fn output_ended(&self) {
        self.finished.set(true);
        self.waiting.wake();
    }

    /// Called when the unsent data crosses a water mark.
    pub(in crate::stream) fn set_write_paused(&self, write_paused: bool) {
        self.write_paused.set(write_paused);
        if !write_paused {
            self.waiting.wake();
        }
    }

    /// Called when the connection ended or was not made.
    pub(in crate::stream) fn ended(&self, reason: &Reason) {
        if self.end.set(reason.clone()).is_err() {
            return;
        }
        if matches!(self.incoming.get(), Incoming::Flows | Incoming::Paused) {
            let clean = reason.is_clean();
            self.incoming.set(if clean { Incoming::Ended } else { Incoming::Broken });
        }
        self.deferred.take();
        self.reading.wake();
        self.waiting.wake();
    }
}

/// Default limit of unread bytes: reading resumes at it and pauses at twice as many. asyncio's
/// values.
const DEFAULT_LIMIT: usize = 64 * 1024;

/// Bytes that a task may write before `drain` yields: the write share of a connection's turn.
const WRITE_SHARE: usize = 128 * 1024;
