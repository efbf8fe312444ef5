//! The layer stack of one connection: slots, pending data between layers, and the choice of the
//! next call.

use crate::reactor::connection::write_batch::recycle_buffer;
use crate::reactor::connection::{Connection, Flow, State};
use crate::reactor::layer::Layer;
use crate::reactor::{DelayedCall, Protocol, Reason};

/// The layers of a connection, and its protocol above them.
pub(crate) struct Layers {
    /// Lowest first.
    pub(in crate::reactor) stack: Vec<LayerSlot>,
    /// `None` while one of its callbacks runs, and before it is built.
    pub(in crate::reactor) protocol: Option<Box<dyn Protocol>>,
    pub(in crate::reactor) made: bool,
    /// Time limit for the layers of an accepted connection to become ready.
    pub(in crate::reactor) limit: Option<DelayedCall>,
    /// Data for the protocol.
    pub(in crate::reactor) above: PendingBytes,
    /// State of our end of output.
    pub(in crate::reactor) output: Eof,
    /// Bytes accepted by the kernel since `sent` was last called.
    pub(in crate::reactor) taken: usize,
    /// A layer's request to end the connection, once earlier data is delivered.
    pub(in crate::reactor) ending: Option<Ending>,
    /// `layers_ready` was called, or `connection_made`, which says the same.
    pub(in crate::reactor) ready_reported: bool,
}

/// A layer's request to end the connection.
pub(in crate::reactor) struct Ending {
    /// The layer that ends it.
    pub(in crate::reactor) index: usize,
    pub(in crate::reactor) reason: Reason,
    /// The layer passed bytes down in the same call. They are sent first.
    pub(in crate::reactor) last_words: bool,
}

/// One layer and its state.
pub(crate) struct LayerSlot {
    /// `None` while it is called.
    pub(in crate::reactor) layer: Option<Box<dyn Layer>>,
    pub(in crate::reactor) started: bool,
    /// The layer above may start.
    pub(in crate::reactor) ready: bool,
    pub(in crate::reactor) reading_paused: bool,
    /// Calls `sent` of this layer.
    pub(in crate::reactor) watches_sent: bool,
    /// Bytes that the layer holds back, from `Layer::buffered`.
    pub(in crate::reactor) held: usize,
    pub(in crate::reactor) wake: Option<DelayedCall>,
    /// Input from below.
    pub(in crate::reactor) received: PendingBytes,
    /// Output from above.
    pub(in crate::reactor) written: PendingBytes,
}

/// Pending data of one direction, and its end.
#[derive(Default)]
pub(in crate::reactor) struct PendingBytes {
    pub(in crate::reactor) bytes: Vec<u8>,
    pub(in crate::reactor) end: Eof,
}

/// State of the end of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::reactor) enum Eof {
    #[default]
    Open,
    /// Follows the pending bytes.
    Pending,
    /// Was delivered.
    Delivered,
}

/// The next call of a layer or protocol.
#[derive(Clone, Copy)]
pub(in crate::reactor) enum Step {
    Start(usize),
    Written(usize),
    WriteEnding(usize),
    Received(usize),
    ReadEnded(usize),
    /// All layers are ready: build the protocol.
    Make,
    /// All layers are ready again, on a connection that is made.
    ReportReady,
    Deliver,
    DeliverEnd,
    /// The protocol closes and has no more output.
    EndOutput,
    /// A layer ends the connection.
    End,
}

impl Layers {
    pub(in crate::reactor) fn new(layers: Vec<Box<dyn Layer>>) -> Layers {
        let stack = layers.into_iter().map(LayerSlot::new).collect();
        Layers {
            stack,
            protocol: None,
            made: false,
            limit: None,
            above: PendingBytes::default(),
            output: Eof::Open,
            taken: 0,
            ending: None,
            ready_reported: false,
        }
    }

    /// Whether a layer is not ready.
    pub(in crate::reactor) fn in_handshake(&self) -> bool {
        self.stack.iter().any(|stage| !stage.ready)
    }

    /// Whether all layers are ready, none holds anything, and the protocol is in its place.
    #[inline]
    fn are_idle(&self) -> bool {
        let idle = |waiting: &PendingBytes| waiting.bytes.is_empty() && waiting.end == Eof::Open;
        let idle_layer = |stage: &LayerSlot| {
            stage.ready
                && stage.layer.is_some()
                && !stage.watches_sent
                && stage.held == 0
                && idle(&stage.received)
                && idle(&stage.written)
        };
        self.made
            && self.ready_reported
            && self.protocol.is_some()
            && self.ending.is_none()
            && self.output == Eof::Open
            && idle(&self.above)
            && self.stack.iter().all(idle_layer)
    }

