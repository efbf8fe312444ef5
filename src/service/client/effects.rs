//! Effects of the client service's state machine: connecting, waiting, preparing and notifying.

use crate::escape::Escaped;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use crate::reactor::panic_message;
use crate::service::client::Waiter;
use crate::service::client::state::{Effect, Event};
use crate::service::{AttemptError, ClientService, ClientServiceError, ClientState, PrepareToken};
use crate::{
    BuildContext, ClientFactory, ConnectionId, Connector, Factory, Layer, Protocol, Reactor, Reason,
};

impl ClientService {
    /// Handles an event of one attempt. Events of earlier attempts are ignored.
    pub(in crate::service) fn handle_attempt_event(&self, reactor: &mut Reactor, attempt: u64, event: Event) {
        if self.client.borrow().attempt == attempt {
            self.handle_event(reactor, event);
        }
    }

    pub(in crate::service) fn handle_event(&self, reactor: &mut Reactor, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let effects = {
                let client = &mut *self.client.borrow_mut();
                let (state, effects) = client.state.step(event, client.prepares, &mut client.history);
                client.state = state;
                effects
            };
            for effect in effects {
                // Only the last effect of a list produces an event.
                next = self.effect(reactor, effect);
            }
        }
    }

    fn effect(&self, reactor: &mut Reactor, effect: Effect) -> Option<Event> {
        match effect {
            Effect::StartFactory => self.factory.borrow_mut().start_factory(reactor),
            Effect::StopFactory => self.factory.borrow_mut().stop_factory(reactor),
            Effect::Connect => return self.connect(reactor),
            Effect::Disconnect => {
                let connector = self.client.borrow().connector;
                if let Some(mut connector) = connector.and_then(|id| reactor.connector(id)) {
                    connector.disconnect();
                }
            }
            Effect::CancelTimer => {
                if let Some(timer) = self.client.borrow_mut().timer.take() {
                    // Fails if the timer is the one that has just expired.
                    let _ = timer.cancel(reactor);
                }
            }
            Effect::Retry => return self.retry_later(reactor),
            Effect::Prepare(connection) => self.prepare(reactor, connection),
            Effect::NotifyWaiters => {
                let waiters = std::mem::take(&mut self.client.borrow_mut().waiters);
                for waiter in waiters {
                    let this = self.clone();
                    reactor.call_later(Duration::ZERO, move |reactor| this.answer(reactor, waiter));
                }
            }
            Effect::CountFailure(why) => {
                let label = self.label();
                log::info!(service = label.as_str(); "{label}: no connection: {why}");
                let mut client = self.client.borrow_mut();
                for waiter in &mut client.waiters {
                    waiter.failures = waiter.failures.saturating_add(1);
                }
                let limit_reached = |waiter: &mut Waiter| {
                    waiter.max_failures.is_some_and(|max_failures| waiter.failures >= max_failures)
                };
                let failed: Vec<Waiter> = client.waiters.extract_if(.., limit_reached).collect();
                for Waiter { failures, call, .. } in failed {
                    let answer = ClientServiceError::Failed { failures, last: why.clone() };
                    reactor.call_later(Duration::ZERO, move |reactor| call(reactor, Err(answer)));
                }
            }
            Effect::FailWaiters(why) => {
                let waiters = std::mem::take(&mut self.client.borrow_mut().waiters);
                for Waiter { call, .. } in waiters {
                    let why = why.clone();
                    reactor.call_later(Duration::ZERO, move |reactor| call(reactor, Err(why)));
                }
            }
            Effect::Finish => {
                let stops = std::mem::take(&mut self.client.borrow_mut().stops);
                drop(stops);
            }
        }
        None
    }

    fn connect(&self, reactor: &mut Reactor) -> Option<Event> {
        let (endpoint, attempt) = {
            let mut client = self.client.borrow_mut();
            (client.attempt, client.connector) = (client.attempt.wrapping_add(1), None);
            if client.state != ClientState::Connecting {
                // Stopped by `start_factory`.
                return Some(Event::Failed(AttemptError::Unreachable(Reason::Cancelled)));
            }
            (Rc::clone(&client.endpoint), client.attempt)
        };
        let factory = Box::new(Attempt { service: self.clone(), attempt });
        match catch_unwind(AssertUnwindSafe(|| endpoint.connect(reactor, factory))) {
            Ok(Ok(connector)) => {
                self.client.borrow_mut().connector = Some(connector);
                if self.state() != ClientState::Connecting {
                    // Stopped by the endpoint.
                    return self.effect(reactor, Effect::Disconnect);
                }
                None
            }
            Ok(Err(error)) => Some(Event::Failed(AttemptError::Endpoint(error.to_string()))),
            Err(panic) => {
                let why = format!("it panicked: {}", panic_message(&*panic));
                log_error!("{}: {}", self.label(), Escaped(&why));
                Some(Event::Failed(AttemptError::Endpoint(why)))
            }
        }
    }

    fn retry_later(&self, reactor: &mut Reactor) -> Option<Event> {
        let random = reactor.random();
        let (policy, failures, attempt) = {
            let client = self.client.borrow();
            (Rc::clone(&client.policy), client.history.failures, client.attempt)
        };
        let label = self.label();
        let wait = catch_unwind(AssertUnwindSafe(|| policy.next_delay(failures, random)));
        let wait = wait.unwrap_or_else(|panic| {
            log_error!("{label}: the retry policy panicked: {}", Escaped(panic_message(&*panic)));
            None
        });
        let Some(wait) = wait else {
            log_warn!([service = label.as_str()] "{label}: gave up after {failures} attempts");
            return Some(Event::Exhausted);
        };
        log::debug!(service = label.as_str(); "{label}: next attempt in {wait:?}");
        let this = self.clone();
        let timer =
            reactor.call_later(wait, move |reactor| this.handle_attempt_event(reactor, attempt, Event::Due));
        self.client.borrow_mut().timer = Some(timer);
        None
    }

    fn prepare(&self, reactor: &mut Reactor, connection: ConnectionId) {
        let mut client = self.client.borrow_mut();
        let (attempt, limit) = (client.attempt, client.prepare_timeout);
        let this = self.clone();
        let timed_out = Event::Unprepared(format!("not within {limit:?}"));
        client.timer = Some(
            reactor.call_later(limit, move |reactor| this.handle_attempt_event(reactor, attempt, timed_out)),
        );
        let this = self.clone();
        let completion = reactor.completion(move |reactor, result| {
            let event = match result {
                Some(Ok(())) => Event::Prepared,
                Some(Err(why)) => Event::Unprepared(why),
                None => Event::Unprepared("the preparation was abandoned".to_owned()),
            };
            this.handle_attempt_event(reactor, attempt, event);
        });
        let Some(mut prepare) = client.prepare.take() else { return };
        drop(client);
        let call = || prepare(reactor, connection, PrepareToken { completion });
        let called = catch_unwind(AssertUnwindSafe(call));
        self.client.borrow_mut().prepare = Some(prepare);
        // The panic drops the token. The reactor counts and logs the panic.
        called.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Handles a connection whose protocol was built. Its `connection_made` has been called.
    fn made(&self, reactor: &mut Reactor, attempt: u64) {
        let (current, connector) = {
            let client = self.client.borrow();
            (client.attempt, client.connector)
        };
        let connector = connector.filter(|_| current == attempt);
        let connection = connector.and_then(|id| reactor.connector(id)?.connection());
        // A connection that is closing cannot be used. Its loss is reported later.
        let open =
            connection.and_then(|id| reactor.transport(id)).filter(|transport| !transport.is_closing());
        if let Some(id) = open.map(|transport| transport.id()) {
            self.handle_event(reactor, Event::Made(id));
        }
    }
}

/// Factory of one attempt, which reports events to the service.
struct Attempt {
    service: ClientService,
    attempt: u64,
}

impl Factory for Attempt {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        // The factory is borrowed only if one of its own calls makes this connection.
        let protocol = self.service.factory.try_borrow_mut().ok()?.build_protocol(context)?;
        let (service, attempt) = (self.service.clone(), self.attempt);
        context.reactor().call_later(Duration::ZERO, move |reactor| service.made(reactor, attempt));
        Some(protocol)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let factory = self.service.factory.try_borrow_mut();
        factory.map_or_else(|_| Vec::new(), |mut factory| factory.layers(context))
    }
}

impl ClientFactory for Attempt {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let event = Event::Failed(AttemptError::Unreachable(reason.clone()));
        self.service.handle_attempt_event(connector.reactor(), self.attempt, event);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let event = Event::Lost(reason.clone());
        self.service.handle_attempt_event(connector.reactor(), self.attempt, event);
    }
}
