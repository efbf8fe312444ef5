//! The protocol of a connection that is used as a stream.

use std::rc::Rc;

use crate::stream::state::StreamState;
use crate::{Protocol, Reactor, Reason, Transport};

/// A protocol that passes its events to the stream state.
pub(super) struct Stream {
    link: Rc<StreamState>,
    /// Called once when the connection is made, on a server.
    on_connect: Option<Rc<dyn OnConnect>>,
    /// Whether the connection is served by a handler.
    serves: bool,
}

/// A callback for an established connection.
pub(super) trait OnConnect {
    fn begin(self: Rc<Self>, link: &Rc<StreamState>, reactor: &mut Reactor);
}

impl Stream {
    pub(super) fn new(link: Rc<StreamState>) -> Stream {
        Stream { link, on_connect: None, serves: false }
    }

    pub(super) fn with_on_connect(link: Rc<StreamState>, on_connect: Rc<dyn OnConnect>) -> Stream {
        Stream { link, on_connect: Some(on_connect), serves: true }
    }
}

impl Protocol for Stream {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.link.made(transport);
        if let Some(on_connect) = self.on_connect.take() {
            on_connect.begin(&self.link, transport.reactor());
        }
    }

    #[inline]
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.link.received(transport, data);
    }

    /// Keeps the connection open for writing. The halves decide when to close it.
    fn read_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.link.input_ended();
    }

    fn write_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.link.output_ended();
    }

    fn layers_ready(&mut self, _: &mut Transport<'_>) {
        self.link.layers_ready();
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.link.set_write_paused(true);
    }

    fn resume_writing(&mut self, _: &mut Transport<'_>) {
        self.link.set_write_paused(false);
    }

    /// A request in flight is answered first. Only a server's handler has requests.
    fn drain(&mut self, transport: &mut Transport<'_>) {
        match self.serves && self.link.drain() {
            true => {}
            false => transport.lose_connection(),
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.link.ended(reason);
    }
}

/// Reports that the reactor finished without calling `connection_lost`.
impl Drop for Stream {
    fn drop(&mut self) {
        self.link.ended(&Reason::Stopped);
    }
}
