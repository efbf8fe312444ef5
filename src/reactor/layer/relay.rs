//! The path of most messages through layers: input passes up and the answer down, on a connection
//! on which nothing waits.
//!
//! Data between two calls is then in buffers of the reactor, not in those of the connection: each
//! layer is called once in each direction, and the connection is looked up once for each call. The
//! protocol writes to the write batch, as without layers. What the path cannot handle is put into
//! the connection's buffers and left to [`run`](super::run).

use crate::net::{Readiness, Token};
use crate::reactor::connection::write_batch::{Send, WriteBatch};
use crate::reactor::connection::{Connection, State};
use crate::reactor::layer::{Layer, LayerContext};
use crate::reactor::{CallbackKind, Protocol, Reactor};

/// Data of the message that is passed through layers.
pub(in crate::reactor) struct Relay {
    direction: Direction,
    /// Data that the running layer has passed up.
    up: Vec<u8>,
    /// The other write batch, while one is read.
    spare_batch: WriteBatch,
}

/// The direction in which the running layer passes data on without a stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Not relaying: data goes to the connection's buffers.
    Stopped,
    Up,
    /// Down from the layer at this place. What it has passed down is in the write batch.
    Down(usize),
}

impl Relay {
    pub(in crate::reactor) fn new() -> Relay {
        Relay { direction: Direction::Stopped, up: Vec::new(), spare_batch: WriteBatch::new() }
    }

    /// Takes data that a layer passes up. Returns `false` if it goes to the connection's buffers.
    #[inline]
    pub(in crate::reactor) fn take_up(&mut self, data: &[u8]) -> bool {
        let relays = self.direction == Direction::Up;
        if relays {
            self.up.extend_from_slice(data);
        }
        relays
    }

    /// Keeps a buffer for the next message, unless it has become large.
    #[inline]
    fn keep(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= MAX_CAPACITY {
            buffer.clear();
            self.up = buffer;
        }
    }
}

impl Send {
    /// Takes data that a layer passes down. Returns `false` if it goes to the connection's buffers.
    #[inline]
    pub(in crate::reactor) fn take_down(&mut self, data: &[u8]) -> bool {
        matches!(self.relay.direction, Direction::Down(_)) && self.batch.push(data)
    }
}

impl Reactor {
    /// Passes input through the lowest layer, which was taken out, up to the protocol, and the
    /// answer down to the socket. Returns `false` if something waits: the caller flushes the
    /// connection.
    pub(super) fn relay_message(&mut self, token: Token, mut layer: Box<dyn Layer>, data: &[u8]) -> bool {
        let (mut index, mut input) = (0, Vec::new());
        loop {
            let bytes = if index == 0 { data } else { &input };
            let held = self.relay_call(token, index, Direction::Up, &mut *layer, |layer, below| {
                layer.data_received(below, bytes);
            });
            input.clear();
            let output = std::mem::replace(&mut self.send.relay.up, input);
            // Output of a layer comes before that of the layers above.
            let no_output = self.send.batch.is_empty();
            let Some(connection) = self.registry.connection_mut(token) else { return true };
            connection.put_layer(index, layer, held);
            if output.is_empty() {
                let straight = no_output && connection.passes_straight();
                self.send.relay.keep(output);
                return straight;
            }
            index += 1;
            let passes = no_output && output.len() <= self.settings.read_buffer;
            match passes.then(|| connection.take_above(index)).flatten() {
                Some(Above::Layer(next)) => (layer, input) = (next, output),
                Some(Above::Protocol(protocol)) => {
                    let straight = self.relay_to_protocol(token, protocol, &output);
                    self.send.relay.keep(output);
                    return straight;
                }
                None => {
                    self.deliver_above(token, index - 1, &output);
                    self.send.relay.keep(output);
                    return false;
                }
            }
        }
    }

    /// Calls the protocol, whose output is batched as without layers, and passes its output down.
    fn relay_to_protocol(&mut self, token: Token, mut protocol: Box<dyn Protocol>, data: &[u8]) -> bool {
        self.send.batching = true;
        self.send.above_layers = true;
        self.enter(token, CallbackKind::DataReceived, |transport| {
            protocol.data_received(transport, data);
        });
        self.send.above_layers = false;
        let Some(connection) = self.registry.connection_mut(token) else { return true };
        connection.put_protocol(protocol);
        if self.send.batch.is_empty() {
            return connection.passes_straight();
        }
        let top = connection.layers().map_or(0, |layers| layers.stack.len()).saturating_sub(1);
        match connection.take_below(top) {
            Some(layer) => self.relay_down(token, top, layer),
            None => {
                self.batch_into(token, top);
                false
            }
        }
    }

