//! Looking host names up: requests, their limits, and what they come to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::zone::Literal;
use crate::net::{Instant, LookedUp, LookupId, LookupProgress, NameError, NotAsked};
use crate::reactor::connect::tcp::check_host;
use crate::reactor::{BadAddress, CallbackKind, DelayedCall, Error, Reactor, Reason, Result, TimedCall};

/// A look-up by name. See [`Reactor::resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup(u64);

/// What is told of an outcome: when the resolver was asked, and the addresses.
pub(in crate::reactor) type OnLookedUp =
    Box<dyn FnOnce(&mut Reactor, Instant, Result<Vec<SocketAddr>, Reason>)>;

/// The requests that have no outcome yet, by number.
#[derive(Default)]
pub(crate) struct PendingLookups {
    pending: BTreeMap<u64, Pending>,
    count: u64,
}

struct Pending {
    host: Box<str>,
    id: LookupId,
    /// Its own limit, and the timer that tells when it has passed.
    limit: Option<(Duration, DelayedCall)>,
    done: OnLookedUp,
}

/// What a look-up has come to whose limit has passed.
pub(in crate::reactor) enum Overdue {
    /// The resolver was asked late, because it was busy: it has until then.
    Until(Instant),
    /// It is to be given up for this reason.
    Failed(Reason),
}

impl PendingLookups {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// What was to be done with the outcomes.
    pub(crate) fn into_calls(self) -> impl Iterator<Item = OnLookedUp> {
        self.pending.into_values().map(|pending| pending.done)
    }
}

impl Lookup {
    /// Cancels the look-up and drops its callback, which is not called. If no thread has begun with it, none will.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when it has its outcome or was cancelled before.
    pub fn cancel(self, reactor: &mut Reactor) -> Result<()> {
        let done = reactor.take_lookup(self).ok_or(Error::TimerNotActive)?.done;
        reactor.call(CallbackKind::Drop, |_| drop(done));
        Ok(())
    }
}

impl Reactor {
    /// Looks a host name up with the system's resolver, on threads of its own, and calls `done` with the addresses, never
    /// inside this call. An IP address is its own outcome. (Twisted: `IHostnameResolver.resolveHostName`.)
    ///
    /// Names that are asked for at the same time are looked up once. Look-ups begin in the order in which they were asked
    /// for, [`Settings::lookup_threads`](crate::Settings::lookup_threads) at a time.
    ///
    /// `done` is called with
    /// - [`Reason::Unresolved`] when the name has no address,
    /// - [`Reason::LookupFailed`] when the resolver could not say, or no thread was free for
    ///   [`Settings::lookup_timeout`](crate::Settings::lookup_timeout),
    /// - [`Reason::LookupTimedOut`] when the resolver was asked and did not answer for that long.
    ///
    /// # Errors
    /// [`Error::BadAddress`] for what cannot be a host name; [`Error::QueueFull`] when
    /// [`Settings::lookup_queue`](crate::Settings::lookup_queue) look-ups have no outcome yet; [`Error::System`] when no
    /// thread can be started.
    pub fn resolve(
        &mut self,
        host: &str,
        port: u16,
        done: impl FnOnce(&mut Reactor, Result<Vec<SocketAddr>, Reason>) + 'static,
    ) -> Result<Lookup> {
        let done = move |reactor: &mut Reactor, _, found| done(reactor, found);
        let lookup = self.begin_lookup(host, port, Box::new(done))?;
        let limit = self.settings.lookup_timeout;
        let timer = self.timers.set(self.now() + limit, TimedCall::LookupTimeout(lookup));
        if let Some(pending) = self.threads.lookups.pending.get_mut(&lookup.0) {
            pending.limit = Some((limit, timer));
        }
        Ok(lookup)
    }

    /// As [`resolve`](Reactor::resolve), without a limit of its own.
    pub(in crate::reactor) fn begin_lookup(
        &mut self,
        host: &str,
        port: u16,
        done: OnLookedUp,
    ) -> Result<Lookup> {
        self.threads.lookups.count += 1;
        let lookup = Lookup(self.threads.lookups.count);
        let inbox = Arc::clone(&self.threads.inbox);
        let answer = move |outcome: LookedUp| {
            // Refused only by a reactor that is gone, and then no one waits for the outcome.
            let _ = inbox.push(Box::new(move |reactor| reactor.looked_up(lookup, outcome)), usize::MAX);
        };
        let id = match self.literal(host, port) {
            Some(literal) => {
                let found = match literal {
                    Ok(address) => Ok(vec![address]),
                    Err(Reason::Unresolved { why, .. }) => Err(NameError::NotFound(why)),
                    Err(other) => Err(NameError::NotFound(other.to_string())),
                };
                answer(LookedUp { began: self.now(), found });
                LookupId::OVER
            }
            None => {
                check_host(host).map_err(|why| BadAddress { text: host.to_owned(), why })?;
                self.net.resolve(host, port, Box::new(answer)).map_err(|not| match not {
                    NotAsked::QueueFull => Error::QueueFull(self.settings.lookup_queue),
                    NotAsked::NoThread(source) => Error::System { call: "thread", source },
                })?
            }
        };
        self.threads.lookups.pending.insert(lookup.0, Pending { host: host.into(), id, limit: None, done });
        Ok(lookup)
    }