    /// The number of layers that were started, from the lowest.
    pub(in crate::reactor) fn started(&self) -> usize {
        self.stack.iter().take_while(|stage| stage.started).count()
    }

    /// Bytes written and not passed to the socket's output yet.
    fn held(&self) -> usize {
        let held = self.stack.iter().map(|stage| stage.held.saturating_add(stage.written.bytes.len()));
        held.fold(0, usize::saturating_add)
    }

    /// Returns the next step for a connection in this state, or `None` if no data is pending.
    /// `again`: the protocol gave input back, which comes from the loop before all other input.
    pub(in crate::reactor) fn next(
        &self,
        state: State,
        closes: bool,
        paused: bool,
        again: bool,
    ) -> Option<Step> {
        let step = self.next_call(state, closes, paused || again);
        step.or_else(|| (self.ending.is_some() && !self.may_deliver(state, again)).then_some(Step::End))
    }

    /// Whether input waits for the protocol, which is still to get it.
    fn may_deliver(&self, state: State, again: bool) -> bool {
        self.made && !matches!(state, State::Closing { .. }) && (again || self.above.next().is_some())
    }

    /// Releases empty buffers: an idle connection owns none.
    pub(in crate::reactor) fn release_buffers(&mut self, spare: &mut Vec<Vec<u8>>) {
        for stage in &mut self.stack {
            stage.received.release(spare);
            stage.written.release(spare);
        }
        self.above.release(spare);
    }

    fn next_call(&self, state: State, closes: bool, paused: bool) -> Option<Step> {
        let closing = matches!(state, State::Closing { .. });
        let mut ready = true;
        for (index, stage) in self.stack.iter().enumerate() {
            if !stage.started {
                // No protocol will come to a connection that closes before it is made.
                if ready && (self.made || !closing) {
                    return Some(Step::Start(index));
                }
                break;
            }
            ready = stage.ready;
        }
        let all_ready = !self.in_handshake();
        if closes && self.output == Eof::Open {
            return Some(Step::EndOutput);
        }
        let started = |stage: &&LayerSlot| stage.started;
        for (index, stage) in self.stack.iter().enumerate().rev().filter(|(_, stage)| started(stage)) {
            match stage.written.next() {
                Some(Next::Bytes) => return Some(Step::Written(index)),
                Some(Next::End) => return Some(Step::WriteEnding(index)),
                None => {}
            }
        }
        if closing && (all_ready || self.output == Eof::Delivered) {
            // Input is no longer read.
            return None;
        }
        for (index, stage) in self.stack.iter().enumerate().filter(|(_, stage)| started(stage)) {
            match stage.received.next() {
                Some(Next::Bytes) => return Some(Step::Received(index)),
                Some(Next::End) => return Some(Step::ReadEnded(index)),
                None => {}
            }
        }
        if closing {
            return None;
        }
        if !self.made {
            return all_ready.then_some(Step::Make);
        }
        if all_ready && !self.ready_reported && self.protocol.is_some() {
            return Some(Step::ReportReady);
        }
        if paused || self.protocol.is_none() {
            return None;
        }
        match self.above.next()? {
            Next::Bytes => Some(Step::Deliver),
            Next::End => Some(Step::DeliverEnd),
        }
    }
}

impl LayerSlot {
    pub(in crate::reactor) fn new(layer: Box<dyn Layer>) -> LayerSlot {
        LayerSlot {
            layer: Some(layer),
            started: false,
            ready: false,
            reading_paused: false,
            watches_sent: false,
            held: 0,
            wake: None,
            received: PendingBytes::default(),
            written: PendingBytes::default(),
        }
    }
}

pub(in crate::reactor) enum Next {
    Bytes,
    End,
}

impl PendingBytes {
    pub(in crate::reactor) fn next(&self) -> Option<Next> {
        match (self.bytes.is_empty(), self.end) {
            (false, _) => Some(Next::Bytes),
            (true, Eof::Pending) => Some(Next::End),
            (true, Eof::Open | Eof::Delivered) => None,
        }
    }

