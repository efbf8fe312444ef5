//! Pending look-ups: requests, timeouts and the delivery of answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::net::zone::Literal;
use crate::net::{Instant, LookupId, LookupProgress, NameError, Token};
use crate::reactor::connect::tcp::check_host;
use crate::reactor::resolve::answers::Answers;
use crate::reactor::resolve::system::SystemResolver;
use crate::reactor::resolve::{End, Found, Message};
use crate::reactor::settings::LOOKUP_QUEUE;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{
    Answer, BadAddress, CallbackKind, DelayedCall, Error, Query, Reactor, Reason, Resolution, Resolve,
    Result, TimedCall,
};

/// A handle to a look-up. See [`Reactor::look_up`]. (Twisted: `IHostResolution`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    index: u32,
    serial: u32,
}

/// The receiver of a look-up's answers.
pub(in crate::reactor) enum Receiver {
    /// Called with each answer.
    Answers(OnAnswer),
    /// Called at the end.
    Outcome(OnOutcome),
    /// A connector, and the number of its attempt.
    Connector(Token, u32),
}

type OnAnswer = Box<dyn FnMut(&mut Reactor, Answer)>;

type OnOutcome = Box<dyn FnOnce(&mut Reactor, Result<Resolution, Reason>)>;

type OnCancel = Box<dyn FnOnce(&mut Reactor)>;

/// The resolver, and the pending requests by number.
#[derive(Default)]
pub(crate) struct PendingLookups {
    /// `None` is the system's resolver.
    resolver: Option<Rc<dyn Resolve>>,
    /// The crate's default resolver is made when the first name is looked up.
    default_is_due: bool,
    pending: Slab<(u32, Pending)>,
    /// The serial number of the last request.
    count: u32,
}

struct Pending {
    query: Query,
    /// `None` while it is called.
    receiver: Option<Receiver>,
    /// The request to the driver, if there is one.
    system: Option<LookupId>,
    requested_at: Instant,
    /// Time at which the resolver was asked.
    began: Instant,
    /// The timer of the request's own timeout.
    timer: Option<DelayedCall>,
    /// The addresses so far, in order.
    found: Vec<SocketAddr>,
    /// The same as a set, if there are many.
    seen: BTreeSet<SocketAddr>,
    /// The order of the addresses has no meaning.
    unordered: bool,
    /// An address of another family was found.
    other_family: bool,
    ttl: Option<Duration>,
    on_cancel: Vec<OnCancel>,
    /// The message of the resolver's panic.
    panicked: Option<String>,
}

/// The state of a look-up whose timeout has expired.
pub(in crate::reactor) enum Overdue {
    /// The resolver was asked late, because it was busy. The look-up has until this time.
    Until(Instant),
    /// The look-up has failed for this reason.
    Failed(Reason),
}

/// A user's value that is left at the end of the reactor. It only waits to be dropped.
#[expect(dead_code, reason = "held for the drop")]
pub(in crate::reactor) enum Leftover {
    Receiver(Receiver),
    OnCancel(OnCancel),
    Resolver(Rc<dyn Resolve>),
}

impl PendingLookups {
    /// Makes the crate's default resolver that of the reactor.
    pub(in crate::reactor) fn use_default(&mut self) {
        self.default_is_due = true;
    }

    pub(in crate::reactor) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The handle of the next request.
    fn next(&mut self) -> Lookup {
        self.count = self.count.wrapping_add(1);
        Lookup { index: self.pending.vacant_key() as u32, serial: self.count }
    }

    fn insert(&mut self, lookup: Lookup, pending: Pending) {
        let index = self.pending.insert((lookup.serial, pending));
        debug_assert_eq!(index, lookup.index as usize);
    }

    fn get(&self, lookup: Lookup) -> Option<&Pending> {
        let (serial, pending) = self.pending.get(lookup.index as usize)?;
        (*serial == lookup.serial).then_some(pending)
    }

