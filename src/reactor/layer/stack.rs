//! The layers of one connection: their places, what waits between two of them, and whose turn is next.

use crate::reactor::connection::{Connection, State};
use crate::reactor::layer::Layer;
use crate::reactor::{DelayedCall, Protocol, Reason};

/// The layers of a connection, and its protocol, which stands above them.
pub(crate) struct Layers {
    /// The lowest first.
    pub(in crate::reactor) stack: Vec<LayerSlot>,
    /// Out of its slot while one of its callbacks runs; and before it is made.
    pub(in crate::reactor) protocol: Option<Box<dyn Protocol>>,
    pub(in crate::reactor) made: bool,
    /// When the connection is given up, if the layers of an accepted one are not ready by then.
    pub(in crate::reactor) limit: Option<DelayedCall>,
    /// Waits for the protocol.
    pub(in crate::reactor) above: PendingBytes,
    /// What becomes of our end.
    pub(in crate::reactor) output: Eof,
    /// Bytes that the system took since layers were last told.
    pub(in crate::reactor) taken: usize,
    /// A layer ends the connection, as soon as everybody was told what came before.
    pub(in crate::reactor) ending: Option<Reason>,
}

/// One layer in its place.
pub(crate) struct LayerSlot {
    /// Out of its place while it is called.
    pub(in crate::reactor) layer: Option<Box<dyn Layer>>,
    pub(in crate::reactor) started: bool,
    /// The one above can begin.
    pub(in crate::reactor) ready: bool,
    pub(in crate::reactor) reading_paused: bool,
    /// It is told of what the system takes.
    pub(in crate::reactor) watches_sent: bool,
    /// Bytes written that it holds back, as it said itself.
    pub(in crate::reactor) held: usize,
    pub(in crate::reactor) wake: Option<DelayedCall>,
    /// From beneath.
    pub(in crate::reactor) received: PendingBytes,
    /// From above.
    pub(in crate::reactor) written: PendingBytes,
}

/// Bytes, and perhaps the end, that have not been told yet.
#[derive(Default)]
pub(in crate::reactor) struct PendingBytes {
    pub(in crate::reactor) bytes: Vec<u8>,
    pub(in crate::reactor) end: Eof,
}

/// How far the end of a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::reactor) enum Eof {
    #[default]
    Open,
    /// It follows the bytes that wait.
    Coming,
    /// It was told.
    Told,
}

/// What is to be done next.
#[derive(Clone, Copy)]
pub(in crate::reactor) enum Step {
    Start(usize),
    Written(usize),
    WriteEnding(usize),
    Received(usize),
    ReadEnded(usize),
    /// All layers are ready: the protocol is built.
    Make,
    Deliver,
    DeliverEnd,
    /// The protocol closes, and nothing follows what it has written.
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
        }
    }

    /// Bytes written that have not come to the system's side.
    fn held(&self) -> usize {
        let held = self.stack.iter().map(|stage| stage.held.saturating_add(stage.written.bytes.len()));
        held.fold(0, usize::saturating_add)
    }

    /// What to do next for a connection in this state; `None` when everything rests.
    pub(in crate::reactor) fn next(&self, state: State, closes: bool, paused: bool) -> Option<Step> {
        self.next_call(state, closes, paused).or_else(|| self.ending.as_ref().map(|_| Step::End))
    }

    fn next_call(&self, state: State, closes: bool, paused: bool) -> Option<Step> {
        let mut ready = true;
        for (index, stage) in self.stack.iter().enumerate() {
            if !stage.started {
                if ready {
                    return Some(Step::Start(index));
                }
                break;
            }
            ready = stage.ready;
        }
        let all_ready = self.stack.iter().all(|stage| stage.ready);
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
        if matches!(state, State::Closing { .. }) {
            // Nothing is read any more.
            return None;
        }
        for (index, stage) in self.stack.iter().enumerate().filter(|(_, stage)| started(stage)) {
            match stage.received.next() {
                Some(Next::Bytes) => return Some(Step::Received(index)),
                Some(Next::End) => return Some(Step::ReadEnded(index)),
                None => {}
            }
        }
        if !self.made {
            return all_ready.then_some(Step::Make);
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
            (true, Eof::Coming) => Some(Next::End),
            (true, Eof::Open | Eof::Told) => None,
        }
    }

    /// Takes bytes, unless the end came before them.
    pub(in crate::reactor) fn push(&mut self, data: &[u8], spare: &mut Vec<Vec<u8>>) {
        if self.end == Eof::Open && !data.is_empty() {
            if self.bytes.capacity() == 0 {
                self.bytes = spare.pop().unwrap_or_default();
            }
            self.bytes.extend_from_slice(data);
        }
    }

    pub(in crate::reactor) fn finish(&mut self) {
        if self.end == Eof::Open {
            self.end = Eof::Coming;
        }
    }
}

impl Connection {
    pub(crate) fn layers(&self) -> Option<&Layers> {
        self.cold.as_ref()?.layers.as_deref()
    }

    pub(crate) fn layers_mut(&mut self) -> Option<&mut Layers> {
        self.cold.as_mut()?.layers.as_deref_mut()
    }

    pub(crate) fn is_layered(&self) -> bool {
        self.layers().is_some()
    }

    /// Bytes written that layers hold.
    pub(crate) fn held(&self) -> usize {
        self.layers().map_or(0, Layers::held)
    }

    /// Whether something that was received waits for a layer or for the protocol.
    pub(crate) fn layers_keep_input(&self) -> bool {
        self.layers().is_some_and(|layers| {
            let waiting = layers.stack.iter().map(|stage| &stage.received).chain([&layers.above]);
            waiting.into_iter().any(|waiting| waiting.next().is_some())
        })
    }

    /// Whether our end has not come through the layers.
    pub(crate) fn layers_send(&self) -> bool {
        self.layers().is_some_and(|layers| layers.output != Eof::Told)
    }

    pub(crate) fn is_made(&self) -> bool {
        self.layers().is_none_or(|layers| layers.made)
    }

    /// Throws away what layers have between them.
    pub(crate) fn clear_layers(&mut self) {
        if let Some(layers) = self.layers_mut() {
            for stage in &mut layers.stack {
                stage.held = 0;
                stage.written.bytes = Vec::new();
            }
        }
    }

    /// The protocol, wherever its slot is.
    pub(crate) fn take_protocol(&mut self) -> Option<Box<dyn Protocol>> {
        self.protocol.take().or_else(|| self.layers_mut()?.protocol.take())
    }

    /// Puts the protocol back, which may have got its first layer meanwhile.
    pub(crate) fn put_protocol(&mut self, protocol: Box<dyn Protocol>) {
        match self.layers_mut() {
            Some(layers) => layers.protocol = Some(protocol),
            None => self.protocol = Some(protocol),
        }
    }

    /// Whether the protocol is in its slot.
    pub(crate) fn protocol_is_in(&self) -> bool {
        self.protocol.is_some() || self.layers().is_some_and(|layers| layers.protocol.is_some())
    }

    pub(in crate::reactor) fn stage(&mut self, index: usize) -> Option<&mut LayerSlot> {
        self.layers_mut()?.stack.get_mut(index)
    }
}
