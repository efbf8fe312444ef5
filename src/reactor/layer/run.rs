//! Runs the layers of a connection, one call after the other, until no data is pending between
//! them.
//!
//! Requests of a layer only fill the buffers between it and its neighbours.
//! [`Reactor::run_layers`] empties them from the loop, one call of user code at a time. A
//! connection without layers has no such state: its protocol is in its own slot, which the path of
//! a message checks first.

use crate::net::Token;
use crate::reactor::connection::{Action, Connection, Event, Pauses, State};
use crate::reactor::layer::stack::{Ending, Eof, LayerSlot, Step};
use crate::reactor::layer::{Layer, LayerContext};
use crate::reactor::{CallbackKind, Protocol, Reactor, Reason, Transport};

impl Reactor {
    /// Ends a connection as a layer requested.
    fn end_as_requested(&mut self, token: Token, ending: Ending) {
        let Ending { index, reason, last_words } = ending;
        let discards = self.registry.connection(token).and_then(Connection::layers).is_some_and(|layers| {
            let above = layers.stack.iter().skip(index);
            above.into_iter().any(|stage| stage.held > 0 || !stage.written.bytes.is_empty())
        });
        if last_words && discards {
            // A FIN would tell the peer that what it has got is complete.
            self.send_write_batch(token);
        }
        let gracefully = last_words && !discards;
        let Some(connection) = self.registry.connection_mut(token).filter(|_| gracefully) else {
            return self.queue_loss(token, reason);
        };
        let cold = connection.cold();
        cold.close_reason = Some(reason);
        let producer = cold.producer.take();
        if let Some(layers) = connection.layers_mut() {
            // Nothing is written above any more.
            for stage in layers.stack.iter_mut().skip(index) {
                stage.written.end = Eof::Delivered;
            }
            layers.output = Eof::Pending;
            match index.checked_sub(1).and_then(|below| layers.stack.get_mut(below)) {
                Some(below) => below.written.finish(),
                None => layers.output = Eof::Delivered,
            }
        }
        self.stop_producer(producer);
        // The flush that runs the layers sends the rest, and takes the next step.
        if self.change_state(token, Event::Close) == Action::ReportBroken {
            self.finish_broken(token);
        }
    }

    /// Handles input of a connection whose protocol is not in its own slot.
    #[inline(never)] // keeps the path without layers short
    pub(in crate::reactor) fn received_below(&mut self, token: Token, buffer: &[u8], count: usize) {
        let data = buffer.get(..count).unwrap_or_default();
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let state = connection.state;
        if !connection.is_layered() {
            // Lingering: input is discarded.
            return self.note_progress(token);
        }
        if state == State::Lost {
            return;
        }
        let straight = connection.passes_straight();
        let Some(stage) = connection.stage(0) else { return };
        if let Some(layer) = stage.layer.take_if(|_| straight) {
            if !self.relay_message(token, layer, data) {
                self.flush(token);
            }
            return;
        }
        if stage.started && stage.received.next().is_none() {
            self.call_layer(token, 0, |layer, below| layer.data_received(below, data));
        } else {
            stage.received.push(data, &mut self.send.spare_buffers);
        }
        self.flush(token);
    }

    /// Passes the end of the input to the lowest layer. Returns `false` if the connection has no
    /// layers.
    pub(in crate::reactor) fn eof_below(&mut self, token: Token) -> bool {
        let Some(connection) = self.registry.connection_mut(token) else { return false };
        if matches!(connection.state, State::Broken | State::Lingering) {
            return false;
        }
        let Some(stage) = connection.stage(0) else { return false };
        stage.received.finish();
        self.flush(token);
        true
    }

    pub(in crate::reactor) fn layer_woken(&mut self, token: Token, index: u32) {
        let index = index as usize;
        let Some(stage) = self.place_mut(token, index) else { return };
        stage.wake = None;
        self.call_layer(token, index, |layer, below| layer.timer_expired(below));
        self.flush(token);
    }

