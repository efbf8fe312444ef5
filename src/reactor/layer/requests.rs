//! Requests of layers. They only fill the buffers between a layer and its neighbours, and set
//! flags; [`run`](super::run) acts on them.

use crate::net::{Instant, Token};
use crate::reactor::connection::{Connection, Pauses};
use crate::reactor::layer::LayerError;
use crate::reactor::layer::stack::{Ending, Eof, LayerSlot};
use crate::reactor::{Reactor, Reason, TimedCall};

impl Reactor {
    pub(in crate::reactor) fn place_mut(&mut self, token: Token, index: usize) -> Option<&mut LayerSlot> {
        self.registry.connection_mut(token)?.stage(index)
    }

    pub(in crate::reactor) fn deliver_above(&mut self, token: Token, index: usize, data: &[u8]) {
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return;
        };
        let waiting = match layers.stack.get_mut(index + 1) {
            Some(stage) => &mut stage.received,
            None => &mut layers.above,
        };
        waiting.push(data, &mut self.send.spare_buffers);
    }

    pub(in crate::reactor) fn deliver_eof_above(&mut self, token: Token, index: usize) {
        self.stop_relaying_up(token, index);
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return;
        };
        match layers.stack.get_mut(index + 1) {
            Some(stage) => stage.received.finish(),
            None => layers.above.finish(),
        }
    }

    pub(in crate::reactor) fn send_below(&mut self, token: Token, index: usize, data: &[u8]) {
        self.stop_relaying_down(token);
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return;
        };
        match index.checked_sub(1) {
            Some(below) => {
                if let Some(stage) = layers.stack.get_mut(below) {
                    stage.written.push(data, &mut self.send.spare_buffers);
                }
            }
            None if layers.output == Eof::Delivered => {}
            None => self.write_from_layers(token, data),
        }
    }

    pub(in crate::reactor) fn send_eof_below(&mut self, token: Token, index: usize) {
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return;
        };
        if layers.stack.get(index).is_none_or(|stage| stage.written.end != Eof::Delivered) {
            return;
        }
        match index.checked_sub(1) {
            Some(below) => {
                if let Some(stage) = layers.stack.get_mut(below) {
                    stage.written.finish();
                }
            }
            None => layers.output = Eof::Delivered,
        }
    }

    pub(in crate::reactor) fn set_layer_timer(&mut self, token: Token, index: usize, at: Instant) {
        let Some(earlier) = self.place_mut(token, index).map(|stage| stage.wake) else { return };
        if let Some(earlier) = earlier
            && self.timers.reset(earlier, at)
        {
            return;
        }
        let timer = self.timers.set(at, TimedCall::WakeLayer(token, index as u32));
        if let Some(stage) = self.place_mut(token, index) {
            stage.wake = Some(timer);
        }
    }

    pub(in crate::reactor) fn cancel_layer_timer(&mut self, token: Token, index: usize) {
        if let Some(timer) = self.place_mut(token, index).and_then(|stage| stage.wake.take()) {
            self.timers.cancel(timer);
        }
    }

    pub(in crate::reactor) fn pause_from_layer(&mut self, token: Token, index: usize, paused: bool) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let Some(layers) = connection.layers_mut() else { return };
        if let Some(stage) = layers.stack.get_mut(index) {
            stage.reading_paused = paused;
        }
        let any = layers.stack.iter().any(|stage| stage.reading_paused);
        connection.pauses.set(Pauses::LAYERS, any);
        if connection.wants_read() {
            // No edge reports data that is already there.
            self.schedule_resume(token);
        }
    }

    pub(in crate::reactor) fn end_from_layer(
        &mut self,
        token: Token,
        index: usize,
        error: LayerError,
        last_words: bool,
    ) {
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return;
        };
        layers.ending.get_or_insert(Ending { index, reason: Reason::Layer(error), last_words });
        // Later input is for nothing.
        self.pause_from_layer(token, index, true);
    }

    pub(in crate::reactor) fn close_from_layer(&mut self, token: Token, error: Option<LayerError>) {
        if let Some(error) = error
            && let Some(connection) = self.registry.connection_mut(token)
            && !connection.state.is_closing()
        {
            connection.cold().close_reason.get_or_insert(Reason::Layer(error));
        }
        self.lose_connection(token, None);
    }
}
