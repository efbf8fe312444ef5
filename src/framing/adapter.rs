//! What all framings have in common as protocols: what came and waits, and the callbacks that are handed on.

use crate::Transport;
use crate::reactor::Delivery;

/// A codec that stands between a connection and its handler.
pub(super) trait Adapter {
    /// Hands frames to the handler while there are any, and while they may be delivered; returns what of the input is left. What the
    /// handler puts behind it goes to [`held`](Adapter::held), which is empty when this is called, and ends the pass.
    fn pass<'i>(&mut self, transport: &mut Transport<'_>, input: &'i [u8]) -> &'i [u8];

    /// What waits.
    fn held(&mut self) -> &mut Held;
}

/// Bytes came, or it is time for those that wait.
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
        match transport.delivery() {
            Delivery::GoesOn => {}
            Delivery::Held => return transport.schedule_data_received(),
            // It stays where it is; the handler can have it still.
            Delivery::Over => return,
        }
        let mut held = std::mem::take(adapter.held());
        let left = adapter.pass(transport, held.rest()).len();
        held.keep_last(left);
        held.append(adapter.held().rest());
        *adapter.held() = held;
    }
}

/// After a callback that brought no bytes: what the handler has put back is delivered from the loop.
#[inline]
pub(super) fn settle(adapter: &mut impl Adapter, transport: &mut Transport<'_>) {
    if !adapter.held().is_empty() {
        transport.schedule_data_received();
    }
}

/// Bytes that came and were not looked at, because delivery stopped.
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
            // No more is moved than has been delivered.
            self.bytes.drain(..std::mem::take(&mut self.start));
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn put_before(&mut self, bytes: &[u8]) {
        self.bytes.splice(..std::mem::take(&mut self.start), bytes.iter().copied());
    }

    /// Moves all of it to the end of `all`.
    pub(super) fn move_to(&mut self, all: &mut Vec<u8>) {
        all.extend_from_slice(self.rest());
        *self = Held::default();
    }

    /// The last so many wait still.
    fn keep_last(&mut self, count: usize) {
        match count {
            0 => *self = Held::default(),
            _ => self.start = self.bytes.len().saturating_sub(count),
        }
    }
}

/// The callbacks of a protocol as a handler has them, to stand in its trait.
macro_rules! callbacks {
    ($transport:ident) => {
        /// The connection is made; both addresses are known.
        fn connection_made(&mut self, transport: &mut $transport<'_>) {
            let _ = transport;
        }

        /// A descriptor came over a UNIX socket; see [`Protocol::descriptor_received`](crate::Protocol::descriptor_received).
        fn descriptor_received(&mut self, transport: &mut $transport<'_>, descriptor: std::os::fd::OwnedFd) {
            let _ = (transport, descriptor);
        }

        /// The peer sent FIN, after all that was delivered. By default the connection is closed.
        fn read_connection_lost(&mut self, transport: &mut $transport<'_>) {
            transport.lose_connection();
        }

        /// Our FIN was sent.
        fn write_connection_lost(&mut self, transport: &mut $transport<'_>) {
            let _ = transport;
        }

        /// More unsent bytes than the high-water mark wait.
        fn pause_writing(&mut self, transport: &mut $transport<'_>) {
            let _ = transport;
        }

        /// The unsent bytes came down to the low-water mark.
        fn resume_writing(&mut self, transport: &mut $transport<'_>) {
            let _ = transport;
        }

        /// The connection is gone, and so is what had not been delivered.
        fn connection_lost(&mut self, transport: &mut $transport<'_>, reason: &crate::Reason) {
            let _ = (transport, reason);
        }

        /// For a handler that wraps another; see [`Protocol::downcast_inner`](crate::Protocol::downcast_inner).
        fn downcast_inner(&mut self, want: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
            let _ = want;
            None
        }
    };
}

/// Makes an adapter the protocol of its handler. It has a field `handler`, and a function `split` that makes
/// the handler's transport.
macro_rules! protocol {
    ($adapter:ident, $receiver:ident, $transport:ident) => {
        impl<H: $receiver> $adapter<H> {
            /// The handler.
            pub fn handler(&self) -> &H {
                &self.handler
            }

            /// The handler.
            pub fn handler_mut(&mut self) -> &mut H {
                &mut self.handler
            }

            /// Calls the handler with its transport, of somebody who has but the connection's:
            /// [`Reactor::with_protocol`](crate::Reactor::with_protocol) finds this type as well as the handler's.
            pub fn with<R>(
                &mut self,
                transport: &mut crate::Transport<'_>,
                call: impl FnOnce(&mut H, &mut $transport<'_>) -> R,
            ) -> R {
                let (handler, mut of_handler) = self.split(transport);
                let result = call(handler, &mut of_handler);
                super::adapter::settle(self, transport);
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
                self.with(transport, |handler, transport| handler.read_connection_lost(transport));
            }

            fn write_connection_lost(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.write_connection_lost(transport));
            }

            fn pause_writing(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.pause_writing(transport));
            }

            fn resume_writing(&mut self, transport: &mut crate::Transport<'_>) {
                self.with(transport, |handler, transport| handler.resume_writing(transport));
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
            /// As [`Transport::call_later`](crate::Transport::call_later), with the handler and its transport.
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
