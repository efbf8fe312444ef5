//! Streams that are no connections: memory, and the pipes of a child process.

use std::cell::Cell;
use std::io;
use std::rc::{Rc, Weak};

use rustix::io::Errno;

use crate::reactor::Handle;
use crate::stream::state::reaching::{Command, ReactorUnavailable};
use crate::stream::state::{Incoming, Outgoing, Request, StreamState};
use crate::{Address, ProcessId, ProcessTransport, Reactor, Reason, SystemError};

/// The other end of a stream that is no connection.
pub(in crate::stream::state) enum OtherEnd {
    Memory(Memory),
    Child(ProcessId, ChildPipe),
}

/// The other end of an in-memory stream.
pub(in crate::stream::state) struct Memory {
    /// Gone once both of its halves were dropped.
    peer: Weak<StreamState>,
    /// Writing pauses above this number of unread bytes, in each direction.
    capacity: usize,
    /// Limit of unread bytes beyond the capacity.
    write_limit: usize,
    /// `write_eof` or `close` was called at this end.
    eof_sent: Cell<bool>,
}

/// A pipe of a child process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum ChildPipe {
    Stdin,
    Stdout,
    Stderr,
}

impl Memory {
    pub(in crate::stream::state) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of bytes that the other end has not read.
    pub(in crate::stream::state) fn unread(&self) -> usize {
        self.peer.upgrade().map_or(0, |peer| peer.unread.get())
    }
}

/// Creates two joined streams.
pub(in crate::stream) fn memory_pair(
    handle: &Handle,
    capacity: usize,
    write_limit: usize,
) -> (Rc<StreamState>, Rc<StreamState>) {
    let (a, b) = (StreamState::new(handle.clone()), StreamState::new(handle.clone()));
    for (end, peer) in [(&a, &b), (&b, &a)] {
        let (peer, eof_sent) = (Rc::downgrade(peer), Cell::new(false));
        end.set_other_end(OtherEnd::Memory(Memory { peer, capacity, write_limit, eof_sent }));
    }
    (a, b)
}

impl StreamState {
    /// Makes this the stream of a child's pipe.
    pub(in crate::stream) fn set_child(&self, process: ProcessId, pipe: ChildPipe) {
        self.set_other_end(OtherEnd::Child(process, pipe));
    }

    fn set_other_end(&self, end: OtherEnd) {
        let _ = self.host.set(Address::Pipe);
        let set = self.other_end.set(Box::new(end));
        debug_assert!(set.is_ok(), "set once, by the function that makes the stream");
    }

    pub(in crate::stream::state) fn other_end(&self) -> Option<&OtherEnd> {
        self.other_end.get().map(Box::as_ref)
    }

    /// Carries a command out on a stream that is no connection. Does nothing on a connection.
    #[cold]
    pub(in crate::stream::state) fn issue_to_other_end(self: &Rc<StreamState>, command: Command) {
        match self.other_end() {
            Some(OtherEnd::Memory(memory)) => match command {
                Command::Write(data) => self.write_to_memory(memory, &data),
                command => self.apply_to_memory(memory, &command),
            },
            Some(OtherEnd::Child(..)) => {
                let mut command = Some(command);
                let done = self.try_with_child(|process, pipe| {
                    if let Some(command) = command.take() {
                        command.apply_to_child(process, pipe);
                    }
                });
                if let (Err(ReactorUnavailable::Elsewhere), Some(command)) = (done, command) {
                    self.defer(command);
                }
            }
            None => {}
        }
    }

    #[cold]
    pub(in crate::stream::state) fn write_to_other_end(self: &Rc<StreamState>, data: &[u8]) {
        match self.other_end() {
            Some(OtherEnd::Memory(memory)) => self.write_to_memory(memory, data),
            Some(OtherEnd::Child(..)) => {
                let written = self.try_with_child(|process, _| process.write(data));
                if let Err(ReactorUnavailable::Elsewhere) = written {
                    self.defer(Command::Write(data.to_vec()));
                }
            }
            None => {}
        }
    }

