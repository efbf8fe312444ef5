//! Watched descriptors: foreign descriptors whose readiness the loop reports.

pub(in crate::reactor) mod transport;

use std::any::Any;
use std::os::fd::OwnedFd;

use crate::net::{Close, Readiness, Token};
use crate::reactor::descriptor::transport::{FdId, FdTransport};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{CallbackKind, Error, Reactor, Reason, Result};

/// The callbacks of a watched descriptor. (Twisted: `IReadDescriptor`, `IWriteDescriptor`.)
///
/// For one descriptor, `do_read` and `do_write` are called any number of times, then
/// `connection_lost` once and last. No callback is called from inside another one. A panic ends the
/// watch with [`Reason::Panicked`].
///
/// # Draining readiness
///
/// Readiness is edge-triggered. A callback comes when the descriptor becomes ready, and once at the
/// beginning if it is ready then. Read or write until the system call fails with
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock), or request another call with
/// [`FdTransport::schedule`]. Otherwise no event reports the bytes that were left.
///
/// # Spurious events
///
/// A callback can come although the system call would block. An error, or a peer that is gone, is
/// reported as ready; the system call then returns it. So the descriptor should be non-blocking.
/// The reactor does not make it so, because the flag is shared with other owners, such as the
/// processes on the same terminal.
pub trait FdProtocol: Any {
    /// Called when the descriptor may be read. Default: does nothing. (Twisted: `doRead`.)
    fn do_read(&mut self, transport: &mut FdTransport<'_>) {
        let _ = transport;
    }

    /// Called when the descriptor may be written. Default: does nothing. (Twisted: `doWrite`.)
    fn do_write(&mut self, transport: &mut FdTransport<'_>) {
        let _ = transport;
    }

    /// Called when the watch has ended and the reactor has closed its descriptor. The reason is
    /// - [`Reason::Done`] after [`FdTransport::stop_watching`],
    /// - [`Reason::Released`] after [`FdTransport::detach`],
    /// - [`Reason::Panicked`] after a panic,
    /// - [`Reason::Stopped`] when the reactor stops.
    ///
    /// (Twisted: `connectionLost`.)
    fn connection_lost(&mut self, reactor: &mut Reactor, reason: &Reason) {
        let _ = (reactor, reason);
    }
}

/// The readiness for which a descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FdInterest {
    /// Calls [`FdProtocol::do_read`].
    Readable,
    /// Calls [`FdProtocol::do_write`].
    Writable,
    /// Calls both.
    Both,
}

impl FdInterest {
    pub(in crate::reactor) fn readiness(self) -> Readiness {
        Readiness::of(self != FdInterest::Writable, self != FdInterest::Readable)
    }
}

/// State of a watched descriptor.
pub(in crate::reactor) struct FdSlot {
    /// `None` while one of its callbacks runs.
    protocol: Option<Box<dyn FdProtocol>>,
    interest: FdInterest,
    /// Calls of the next turn without an event; one is queued if any.
    scheduled: Readiness,
    /// The descriptor is closed, and `connection_lost` is queued or runs.
    stopped: bool,
}

impl FdSlot {
    pub(in crate::reactor) fn interest(&self) -> FdInterest {
        self.interest
    }

    /// Schedules calls. Returns whether they have to be queued.
    pub(in crate::reactor) fn schedule(&mut self, calls: Readiness) -> bool {
        let queued = self.scheduled != Readiness::default();
        self.scheduled.insert(calls);
        !queued
    }
}

