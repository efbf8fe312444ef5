//! The traits that users implement: protocols, factories and producers.

pub(in crate::reactor) mod build_context;
mod factory;
mod guards;
mod producer;
mod shared;

use std::any::{Any, TypeId};
use std::os::fd::OwnedFd;

pub use self::build_context::BuildContext;
pub use self::factory::{ClientFactory, Factory, OnFailure, factory};
pub use self::guards::ConnectionGuards;
pub use self::producer::{Producer, ProducerKind};
pub use self::shared::{Shared, shared};
use crate::reactor::{Reason, Transport};

/// The behaviour of one connection. (Twisted: `IProtocol`, `IHalfCloseableProtocol`.)
///
/// The calls for a connection are `connection_made` once, then any number of others, then
/// `connection_lost` once and last. No call comes from inside another callback, of any connection.
/// A panic ends only this connection, with [`Reason::Panicked`].
///
/// ```
/// use twistor::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
#[doc(alias("IProtocol", "IHalfCloseableProtocol", "BufferedProtocol"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol",
    label = "does not implement `Protocol`",
    note = "implement `Protocol` for it: `data_received` is the only method without a default",
    note = "a handler of lines or strings is wrapped: `Lines::new(handler)`, `Strings::netstrings(handler)`"
)]
pub trait Protocol: Any {
    /// Called when the connection is made. Both addresses are known.
    #[doc(alias("connectionMade", "makeConnection"))]
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called with received bytes: at least one, at most a full read buffer, split at any point.
    /// The slice is empty if the protocol requested the call with
    /// [`Transport::schedule_data_received`].
    #[doc(alias = "dataReceived")]
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]);

    /// Called when a descriptor arrives over a UNIX socket, after
    /// [`Transport::receive_descriptors`]. By default it is closed. (Twisted:
    /// `fileDescriptorReceived`.)
    ///
    /// The byte that carried the descriptor is in the next `data_received`. The kernel may have put
    /// earlier bytes before it.
    #[doc(alias("fileDescriptorReceived", "IFileDescriptorReceiver"))]
    fn descriptor_received(&mut self, transport: &mut Transport<'_>, descriptor: OwnedFd) {
        let _ = (transport, descriptor);
    }

    /// Called when descriptors arrived while the process had reached its limit. The kernel has
    /// closed one or more of them: the last of those sent with the bytes of the next
    /// `data_received`.
    ///
    /// By default, all buffered data is sent and the connection closed, because the next descriptor
    /// could be mistaken for the missing one. All received bytes are still delivered, even after a
    /// `lose_connection` in this call. The event is always logged and counted
    /// ([`Statistics::descriptors_lost`](crate::reactor::Statistics::descriptors_lost)).
    fn descriptors_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Called when the peer has sent FIN. No more data arrives, but writing is still possible. By
    /// default all buffered data is sent and the connection closed. (Twisted: without
    /// `IHalfCloseableProtocol`, unsent data is discarded.)
    #[doc(alias("readConnectionLost", "eof_received"))]
    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Called when FIN was sent after `lose_write_connection`.
    #[doc(alias = "writeConnectionLost")]
    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when a layer that was added to the connection by
    /// [`Transport::add_layer`](crate::Transport::add_layer) is ready, and all others are: a TLS
    /// handshake is completed. It comes before data that passed through the layer. On a connection
    /// whose layers were there from the start, `connection_made` says the same. (Twisted:
    /// `IHandshakeListener.handshakeCompleted`.)
    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when unsent bytes exceed the high-water mark. The protocol should stop writing until
    /// `resume_writing`. Comes once per crossing.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called when unsent bytes have fallen to the low-water mark.
    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// Called once when the reactor stops gracefully
    /// ([`Reactor::stop_gracefully`](crate::Reactor::stop_gracefully), SIGINT, SIGTERM). The
    /// protocol should finish its work and close the connection, now or later. (Go:
    /// `http.Server.Shutdown`; hyper: `graceful_shutdown`.)
    ///
    /// By default the connection is closed at once: unsent output is sent, and a registered
    /// producer finishes. That is right for an idle connection. The reactor cannot know whether an
    /// answer is still to come, so a protocol that answers later overrides this method:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Answers each request after 300 ms.
    /// #[derive(Default)]
    /// struct Slow {
    ///     in_flight: usize,
    ///     draining: bool,
    /// }
    ///
    /// impl Slow {
    ///     fn close_if_done(&self, transport: &mut Transport<'_>) {
    ///         if self.draining && self.in_flight == 0 {
    ///             transport.lose_connection();
    ///         }
    ///     }
    /// }
    ///
    /// impl Protocol for Slow {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
    ///         self.in_flight += 1;
    ///         transport.call_later(Duration::from_millis(300), |slow: &mut Slow, transport| {
    ///             transport.write(b"done\n");
    ///             slow.in_flight -= 1;
    ///             slow.close_if_done(transport);
    ///         });
    ///     }
    ///
    ///     fn drain(&mut self, transport: &mut Transport<'_>) {
    ///         self.draining = true;
    ///         self.close_if_done(transport);
    ///     }
    /// }
    /// ```
    ///
    /// In a graceful stop of the reactor, input is still delivered, and timers and tasks run, but
    /// nothing new can be connected or listened to. A connection that is still open after
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) is lost with
    /// [`Reason::Stopped`].
    ///
    /// [`Transport::drain`] and the stop of a
    /// [`StreamServerService`](crate::service::StreamServerService) with a limit call it too. The
    /// method is not called
    /// - on a plain [`Reactor::stop`](crate::Reactor::stop),
    /// - for a connection that is closing already,
    /// - for a connection whose layers are not ready, which is closed at once.
    fn drain(&mut self, transport: &mut Transport<'_>) {
        transport.lose_connection();
    }

    /// Called when the connection is gone. Later writes are ignored. The addresses are still
    /// available.
    #[doc(alias = "connectionLost")]
    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let _ = (transport, reason);
    }

    /// Returns the wrapped protocol or handler, for a protocol that wraps one. With it,
    /// [`Reactor::with_protocol`](crate::Reactor::with_protocol) and [`Transport::call_later`] find
    /// it by its type.
    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let _ = want;
        None
    }
}

/// The protocol itself or the one it wraps, as a `P`.
pub(in crate::reactor) fn find<P: 'static>(protocol: &mut dyn Protocol) -> Option<&mut P> {
    let outer: &dyn Any = protocol;
    if outer.is::<P>() {
        let outer: &mut dyn Any = protocol;
        return outer.downcast_mut();
    }
    protocol.downcast_inner(TypeId::of::<P>())?.downcast_mut()
}
