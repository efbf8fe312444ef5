//! The way of a request to a connection: an idle one, a new one, or the queue.

use super::connection::{Attempt, Connection};
use super::exchange::{Pending, Placed, arm, complete, fail_later};
use super::pool::{Place, Route};
use super::{Client, FetchError};
use crate::http::Url;
use crate::{ClientFactory, ConnectTcp, Error, Instant, Reactor, Reason};
use std::rc::Rc;

impl Client {
    /// Starts a request.
    pub(super) fn begin(&self, reactor: &mut Reactor, exchange: &Pending) {
        arm(reactor, exchange);
        self.dispatch(reactor, exchange, false);
    }

    /// Finds a connection for a request. `fresh`: none that was used before.
    pub(super) fn dispatch(&self, reactor: &mut Reactor, exchange: &Pending, fresh: bool) {
        let route = self.route(exchange.borrow().request.url());
        let now = reactor.now();
        loop {
            let handle = (*reactor).as_ref();
            let place = self.shared.pool.borrow_mut().place(self, handle, &route, exchange, fresh, now);
            match place {
                Place::Taken => return,
                Place::Idle(id) => {
                    let sent = reactor.with_protocol(id, |connection: &mut Connection, transport| {
                        connection.begin(transport, exchange, true);
                    });
                    if sent.is_some() {
                        return;
                    }
                }
                Place::New(slot, evicted) => {
                    if let Some(evicted) = evicted {
                        let given =
                            reactor.with_protocol(evicted, |connection: &mut Connection, transport| {
                                connection.give_way(transport);
                            });
                        // It has just become idle, and its callback runs.
                        if given.is_none()
                            && let Some(mut transport) = reactor.transport(evicted)
                        {
                            transport.lose_connection();
                        }
                    }
                    exchange.borrow_mut().marks.placed = Some(now);
                    let attempt = Attempt::new(slot, Rc::clone(exchange));
                    return self.connect(reactor, &route, exchange, attempt);
                }
                Place::Wait => {
                    let limit = self.shared.settings.max_waiting;
                    if self.shared.pool.borrow().waiting() >= limit {
                        return fail_later(reactor, exchange, FetchError::QueueFull(limit));
                    }
                    self.shared.pool.borrow_mut().wait(&route, exchange, fresh);
                    exchange.borrow_mut().place = Placed::Waiting(route);
                    return;
                }
            }
        }
    }

    /// Lets requests that wait have the connections that are free now.
    pub(super) fn start_waiting(&self, reactor: &mut Reactor) {
        loop {
            let next = self.shared.pool.borrow_mut().next_startable();
            let Some(next) = next else { return };
            next.borrow_mut().place = Placed::Nowhere;
            self.dispatch(reactor, &next, false);
        }
    }

    /// Sets the timer that closes idle connections.
    pub(super) fn set_sweep(&self, reactor: &mut Reactor, at: Instant) {
        let client = self.clone();
        let timer = reactor.call_later(at - reactor.now(), move |reactor| client.sweep(reactor));
        let earlier = self.shared.pool.borrow_mut().set_sweep(Some((timer, at)));
        if let Some((earlier, _)) = earlier {
            // Fails only if it has just expired.
            let _ = earlier.cancel(reactor);
        }
    }

    fn sweep(&self, reactor: &mut Reactor) {
        self.shared.pool.borrow_mut().set_sweep(None);
        let (expired, next) = self.shared.pool.borrow_mut().expired(reactor.now());
        for id in expired {
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
        }
        if let Some(next) = next {
            self.set_sweep(reactor, next);
        }
    }

    fn route(&self, url: &Url) -> Route {
        let via = self.shared.via.borrow().is_some();
        match self.shared.settings.proxies.of(url).filter(|_| !via) {
            None => Route { origin: url.origin().clone(), proxy: None, tunnel: false },
            Some(proxy) if url.is_https() => {
                Route { origin: url.origin().clone(), proxy: Some(proxy.clone()), tunnel: true }
            }
            Some(proxy) => {
                Route { origin: proxy.url().origin().clone(), proxy: Some(proxy.clone()), tunnel: false }
            }
        }
    }

    fn connect(&self, reactor: &mut Reactor, route: &Route, exchange: &Pending, attempt: Attempt) {
        let first = route.proxy.as_ref().map_or(&route.origin, |proxy| proxy.url().origin());
        let factory: Box<dyn ClientFactory> = match first.secure {
            false => Box::new(attempt),
            true => match self.shared.tls.wrap(attempt, &first.host) {
                Ok(factory) => factory,
                Err(error) => return fail_later(reactor, exchange, error),
            },
        };
        let timeout = exchange.borrow().connect_limit(reactor.now());
        let options = ConnectTcp { timeout, ..ConnectTcp::new(first.host.as_str(), first.port) };
        let via = self.shared.via.borrow().clone();
        let connector = match via {
            Some(endpoint) => endpoint.connect(reactor, factory),
            None => reactor.connect_tcp(options, factory),
        };
        match connector {
            Ok(connector) => exchange.borrow_mut().place = Placed::Connecting(connector),
            Err(Error::Stopping | Error::ReactorFinished) => {
                fail_later(reactor, exchange, FetchError::Connect(Reason::Stopped));
            }
            // The address was checked when the URL was parsed, so the endpoint has refused.
            Err(_) => fail_later(reactor, exchange, FetchError::Connect(Reason::Cancelled)),
        }
    }
}

/// Sends a request once more, on a new connection.
pub(super) fn retry(reactor: &mut Reactor, exchange: &Pending) {
    let now = reactor.now();
    let client = exchange.borrow().client.clone();
    exchange.borrow_mut().restart(now);
    client.dispatch(reactor, exchange, true);
}

/// Ends a request that a connection could not carry.
pub(super) fn fail(reactor: &mut Reactor, exchange: &Pending, error: FetchError) {
    exchange.borrow_mut().place = Placed::Nowhere;
    complete(reactor, exchange, Err(error));
}
