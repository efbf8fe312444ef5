//! Code shared by all framing protocols: buffering of held data, and forwarding of callbacks.

use crate::Transport;
use crate::reactor::ReadState;

/// A codec between a connection and its handler.
pub(super) trait Adapter {
    /// Delivers frames to the handler while there are any and delivery is allowed. Returns the
    /// undelivered part of `input`. Data that the handler puts back is appended to
    /// [`held`](Adapter::held) and ends the pass. `held` is empty when this is called.
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, input: &'i [u8]) -> &'i [u8];

    /// The held data.
    fn held(&mut self) -> &mut Held;

    /// Called at the end of the input, when all data before it was passed. Delivers the last
    /// frames. Returns whether to call the handler's `read_connection_lost` now.
    #[inline]
    fn finish(&mut self, transport: &mut Transport<'_>) -> bool {
        let _ = transport;
        true
    }
}

/// Called when data arrives, or from the loop when held data is due.
#[inline]
pub(super) fn receive(adapter: &mut impl Adapter, transport: &mut Transport<'_>, data: &[u8]) {
    if adapter.held().is_empty() {
        let left = adapter.pass(transport, data);
        if left.is_empty() && adapter.held().is_empty() {
            return;
        }
        adapter.held().put_before(left);
    } else {
        adapter.held().append(data);
    }
    receive_held(adapter, transport);
}

#[cold]
#[inline(never)]
fn receive_held(adapter: &mut impl Adapter, transport: &mut Transport<'_>) {
    while !adapter.held().is_empty() {
        match transport.read_state() {
            ReadState::Reading => {}
            ReadState::Paused => return transport.schedule_data_received(),
            ReadState::LayerAdded => return give_to_layer(adapter, transport),
            // Keep the data: the handler can still take it.
            ReadState::Closed => return,
        }
        let mut held = std::mem::take(adapter.held());
        let left = adapter.pass(transport, held.rest()).len();
        held.keep_last(left);
        held.append(adapter.held().rest());
        *adapter.held() = held;
    }
}

/// Called after a callback without data. Schedules the delivery of data that the handler put back.
#[inline]
pub(super) fn schedule_held(adapter: &mut impl Adapter, transport: &mut Transport<'_>) {
    if adapter.held().is_empty() {
        return;
    }
    match transport.read_state() {
        ReadState::LayerAdded => give_to_layer(adapter, transport),
        _ => transport.schedule_data_received(),
    }
}

/// Makes held data the first input of a layer that the handler has added: the peer sent it to the
/// layer, and a handler that got it would take plain text for data that the layer has checked.
#[cold]
fn give_to_layer(adapter: &mut impl Adapter, transport: &mut Transport<'_>) {
    let held = std::mem::take(adapter.held());
    transport.unread(held.rest());
}

/// Received bytes that were not processed because delivery stopped.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    start: usize,
}

impl Held {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            // Amortized: at most as many bytes are moved as were delivered.
            self.bytes.drain(..std::mem::take(&mut self.start));
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn put_before(&mut self, bytes: &[u8]) {
        self.bytes.splice(..std::mem::take(&mut self.start), bytes.iter().copied());
    }

    /// Moves the contents to the end of `all`.
    pub(super) fn move_to(&mut self, all: &mut Vec<u8>) {
        all.extend_from_slice(self.rest());
        *self = Held::default();
    }

    /// Keeps only the last `count` bytes.
    fn keep_last(&mut self, count: usize) {
        match count {
            0 => *self = Held::default(),
            _ => self.start = self.bytes.len().saturating_sub(count),
        }
    }
}

/// Defines the forwarded callbacks in a handler trait.
macro_rules! callbacks {
    ($transport:ty) => {
        /// Called when the connection is made. Both addresses are known.
        fn connection_made(&mut self, transport: &mut $transport) {
            let _ = transport;
        }

        /// Called for a descriptor received over a UNIX socket. See
        /// [`Protocol::descriptor_received`](crate::Protocol::descriptor_received).
        fn descriptor_received(&mut self, transport: &mut $transport, descriptor: std::os::fd::OwnedFd) {
            let _ = (transport, descriptor);
        }

        /// Called when the peer has sent FIN and all data before it was delivered. Default: closes
        /// the connection.
        fn read_connection_lost(&mut self, transport: &mut $transport) {
            transport.lose_connection();
        }

        /// Called when our FIN was sent.
        fn write_connection_lost(&mut self, transport: &mut $transport) {
            let _ = transport;
        }

        /// Called when the layers of the connection are ready, after one was added. See
        /// [`Protocol::layers_ready`](crate::Protocol::layers_ready).
        fn layers_ready(&mut self, transport: &mut $transport) {
            let _ = transport;
        }

        /// Called when the unsent data exceeds the high-water mark.
        fn pause_writing(&mut self, transport: &mut $transport) {
            let _ = transport;
        }

        /// Called when the unsent data has fallen to the low-water mark.
        fn resume_writing(&mut self, transport: &mut $transport) {
            let _ = transport;
        }

        /// Called once when the reactor stops gracefully. The handler should finish its work and
        /// close the connection, now or later. See
        /// [`Protocol::drain`](crate::Protocol::drain). Default: closes the connection.
        fn drain(&mut self, transport: &mut $transport) {
            transport.lose_connection();
        }

        /// Called when the connection has ended. Undelivered data is lost, unless it is taken here.
        fn connection_lost(&mut self, transport: &mut $transport, reason: &crate::Reason) {
            let _ = (transport, reason);
        }

        /// Finds the handler that this handler wraps. See
        /// [`Protocol::downcast_inner`](crate::Protocol::downcast_inner).
        fn downcast_inner(&mut self, want: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
            let _ = want;
            None
        }
    };
}