    /// Calls `call` with the child process, if the reactor is available. Deferred commands run
    /// first.
    pub(in crate::stream::state) fn try_with_child<R>(
        &self,
        call: impl FnOnce(&mut ProcessTransport<'_>, ChildPipe) -> R,
    ) -> Result<R, ReactorUnavailable> {
        let Some(OtherEnd::Child(id, pipe)) = self.other_end() else {
            return Err(ReactorUnavailable::Gone);
        };
        let reached = self.handle.try_with(|reactor| {
            self.run_deferred(reactor);
            reactor.process_transport(*id).map(|mut process| call(&mut process, *pipe))
        });
        reached.ok_or(ReactorUnavailable::Elsewhere)?.ok_or(ReactorUnavailable::Gone)
    }

    /// Runs deferred commands of a child's pipe. In-memory streams defer none.
    pub(in crate::stream::state) fn run_deferred_of_child(
        &self,
        reactor: &mut Reactor,
        deferred: Vec<Command>,
    ) {
        if let Some(OtherEnd::Child(id, pipe)) = self.other_end()
            && let Some(mut process) = reactor.process_transport(*id)
        {
            for command in deferred {
                command.apply_to_child(&mut process, *pipe);
            }
        }
    }

    // -- memory --

    pub(in crate::stream::state) fn memory(&self) -> Option<&Memory> {
        match self.other_end()? {
            OtherEnd::Memory(memory) => Some(memory),
            OtherEnd::Child(..) => None,
        }
    }

    fn write_to_memory(self: &Rc<StreamState>, memory: &Memory, data: &[u8]) {
        let peer = match memory.peer.upgrade().filter(|peer| peer.end.get().is_none()) {
            Some(peer) if self.end.get().is_none() => peer,
            _ => return self.ended(&lost("write", Errno::PIPE)),
        };
        // Not `unread`: the reader may collect a message that is longer than the capacity.
        if peer.input.borrow().len() > memory.capacity.saturating_add(memory.write_limit) {
            self.ended(&Reason::BufferLimit(memory.write_limit));
            peer.ended(&lost("read", Errno::CONNRESET));
            return;
        }
        if peer.add_received(data, memory.capacity) {
            self.set_write_paused(true);
        }
    }

    fn apply_to_memory(self: &Rc<StreamState>, memory: &Memory, command: &Command) {
        let peer = memory.peer.upgrade();
        match command {
            Command::Write(_) => {}
            Command::WriteEof | Command::Close => {
                memory.eof_sent.set(true);
                // After the end, nothing is left to wait for, though the reader is behind.
                self.set_write_paused(false);
                self.output_ended();
                let peer_ended = peer.as_ref().is_none_or(|peer| peer.has_sent_eof());
                if let Some(peer) = &peer {
                    peer.input_ended();
                    if peer_ended {
                        peer.ended(&Reason::Done);
                    }
                }
                if peer_ended || matches!(command, Command::Close) {
                    self.ended(&Reason::Done);
                    if let Some(peer) = &peer {
                        // What it writes from now on is reported as lost.
                        peer.set_write_paused(false);
                    }
                }
            }
            Command::Abort => {
                self.ended(&Reason::Aborted);
                if let Some(peer) = &peer {
                    peer.ended(&lost("read", Errno::CONNRESET));
                }
            }
            Command::Resume => {
                if let Some(peer) = &peer {
                    peer.set_write_paused(false);
                }
            }
            // Only connections have layers.
            Command::AddLayer(..) => {}
        }
    }

    fn has_sent_eof(&self) -> bool {
        let memory = self.memory();
        self.end.get().is_some() || memory.is_some_and(|memory| memory.eof_sent.get())
    }

    /// Adds output of a child and returns whether it should be paused.
    pub(in crate::stream) fn received_from_child(&self, data: &[u8]) -> bool {
        self.add_received(data, self.limit.get().saturating_mul(2))
    }

    /// Adds received data and returns whether the sender should pause.
    #[inline]
    pub(in crate::stream::state) fn add_received(&self, data: &[u8], pause_above: usize) -> bool {
        match self.incoming.get() {
            Incoming::Flows | Incoming::Paused => {}
            Incoming::Unwanted | Incoming::Ended | Incoming::Broken => return false,
        }
        let mut input = self.input.borrow_mut();
        input.append(data);
        drop(input);
        let unread = self.unread.get() + data.len();
        self.unread.set(unread);
        let pause = unread > pause_above;
        if pause {
            self.incoming.set(Incoming::Paused);
        }
        if self.reading.wake() && self.request.get() == Request::None {
            self.request.set(Request::InFlight);
        }
        pause
    }

    /// Whether all that was written before the end has arrived in memory.
    pub(in crate::stream::state) fn has_delivered(&self, reason: &Reason) -> bool {
        self.memory().is_some() && reason.is_clean() && self.outgoing.get() != Outgoing::Overrun
    }
}

impl Command {
    fn apply_to_child(self, process: &mut ProcessTransport<'_>, pipe: ChildPipe) {
        match (self, pipe) {
            (Command::Write(data), ChildPipe::Stdin) => process.write(&data),
            (Command::WriteEof | Command::Close | Command::Abort, ChildPipe::Stdin) => process.close_stdin(),
            (Command::Resume, ChildPipe::Stdout) => process.resume_stdout(),
            (Command::Resume, ChildPipe::Stderr) => process.resume_stderr(),
            // Output that is not wanted is discarded: SIGPIPE would end the process.
            (_, ChildPipe::Stdin | ChildPipe::Stdout | ChildPipe::Stderr) => {}
        }
    }
}

fn lost(call: &'static str, errno: Errno) -> Reason {
    let error = io::Error::from(errno);
    Reason::Lost(SystemError { call, kind: error.kind(), code: error.raw_os_error() })
}