    /// Appends bytes, unless the end is pending or delivered.
    pub(in crate::reactor) fn push(&mut self, data: &[u8], spare: &mut Vec<Vec<u8>>) {
        if self.end == Eof::Open && !data.is_empty() {
            if self.bytes.capacity() == 0 {
                self.bytes = spare.pop().unwrap_or_default();
            }
            self.bytes.extend_from_slice(data);
        }
    }

    /// Releases the buffer if it is empty.
    #[inline]
    fn release(&mut self, spare: &mut Vec<Vec<u8>>) {
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            recycle_buffer(std::mem::take(&mut self.bytes), spare);
        }
    }

    pub(in crate::reactor) fn finish(&mut self) {
        if self.end == Eof::Open {
            self.end = Eof::Pending;
        }
    }
}

impl Connection {
    pub(in crate::reactor) fn layers(&self) -> Option<&Layers> {
        self.cold.as_ref()?.layers.as_deref()
    }

    pub(in crate::reactor) fn layers_mut(&mut self) -> Option<&mut Layers> {
        self.cold.as_mut()?.layers.as_deref_mut()
    }

    pub(in crate::reactor) fn is_layered(&self) -> bool {
        self.layers().is_some()
    }

    /// Unsent bytes in layers.
    pub(in crate::reactor) fn held(&self) -> usize {
        self.layers().map_or(0, Layers::held)
    }

    /// Whether the connection is open and nothing waits in it: no data, no end, no start of a
    /// layer, and no call of the protocol.
    #[inline]
    pub(in crate::reactor) fn passes_straight(&self) -> bool {
        let steady = self.state.is_open()
            && !self.pauses.any()
            && self.flow == Flow::Open
            && !self.small_marks
            && self.outgoing.is_empty()
            && self.cold.as_ref().is_some_and(|cold| cold.producer.is_none());
        steady && self.layers().is_some_and(Layers::are_idle)
    }

    /// Whether input is pending for a layer or the protocol.
    pub(in crate::reactor) fn layers_keep_input(&self) -> bool {
        self.layers().is_some_and(|layers| {
            let waiting = layers.stack.iter().map(|stage| &stage.received).chain([&layers.above]);
            waiting.into_iter().any(|waiting| waiting.next().is_some())
        })
    }

    /// Whether our end of output has not passed all layers.
    pub(in crate::reactor) fn layers_send(&self) -> bool {
        self.layers().is_some_and(|layers| layers.output != Eof::Delivered)
    }

    pub(in crate::reactor) fn is_made(&self) -> bool {
        self.layers().is_none_or(|layers| layers.made)
    }

    /// Discards pending output.
    pub(in crate::reactor) fn clear_layers(&mut self) {
        if let Some(layers) = self.layers_mut() {
            for stage in &mut layers.stack {
                stage.held = 0;
                stage.written.bytes = Vec::new();
            }
        }
    }

    /// Puts input back in front of what waits for the layer on top, if that has not started.
    /// Returns `false` otherwise.
    pub(in crate::reactor) fn unread_into_layer(&mut self, data: &[u8]) -> bool {
        let top = self.layers_mut().and_then(|layers| layers.stack.last_mut());
        let Some(stage) = top.filter(|stage| !stage.started) else { return false };
        stage.received.bytes.splice(..0, data.iter().copied());
        true
    }

    /// Takes the input that the protocol gave back.
    pub(in crate::reactor) fn take_unread(&mut self) -> Vec<u8> {
        self.cold.as_mut().map(|cold| std::mem::take(&mut cold.unread)).unwrap_or_default()
    }

    /// Takes the protocol out of its slot, above layers or not.
    pub(in crate::reactor) fn take_protocol(&mut self) -> Option<Box<dyn Protocol>> {
        self.protocol.take().or_else(|| self.layers_mut()?.protocol.take())
    }

    /// Puts the protocol back. Its connection may have got its first layer meanwhile.
    #[inline]
    pub(in crate::reactor) fn put_protocol(&mut self, protocol: Box<dyn Protocol>) {
        match self.layers_mut() {
            Some(layers) => layers.protocol = Some(protocol),
            None => self.protocol = Some(protocol),
        }
    }

    /// Whether the protocol is in its slot.
    pub(in crate::reactor) fn protocol_is_in(&self) -> bool {
        self.protocol.is_some() || self.layers().is_some_and(|layers| layers.protocol.is_some())
    }

    pub(in crate::reactor) fn stage(&mut self, index: usize) -> Option<&mut LayerSlot> {
        self.layers_mut()?.stack.get_mut(index)
    }
}