    fn get_mut(&mut self, lookup: Lookup) -> Option<&mut Pending> {
        let (serial, pending) = self.pending.get_mut(lookup.index as usize)?;
        (*serial == lookup.serial).then_some(pending)
    }

    fn remove(&mut self, lookup: Lookup) -> Option<Pending> {
        self.get(lookup)?;
        self.pending.try_remove(lookup.index as usize).map(|(_, pending)| pending)
    }

    /// The callbacks of all pending requests, and the resolver.
    pub(in crate::reactor) fn into_calls(self) -> impl Iterator<Item = Leftover> {
        let calls = self.pending.into_iter().flat_map(|(_, (_, pending))| {
            let on_cancel = pending.on_cancel.into_iter().map(Leftover::OnCancel);
            on_cancel.chain(pending.receiver.map(Leftover::Receiver))
        });
        calls.chain(self.resolver.map(Leftover::Resolver))
    }
}

#[cfg(test)]
impl Lookup {
    pub(in crate::reactor) fn of_test() -> Lookup {
        Lookup { index: 0, serial: 0 }
    }
}

impl Lookup {
    /// Cancels the look-up and drops its callback without calling it. A look-up that still waits
    /// for a thread is not started.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when the look-up has finished or was cancelled.
    pub fn cancel(self, reactor: &mut Reactor) -> Result<()> {
        let receiver = reactor.abandon_lookup(self).ok_or(Error::TimerNotActive)?.receiver;
        reactor.drop_value(receiver);
        Ok(())
    }
}

impl Reactor {
    /// Replaces the resolver of this reactor. All host names are looked up with it: those of
    /// connectors, UDP sockets, endpoints and clients, and of [`look_up`](Reactor::look_up).
    /// Pending look-ups keep theirs. (Twisted: `installNameResolver`.)
    ///
    /// Default: with the feature `dns`, a stub resolver on this loop with the configuration of the
    /// system (`dns::Resolver::from_system`). Without it, and on a simulated network, where names
    /// are part of the model, [`SystemResolver`].
    pub fn set_resolver(&mut self, resolver: impl Resolve) {
        self.threads.lookups.default_is_due = false;
        let earlier = self.threads.lookups.resolver.replace(Rc::new(resolver));
        self.drop_value(earlier);
    }

    /// Looks up a host name with the reactor's resolver. `done` is called once with all addresses,
    /// never inside this call. An IP address is returned as it is.
    ///
    /// This is [`look_up`](Reactor::look_up) with the default options and one callback, which
    /// describes the reasons for failures. A look-up ends after 30 s.
    ///
    /// # Errors
    /// Same as [`look_up`](Reactor::look_up).
    #[doc(alias("getaddrinfo", "lookup_host", "HostResolution"))]
    pub fn resolve(
        &mut self,
        host: &str,
        port: u16,
        done: impl FnOnce(&mut Reactor, Result<Vec<SocketAddr>, Reason>) + 'static,
    ) -> Result<Lookup> {
        let done = |reactor: &mut Reactor, outcome: Result<Resolution, Reason>| {
            done(reactor, outcome.map(|resolution| resolution.addresses));
        };
        self.start_timed_lookup(Query::new(host, port), Receiver::Outcome(Box::new(done)))
    }

