//! A wrapper that records a protocol's connection, and keeps the protocol after the loss.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{ConnectionId, Protocol, Reason, Transport};

/// The record of a wrapped protocol.
pub(super) struct Record<P> {
    pub(super) connection: Cell<Option<ConnectionId>>,
    pub(super) lost: RefCell<Option<Reason>>,
    /// `connection_lost` was called.
    pub(super) gone: Rc<Cell<bool>>,
    /// The protocol, after its wrapper was dropped.
    pub(super) protocol: RefCell<Option<P>>,
}

pub(super) struct Watched<P> {
    /// `Some` until the wrapper is dropped.
    protocol: Option<P>,
    record: Rc<Record<P>>,
}

impl<P: Protocol> Watched<P> {
    pub(super) fn new(protocol: P) -> (Watched<P>, Rc<Record<P>>) {
        let record = Rc::new(Record {
            connection: Cell::new(None),
            lost: RefCell::new(None),
            gone: Rc::default(),
            protocol: RefCell::new(None),
        });
        (Watched { protocol: Some(protocol), record: Rc::clone(&record) }, record)
    }

    fn call(&mut self, call: impl FnOnce(&mut P)) {
        if let Some(protocol) = &mut self.protocol {
            call(protocol);
        }
    }
}

impl<P: Protocol> Protocol for Watched<P> {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.record.connection.set(Some(transport.id()));
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

    fn layers_ready(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.layers_ready(transport));
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.pause_writing(transport));
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.resume_writing(transport));
    }

    fn drain(&mut self, transport: &mut Transport<'_>) {
        self.call(|protocol| protocol.drain(transport));
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        *self.record.lost.borrow_mut() = Some(reason.clone());
        self.record.gone.set(true);
        self.call(|protocol| protocol.connection_lost(transport, reason));
    }

    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let protocol = self.protocol.as_mut()?;
        if want == TypeId::of::<P>() { Some(protocol) } else { protocol.downcast_inner(want) }
    }
}

impl<P> Drop for Watched<P> {
    fn drop(&mut self) {
        *self.record.protocol.borrow_mut() = self.protocol.take();
    }
}
