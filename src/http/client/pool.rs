//! The pool: connections per server, and requests that wait for one.

use super::exchange::Pending;
use super::proxy::Proxy;
use super::{Client, ClientSettings};
use crate::http::url::Origin;
use crate::{ConnectionId, DelayedCall, Handle, Instant, Reactor};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The way to a server. A connection can be reused for requests with an equal route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    /// The server; of plain requests through a proxy, the proxy.
    pub(super) origin: Arc<Origin>,
    pub(super) proxy: Option<Proxy>,
    /// The origin is reached by a tunnel through the proxy.
    pub(super) tunnel: bool,
}

/// Connections of a client, and requests that wait for them.
pub(super) struct Pool {
    max_per_host: usize,
    max_connections: usize,
    hosts: BTreeMap<Route, Host>,
    total: usize,
    idle: usize,
    waiting: usize,
    /// The connection whose response is being delivered. A request that follows in that callback
    /// is sent on it.
    finishing: Option<Finishing>,
    sweep: Option<(DelayedCall, Instant)>,
    /// Buffer for the heads of requests.
    pub(super) scratch: Vec<u8>,
}

#[derive(Default)]
struct Host {
    /// Connections, also those that are being made.
    connections: usize,
    /// The most recently used last.
    idle: Vec<Idle>,
    waiting: VecDeque<Pending>,
}

struct Idle {
    id: ConnectionId,
    until: Instant,
}

struct Finishing {
    id: ConnectionId,
    route: Route,
    next: Option<Pending>,
}

/// What a request gets.
pub(super) enum Place {
    /// It is sent on the connection whose callback runs.
    Taken,
    Idle(ConnectionId),
    /// A new connection. The idle connection gives way, if there is one.
    New(Slot, Option<ConnectionId>),
    Wait,
}

