//! Telling protocols and producers to pause, to resume, and to produce.

use std::time::Duration;

use crate::net::Token;
use crate::reactor::connection::{Flow, SHORTEST_PAUSE, State};
use crate::reactor::queues::Callback;
use crate::reactor::{CallbackKind, Producer, ProducerKind, Reactor, TimedCall, Transport};

impl Reactor {
    pub(crate) fn tell_to_pause(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.enter_pause();
        }
        self.pause_producer(token);
        self.call_protocol(token, CallbackKind::PauseWriting, |protocol, transport| {
            protocol.pause_writing(transport);
        });
    }

    pub(crate) fn tell_to_resume(&mut self, token: Token) {
        // The mark was passed again since this was queued. That is told behind this, and limits nothing before.
        if let Some(connection) = self.registry.connection_mut(token)
            && connection.flow == Flow::Paused
        {
            connection.flow = Flow::PauseQueued;
        }
        if self.producer_waits(token, ProducerKind::Push, false) {
            self.call_producer(token, ProducerKind::Push, |producer, transport| {
                producer.resume_producing(transport);
            });
        }
        self.call_protocol(token, CallbackKind::ResumeWriting, |protocol, transport| {
            protocol.resume_writing(transport);
        });
    }

    /// Tells a push producer to pause, unless it was told already.
    pub(crate) fn pause_producer(&mut self, token: Token) {
        if self.producer_waits(token, ProducerKind::Push, true) {
            self.call_producer(token, ProducerKind::Push, |producer, transport| {
                producer.pause_producing(transport);
            });
        }
    }

    /// Lets a pull producer, if there is one, be asked from the loop; once, however often this is called before.
    pub(crate) fn ask_producer(&mut self, token: Token) {
        if self.producer_waits(token, ProducerKind::Pull, true) {
            self.queues.callbacks.push(Callback::Pull(token));
        }
    }

    /// Notes that a producer of this kind waits, or does not any more; `false` when that is nothing new.
    fn producer_waits(&mut self, token: Token, kind: ProducerKind, waits: bool) -> bool {
        let connection = self.registry.connection_mut(token);
        let registered = connection.and_then(|connection| connection.cold.as_mut()?.producer.as_mut());
        match registered {
            Some(registered) if registered.kind == kind => {
                std::mem::replace(&mut registered.waits, waits) != waits
            }
            _ => false,
        }
    }

    /// Asks a pull producer for its next piece.
    pub(crate) fn pull(&mut self, token: Token) {
        if !self.producer_waits(token, ProducerKind::Pull, false) {
            return;
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        let sending = connection.unsent() > 0;
        let wrote_before = std::mem::replace(&mut connection.wrote, false);
        let again = connection.registered().and_then(|registered| {
            registered.sending = sending;
            registered.again.take()
        });
        if let Some(again) = again {
            self.timers.cancel(again);
        }
        let mut wrote = false;
        let called = !sending
            && self.call_producer(token, ProducerKind::Pull, |producer, transport| {
                producer.resume_producing(transport);
                // Before the call has consequences: a close lingers if anything was ever written.
                wrote = transport.reactor.wrote_since(token, wrote_before);
            });
        let Some(connection) = self.registry.connection_mut(token) else { return };
        connection.wrote |= wrote_before;
        if !called || connection.state == State::Lost {
            return;
        }
        let sending = connection.unsent() > 0;
        let Some(registered) = connection.registered() else { return };
        registered.sending = sending;
        if sending || wrote {
            registered.pause = SHORTEST_PAUSE;
        }
        match (sending, wrote) {
            // It is asked when that is sent.
            (true, _) => {}
            // All of it went at once: the next piece has its turn.
            (false, true) => self.ask_producer(token),
            (false, false) => self.ask_producer_later(token),
        }
    }

    /// Whether a connection that had nothing unsent has written since its flag was cleared, which `before` sets again.
    fn wrote_since(&mut self, token: Token, before: bool) -> bool {
        let unsent = self.unsent(token) > 0;
        let Some(connection) = self.registry.connection_mut(token) else { return false };
        let wrote = connection.wrote || unsent;
        connection.wrote = wrote || before;
        wrote
    }

    /// A pull producer had nothing to write: to ask it in each turn would keep the loop busy.
    fn ask_producer_later(&mut self, token: Token) {
        let now = self.now();
        let registered = self.registry.connection_mut(token).and_then(|connection| connection.registered());
        let Some(registered) = registered.filter(|registered| !registered.waits) else { return };
        let at = now + registered.pause;
        registered.pause = (registered.pause * 2).min(LONGEST_PAUSE);
        registered.again = Some(self.timers.set(at, TimedCall::AskProducer(token)));
    }

    /// Everything is sent, which something was, or a producer waits for it.
    pub(in crate::reactor) fn ask_once_sent(&mut self, token: Token, sent: bool) {
        let registered = self.registry.connection_mut(token).and_then(|connection| connection.registered());
        if registered.is_some_and(|registered| sent || registered.sending) {
            self.ask_producer(token);
        }
    }

    /// Calls a connection's producer, if there is one of that kind; it is out of its place meanwhile.
    fn call_producer(
        &mut self,
        token: Token,
        kind: ProducerKind,
        call: impl FnOnce(&mut dyn Producer, &mut Transport<'_>),
    ) -> bool {
        let Some(connection) = self.registry.connection_mut(token) else {
            return false;
        };
        let lost = connection.state == State::Lost;
        let direct = connection.can_batch() && !connection.is_layered();
        let registered = connection.cold.as_mut().and_then(|rare| rare.producer.as_mut());
        let Some(registered) = registered.filter(|registered| registered.kind == kind && !lost) else {
            return false;
        };
        let Some(mut producer) = registered.producer.take() else {
            return false;
        };
        self.send.batching = direct;
        self.enter(token, CallbackKind::Producer, |transport| call(&mut *producer, transport));
        let place = self.registry.connection_mut(token).and_then(|connection| {
            let registered = connection.cold.as_mut()?.producer.as_mut()?;
            registered.producer.is_none().then_some(&mut registered.producer)
        });
        match place {
            Some(place) => *place = Some(producer),
            // It was unregistered, and perhaps replaced, inside the call.
            None => self.call(CallbackKind::Drop, |_| drop(producer)),
        }
        self.after_callback(token);
        true
    }
}

/// The longest pause of a pull producer that has nothing to write.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