    /// Writes output of the protocol or of another user of its transport.
    pub(in crate::reactor) fn write_to_layers(&mut self, token: Token, data: &[u8]) {
        let (limit, unsent) = (self.settings.write_buffer_limit, self.unsent(token));
        let Some(connection) = self.registry.connection_mut(token) else { return };
        if !connection.takes_writes() || data.is_empty() {
            return;
        }
        if connection.exceeds(unsent, limit) {
            self.statistics.buffer_limits += 1;
            self.queue_loss(token, Reason::BufferLimit(limit));
            return;
        }
        let Some(layers) = connection.layers_mut() else { return };
        if let Some(stage) = layers.stack.last_mut() {
            stage.written.push(data, &mut self.send.spare_buffers);
        }
        // While a layer runs, the bytes passed to it are in no count.
        let counted = layers.stack.iter().all(|stage| stage.layer.is_some());
        if counted {
            self.update_water_marks(token);
        }
        if self.send.connection != token {
            self.schedule_flush(token);
        }
    }

    /// Calls layers and protocol until no data is pending.
    pub(in crate::reactor) fn run_layers(&mut self, token: Token) {
        while let Some(step) = self.next_step(token) {
            self.take_step(token, step);
        }
        self.send_write_batch(token);
        let Some(connection) = self.registry.connection_mut(token) else { return };
        if let Some(layers) = connection.layers_mut() {
            layers.release_buffers(&mut self.send.spare_buffers);
        }
        if connection.pauses.has(Pauses::KEPT) && !connection.layers_keep_input() {
            connection.pauses.set(Pauses::KEPT, false);
            if connection.wants_read() {
                self.schedule_resume(token);
            }
        }
    }

