//! Calls on a stream's connection. They run at once if the reactor is available, otherwise from the
//! loop.

use std::rc::Rc;

use crate::reactor::Runnable;
use crate::stream::state::StreamState;
use crate::{ConnectionId, Error, Layer, Reactor, Transport};

/// A command for the connection.
pub(in crate::stream::state) enum Command {
    Write(Vec<u8>),
    WriteEof,
    Close,
    Abort,
    Resume,
    /// The layer, and unread input that belongs to it.
    AddLayer(Box<dyn Layer>, Vec<u8>),
}

/// The reason why a call on the connection failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum ReactorUnavailable {
    /// The connection is not made yet, or has ended.
    Gone,
    /// No task is being polled on this thread, or the reactor is already borrowed.
    Elsewhere,
}

impl From<ReactorUnavailable> for Error {
    fn from(error: ReactorUnavailable) -> Error {
        match error {
            ReactorUnavailable::Gone => Error::NotConnected,
            ReactorUnavailable::Elsewhere => Error::ReactorUnavailable,
        }
    }
}

impl Command {
    fn apply(self, transport: &mut Transport<'_>) {
        match self {
            Command::Write(data) => transport.write(&data),
            Command::WriteEof => transport.lose_write_connection(),
            Command::Close => transport.lose_connection(),
            Command::Abort => transport.abort_connection(),
            Command::Resume => transport.resume_reading(),
            Command::AddLayer(layer, unread) => {
                transport.add_layer(layer);
                transport.unread(&unread);
            }
        }
    }
}

impl StreamState {
    /// Calls `call` with the connection's transport, if the reactor is available. Deferred commands
    /// run first.
    pub(in crate::stream) fn try_with<R>(
        &self,
        call: impl FnOnce(&mut Transport<'_>) -> R,
    ) -> Result<R, ReactorUnavailable> {
        let call =
            |reactor: &mut Reactor, id| reactor.transport(id).map(|mut transport| call(&mut transport));
        self.try_with_reactor(call)?.ok_or(ReactorUnavailable::Gone)
    }

    /// Same as [`try_with`](StreamState::try_with), with the reactor itself. The connection need
    /// not exist.
    #[inline]
    pub(in crate::stream::state) fn try_with_reactor<R>(
        &self,
        call: impl FnOnce(&mut Reactor, ConnectionId) -> R,
    ) -> Result<R, ReactorUnavailable> {
        let Some(id) = self.id.get() else { return Err(ReactorUnavailable::Gone) };
        let reached = self.handle.try_with(|reactor| {
            if !self.deferred.borrow().is_empty() {
                self.run_deferred(reactor);
            }
            call(reactor, id)
        });
        reached.ok_or(ReactorUnavailable::Elsewhere)
    }

    pub(in crate::stream::state) fn issue(self: &Rc<StreamState>, command: Command) {
        let mut command = Some(command);
        let done = self.try_with(|transport| {
            if let Some(command) = command.take() {
                command.apply(transport);
            }
        });
        match (done, command) {
            (Err(ReactorUnavailable::Elsewhere), Some(command)) => self.defer(command),
            (Err(ReactorUnavailable::Gone), Some(command)) => self.issue_to_other_end(command),
            _ => {}
        }
    }

    #[cold]
    pub(in crate::stream::state) fn defer(self: &Rc<StreamState>, command: Command) {
        if self.end().is_some() {
            return;
        }
        self.deferred.borrow_mut().push(command);
        if self.deferred.borrow().len() == 1 {
            self.handle.queue(Rc::<StreamState>::clone(self));
        }
    }

    #[cold]
    pub(in crate::stream::state) fn run_deferred(&self, reactor: &mut Reactor) {
        let deferred = self.deferred.take();
        if self.other_end.get().is_some() {
            self.run_deferred_of_child(reactor, deferred);
        } else if let Some(id) = self.id.get()
            && let Some(mut transport) = reactor.transport(id)
        {
            for command in deferred {
                command.apply(&mut transport);
            }
        }
    }
}

/// Runs the deferred commands.
impl Runnable for StreamState {
    fn run(self: Rc<StreamState>, reactor: &mut Reactor) {
        self.run_deferred(reactor);
    }
}
