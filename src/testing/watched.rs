//! A protocol that is watched: it is called as it would be, and kept when its connection is gone.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{ConnectionId, Protocol, Reason, Transport};

/// What is known of a watched protocol.
pub(super) struct Seen<P> {
    pub(super) connection: Cell<Option<ConnectionId>>,
    pub(super) lost: RefCell<Option<Reason>>,
    /// The connection was lost: its protocol has heard of it.
    pub(super) gone: Rc<Cell<bool>>,
    /// Once the connection is gone.
    pub(super) protocol: RefCell<Option<P>>,
}

pub(super) struct Watched<P> {
    /// Until this is dropped.
    protocol: Option<P>,
    seen: Rc<Seen<P>>,
}

impl<P: Protocol> Watched<P> {
    pub(super) fn new(protocol: P) -> (Watched<P>, Rc<Seen<P>>) {
        let seen = Rc::new(Seen {
            connection: Cell::new(None),
            lost: RefCell::new(None),
            gone: Rc::default(),
            protocol: RefCell::new(None),
        });
        (Watched { protocol: Some(protocol), seen: Rc::clone(&seen) }, seen)
    }

    fn call(&mut self, call: impl FnOnce(&mut P)) {
        if let Some(protocol) = &mut self.protocol {
            call(protocol);
        }
    }
}

impl<P: Protocol> Protocol for Watched<P> {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.seen.connection.set(Some(transport.id()));
        self.call(|protocol| protocol.connection_made(transport));
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.call(|protocol| protocol.data_received(transport, data));
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.read_connection_lost(transport));
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.write_connection_lost(transport));
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.pause_writing(transport));
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.resume_writing(transport));
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        *self.seen.lost.borrow_mut() = Some(reason.clone());
        self.seen.gone.set(true);
        self.call(|protocol| protocol.connection_lost(transport, reason));
    }

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let protocol = self.protocol.as_mut()?;
        if want == TypeId::of::<P>() { Some(protocol) } else { protocol.downcast_inner(want) }
    }
}

impl<P> Drop for Watched<P> {
    fn drop(&mut self) {
        *self.seen.protocol.borrow_mut() = self.protocol.take();
    }
}
