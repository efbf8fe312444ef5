//! What is done with a stream's connection: now, where the reactor can be reached, and else when it can.

use std::rc::Rc;

use super::Link;
use crate::reactor::Run;
use crate::{ConnectionId, Error, Reactor, Transport};

/// Something to do with the connection.
pub(super) enum Act {
    Write(Vec<u8>),
    WriteEof,
    Close,
    Abort,
    Resume,
}

/// Why nothing was done with the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum Unreached {
    /// There is none, or none any more.
    Gone,
    /// No task is polled here, or somebody has the reactor already.
    Elsewhere,
}

impl From<Unreached> for Error {
    fn from(unreached: Unreached) -> Error {
        match unreached {
            Unreached::Gone => Error::NotConnected,
            Unreached::Elsewhere => Error::ReactorUnavailable,
        }
    }
}

impl Act {
    fn apply(self, transport: &mut Transport<'_>) {
        match self {
            Act::Write(data) => transport.write(&data),
            Act::WriteEof => transport.lose_write_connection(),
            Act::Close => transport.lose_connection(),
            Act::Abort => transport.abort_connection(),
            Act::Resume => transport.resume_reading(),
        }
    }
}

impl Link {
    /// Does something with the connection now, if the reactor can be reached; what was put off goes before it.
    pub(in crate::stream) fn reach<R>(
        &self,
        call: impl FnOnce(&mut Transport<'_>) -> R,
    ) -> Result<R, Unreached> {
        let call =
            |reactor: &mut Reactor, id| reactor.transport(id).map(|mut transport| call(&mut transport));
        self.reach_reactor(call)?.ok_or(Unreached::Gone)
    }

    /// The same for calls that do not mind whether the connection is there.
    #[inline]
    pub(super) fn reach_reactor<R>(
        &self,
        call: impl FnOnce(&mut Reactor, ConnectionId) -> R,
    ) -> Result<R, Unreached> {
        let Some(id) = self.id.get() else { return Err(Unreached::Gone) };
        let reached = self.handle.reach(|reactor| {
            if !self.late.borrow().is_empty() {
                self.catch_up(reactor);
            }
            call(reactor, id)
        });
        reached.ok_or(Unreached::Elsewhere)
    }

    pub(super) fn act(self: &Rc<Link>, act: Act) {
        let mut act = Some(act);
        let done = self.reach(|transport| {
            if let Some(act) = act.take() {
                act.apply(transport);
            }
        });
        if let (Err(Unreached::Elsewhere), Some(act)) = (done, act) {
            self.put_off(act);
        }
    }

    #[cold]
    pub(super) fn put_off(self: &Rc<Link>, act: Act) {
        if self.end().is_some() {
            return;
        }
        self.late.borrow_mut().push(act);
        if self.late.borrow().len() == 1 {
            self.handle.queue(Rc::<Link>::clone(self));
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
impl Run for Link {
    fn run(self: Rc<Link>, reactor: &mut Reactor) {
        self.catch_up(reactor);
    }
}
