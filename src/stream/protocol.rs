//! The protocol of a connection that is read and written as a stream.

use std::rc::Rc;

use crate::stream::state::StreamState;
use crate::{Protocol, Reason, Transport};

/// It tells the link.
pub(super) struct Stream {
    link: Rc<StreamState>,
    /// Who takes it when it is made, on a server.
    begins: Option<Rc<dyn OnConnect>>,
}

/// Takes a connection that was made.
pub(super) trait OnConnect {
    fn begin(self: Rc<Self>, link: &Rc<StreamState>);
}

impl Stream {
    pub(super) fn new(link: Rc<StreamState>) -> Stream {
        Stream { link, begins: None }
    }

    pub(super) fn begun_by(link: Rc<StreamState>, begins: Rc<dyn OnConnect>) -> Stream {
        Stream { link, begins: Some(begins) }
    }
}

impl Protocol for Stream {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.link.made(transport);
        if let Some(begins) = self.begins.take() {
            begins.begin(&self.link);
        }
    }

    #[inline]
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.link.received(transport, data);
    }

    /// Writing goes on, until a half says otherwise.
    fn read_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.link.input_ended();
    }

    fn write_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.link.output_ended();
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.link.set_write_paused(true);
    }

    fn resume_writing(&mut self, _: &mut Transport<'_>) {
        self.link.set_write_paused(false);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.link.ended(reason);
    }
}

/// Nobody will tell any more: the reactor went without a word.
impl Drop for Stream {
    fn drop(&mut self) {
        self.link.ended(&Reason::Stopped);
    }
}