    /// The address that a host is, if it is one. The name of a zone may be none of an interface.
    pub(in crate::reactor) fn literal(&self, host: &str, port: u16) -> Option<Result<SocketAddr, Reason>> {
        let index = |name: &str| self.net.interface_index(name).ok();
        let address = Literal::read(host)?.and_then(|literal| literal.with_port(port, index));
        Some(address.map_err(|zone| Reason::Unresolved { host: host.to_owned(), why: zone.to_string() }))
    }

    /// Takes a request back, if it has no outcome yet.
    fn take_lookup(&mut self, lookup: Lookup) -> Option<Pending> {
        let pending = self.threads.lookups.pending.remove(&lookup.0)?;
        self.net.cancel_lookup(pending.id);
        if let Some((_, timer)) = pending.limit {
            self.timers.cancel(timer);
        }
        Some(pending)
    }

    /// Cancels a request of the reactor's own, if it has no outcome yet.
    pub(in crate::reactor) fn cancel_lookup(&mut self, lookup: Lookup) {
        // Over: that was wanted.
        let _ = lookup.cancel(self);
    }

    fn looked_up(&mut self, lookup: Lookup, outcome: LookedUp) {
        let Some(Pending { host, done, .. }) = self.take_lookup(lookup) else { return };
        let host = host.into_string();
        let found = match outcome.found {
            Ok(addresses) if addresses.is_empty() => {
                Err(Reason::Unresolved { host, why: "it has none".to_owned() })
            }
            Ok(addresses) => Ok(addresses),
            Err(NameError::NotFound(why)) => Err(Reason::Unresolved { host, why }),
            Err(NameError::Failed(why)) => Err(Reason::LookupFailed { host, why }),
        };
        self.call(CallbackKind::ThreadResult, |reactor| done(reactor, outcome.began, found));
    }

    /// The limit of a look-up has passed: whoever asked for it may have to wait longer, because the limit counts from when
    /// the resolver was asked. A look-up that waited for a thread until now was never asked for.
    ///
    /// So a queue in which everything waits too long still serves those that come to their turn, and what it says of the
    /// others is that this side was busy.
    pub(in crate::reactor) fn overdue_lookup(&mut self, lookup: Lookup, limit: Duration) -> Overdue {
        let now = self.now();
        let Some(pending) = self.threads.lookups.pending.get(&lookup.0) else { return Overdue::Until(now) };
        let host = pending.host.to_string();
        let reason = match self.net.lookup_progress(pending.id) {
            LookupProgress::Waiting => {
                let why = format!("other names were looked up for {limit:?}, and no thread was free");
                Reason::LookupFailed { host, why }
            }
            LookupProgress::Running(began) if began + limit > now => return Overdue::Until(began + limit),
            LookupProgress::Running(_) => Reason::LookupTimedOut { host, limit },
            // It comes with the next calls from threads.
            LookupProgress::Over => return Overdue::Until(now),
        };
        Overdue::Failed(reason)
    }

    /// The limit of a look-up that has its own.
    pub(crate) fn lookup_timed_out(&mut self, lookup: Lookup) {
        let pending = self.threads.lookups.pending.get(&lookup.0);
        let Some((limit, _)) = pending.and_then(|pending| pending.limit) else { return };
        match self.overdue_lookup(lookup, limit) {
            Overdue::Until(at) => {
                let timer = self.timers.set(at, TimedCall::LookupTimeout(lookup));
                if let Some(pending) = self.threads.lookups.pending.get_mut(&lookup.0) {
                    pending.limit = Some((limit, timer));
                }
            }
            Overdue::Failed(reason) => {
                let now = self.now();
                if let Some(Pending { done, .. }) = self.take_lookup(lookup) {
                    self.call(CallbackKind::ThreadResult, |reactor| done(reactor, now, Err(reason)));
                }
            }
        }
    }
}