impl Reactor {
    /// Watches a descriptor of other code: a timer, an inotify, a device, a pipe, the socket of a C
    /// library. The reactor owns the descriptor and closes it at the end of the watch. Nothing is
    /// called before this returns. (Twisted: `addReader`, `addWriter`.)
    ///
    /// Other code that needs the descriptor keeps a duplicate
    /// ([`try_clone_to_owned`](std::os::fd::BorrowedFd::try_clone_to_owned)). Closing that does not
    /// end the watch. For tasks, see [`stream::AsyncFd`](crate::stream::AsyncFd).
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// use twistor::{FdInterest, FdProtocol, FdTransport, Reactor};
    ///
    /// /// Prints what arrives in a pipe.
    /// struct Printer(std::io::PipeReader);
    ///
    /// impl FdProtocol for Printer {
    ///     fn do_read(&mut self, transport: &mut FdTransport<'_>) {
    ///         let mut buffer = [0; 1024];
    ///         loop {
    ///             match self.0.read(&mut buffer) {
    ///                 Ok(0) => {
    ///                     transport.stop_watching();
    ///                     transport.reactor().stop();
    ///                     return;
    ///                 }
    ///                 Ok(count) => println!("{}", String::from_utf8_lossy(&buffer[..count])),
    ///                 Err(error) if error.kind() == ErrorKind::WouldBlock => return,
    ///                 Err(_) => return transport.stop_watching(),
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// let (reader, mut writer) = std::io::pipe()?;
    /// rustix::io::ioctl_fionbio(&reader, true)?;
    /// let mut reactor = Reactor::new()?;
    /// reactor.watch_fd(reader.try_clone()?, FdInterest::Readable, Printer(reader))?;
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// reactor.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The descriptor is closed.
    /// - [`Error::System`]: the descriptor cannot be watched. Regular files, directories and
    ///   `/dev/null` are always ready (EPERM); read them in a [thread](Reactor::call_in_thread). A
    ///   simulated network has no descriptors.
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`]
    pub fn watch_fd(
        &mut self,
        descriptor: impl Into<OwnedFd>,
        interest: FdInterest,
        protocol: impl FdProtocol,
    ) -> Result<FdId> {
        self.check_not_stopping()?;
        let slot = FdSlot {
            protocol: Some(Box::new(protocol)),
            interest,
            scheduled: Readiness::default(),
            stopped: false,
        };
        let token = self.registry.insert(Source::Descriptor(Box::new(slot)));
        match self.net.watch(token, descriptor.into(), interest.readiness()) {
            Ok(()) => Ok(FdId(token)),
            Err(source) => {
                if let Some(slot) = self.registry.remove(token) {
                    self.call(CallbackKind::Drop, |_| drop(slot));
                }
                Err(Error::System { call: "epoll_ctl", source })
            }
        }
    }

    /// The transport of a watched descriptor; `None` when the watch has ended.
    pub fn fd_transport(&mut self, id: FdId) -> Option<FdTransport<'_>> {
        self.registry.descriptor_mut(id.0).filter(|slot| !slot.stopped)?;
        Some(FdTransport { reactor: self, token: id.0 })
    }

    /// Makes the scheduled calls of a watched descriptor.
    pub(in crate::reactor) fn descriptor_scheduled(&mut self, token: Token) {
        if let Some(slot) = self.registry.descriptor_mut(token) {
            let calls = std::mem::take(&mut slot.scheduled);
            self.descriptor_ready(token, calls);
        }
    }

    /// Handles readiness of a watched descriptor.
    pub(in crate::reactor) fn descriptor_ready(&mut self, token: Token, ready: Readiness) {
        let Some(slot) = self.registry.descriptor_mut(token) else { return };
        let ready = ready.and(slot.interest.readiness());
        if ready.has(Readiness::READABLE) {
            self.call_descriptor(token, CallbackKind::DoRead, |protocol, transport| {
                protocol.do_read(transport);
            });
        }
        if ready.has(Readiness::WRITABLE) {
            self.call_descriptor(token, CallbackKind::DoWrite, |protocol, transport| {
                protocol.do_write(transport);
            });
        }
    }

    /// Calls a protocol, which is out of its slot meanwhile.
    fn call_descriptor(
        &mut self,
        token: Token,
        kind: CallbackKind,
        call: impl FnOnce(&mut dyn FdProtocol, &mut FdTransport<'_>),
    ) {
        let Some(slot) = self.registry.descriptor_mut(token) else { return };
        if slot.stopped {
            return;
        }
        let Some(mut protocol) = slot.protocol.take() else { return };
        let called = self.run_user_code(kind, None, |reactor| {
            call(&mut *protocol, &mut FdTransport { reactor, token });
        });
        // Only the loop frees slots, so the slot still exists.
        if let Some(slot) = self.registry.descriptor_mut(token) {
            slot.protocol = Some(protocol);
        }
        if let Err(panic) = called {
            self.stop_descriptor(token, Reason::Panicked(panic));
        }
    }

    /// Closes a descriptor and queues `connection_lost`.
    pub(in crate::reactor) fn stop_descriptor(&mut self, token: Token, reason: Reason) {
        let Some(slot) = self.registry.descriptor_mut(token) else { return };
        if std::mem::replace(&mut slot.stopped, true) {
            return;
        }
        self.net.close(token, Close::Graceful);
        self.queues.callbacks.push(Callback::DescriptorLost(token, reason));
    }

    /// Reports the end of a watch to the protocol, and frees the slot.
    pub(in crate::reactor) fn descriptor_lost(&mut self, token: Token, reason: &Reason) {
        let protocol = self.registry.descriptor_mut(token).and_then(|slot| slot.protocol.take());
        if let Some(mut protocol) = protocol {
            self.call(CallbackKind::ConnectionLost, |reactor| protocol.connection_lost(reactor, reason));
            self.call(CallbackKind::Drop, |_| drop(protocol));
        }
        self.registry.remove(token);
    }
}