/// Implements `Protocol` for an adapter. The adapter needs a field `handler` and a method `split`
/// that creates the handler's transport.
macro_rules! protocol {
    ($adapter:ident, $receiver:ident, $transport:ty) => {
        impl<H: $receiver> $adapter<H> {
            /// The handler.
            pub fn handler(&self) -> &H {
                &self.handler
            }

            /// The handler, mutable.
            pub fn handler_mut(&mut self) -> &mut H {
                &mut self.handler
            }

            /// Calls the handler with its own kind of transport, for callers that have a plain
            /// transport. [`Reactor::with_protocol`](crate::Reactor::with_protocol) finds this type
            /// and the handler's type.
            pub fn with<R>(
                &mut self,
                transport: &mut crate::Transport<'_>,
                call: impl FnOnce(&mut H, &mut $transport) -> R,
            ) -> R {
                let (handler, mut handler_transport) = self.split(transport);
                let result = call(handler, &mut handler_transport);
                super::adapter::schedule_held(self, transport);
                result
            }
        }

        impl<H: $receiver> crate::Protocol for $adapter<H> {
            fn connection_made(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.connection_made(transport));
            }

            fn data_received(&mut self, transport: &mut crate::Transport<'_>, data: &[u8]) {
                super::adapter::receive(self, transport, data);
            }

            fn descriptor_received(
                &mut self,
                transport: &mut crate::Transport<'_>,
                descriptor: std::os::fd::OwnedFd,
            ) {
                self.with(transport, |handler, transport| {
                    handler.descriptor_received(transport, descriptor);
                });
            }

            fn read_connection_lost(&mut self, transport: &mut crate::Transport<'_>) {
                if super::adapter::Adapter::finish(self, transport) {
                    self.with(transport, |handler, transport| handler.read_connection_lost(transport));
                }
            }

            fn write_connection_lost(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.write_connection_lost(transport));
            }

            fn layers_ready(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.layers_ready(transport));
            }

            fn pause_writing(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.pause_writing(transport));
            }

            fn resume_writing(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.resume_writing(transport));
            }

            fn drain(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.drain(transport));
            }

            fn connection_lost(&mut self, transport: &mut crate::Transport<'_>, reason: &crate::Reason) {
                self.with(transport, |handler, transport| handler.connection_lost(transport, reason));
            }

            fn downcast_inner(&mut self, want: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
                match want == std::any::TypeId::of::<H>() {
                    true => Some(&mut self.handler),
                    false => self.handler.downcast_inner(want),
                }
            }
        }
    };
}

/// Implements `Deref` to [`Transport`] and `call_later` for the transport of an adapter.
macro_rules! transport {
    ($adapter:ident, $receiver:ident, $transport:ident) => {
        impl<'a> std::ops::Deref for $transport<'a> {
            type Target = crate::Transport<'a>;

            fn deref(&self) -> &crate::Transport<'a> {
                &self.transport
            }
        }

        impl<'a> std::ops::DerefMut for $transport<'a> {
            fn deref_mut(&mut self) -> &mut crate::Transport<'a> {
                &mut self.transport
            }
        }

        impl $transport<'_> {
            /// Same as [`Transport::call_later`](crate::Transport::call_later), with the handler
            /// and its transport.
            pub fn call_later<H: $receiver>(
                &mut self,
                delay: std::time::Duration,
                call: impl FnOnce(&mut H, &mut $transport<'_>) + 'static,
            ) -> crate::DelayedCall {
                self.transport.call_later(delay, move |adapter: &mut $adapter<H>, transport| {
                    adapter.with(transport, call);
                })
            }
        }
    };
}

pub(super) use callbacks;
pub(super) use protocol;
pub(super) use transport;
