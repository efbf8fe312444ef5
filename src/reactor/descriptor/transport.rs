//! The transport of a watched descriptor.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::net::Token;
use crate::reactor::descriptor::FdInterest;
use crate::reactor::registry::source_id;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Error, Reactor, Reason, Result};

source_id! {
    /// The ID of a watched descriptor. It can be stored, sent to other threads, and used after the
    /// watch has ended: it then names nothing.
    pub struct FdId;
}

/// A handle on a watched descriptor, passed to the callbacks of its
/// [`FdProtocol`](crate::FdProtocol). No method calls back into user code. After the end of the
/// watch, the methods do nothing.
pub struct FdTransport<'a> {
    pub(in crate::reactor) reactor: &'a mut Reactor,
    pub(in crate::reactor) token: Token,
}

impl FdTransport<'_> {
    /// The ID of the watch.
    pub fn id(&self) -> FdId {
        FdId(self.token)
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// The descriptor, for system calls. (Twisted: `fileno`.)
    ///
    /// # Errors
    /// [`Error::NotConnected`] when the watch has ended.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.reactor.net.watched_fd(self.token).map_err(|_| Error::NotConnected)
    }

    /// The readiness for which the descriptor is watched; `None` when the watch has ended.
    pub fn interest(&self) -> Option<FdInterest> {
        self.fd().ok()?;
        Some(self.reactor.registry.descriptor(self.token)?.interest())
    }

    /// Schedules one more call of `do_read`, `do_write` or both in the next turn, without an event.
    /// A callback that has not seen `WouldBlock`, because it limits its work, continues this way.
    /// The descriptor has to be non-blocking. Several requests in one turn are one call of each.
    pub fn schedule(&mut self, call: FdInterest) {
        let Some(slot) = self.reactor.registry.descriptor_mut(self.token) else { return };
        if slot.schedule(call.readiness()) {
            self.reactor.queues.callbacks.push(Callback::DescriptorReady(self.token));
        }
    }

    /// Ends the watch and closes the descriptor, unless it is open elsewhere. `connection_lost`
    /// follows. (Twisted: `removeReader`, `removeWriter`.)
    pub fn stop_watching(&mut self) {
        self.reactor.stop_descriptor(self.token, Reason::Done);
    }

    /// Ends the watch and returns the descriptor. `connection_lost` follows.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]: the watch has ended
    /// - [`Error::System`]: the descriptor cannot be duplicated; the watch continues
    pub fn detach(&mut self) -> Result<OwnedFd> {
        let descriptor = self.fd()?.try_clone_to_owned();
        let descriptor = descriptor.map_err(|source| Error::System { call: "fcntl", source })?;
        self.reactor.stop_descriptor(self.token, Reason::Released);
        Ok(descriptor)
    }
}