impl Pool {
    pub(super) fn new(settings: &ClientSettings) -> Pool {
        Pool {
            max_per_host: settings.max_per_host.max(1),
            max_connections: settings.max_connections.max(1),
            hosts: BTreeMap::new(),
            total: 0,
            idle: 0,
            waiting: 0,
            finishing: None,
            sweep: None,
            scratch: Vec::new(),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn idle_count(&self) -> usize {
        self.idle
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Finds the place of a request. `fresh`: not on a connection that was used before.
    pub(super) fn place(
        &mut self,
        client: &Client,
        handle: &Handle,
        route: &Route,
        exchange: &Pending,
        fresh: bool,
        now: Instant,
    ) -> Place {
        if !fresh {
            if let Some(finishing) = &mut self.finishing
                && finishing.next.is_none()
                && finishing.route == *route
            {
                finishing.next = Some(Rc::clone(exchange));
                return Place::Taken;
            }
            if let Some(host) = self.hosts.get_mut(route)
                && let Some(idle) = host.idle.pop()
            {
                self.idle -= 1;
                if idle.until > now {
                    return Place::Idle(idle.id);
                }
                // All others were used before it. The sweep closes them.
                host.idle.push(idle);
                self.idle += 1;
            }
        }
        let used = self.hosts.get(route).map_or(0, |host| host.connections);
        if used >= self.max_per_host {
            return Place::Wait;
        }
        let mut evicted = None;
        if self.total >= self.max_connections {
            evicted = self.oldest_idle();
            if evicted.is_none() {
                return Place::Wait;
            }
        }
        self.hosts.entry(route.clone()).or_default().connections += 1;
        self.total += 1;
        Place::New(
            Slot { client: client.clone(), route: route.clone(), handle: handle.clone(), held: true },
            evicted,
        )
    }

    /// Takes the idle connection that was used the longest time ago.
    fn oldest_idle(&mut self) -> Option<ConnectionId> {
        let hosts = self.hosts.values_mut().filter(|host| !host.idle.is_empty());
        let host = hosts.min_by_key(|host| host.idle.first().map(|idle| idle.until))?;
        self.idle -= 1;
        Some(host.idle.remove(0).id)
    }

    pub(super) fn wait(&mut self, route: &Route, exchange: &Pending, first: bool) {
        let waiting = &mut self.hosts.entry(route.clone()).or_default().waiting;
        match first {
            true => waiting.push_front(Rc::clone(exchange)),
            false => waiting.push_back(Rc::clone(exchange)),
        }
        self.waiting += 1;
    }

    /// Removes a request that was cancelled.
    pub(super) fn stop_waiting(&mut self, route: &Route, exchange: &Pending) {
        if let Some(host) = self.hosts.get_mut(route) {
            let before = host.waiting.len();
            host.waiting.retain(|waiting| !Rc::ptr_eq(waiting, exchange));
            self.waiting -= before - host.waiting.len();
        }
        self.forget_if_empty(route);
    }

    /// Takes the next request that waits for this route.
    pub(super) fn next_waiting(&mut self, route: &Route) -> Option<Pending> {
        // Usual: no request waits at all.
        if self.waiting == 0 {
            return None;
        }
        let next = self.hosts.get_mut(route)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some(next)
    }

    /// Takes a request that waits, and whose server may have another connection.
    pub(super) fn next_startable(&mut self) -> Option<Pending> {
        if self.waiting == 0 || self.total >= self.max_connections && self.idle == 0 {
            return None;
        }
        let most = self.max_per_host;
        let host =
            self.hosts.values_mut().find(|host| !host.waiting.is_empty() && host.connections < most)?;
        let next = host.waiting.pop_front()?;
        self.waiting -= 1;
        Some(next)
    }

    pub(super) fn begin_finishing(&mut self, id: ConnectionId, route: &Route) {
        self.finishing = Some(Finishing { id, route: route.clone(), next: None });
    }

    /// Ends it. `None` if the connection is not to be kept; otherwise the next request for it.
    pub(super) fn end_finishing(&mut self, id: ConnectionId) -> Option<Option<Pending>> {
        let finishing = self.finishing.take_if(|finishing| finishing.id == id)?;
        Some(finishing.next)
    }

    /// Keeps an idle connection. Returns the time to which a sweep is to be set.
    pub(super) fn keep(&mut self, route: &Route, id: ConnectionId, until: Instant) -> Option<Instant> {
        self.hosts.entry(route.clone()).or_default().idle.push(Idle { id, until });
        self.idle += 1;
        self.sweep.is_none_or(|(_, at)| until < at).then_some(until)
    }

    pub(super) fn set_sweep(
        &mut self,
        sweep: Option<(DelayedCall, Instant)>,
    ) -> Option<(DelayedCall, Instant)> {
        std::mem::replace(&mut self.sweep, sweep)
    }

    /// Takes the connections whose time is over, and returns the time of the next sweep.
    pub(super) fn expired(&mut self, now: Instant) -> (Vec<ConnectionId>, Option<Instant>) {
        let (mut expired, mut next) = (Vec::new(), None::<Instant>);
        for host in self.hosts.values_mut() {
            host.idle.retain(|idle| {
                if idle.until > now {
                    next = Some(next.map_or(idle.until, |next| next.min(idle.until)));
                    return true;
                }
                expired.push(idle.id);
                false
            });
        }
        self.idle -= expired.len();
        (expired, next)
    }

    pub(super) fn forget(&mut self, route: &Route, id: ConnectionId) {
        if let Some(host) = self.hosts.get_mut(route) {
            let before = host.idle.len();
            host.idle.retain(|idle| idle.id != id);
            self.idle -= before - host.idle.len();
        }
    }

    /// Takes all idle connections. The connection whose callback runs is not kept either.
    pub(super) fn take_all_idle(&mut self, reactor: &mut Reactor) -> Vec<ConnectionId> {
        if let Some((sweep, _)) = self.sweep.take() {
            // Fails only if it has just expired.
            let _ = sweep.cancel(reactor);
        }
        if self.finishing.as_ref().is_some_and(|finishing| finishing.next.is_none()) {
            self.finishing = None;
        }
        self.idle = 0;
        self.hosts.values_mut().flat_map(|host| host.idle.drain(..)).map(|idle| idle.id).collect()
    }

    fn release(&mut self, route: &Route) {
        if let Some(host) = self.hosts.get_mut(route) {
            host.connections -= 1;
            self.total -= 1;
        }
        self.forget_if_empty(route);
    }

    /// Removes the entry of a server without connections and requests.
    fn forget_if_empty(&mut self, route: &Route) {
        if self.hosts.get(route).is_some_and(|host| host.connections == 0 && host.waiting.is_empty()) {
            self.hosts.remove(route);
        }
    }
}

/// The right to one connection. Given back when it is dropped, so that a connection that is lost in
/// any way is not counted any more.
pub(super) struct Slot {
    pub(super) client: Client,
    pub(super) route: Route,
    handle: Handle,
    held: bool,
}

impl Slot {
    /// Gives it back, and lets waiting requests have it.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.held) {
            let mut pool = self.client.shared.pool.borrow_mut();
            pool.release(&self.route);
            let waits = pool.waiting > 0;
            drop(pool);
            if waits {
                let client = self.client.clone();
                self.handle.call(move |reactor| client.start_waiting(reactor));
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release();
    }
}

/// A server may close a connection at its own timeout, so this one does it earlier by this time.
pub(super) const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
