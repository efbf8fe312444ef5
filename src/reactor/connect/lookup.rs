//! Host name look-ups: requests, timeouts and outcomes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::zone::Literal;
use crate::net::{Instant, LookedUp, LookupId, LookupProgress, NameError, NotAsked};
use crate::reactor::connect::tcp::check_host;
use crate::reactor::settings::LOOKUP_QUEUE;
use crate::reactor::{BadAddress, CallbackKind, DelayedCall, Error, Reactor, Reason, Result, TimedCall};

/// A handle to a look-up. See [`Reactor::resolve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup(u64);

/// The callback of a look-up. It takes the time when the resolver was asked, and the addresses.
pub(in crate::reactor) type OnLookedUp =
    Box<dyn FnOnce(&mut Reactor, Instant, Result<Vec<SocketAddr>, Reason>)>;

/// The pending requests, by number.
#[derive(Default)]
pub(crate) struct PendingLookups {
    pending: BTreeMap<u64, Pending>,
    count: u64,
}

struct Pending {
    host: Box<str>,
    id: LookupId,
    /// The request's own timeout and its timer.
    limit: Option<(Duration, DelayedCall)>,
    done: OnLookedUp,
}

/// The state of a look-up whose timeout has expired.
pub(in crate::reactor) enum Overdue {
    /// The resolver was asked late, because it was busy. The look-up has until this time.
    Until(Instant),
    /// The look-up has failed for this reason.
    Failed(Reason),
}

impl PendingLookups {
    pub(in crate::reactor) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The callbacks of all pending requests.
    pub(in crate::reactor) fn into_calls(self) -> impl Iterator<Item = OnLookedUp> {
        self.pending.into_values().map(|pending| pending.done)
    }
}

impl Lookup {
    /// Cancels the look-up and drops its callback without calling it. A look-up that still waits
    /// for a thread is not started.
    ///
    /// # Errors
    /// [`Error::TimerNotActive`] when the look-up has finished or was cancelled.
    pub fn cancel(self, reactor: &mut Reactor) -> Result<()> {
        let done = reactor.take_lookup(self).ok_or(Error::TimerNotActive)?.done;
        reactor.call(CallbackKind::Drop, |_| drop(done));
        Ok(())
    }
}

impl Reactor {
    /// Looks up a host name with the system's resolver on a separate thread. `done` is called with
    /// the addresses, never inside this call. An IP address is returned as it is. (Twisted:
    /// `IHostnameResolver.resolveHostName`.)
    ///
    /// Concurrent requests for a name share one look-up. Look-ups start in the order of their
    /// requests. At most [`Settings::lookup_threads`](crate::Settings::lookup_threads) run at a
    /// time.
    ///
    /// `done` is called with an error in these cases:
    /// - [`Reason::Unresolved`] when the name has no address.
    /// - [`Reason::LookupFailed`] when the resolver failed, or no thread was free for 30 s.
    /// - [`Reason::LookupTimedOut`] when the resolver was asked and did not answer for 30 s.
    ///   [`Lookup::cancel`] and [`Deferred::timeout`](crate::deferred::Deferred::timeout) end a
    ///   look-up earlier.
    ///
    /// # Errors
    /// - [`Error::BadAddress`] for an invalid host name.
    /// - [`Error::QueueFull`] when 100,000 look-ups are pending.
    /// - [`Error::System`] when no thread can be started.
    pub fn resolve(
        &mut self,
        host: &str,
        port: u16,
        done: impl FnOnce(&mut Reactor, Result<Vec<SocketAddr>, Reason>) + 'static,
    ) -> Result<Lookup> {
        let done = move |reactor: &mut Reactor, _, found| done(reactor, found);
        let lookup = self.start_lookup(host, port, Box::new(done))?;
        let limit = LOOKUP_TIMEOUT;
        let timer = self.timers.set(self.now() + limit, TimedCall::LookupTimeout(lookup));
        if let Some(pending) = self.threads.lookups.pending.get_mut(&lookup.0) {
            pending.limit = Some((limit, timer));
        }
        Ok(lookup)
    }

    /// Starts a look-up as [`resolve`](Reactor::resolve) does, without a timeout.
    pub(in crate::reactor) fn start_lookup(
        &mut self,
        host: &str,
        port: u16,
        done: OnLookedUp,
    ) -> Result<Lookup> {
        self.threads.lookups.count += 1;
        let lookup = Lookup(self.threads.lookups.count);
        let inbox = Arc::clone(&self.threads.inbox);
        let answer = move |outcome: LookedUp| {
            // The push fails only if the reactor is gone. Then the outcome is not needed.
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
                self.net.resolve(host, port, Box::new(answer)).map_err(|error| match error {
                    NotAsked::QueueFull => Error::QueueFull(LOOKUP_QUEUE),
                    NotAsked::NoThread(source) => Error::System { call: "thread", source },
                })?
            }
        };
        self.threads.lookups.pending.insert(lookup.0, Pending { host: host.into(), id, limit: None, done });
        Ok(lookup)
    }

    /// The address, if `host` is an IP address; an error if its zone names no interface.
    pub(in crate::reactor) fn literal(&self, host: &str, port: u16) -> Option<Result<SocketAddr, Reason>> {
        let index = |name: &str| self.net.interface_index(name).ok();
        let address = Literal::read(host)?.and_then(|literal| literal.with_port(port, index));
        Some(address.map_err(|zone| Reason::Unresolved { host: host.to_owned(), why: zone.to_string() }))
    }

    /// Removes a pending request.
    fn take_lookup(&mut self, lookup: Lookup) -> Option<Pending> {
        let pending = self.threads.lookups.pending.remove(&lookup.0)?;
        self.net.cancel_lookup(pending.id);
        if let Some((_, timer)) = pending.limit {
            self.timers.cancel(timer);
        }
        Some(pending)
    }

    /// Cancels an internal request, if it is pending.
    pub(in crate::reactor) fn cancel_lookup(&mut self, lookup: Lookup) {
        // A request that is over is already in the wanted state.
        let _ = lookup.cancel(self);
    }

    fn looked_up(&mut self, lookup: Lookup, outcome: LookedUp) {
        let Some(Pending { host, done, .. }) = self.take_lookup(lookup) else { return };
        let host = host.into_string();
        let found = match outcome.found {
            Ok(addresses) if addresses.is_empty() => {
                Err(Reason::Unresolved { host, why: "the answer is empty".to_owned() })
            }
            Ok(addresses) => Ok(addresses),
            Err(NameError::NotFound(why)) => Err(Reason::Unresolved { host, why }),
            Err(NameError::Failed(why)) => Err(Reason::LookupFailed { host, why }),
        };
        self.call(CallbackKind::ThreadResult, |reactor| done(reactor, outcome.began, found));
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
        let Some(pending) = self.threads.lookups.pending.get(&lookup.0) else { return Overdue::Until(now) };
        let host = pending.host.to_string();
        let reason = match self.net.lookup_progress(pending.id) {
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

/// Time limit for a look-up by [`Reactor::resolve`], or for a UDP socket, to wait for a thread. The
/// resolver then has the same time to answer. Connectors have a timeout of their own.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