    /// Calls `sent` of the layers that watch it. Returns whether the kernel accepted any bytes.
    pub(in crate::reactor) fn notify_layers_sent(&mut self, token: Token) -> bool {
        let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) else {
            return false;
        };
        let taken = std::mem::take(&mut layers.taken);
        if taken == 0 {
            return false;
        }
        let watching = |(index, stage): (usize, &LayerSlot)| stage.watches_sent.then_some(index);
        let watching: Vec<usize> = layers.stack.iter().enumerate().filter_map(watching).collect();
        for &index in &watching {
            if self.registry.connection(token).is_some_and(|connection| connection.state != State::Lost) {
                self.call_layer(token, index, |layer, below| layer.sent(below, taken));
            }
        }
        if !watching.is_empty() {
            self.run_layers(token);
            let connection = self.registry.connection(token);
            if connection.and_then(Connection::layers).is_some_and(|layers| layers.taken > 0) {
                // Output of these layers is flushed in the next turn.
                self.schedule_flush(token);
            }
        }
        true
    }

    fn next_step(&self, token: Token) -> Option<Step> {
        let connection = self.registry.connection(token)?;
        let closes = match connection.state {
            State::OutputClosing | State::InputClosedOutputClosing | State::Closing { .. } => {
                !connection.has_producer()
            }
            State::Lost | State::Lingering => return None,
            State::Open | State::InputClosed | State::OutputClosed | State::Broken => false,
        };
        let pauses = connection.pauses;
        let (paused, again) = (pauses.has(Pauses::PROTOCOL), pauses.has(Pauses::AGAIN));
        connection.layers()?.next(connection.state, closes, paused, again)
    }

    fn take_step(&mut self, token: Token, step: Step) {
        if matches!(step, Step::Make | Step::Deliver | Step::DeliverEnd) {
            self.update_marks_for_layers(token);
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let Some(layers) = connection.layers_mut() else { return };
        match step {
            Step::Start(index) => {
                if let Some(stage) = layers.stack.get_mut(index) {
                    stage.started = true;
                }
                if layers.started() == layers.stack.len() {
                    connection.pauses.set(Pauses::LAYER_ADDED, false);
                }
                self.call_layer(token, index, |layer, below| layer.started(below));
                if self.registry.connection(token).is_some_and(Connection::wants_read) {
                    // No edge reports data that is already there.
                    self.schedule_resume(token);
                }
            }
            Step::Written(index) => {
                let Some(stage) = layers.stack.get_mut(index) else { return };
                let bytes = std::mem::take(&mut stage.written.bytes);
                self.call_layer(token, index, |layer, below| layer.data_written(below, &bytes));
                if let Some(stage) = self.place_mut(token, index) {
                    reuse(&mut stage.written.bytes, bytes);
                }
            }
            Step::Received(index) => {
                let Some(stage) = layers.stack.get_mut(index) else { return };
                let bytes = std::mem::take(&mut stage.received.bytes);
                self.call_layer(token, index, |layer, below| layer.data_received(below, &bytes));
                if let Some(stage) = self.place_mut(token, index) {
                    reuse(&mut stage.received.bytes, bytes);
                }
            }
            Step::WriteEnding(index) => {
                let Some(stage) = layers.stack.get_mut(index) else { return };
                stage.written.end = Eof::Delivered;
                self.call_layer(token, index, |layer, below| layer.write_closing(below));
            }
            Step::ReadEnded(index) => {
                let Some(stage) = layers.stack.get_mut(index) else { return };
                stage.received.end = Eof::Delivered;
                self.call_layer(token, index, |layer, below| layer.read_ended(below));
            }
            Step::EndOutput => {
                layers.output = Eof::Pending;
                // Layers above the started ones of an unmade connection never get to say anything.
                let speaking = if layers.made { layers.stack.len() } else { layers.started() };
                for stage in layers.stack.iter_mut().skip(speaking) {
                    stage.written.bytes = Vec::new();
                }
                match speaking.checked_sub(1).and_then(|top| layers.stack.get_mut(top)) {
                    Some(stage) => stage.written.finish(),
                    None => layers.output = Eof::Delivered,
                }
            }
            Step::End => {
                if let Some(ending) = layers.ending.take() {
                    self.end_as_requested(token, ending);
                }
            }
            Step::ReportReady => {
                layers.ready_reported = true;
                self.call_above_layers(token, CallbackKind::LayersReady, |protocol, transport| {
                    protocol.layers_ready(transport);
                });
            }
            Step::Make => self.make_above_layers(token),
            Step::Deliver => self.deliver_to_protocol(token),
            Step::DeliverEnd => {
                layers.above.end = Eof::Delivered;
                self.input_ended_above(token);
            }
        }
    }

    /// Updates the water marks before a callback of the protocol, because output of layers may have
    /// changed the number of unsent bytes.
    fn update_marks_for_layers(&mut self, token: Token) {
        let Some(connection) = self.registry.connection(token) else { return };
        if self.send.batch.len() > self.marks(connection).0 {
            self.send_write_batch(token);
        }
        let unsent = self.registry.connection(token).map_or(0, Connection::unsent);
        self.update_water_marks_at(token, unsent + self.send.batch.len());
    }

    fn deliver_to_protocol(&mut self, token: Token) {
        let layers = self.registry.connection_mut(token).and_then(Connection::layers_mut);
        let Some(waiting) = layers.map(|layers| &mut layers.above.bytes) else { return };
        let mut bytes = std::mem::take(waiting);
        // At most as many bytes as one read returns.
        if bytes.len() > self.settings.read_buffer {
            *waiting = bytes.split_off(self.settings.read_buffer);
        }
        self.call_above_layers(token, CallbackKind::DataReceived, |protocol, transport| {
            protocol.data_received(transport, &bytes);
        });
        if let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) {
            reuse(&mut layers.above.bytes, bytes);
        }
    }

    /// Calls one layer, which is out of its slot meanwhile.
    fn call_layer(
        &mut self,
        token: Token,
        index: usize,
        call: impl FnOnce(&mut dyn Layer, &mut LayerContext<'_>),
    ) {
        let Some(mut layer) = self.place_mut(token, index).and_then(|stage| stage.layer.take()) else {
            return;
        };
        self.send.batching = false;
        let mut held = 0;
        self.enter(token, CallbackKind::Layer, |transport| {
            call(&mut *layer, &mut LayerContext::new(transport.reactor, token, index));
            held = layer.buffered();
        });
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.put_layer(index, layer, held);
        }
    }

    /// Calls the protocol of a layered connection, which is out of its slot meanwhile. Does not
    /// handle the consequences.
    pub(in crate::reactor) fn call_above_layers(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn Protocol, &mut Transport<'_>),
    ) {
        let layers = self.registry.connection_mut(token).and_then(Connection::layers_mut);
        let Some(mut protocol) = layers.and_then(|layers| layers.protocol.take()) else { return };
        self.send.batching = false;
        self.enter(token, place, |transport| call(&mut *protocol, transport));
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.put_protocol(protocol);
        }
    }
}

/// Puts an emptied buffer back into its place, if that has no new buffer.
fn reuse(place: &mut Vec<u8>, mut buffer: Vec<u8>) {
    if place.capacity() == 0 {
        buffer.clear();
        *place = buffer;
    }
}