    /// Passes the write batch down from this layer, which was taken out, and sends it. Returns
    /// `false` if something waits.
    fn relay_down(&mut self, token: Token, mut index: usize, mut layer: Box<dyn Layer>) -> bool {
        loop {
            let spare = std::mem::take(&mut self.send.relay.spare_batch);
            let mut bytes = std::mem::replace(&mut self.send.batch, spare);
            let held = self.relay_call(token, index, Direction::Down(index), &mut *layer, |layer, below| {
                layer.data_written(below, bytes.bytes());
            });
            bytes.clear();
            self.send.relay.spare_batch = bytes;
            let Some(connection) = self.registry.connection_mut(token) else { return true };
            connection.put_layer(index, layer, held);
            if self.send.batch.is_empty() {
                // The layer holds its output back, or has dropped it.
                return connection.passes_straight();
            }
            let Some(below) = index.checked_sub(1) else {
                if !connection.passes_straight() || !connection.readiness.has(Readiness::WRITABLE) {
                    return false;
                }
                connection.wrote = true;
                return self.send_whole_batch(token);
            };
            match connection.take_below(below) {
                Some(next) => (index, layer) = (below, next),
                None => {
                    self.batch_into(token, below);
                    return false;
                }
            }
        }
    }

    /// Calls a layer, which passes data on without a stop. Returns the bytes that it holds back.
    #[inline]
    fn relay_call(
        &mut self,
        token: Token,
        index: usize,
        direction: Direction,
        layer: &mut dyn Layer,
        call: impl FnOnce(&mut dyn Layer, &mut LayerContext<'_>),
    ) -> usize {
        self.send.batching = false;
        self.send.relay.direction = direction;
        let mut held = 0;
        self.enter(token, CallbackKind::Layer, |transport| {
            call(layer, &mut LayerContext::new(transport.reactor, token, index));
            held = layer.buffered();
        });
        self.send.relay.direction = Direction::Stopped;
        held
    }

    /// Moves what the running layer has passed up into the connection's buffers: what follows does
    /// not fit into the path.
    pub(super) fn stop_relaying_up(&mut self, token: Token, index: usize) {
        if self.send.relay.direction == Direction::Up {
            self.send.relay.direction = Direction::Stopped;
            let bytes = std::mem::take(&mut self.send.relay.up);
            self.deliver_above(token, index, &bytes);
        }
    }

    /// As [`stop_relaying_up`](Reactor::stop_relaying_up), for output. That of the lowest layer
    /// stays in the write batch.
    pub(in crate::reactor) fn stop_relaying_down(&mut self, token: Token) {
        if let Direction::Down(index) = self.send.relay.direction {
            self.send.relay.direction = Direction::Stopped;
            if let Some(below) = index.checked_sub(1) {
                self.batch_into(token, below);
            }
        }
    }

    /// Moves the write batch, if it is written above the layers, to the highest layer.
    pub(in crate::reactor) fn batch_into_layers(&mut self, token: Token) {
        if self.send.above_layers {
            let layers = self.registry.connection(token).and_then(Connection::layers);
            if let Some(top) = layers.and_then(|layers| layers.stack.len().checked_sub(1)) {
                self.batch_into(token, top);
            }
        }
    }

    /// Moves the write batch into the output of the layer at this place.
    fn batch_into(&mut self, token: Token, index: usize) {
        let place = self.registry.connection_mut(token).and_then(|connection| connection.stage(index));
        if let Some(stage) = place {
            stage.written.push(self.send.batch.bytes(), &mut self.send.spare_buffers);
        }
        self.send.batch.clear();
    }
}

impl Connection {
    /// Takes what is above the layers below `index`, to pass input on. `None` if it has to wait.
    #[inline]
    fn take_above(&mut self, index: usize) -> Option<Above> {
        if !self.state.is_open() || self.pauses.any() {
            return None;
        }
        let layers = self.layers_mut()?;
        // The lowest layer's output is in the write batch.
        let no_output =
            layers.stack.len() == 1 || layers.stack.iter().all(|stage| stage.written.bytes.is_empty());
        match layers.stack.get_mut(index).filter(|_| no_output) {
            Some(stage) => stage.layer.take().map(Above::Layer),
            None if no_output && layers.above.next().is_none() => layers.protocol.take().map(Above::Protocol),
            None => None,
        }
    }

    /// Takes a layer out, to pass output on. `None` if the output has to wait.
    #[inline]
    fn take_below(&mut self, index: usize) -> Option<Box<dyn Layer>> {
        if !self.state.is_open() {
            return None;
        }
        let stage = self.stage(index)?;
        if stage.written.next().is_some() {
            return None;
        }
        stage.layer.take()
    }

    /// Puts a layer back, which holds `held` bytes of output back.
    #[inline]
    pub(super) fn put_layer(&mut self, index: usize, layer: Box<dyn Layer>, held: usize) {
        // A lost connection holds no bytes.
        let lost = self.state == State::Lost;
        if let Some(stage) = self.stage(index) {
            stage.held = if lost { 0 } else { held };
            // The slot is empty, so there is nothing to drop.
            std::mem::forget(stage.layer.replace(layer));
        }
    }
}

/// The receiver of what a layer passes up, taken out of its slot.
enum Above {
    Layer(Box<dyn Layer>),
    Protocol(Box<dyn Protocol>),
}

/// Max capacity of a buffer that is kept, in bytes.
const MAX_CAPACITY: usize = 64 * 1024;
