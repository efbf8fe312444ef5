//! What is done with a stream's connection: now, where the reactor can be reached, and else when it can.

use std::rc::Rc;

use crate::reactor::Runnable;
use crate::stream::state::StreamState;
use crate::{ConnectionId, Error, Reactor, Transport};

/// Something to do with the connection.
pub(in crate::stream::state) enum Command {
    Write(Vec<u8>),
    WriteEof,
    Close,
    Abort,
    Resume,
}

/// Why nothing was done with the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum ReactorUnavailable {
    /// There is none, or none any more.
    Gone,
    /// No task is polled here, or somebody has the reactor already.
    Elsewhere,
}

impl From<ReactorUnavailable> for Error {
    fn from(unreached: ReactorUnavailable) -> Error {
        match unreached {
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
        }
    }
}

impl StreamState {
    /// Does something with the connection now, if the reactor can be reached; what was put off goes before it.
    pub(in crate::stream) fn try_with<R>(
        &self,
        call: impl FnOnce(&mut Transport<'_>) -> R,
    ) -> Result<R, ReactorUnavailable> {
        let call =
            |reactor: &mut Reactor, id| reactor.transport(id).map(|mut transport| call(&mut transport));
        self.reach_reactor(call)?.ok_or(ReactorUnavailable::Gone)
    }

    /// The same for calls that do not mind whether the connection is there.
    #[inline]
    pub(in crate::stream::state) fn reach_reactor<R>(
        &self,
        call: impl FnOnce(&mut Reactor, ConnectionId) -> R,
    ) -> Result<R, ReactorUnavailable> {
        let Some(id) = self.id.get() else { return Err(ReactorUnavailable::Gone) };
        let reached = self.handle.try_with(|reactor| {
            if !self.late.borrow().is_empty() {
                self.catch_up(reactor);
            }
            call(reactor, id)
        });
        reached.ok_or(ReactorUnavailable::Elsewhere)
    }

    pub(in crate::stream::state) fn act(self: &Rc<StreamState>, act: Command) {
        let mut act = Some(act);
        let done = self.try_with(|transport| {
            if let Some(act) = act.take() {
                act.apply(transport);
            }
        });
        if let (Err(ReactorUnavailable::Elsewhere), Some(act)) = (done, act) {
            self.put_off(act);
        }
    }

    #[cold]
    pub(in crate::stream::state) fn put_off(self: &Rc<StreamState>, act: Command) {
        if self.end().is_some() {
            return;
        }
        self.late.borrow_mut().push(act);
        if self.late.borrow().len() == 1 {
            self.handle.queue(Rc::<StreamState>::clone(self));
        }
    }

    #[cold]
    fn catch_up(&self, reactor: &mut Reactor) {
        let late = self.late.take();
        if let Some(id) = self.id.get()
            && let Some(mut transport) = reactor.transport(id)
        {
            for act in late {
                act.apply(&mut transport);
            }
        }
    }
}

/// Does what was put off.
impl Runnable for StreamState {
    fn run(self: Rc<StreamState>, reactor: &mut Reactor) {
        self.catch_up(reactor);
    }
}
