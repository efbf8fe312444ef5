//! Closing: queued output is sent within a time limit, the loss is reported once, and lingering
//! input is discarded.

use std::io;
use std::time::Duration;

use crate::net::{Close, Instant, Readiness, Token};
use crate::reactor::connection::{Action, CloseLimit, Connection, Event, Flow, Registered, State};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::{Callback, SocketDisposal};
use crate::reactor::{Address, CallbackKind, ConnectionGuards, Reactor, Reason, TimedCall, Transport};

impl Reactor {
    pub(in crate::reactor) fn lose_connection(&mut self, token: Token, within: Option<Duration>) {
        let action = self.change_state(token, Event::Close);
        if let Some(limit) = within
            && matches!(action, Action::Flush | Action::LimitClose)
        {
            self.limit_closing_total(token, limit);
        }
        match action {
            Action::Flush => self.flush_after_callback(token),
            Action::ReportBroken => self.finish_broken(token),
            _ => {}
        }
    }

    /// Queues a flush. The end of the connection's own callback flushes by itself.
    fn flush_after_callback(&mut self, token: Token) {
        if self.send.connection != token {
            self.schedule_flush(token);
        }
    }

    pub(in crate::reactor) fn lose_write_connection(&mut self, token: Token) {
        if self.change_state(token, Event::CloseOutput) == Action::Flush {
            self.flush_after_callback(token);
        }
    }

    pub(in crate::reactor) fn abort_connection(&mut self, token: Token) {
        match self.registry.connection(token).map(|connection| connection.state) {
            Some(State::Lingering) => self.end_lingering(token),
            Some(_) => {
                if self.send.connection == token {
                    self.send.batch.clear();
                }
                self.queue_loss(token, Reason::Aborted);
            }
            None => {}
        }
    }

    /// Takes the next step of a closing connection, if it is possible.
    pub(in crate::reactor) fn advance_close(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        if connection.unsent() > 0 || connection.has_producer() || connection.layers_send() {
            let limited = connection.cold.as_ref().is_some_and(|cold| cold.close_limit.is_some());
            // No limit for a child process, which may read slowly. Its exit ends the wait.
            if connection.state.closes_when_sent() && !limited && !connection.is_child_pipe() {
                let limit = self.settings.close_timeout;
                self.limit_closing(token, limit, None);
            }
            return;
        }
        match connection.state.on(Event::OutputDone).1 {
            Action::SendFin => self.send_fin(token, false),
            Action::SendLastFin => self.send_fin(token, true),
            Action::Disconnect { eof } => self.disconnect(token, eof),
            _ => {}
        }
    }