    /// Looks up a host name with the [resolver](Reactor::set_resolver) of the reactor, and calls
    /// `on_answer` with addresses as they are found, then with the end. It is never called inside
    /// this call. An IP address is returned as it is, and no resolver is asked. (Twisted:
    /// `IHostnameResolver.resolveHostName`. libuv: `uv_getaddrinfo`, `uv_cancel`.)
    ///
    /// [`Lookup::cancel`] ends the look-up without a further call. A panic of `on_answer` cancels
    /// it too. [`deferred::resolve`](crate::deferred::resolve()) and
    /// [`task::resolve`](crate::task::resolve()) return a Deferred and a future.
    ///
    /// A look-up that found an address succeeds. Otherwise it fails:
    /// - [`Reason::Unresolved`] when the name has no address.
    /// - [`Reason::LookupFailed`] when the resolver failed, or no thread was free for the timeout.
    /// - [`Reason::LookupTimedOut`] when the resolver was asked and did not answer in time.
    ///
    /// ```
    /// use twistor::{Answer, AddressFamily, Query, Reactor};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let query = Query { family: AddressFamily::Ipv4, ..Query::new("127.0.0.1", 80) };
    /// let mut found = Vec::new();
    /// reactor.look_up(query, move |reactor, answer| match answer {
    ///     Answer::Addresses { addresses, .. } => found.extend(addresses),
    ///     Answer::End(outcome) => {
    ///         assert_eq!(outcome.unwrap().addresses, found);
    ///         reactor.stop();
    ///     }
    /// })?;
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::BadAddress`] for an invalid host name.
    /// - [`Error::QueueFull`] when 100,000 look-ups are pending.
    /// - [`Error::System`] when no thread can be started.
    /// - Any other error with which the resolver refuses.
    pub fn look_up(
        &mut self,
        query: impl Into<Query>,
        on_answer: impl FnMut(&mut Reactor, Answer) + 'static,
    ) -> Result<Lookup> {
        self.start_timed_lookup(query.into(), Receiver::Answers(Box::new(on_answer)))
    }

    fn start_timed_lookup(&mut self, query: Query, receiver: Receiver) -> Result<Lookup> {
        let limit = query.timeout;
        let lookup = self.start_lookup(query, receiver)?;
        let timer = self.timers.set(self.now() + limit, TimedCall::LookupTimeout(lookup));
        match self.threads.lookups.get_mut(lookup) {
            Some(pending) => pending.timer = Some(timer),
            None => drop(self.timers.cancel(timer)),
        }
        Ok(lookup)
    }

    /// Starts a look-up without a timeout of its own.
    pub(in crate::reactor) fn start_lookup(&mut self, query: Query, receiver: Receiver) -> Result<Lookup> {
        let literal = self.literal(&query.host, query.port);
        let lookups = &mut self.threads.lookups;
        if lookups.default_is_due && literal.is_none() {
            lookups.default_is_due = false;
            lookups.resolver = crate::default_resolver();
        }
        let resolver = lookups.resolver.clone();
        if literal.is_none() {
            check_host(&query.host).map_err(|why| BadAddress { text: query.host.clone(), why })?;
            if resolver.is_some() && self.threads.lookups.len() >= LOOKUP_QUEUE {
                return Err(Error::QueueFull(LOOKUP_QUEUE));
            }
        }
        let lookup = self.threads.lookups.next();
        let answers = Answers::new(Arc::clone(&self.threads.inbox), lookup);
        let now = self.now();
        let pending = Pending {
            query: query.clone(),
            receiver: Some(receiver),
            system: literal.is_some().then_some(LookupId::OVER),
            requested_at: now,
            began: now,
            timer: None,
            found: Vec::new(),
            seen: BTreeSet::new(),
            unordered: false,
            other_family: false,
            ttl: None,
            on_cancel: Vec::new(),
            panicked: None,
        };
        self.threads.lookups.insert(lookup, pending);
        let asked = match (literal, resolver) {
            (Some(Ok(address)), _) => {
                answers.finish_with([address], None);
                Ok(())
            }
            (Some(Err(reason)), _) => {
                let why = match reason {
                    Reason::Unresolved { why, .. } => why,
                    other => other.to_string(),
                };
                answers.fail(NameError::NotFound(why));
                Ok(())
            }
            (None, None) => SystemResolver.resolve(self, &query, answers),
            (None, Some(resolver)) => {
                // The call may replace the resolver, which is then dropped with the closure.
                let query = &query;
                let ask = move |reactor: &mut Reactor| resolver.resolve(reactor, query, answers);
                self.catch_panic(CallbackKind::Resolve, ask).unwrap_or_else(|panic| {
                    if let Some(pending) = self.threads.lookups.get_mut(lookup) {
                        pending.panicked = Some(panic.message);
                    }
                    Ok(())
                })
            }
        };
        if let Err(error) = asked {
            if let Some(refused) = self.remove_lookup(lookup) {
                self.drop_values(refused.on_cancel);
                self.drop_value(refused.receiver);
            }
            return Err(error);
        }
        Ok(lookup)
    }

    /// The address, if `host` is an IP address; an error if its zone names no interface.
    pub(in crate::reactor) fn literal(&self, host: &str, port: u16) -> Option<Result<SocketAddr, Reason>> {
        let index = |name: &str| self.net.interface_index(name).ok();
        let address = Literal::read(host)?.and_then(|literal| literal.with_port(port, index));
        Some(address.map_err(|zone| Reason::Unresolved { host: host.to_owned(), why: zone.to_string() }))
    }

    /// Notes the request to the driver, for its progress and its cancellation.
    pub(in crate::reactor) fn set_system_lookup(&mut self, lookup: Lookup, id: LookupId) {
        match self.threads.lookups.get_mut(lookup) {
            Some(pending) => pending.system = Some(id),
            None => self.net.cancel_lookup(id),
        }
    }

    /// Registers a call for the cancellation of a look-up. It is queued if that has happened.
    pub(in crate::reactor) fn on_lookup_cancelled(&mut self, lookup: Lookup, call: OnCancel) {
        match self.threads.lookups.get_mut(lookup) {
            Some(pending) => pending.on_cancel.push(call),
            None => self.queues.callbacks.push(Callback::Call(call)),
        }
    }

    /// Removes a pending request.
    fn remove_lookup(&mut self, lookup: Lookup) -> Option<Pending> {
        let pending = self.threads.lookups.remove(lookup)?;
        if let Some(id) = pending.system {
            self.net.cancel_lookup(id);
        }
        if let Some(timer) = pending.timer {
            self.timers.cancel(timer);
        }
        Some(pending)
    }

    /// Removes a request whose answer is not wanted any more, and notifies the resolver.
    fn abandon_lookup(&mut self, lookup: Lookup) -> Option<Pending> {
        let mut pending = self.remove_lookup(lookup)?;
        for call in std::mem::take(&mut pending.on_cancel) {
            self.queues.callbacks.push(Callback::Call(call));
        }
        Some(pending)
    }

    /// Cancels an internal request, if it is pending.
    pub(in crate::reactor) fn cancel_lookup(&mut self, lookup: Lookup) {
        // A request that is over is already in the wanted state.
        let _ = lookup.cancel(self);
    }

    /// Handles an answer of a resolver.
    pub(in crate::reactor) fn answered(&mut self, lookup: Lookup, message: Message) {
        let Some(pending) = self.threads.lookups.get_mut(lookup) else { return };
        if let Some(began) = message.began {
            pending.began = began;
        }
        pending.unordered |= message.unordered;
        let fresh = pending.add(message.addresses, message.ttl);
        if let Some(end) = message.end {
            let failure = pending.failure(end);
            return self.end_lookup(lookup, fresh, message.ttl, failure);
        }
        if !fresh.is_empty() {
            self.deliver(lookup, fresh, message.ttl);
        }
    }

    /// Delivers addresses of a look-up that goes on.
    fn deliver(&mut self, lookup: Lookup, addresses: Vec<SocketAddr>, ttl: Option<Duration>) {
        let Some(pending) = self.threads.lookups.get_mut(lookup) else { return };
        let (began, unordered) = (pending.began, pending.unordered);
        match pending.receiver.take() {
            Some(Receiver::Answers(mut on_answer)) => {
                let addresses = match unordered {
                    true => self.in_destination_order(addresses),
                    false => addresses,
                };
                let answer = Answer::Addresses { addresses, ttl };
                let call = |reactor: &mut Reactor| on_answer(reactor, answer);
                let panicked = self.run_user_code(CallbackKind::ThreadResult, None, call).is_err();
                match self.threads.lookups.get_mut(lookup) {
                    Some(pending) if !panicked => pending.receiver = Some(Receiver::Answers(on_answer)),
                    _ => {
                        self.abandon_lookup(lookup);
                        self.drop_value(on_answer);
                    }
                }
            }
            Some(Receiver::Connector(token, attempt)) => {
                pending.receiver = Some(Receiver::Connector(token, attempt));
                let found = Found { addresses, unordered, is_last: false };
                self.connector_resolved(token, attempt, began, found);
            }
            waits => pending.receiver = waits,
        }
    }

    /// Ends a look-up, and delivers its last addresses and its outcome.
    fn end_lookup(
        &mut self,
        lookup: Lookup,
        addresses: Vec<SocketAddr>,
        ttl: Option<Duration>,
        failure: Option<Reason>,
    ) {
        let each = matches!(
            self.threads.lookups.get(lookup),
            Some(Pending { receiver: Some(Receiver::Answers(_)), .. })
        );
        // Only a connector needs them below.
        let mut addresses = addresses;
        if each && !addresses.is_empty() {
            self.deliver(lookup, std::mem::take(&mut addresses), ttl);
        }
        let Some(mut pending) = self.remove_lookup(lookup) else { return };
        self.drop_values(std::mem::take(&mut pending.on_cancel));
        let (began, unordered) = (pending.began, pending.unordered);
        match pending.receiver.take() {
            Some(Receiver::Connector(token, attempt)) => match failure {
                Some(reason) if pending.found.is_empty() => {
                    self.connector_unresolved(token, attempt, reason);
                }
                _ => {
                    let found = Found { addresses, unordered, is_last: true };
                    self.connector_resolved(token, attempt, began, found);
                }
            },
            Some(Receiver::Answers(mut on_answer)) => {
                let outcome = self.outcome(pending, failure);
                self.call(CallbackKind::ThreadResult, move |reactor| {
                    on_answer(reactor, Answer::End(outcome))
                });
            }
            Some(Receiver::Outcome(done)) => {
                let outcome = self.outcome(pending, failure);
                self.call(CallbackKind::ThreadResult, |reactor| done(reactor, outcome));
            }
            None => {}
        }
    }

    fn outcome(&mut self, mut pending: Pending, failure: Option<Reason>) -> Result<Resolution, Reason> {
        if pending.unordered {
            pending.found = self.in_destination_order(std::mem::take(&mut pending.found));
        }
        pending.outcome(self.now(), failure)
    }

    /// Returns the state of a look-up whose timeout has expired.
    ///
    /// The timeout counts from the time when the resolver was asked, so the requester may have to
    /// wait longer. A look-up that waited for a thread until now was never started and fails.
    ///
    /// So under overload, look-ups that get a thread still succeed. The others report that this
    /// side was busy.
    pub(in crate::reactor) fn overdue_lookup(&mut self, lookup: Lookup, limit: Duration) -> Overdue {
        let now = self.now();
        let Some(pending) = self.threads.lookups.get(lookup) else { return Overdue::Until(now) };
        let host = pending.query.host.clone();
        let progress = match pending.system {
            Some(id) => self.net.lookup_progress(id),
            None => LookupProgress::Running(pending.began),
        };
        let reason = match progress {
            LookupProgress::Waiting => {
                let why = format!("other names were looked up for {limit:?}, and no thread was free");
                Reason::LookupFailed { host, why }
            }
            LookupProgress::Running(began) if began + limit > now => return Overdue::Until(began + limit),
            LookupProgress::Running(_) => Reason::LookupTimedOut { host, limit },
            // The outcome comes with the next calls from threads.
            LookupProgress::Over => return Overdue::Until(now),
        };
        Overdue::Failed(reason)
    }

    /// Handles the timeout of a look-up that has its own.
    pub(in crate::reactor) fn lookup_timed_out(&mut self, lookup: Lookup) {
        let Some(pending) = self.threads.lookups.get(lookup) else { return };
        let limit = pending.query.timeout;
        match self.overdue_lookup(lookup, limit) {
            Overdue::Until(at) => {
                let timer = self.timers.set(at, TimedCall::LookupTimeout(lookup));
                if let Some(pending) = self.threads.lookups.get_mut(lookup) {
                    pending.timer = Some(timer);
                }
            }
            Overdue::Failed(reason) => {
                if let Some(pending) = self.threads.lookups.get_mut(lookup) {
                    for call in std::mem::take(&mut pending.on_cancel) {
                        self.queues.callbacks.push(Callback::Call(call));
                    }
                }
                self.end_lookup(lookup, Vec::new(), None, Some(reason));
            }
        }
    }

    /// Drops a user's value. The drop may panic, and may be a part of another callback.
    pub(in crate::reactor) fn drop_value<T>(&mut self, value: T) {
        // The panic was counted and logged. It affects no other code.
        let _ = self.catch_panic(CallbackKind::Drop, |_| drop(value));
    }

    fn drop_values<T>(&mut self, values: Vec<T>) {
        values.into_iter().for_each(|value| self.drop_value(value));
    }
}

impl Pending {
    /// Adds addresses, and returns those that are new and of the wanted family.
    fn add(&mut self, addresses: Vec<SocketAddr>, ttl: Option<Duration>) -> Vec<SocketAddr> {
        let first_fresh = self.found.len();
        for mut address in addresses {
            if address.port() == 0 {
                address.set_port(self.query.port);
            }
            if !self.query.family.contains(address) {
                self.other_family = true;
            } else if self.is_new(address) {
                self.found.push(address);
            }
        }
        let fresh = self.found.get(first_fresh..).unwrap_or_default().to_vec();
        if !fresh.is_empty() {
            self.ttl = self.ttl.into_iter().chain(ttl).min();
        }
        fresh
    }

    fn is_new(&mut self, address: SocketAddr) -> bool {
        if self.found.len() < MANY_ADDRESSES {
            return !self.found.contains(&address);
        }
        if self.seen.is_empty() {
            self.seen.extend(&self.found);
        }
        self.seen.insert(address)
    }

    /// The reason why addresses may be missing, or why there are none.
    fn failure(&mut self, end: End) -> Option<Reason> {
        let host = self.query.host.clone();
        match end {
            End::Complete if !self.found.is_empty() => None,
            End::Complete => {
                let why = match self.other_family {
                    true => "all addresses are of another family",
                    false => "the answer is empty",
                };
                Some(Reason::Unresolved { host, why: why.to_owned() })
            }
            End::Failed(NameError::NotFound(why)) => Some(Reason::Unresolved { host, why }),
            End::Failed(NameError::Failed(why)) => Some(Reason::LookupFailed { host, why }),
            End::Failed(NameError::TimedOut(limit)) => Some(Reason::LookupTimedOut { host, limit }),
            End::Dropped => {
                let why = match self.panicked.take() {
                    Some(message) => format!("the resolver panicked: {message}"),
                    None => "the resolver gave no answer".to_owned(),
                };
                Some(Reason::LookupFailed { host, why })
            }
        }
    }

    fn outcome(self, now: Instant, failure: Option<Reason>) -> Result<Resolution, Reason> {
        match failure {
            Some(reason) if self.found.is_empty() => Err(reason),
            incomplete => Ok(Resolution {
                addresses: self.found,
                ttl: self.ttl,
                waited: self.began - self.requested_at,
                took: now - self.began,
                incomplete,
            }),
        }
    }
}

/// Number of addresses from which a set of them is kept.
const MANY_ADDRESSES: usize = 32;
