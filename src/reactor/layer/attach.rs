//! Layers and their connection: the start, the handshake, the protocol above them, and the end.

use std::time::Duration;

use crate::net::{Readiness, Token};
use crate::reactor::connection::{Connection, Flow, Pauses, State};
use crate::reactor::layer::Layer;
use crate::reactor::layer::stack::{LayerSlot, Layers};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{CallbackKind, Reactor, Reason, TimedCall};

impl Reactor {
    /// Starts the layers of a new connection.
    pub(in crate::reactor) fn start_layers(&mut self, token: Token, layers: Vec<Box<dyn Layer>>) {
        if let Some(connection) = self.registry.connection_mut(token) {
            let origin = connection.origin;
            connection.cold().layers = Some(Box::new(Layers::new(layers)));
            self.flush(token);
            // A connector has a timeout of its own.
            if self.awaits_layers(token) && self.registry.connector(origin).is_none() {
                let at = self.now() + self.settings.handshake_timeout;
                let timer = self.timers.set(at, TimedCall::HandshakeLimit(token));
                if let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut) {
                    layers.limit = Some(timer);
                }
            }
        }
    }

    /// Whether `connection_made` was not called yet because the layers are not ready.
    pub(in crate::reactor) fn awaits_layers(&self, token: Token) -> bool {
        let connection = self.registry.connection(token);
        connection.is_some_and(|connection| !connection.is_made() && connection.state != State::Lost)
    }

    /// Ends a connection whose layers were not ready in time.
    pub(in crate::reactor) fn handshake_timed_out(&mut self, token: Token, limit: Duration) {
        // A connection that closes has a limit for that.
        let closing = |connection: &Connection| connection.state.is_closing();
        if self.awaits_layers(token) && !self.registry.connection(token).is_some_and(closing) {
            self.statistics.handshake_timeouts += 1;
            self.queue_loss(token, Reason::TimedOut(limit));
        }
    }

    /// Cancels the time limits of the handshake.
    pub(super) fn end_handshake(&mut self, token: Token, origin: Token) {
        let layers = self.registry.connection_mut(token).and_then(Connection::layers_mut);
        let own = layers.and_then(|layers| layers.limit.take());
        let timeout = self.registry.connector_mut(origin).and_then(|slot| slot.timeout.take());
        for timer in own.into_iter().chain(timeout) {
            self.timers.cancel(timer);
        }
    }

    /// Adds a layer on top of a connection's other layers.
    pub(in crate::reactor) fn add_layer(&mut self, token: Token, layer: Box<dyn Layer>) {
        // Output written so far bypasses the layer.
        if self.send.connection == token {
            self.send_write_batch(token);
        }
        let Some(connection) = self.registry.connection_mut(token).filter(|c| !c.state.is_closing()) else {
            return;
        };
        // Input passes through the layer from now on. Descriptors would bypass it.
        connection.pauses.set(Pauses::DESCRIPTORS, false);
        let mut stage = LayerSlot::new(layer);
        match connection.layers_mut() {
            Some(layers) => {
                // Input that was not delivered to the protocol passes through the new layer.
                std::mem::swap(&mut layers.above, &mut stage.received);
                layers.stack.push(stage);
                layers.ready_reported = false;
            }
            None => {
                let mut layers = Layers::new(Vec::new());
                layers.made = true;
                layers.stack.push(stage);
                layers.protocol = connection.protocol.take();
                if layers.protocol.is_none() && self.send.connection == token {
                    // The running callback puts the protocol back into its old slot. Without
                    // WRITABLE, the callback ends in `after_callback`: `move_above_layers` then
                    // moves the protocol and restores the flag.
                    connection.readiness.remove(Readiness::WRITABLE);
                }
                connection.cold().layers = Some(Box::new(layers));
            }
        }
        let unread = connection.take_unread();
        if !unread.is_empty() && connection.unread_into_layer(&unread) {
            connection.pauses.set(Pauses::AGAIN, false);
        }
        connection.pauses.set(Pauses::LAYER_ADDED, true);
        self.send.batching &= self.send.connection != token;
        self.schedule_flush(token);
    }

    /// Moves the protocol above the layers, after the callback that added the first layer.
    pub(in crate::reactor) fn move_above_layers(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && let Some(protocol) = connection.protocol.take()
        {
            connection.put_protocol(protocol);
            connection.readiness.insert(Readiness::WRITABLE);
        }
    }

    /// Builds the protocol once all layers are ready. It sees the final addresses.
    pub(super) fn make_above_layers(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let (origin, peer) = (connection.origin, connection.peer.clone());
        let is_client = matches!(self.registry.get(origin), Some(Source::Connector(_)));
        let built = match is_client {
            true => self.build_for_connector(origin, token, &peer),
            false => Ok(self.build_for_listener(origin, token, &peer)),
        };
        if built.is_ok()
            && let Some(layers) = self.registry.connection_mut(token).and_then(Connection::layers_mut)
        {
            layers.made = true;
            layers.ready_reported = true;
            self.end_handshake(token, origin);
        }
        match built {
            Ok(Some(protocol)) => {
                let connection = self.registry.connection_mut(token);
                match connection.filter(|connection| connection.state != State::Lost) {
                    Some(connection) => {
                        connection.put_protocol(protocol);
                        if connection.flow == Flow::Paused {
                            // `pause_writing` was due before there was a protocol.
                            connection.flow = Flow::PauseQueued;
                            self.queues.callbacks.push(Callback::PauseWriting(token));
                        }
                    }
                    // Aborted while the protocol was built: `connection_made` was not called, so
                    // neither is `connection_lost`.
                    None => return self.call(CallbackKind::Drop, |_| drop(protocol)),
                }
                self.call_above_layers(token, CallbackKind::ConnectionMade, |protocol, transport| {
                    protocol.connection_made(transport);
                });
            }
            Ok(None) => {
                if !is_client {
                    self.statistics.connections_refused += 1;
                }
                self.queue_loss(token, Reason::Done);
            }
            Err(panic) => self.queue_loss(token, Reason::Panicked(panic)),
        }
    }

    /// Cancels the timers of a lost connection's layers and calls their `connection_lost`.
    pub(in crate::reactor) fn lose_layers(&mut self, layers: Layers, reason: &Reason) {
        if let Some(limit) = layers.limit {
            self.timers.cancel(limit);
        }
        for mut stage in layers.stack.into_iter().rev() {
            if let Some(timer) = stage.wake.take() {
                self.timers.cancel(timer);
            }
            if let Some(mut layer) = stage.layer.take() {
                self.call(CallbackKind::Layer, |reactor| layer.connection_lost(reactor, reason));
                self.call(CallbackKind::Drop, |_| drop(layer));
            }
        }
    }
}