    /// Sends our FIN. `last`: the peer's was read before, so the connection closes.
    fn send_fin(&mut self, token: Token, last: bool) {
        match self.net.shutdown_write(token) {
            // A peer that is gone does not need the FIN. The read side reports the loss.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return self.output_failed(token, "shutdown", &error);
            }
            _ => {}
        }
        self.change_state(token, Event::OutputDone);
        let Some(connection) = self.registry.connection_mut(token) else { return };
        connection.write_closed_pending = true;
        // Reading may continue for any length of time.
        let limit = connection.cold.as_mut().and_then(|cold| cold.close_limit.take_if(|_| !last));
        if let Some(limit) = limit {
            self.timers.cancel(limit.timer);
        }
        self.queues.callbacks.push(Callback::WriteConnectionLost(token));
        if last {
            self.schedule_flush(token);
        }
    }

    /// Ends a connection whose output is sent. `eof`: the peer's FIN was read.
    fn disconnect(&mut self, token: Token, eof: bool) {
        let Some(connection) = self.registry.connection_mut(token) else { return };
        // Closing a pipe never destroys data that its reader has not read yet.
        let at_risk =
            connection.wrote && !eof && connection.peer != Address::Pipe && !self.settings.linger.is_zero();
        let close_reason = connection.cold.as_mut().and_then(|cold| cold.close_reason.take());
        let disposal = match at_risk && self.net.shutdown_write(token).is_ok() {
            true => SocketDisposal::Linger,
            false => SocketDisposal::Close(Close::Graceful),
        };
        self.end(token, close_reason.unwrap_or(Reason::Done), disposal);
    }

    /// Calls `write_connection_lost` once our FIN was sent, if it is still pending.
    pub(in crate::reactor) fn notify_write_closed(&mut self, token: Token) {
        if let Some(connection) = self.registry.connection_mut(token)
            && std::mem::replace(&mut connection.write_closed_pending, false)
        {
            self.call_protocol(token, CallbackKind::WriteConnectionLost, |protocol, transport| {
                protocol.write_connection_lost(transport);
            });
        }
    }

    fn limit_closing_total(&mut self, token: Token, limit: Duration) {
        let last = self.now() + limit;
        self.limit_closing(token, limit, Some(last));
    }

    /// Sets the close timer: at most `limit` without progress, and at most until `last`.
    fn limit_closing(&mut self, token: Token, limit: Duration, last: Option<Instant>) {
        let at = self.now() + limit;
        let at = last.map_or(at, |last| at.min(last));
        let timer = self.timers.set(at, TimedCall::CloseLimit(token));
        let closing = CloseLimit { timer, limit, last };
        let earlier = self
            .registry
            .connection_mut(token)
            .and_then(|connection| connection.cold().close_limit.replace(closing));
        if let Some(earlier) = earlier {
            self.timers.cancel(earlier.timer);
        }
    }

    /// Restarts the time limit of a closing connection after progress.
    pub(in crate::reactor) fn note_progress(&mut self, token: Token) {
        let Some(connection) = self.registry.connection(token) else {
            return;
        };
        if let Some(closing) = connection.cold.as_ref().and_then(|cold| cold.close_limit) {
            let at = self.now() + closing.limit;
            let at = closing.last.map_or(at, |last| at.min(last));
            // The timer is only ever postponed. A timer set in this turn fires in a later one, so
            // resetting an overdue timer repeatedly would keep it from firing while bytes are sent.
            if self.timers.due(closing.timer).is_some_and(|due| due < at) {
                self.timers.reset(closing.timer, at);
            }
        }
    }

    /// Tries to send queued output before WRITABLE is reported. Linux reports it when a third of
    /// the send buffer is free, which can take a slow peer longer than the limit.
    fn retry_send(&mut self, token: Token) -> bool {
        let Some(connection) = self.registry.connection_mut(token) else { return false };
        if connection.waiting() == 0 {
            return false;
        }
        connection.readiness.insert(Readiness::WRITABLE);
        let before = self.statistics.bytes_sent;
        self.flush(token);
        self.statistics.bytes_sent > before
    }

    pub(in crate::reactor) fn close_limit_reached(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        let Some(closing) = connection.cold().close_limit.take() else {
            return;
        };
        let state = connection.state;
        let over = closing.last.is_some_and(|last| last <= self.now());
        match state {
            State::Lost => {}
            State::Lingering => self.end_lingering(token),
            _ if !over && self.retry_send(token) => {
                if self.registry.connection(token).is_some_and(|connection| !connection.state.is_over()) {
                    self.limit_closing(token, closing.limit, closing.last);
                }
            }
            _ => {
                self.statistics.close_timeouts += 1;
                self.queue_loss(token, Reason::CloseTimedOut(closing.limit));
            }
        }
    }

    /// Queues `connection_lost`, the last callback of the connection. If unsent output is
    /// discarded, the socket is reset: a FIN would tell the peer that the data is complete.
    pub(in crate::reactor) fn queue_loss(&mut self, token: Token, reason: Reason) {
        let complete = self
            .registry
            .connection(token)
            .is_some_and(|connection| connection.unsent() == 0 && connection.state != State::Broken);
        let how = match reason {
            Reason::Done | Reason::Lost(_) | Reason::Stopped if complete => Close::Graceful,
            _ => Close::Reset,
        };
        self.end(token, reason, SocketDisposal::Close(how));
    }

    pub(in crate::reactor) fn end(&mut self, token: Token, reason: Reason, disposal: SocketDisposal) {
        if self.change_state(token, Event::Ended) != Action::QueueLoss {
            return;
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        // Nothing waits to be sent any more.
        connection.flow = Flow::Open;
        connection.clear_layers();
        connection.outgoing = Vec::new();
        connection.sent = 0;
        self.queues.callbacks.push(Callback::Lost(token, reason, disposal));
    }

    /// Reports the loss to the protocol, producer, layers and connector, and frees the slot.
    pub(in crate::reactor) fn deliver_loss(
        &mut self,
        token: Token,
        reason: &Reason,
        disposal: SocketDisposal,
    ) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        self.statistics.connections_lost += u64::from(!connection.is_child_pipe());
        let origin = connection.origin;
        let protocol = connection.take_protocol();
        let made = connection.is_made();
        let (mut timers, mut closing, mut producer, mut layers) =
            (Vec::new(), None, None::<Registered>, None);
        let mut guards = ConnectionGuards::default();
        if let Some(cold) = connection.cold.as_mut() {
            timers = std::mem::take(&mut cold.timers);
            closing = cold.close_limit.take();
            producer = cold.producer.take();
            layers = cold.layers.take();
            guards = cold.extensions.take_guards();
        }
        // Guards are dropped first, because the callbacks below may connect again.
        self.drop_guards(guards);
        for timer in timers.into_iter().chain(closing.map(|closing| closing.timer)) {
            self.drop_timer(timer);
        }
        self.stop_producer(producer);
        let mut protocol = protocol;
        if let Some(protocol) = protocol.as_mut() {
            // A panic here is only logged. The remaining callbacks still run.
            let _ = self.run_user_code(CallbackKind::ConnectionLost, Some(token), |reactor| {
                protocol.connection_lost(&mut Transport { reactor, token }, reason);
            });
        }
        if let Some(layers) = layers {
            self.lose_layers(*layers, reason);
        }
        match disposal {
            SocketDisposal::Close(how) => self.net.close(token, how),
            SocketDisposal::Linger => self.start_lingering(token),
        }
        match made {
            true => self.connector_lost(origin, token, reason),
            false => self.connection_never_made(origin, token, reason),
        }
        if let SocketDisposal::Close(_) = disposal {
            self.forget(token);
        }
        self.call(CallbackKind::Drop, |_| drop(protocol));
    }

    /// Tells a producer that its output is no longer wanted.
    pub(in crate::reactor) fn stop_producer(&mut self, producer: Option<Registered>) {
        let Some(registered) = producer else { return };
        if let Some(timer) = registered.again {
            self.drop_timer(timer);
        }
        if let Some(mut producer) = registered.producer {
            self.call(CallbackKind::Producer, |reactor| {
                producer.stop_producing(reactor);
                drop(producer);
            });
        }
    }

    /// Frees a slot. Also drops what factories and layers have kept there, and timers and
    /// extensions that were registered during `connection_lost`.
    pub(in crate::reactor) fn forget(&mut self, token: Token) {
        if let Some(Source::Connection(Connection { cold: Some(mut cold), .. })) = self.registry.remove(token)
        {
            self.drop_guards(cold.extensions.take_guards());
            for timer in cold.timers {
                self.drop_timer(timer);
            }
            for value in cold.extensions.into_values() {
                self.call(CallbackKind::Drop, |_| drop(value));
            }
        }
    }

    /// Drops guards, the last one first. Each drop is user code of its own.
    fn drop_guards(&mut self, mut guards: ConnectionGuards) {
        while let Some(guard) = guards.pop() {
            self.call(CallbackKind::Drop, |_| drop(guard));
        }
    }

    /// Starts lingering, after our FIN was sent. Closing the socket now would answer further input
    /// with a reset, which could destroy data that the peer has not read yet.
    fn start_lingering(&mut self, token: Token) {
        if self.change_state(token, Event::Lingers) != Action::Linger {
            return;
        }
        let Some(connection) = self.registry.connection_mut(token) else { return };
        connection.readiness.insert(Readiness::READABLE);
        let linger = self.settings.linger;
        let last = self.now() + linger.saturating_mul(MAX_LINGER_FACTOR);
        self.limit_closing(token, linger, Some(last));
        self.schedule_resume(token);
    }

    pub(in crate::reactor) fn end_lingering(&mut self, token: Token) {
        let Some(connection) = self.registry.connection_mut(token) else {
            return;
        };
        if connection.state != State::Lingering {
            return;
        }
        if let Some(closing) = connection.cold().close_limit.take() {
            self.timers.cancel(closing.timer);
        }
        self.net.close(token, Close::Graceful);
        self.forget(token);
    }
}

/// Max total duration of lingering, as a multiple of the idle limit.
const MAX_LINGER_FACTOR: u32 = 5;
